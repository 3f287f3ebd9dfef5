"""refused: which messages of the quarantine are meant, newest first. The messages themselves are read page by page.

A quarantine may hold weeks of what a broken producer sent, so that all but the raw messages is read to choose, group
and sort in Arrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from incumbent.errors import DataError, NotFoundError
from incumbent.events.ids import id_time
from incumbent.events.window import Window
from incumbent.stores.columns import from_arrow
from incumbent.stores.store import Lake, Quarantined

MOST = 5_000  # messages that one replay sends back
PAGE = 5_000  # messages that are read at a time
_NEWEST_FIRST = [("time", "descending"), ("event_id", "descending")]
_LIGHT = ("event_id", "time", "reason", "field", "source", "index", "kind")


class Selection(Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages: all of these must hold. Texts of `reason` are searched for, the others are equal.

    `until` is exclusive; times are those of arrival. `ids` are ids in quarantine. `limit` counts what a list shows, and
    what a replay sends back: what is refused again stands in the way of nothing older.
    """

    since: datetime | None = None
    until: datetime | None = None
    reason: str | None = None
    kind: str | None = None  # schema, id, time, currency, number, size, reference
    field: str | None = None
    source: str | None = None  # collector, sealer
    ids: list[str] = []
    limit: int = MOST


def selected(lake: Lake, chosen: Selection, now: datetime) -> pa.Table:
    """All that is chosen, whatever its `limit`, newest first, without the messages; one single id must be there."""
    if len(chosen.ids) == 1:
        return located(lake, chosen.ids[0])
    window = Window(chosen.since or now - timedelta(days=3_653), chosen.until or now + timedelta(days=1))
    rows = lake.scan("quarantine", window, columns=_LIGHT)
    for name in ("kind", "field", "source"):
        wanted = getattr(chosen, name)
        if wanted is not None:
            rows = rows.filter(pc.fill_null(pc.equal(rows[name], wanted), False))
    if chosen.reason is not None:
        rows = rows.filter(pc.fill_null(pc.match_substring(rows["reason"], chosen.reason, ignore_case=True), False))
    if chosen.ids:
        rows = rows.filter(_among(rows, chosen.ids))
    return rows.sort_by(_NEWEST_FIRST)


def without(rows: pa.Table, ids: Sequence[str]) -> pa.Table:
    """The rows of other ids, in their order."""
    return rows.filter(pc.invert(_among(rows, ids)))


def groups(rows: pa.Table) -> list[dict[str, Any]]:
    """How many there are of one kind, field and source, largest first, with when, and the reason of the newest.

    What has no kind is grouped by the first sentence of its reason, up to 80 letters.
    """
    first = pc.list_element(pc.split_pattern(rows["reason"], ". ", max_splits=1), 0)
    named = pc.if_else(pc.equal(rows["kind"], ""), pa.scalar(None, pa.string()), rows["kind"])
    keyed = pa.table({
        "kind": pc.coalesce(named, pc.utf8_slice_codeunits(first, 0, 80)), "field": pc.fill_null(rows["field"], ""),
        "source": rows["source"], "time": rows["time"], "reason": rows["reason"]})
    found = keyed.group_by(["kind", "field", "source"], use_threads=False).aggregate(
        [("time", "count"), ("time", "min"), ("time", "max"), ("reason", "first")]).to_pylist()
    return [{"kind": one["kind"], "field": one["field"] or None, "source": one["source"], "count": one["time_count"],
             "first": one["time_min"].isoformat(), "last": one["time_max"].isoformat(), "example": one["reason_first"]}
            for one in sorted(found, key=lambda one: -one["time_count"])]


def whole(lake: Lake, rows: pa.Table, size: int = PAGE) -> Iterator[Quarantined]:
    """The rows with their messages, in their order, at most `size` and one UTC day at a time; without what has gone."""
    start = 0
    for day in pc.value_counts(pc.cast(rows["time"], pa.date32())).to_pylist():
        end = start + day["counts"]
        for at in range(start, end, size):
            yield from _page(lake, rows.slice(at, min(size, end - at)))
        start = end


def located(lake: Lake, event_id: str) -> pa.Table:
    """The one row of an id, without its message; `DataError` for no id, `NotFoundError` where there is none."""
    try:
        at = id_time(event_id)
    except ValueError:
        raise DataError("not an id in quarantine", got=event_id, expected="an event_id of `quarantine list`",
                        field="event_id") from None
    for reach in (timedelta(minutes=5), timedelta(days=400)):  # the latter: a replayed clock, or an id of the sender
        rows = lake.scan("quarantine", Window(at - reach, at + reach), columns=_LIGHT)
        rows = rows.filter(pc.equal(rows["event_id"], event_id))
        if rows.num_rows:
            return rows
    raise NotFoundError("no such message in quarantine", got=event_id, field="event_id",
                        hint="messages stay for [stores] quarantine_days")


def _page(lake: Lake, rows: pa.Table) -> list[Quarantined]:
    ids = rows["event_id"].to_pylist()
    window = Window(pc.min(rows["time"]).as_py(), pc.max(rows["time"]).as_py() + timedelta(microseconds=1))
    there = lake.scan("quarantine", window)
    known: dict[str, Quarantined] = {row.event_id: row for row in from_arrow(
        "quarantine", there.filter(_among(there, ids)))}
    return [known[id] for id in ids if id in known]


def _among(rows: pa.Table, ids: Sequence[str]) -> pa.ChunkedArray:
    return pc.is_in(rows["event_id"], pa.array(ids, pa.string()))
