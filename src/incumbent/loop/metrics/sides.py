"""What rows do not hold: the catalogue as of a day, frozen popularity, histories, what is relevant, caps and ages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.events.window import Window
from incumbent.loop.left_out import Standing, without
from incumbent.loop.metrics.rows import one_array
from incumbent.loop.relations import DAY_US
from incumbent.stats.counts import Counts
from incumbent.stores.store import Control, Lake, StateRow

BASE_FAMILY = "metric_base"
POPULAR_DAYS = 28  # before the Monday of a week: what its popularity is counted over
EPOCH = date(1970, 1, 1)
FACTS = ("category", "brand", "price_minor", "attributes")  # of an item, by which is cut


def end_of(day: date) -> int:
    """The end of a UTC day, in microseconds since 1970."""
    return ((day - EPOCH).days + 1) * DAY_US


@dataclass(frozen=True, eq=False)
class Facts:
    """The catalogue as of the end of a day, a line per item: what it is, its price, and since when it is not listed."""

    table: pa.Table

    def among(self, items: pa.Array) -> pa.Table:
        """The lines of some items, and one more where there is any, so that a catalogue is not taken for empty."""
        here = pc.is_in(self.table["item_id"], pc.unique(one_array(items)))
        made = self.table.filter(here)
        return made if made.num_rows else self.table.slice(0, 1)


class Catalogue:
    """Item events, read again only where the lake has new ones."""

    def __init__(self, lake: Lake) -> None:
        self._lake, self._version, self._made = lake, -1, dict[int, Facts]()
        self._rows: pa.Table | None = None
        self._time: NDArray[np.int64] = np.zeros(0, np.int64)

    def look(self) -> None:
        """Read what is new."""
        version, _ = self._lake.changes("item", self._version)
        if self._rows is None or version != self._version:
            rows = self._lake.scan("item", columns=["time", "event_id", "item_id", "listed", *FACTS])
            self._rows = rows.sort_by([("time", "ascending"), ("event_id", "ascending")])
            self._time = self._rows["time"].cast(pa.int64()).to_numpy()
            self._version, self._made = version, {}

    def as_of(self, day: date) -> Facts | None:
        """The catalogue at the end of a day; None while nothing is known of any item."""
        self.look()
        assert self._rows is not None
        count = int(np.searchsorted(self._time, end_of(day)))
        if count not in self._made:
            if len(self._made) > 8:
                self._made.pop(next(iter(self._made)))
            self._made[count] = _facts(self._rows.slice(0, count), self._time[:count])
        return self._made[count] if count else None


def _facts(rows: pa.Table, time: NDArray[np.int64]) -> Facts:
    ids = one_array(rows["item_id"]).dictionary_encode()
    codes = ids.indices.to_numpy().astype(np.int64)
    last = np.full(len(ids.dictionary), -1)
    last[codes] = np.arange(len(codes))  # the later overwrite the earlier
    listed = pc.fill_null(rows["listed"], True).to_numpy().astype(bool)
    since: NDArray[np.float64] = np.full(len(last), np.nan)
    for at in np.flatnonzero(~listed):  # few: the beginning of the run that lasts
        code = codes[at]
        since[code] = time[at] if np.isnan(since[code]) else since[code]
    for at in np.flatnonzero(listed & ~np.isnan(since)[codes]):
        gone = np.flatnonzero(~listed[at:] & (codes[at:] == codes[at]))
        since[codes[at]] = time[at + gone[0]] if len(gone) else np.nan
    newest = rows.take(pa.array(last))
    return Facts(pa.table({"item_id": ids.dictionary, **{name: newest[name] for name in FACTS},
                           "delisted_at": pa.array(since, from_pandas=True)}))


def popularity(lake: Lake, control: Control, day: date, actions: Sequence[str]) -> pa.Table | None:
    """How often each item was acted on in the four weeks before this week, less what was excluded as the week began:
    counted once, and frozen in Control."""
    monday = day - timedelta(days=day.weekday())
    kept = [row for row in control.range(f"{BASE_FAMILY}/popularity", Window.of_day(monday)) if row.day == monday]
    if kept:
        state = Counts.from_bytes(kept[0].data)
    else:
        period = Window.of_days(monday - timedelta(days=POPULAR_DAYS), monday - timedelta(days=1))
        rows = lake.scan("outcome", period, columns=["event_id", "item_id", "action"])
        rows = without(rows.filter(pc.is_in(rows["action"], pa.array(list(actions)))),
                       Standing.of(control).left_out(end_of(monday) - DAY_US))
        rows = rows.group_by(["event_id", "item_id"]).aggregate([])
        found = pc.value_counts(one_array(rows["item_id"]))
        state = Counts.zero().update(found.field("values").to_pylist(), found.field("counts").to_pylist())
        control.put(monday, 0, BASE_FAMILY, [StateRow(f"{BASE_FAMILY}/popularity", monday, 0, state.name,
                                                      state.config_hash, state.to_bytes())])
    counts = state.counts
    return pa.table({"item_id": list(counts), "count": list(counts.values())}) if counts else None


def history(outcomes: pa.Table, day: date, days: int) -> pa.Table:
    """What users bought in the `days` before a day."""
    start = end_of(day) - DAY_US
    time = outcomes["time"].to_numpy()
    mask = (time < start) & (time >= start - days * DAY_US)
    rows = outcomes.filter(pc.and_(pa.array(mask), pc.equal(outcomes["action"], "purchase")))
    return rows.select(["user_id", "item_id"]).group_by(["user_id", "item_id"]).aggregate([])


def relevant(outcomes: pa.Table, impressions: pa.Table, day: date, ahead: int, actions: Sequence[str]) -> pa.Table:
    """What users acted on from their first request of the day on, until `ahead` days after it."""
    time = outcomes["time"].to_numpy()
    mask = (time >= end_of(day) - DAY_US) & (time < end_of(day) + ahead * DAY_US)
    rows = outcomes.filter(pc.and_(pa.array(mask), pc.is_in(outcomes["action"], pa.array(list(actions)))))
    first = impressions.group_by("user_id").aggregate([("time", "min")])
    at = pc.index_in(rows["user_id"], one_array(first["user_id"]))
    begun = first["time_min"].take(one_array(at))
    rows = rows.filter(pc.fill_null(pc.greater_equal(rows["time"], begun), False))
    return rows.select(["user_id", "item_id"]).group_by(["user_id", "item_id"]).aggregate([])


def excluded(users: pa.Array, standing: Standing, facts: pa.Table | None) -> pa.Table:
    """From when until when users excluded items, and those of `facts` by their category; a line per span."""
    here = pc.unique(one_array(users)).to_pylist()
    rows = [(user, item, *span) for user in here for item, spans in standing.items.get(user, {}).items()
            for span in spans]
    if facts is not None and any(user in standing.categories for user in here):
        of: dict[str, list[str]] = {}
        for item, category in zip(facts["item_id"].to_pylist(), facts["category"].to_pylist(), strict=True):
            of.setdefault(category, []).append(item)
        rows += [(user, item, *span) for user in here for category, spans in standing.categories.get(user, {}).items()
                 for item in of.get(category, ()) for span in spans]
    return pa.table({"user_id": pa.array([row[0] for row in rows], pa.string()),
                     "item_id": pa.array([row[1] for row in rows], pa.string()),
                     "since": pa.array([row[2] for row in rows], pa.int64()),
                     "until": pa.array([row[3] for row in rows], pa.int64())})


class Ages:
    """How old models and vectors are at a request: `first` is when each version of a model was seen first."""

    def __init__(self, lake: Lake, first: dict[str, int]) -> None:
        self._lake, self.first, self._vectors = lake, first, dict[str, NDArray[np.int64]]()

    def model(self, name: str, versions: pa.Array, time: Any) -> pa.Array:
        """Seconds since a model's version was seen first, which may be now."""
        at = one_array(time).to_numpy()
        out = np.zeros(len(at))
        texts = np.asarray(versions.to_pylist(), object)
        for version in sorted(set(texts)):
            mine, key = texts == version, f"{name}/{version}"
            self.first[key] = min(self.first.get(key, int(at[mine].min())), int(at[mine].min()))
            out[mine] = (at[mine] - self.first[key]) / 1e6
        return pa.array(out)

    def vectors(self, versions: pa.Array, time: Any) -> pa.Array:
        """Seconds since the newest vector of a version of a space had come; null where none is known."""
        at = one_array(time).to_numpy()
        out = np.full(len(at), np.nan)
        texts = np.asarray(versions.to_pylist(), object)
        for version in sorted({text for text in texts if text is not None}):
            if version not in self._vectors:
                rows = self._lake.scan("embedding", columns=["time", "version"])
                rows = rows.filter(pc.equal(rows["version"], version))
                self._vectors[version] = np.unique(rows["time"].cast(pa.int64()).to_numpy())
            known, mine = self._vectors[version], texts == version
            place = np.searchsorted(known, at[mine], side="right") - 1
            out[mine] = np.where(place >= 0, (at[mine] - known[np.maximum(place, 0)]) / 1e6, np.nan) if len(
                known) else np.nan
        return pa.array(out, from_pandas=True)


def vectors(lake: Lake, space: str) -> pa.Table | None:
    """The newest vector of every item in a space; None where there is none. Vectors of other lengths are left out.

    What is no user's stands in the lake's bucket 0.
    """
    rows = lake.scan("embedding", buckets=[0], columns=["time", "event_id", "space", "entity", "entity_id", "vector"])
    rows = rows.filter(pc.and_(pc.equal(rows["space"], space), pc.equal(rows["entity"], "item")))
    if not rows.num_rows:
        return None
    rows = rows.sort_by([("time", "ascending"), ("event_id", "ascending")])
    ids = one_array(rows["entity_id"]).dictionary_encode()
    last = np.full(len(ids.dictionary), -1)
    last[ids.indices.to_numpy()] = np.arange(rows.num_rows)
    newest = one_array(rows["vector"]).take(pa.array(last))
    same = pc.equal(pc.list_value_length(newest), len(rows["vector"][-1]))
    return pa.table({"item_id": ids.dictionary.filter(same), "vector": newest.filter(same)})
