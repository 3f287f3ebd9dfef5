"""What some user buckets did over a span of days, read in one go: every day of the span is measured from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.events.window import Window
from incumbent.experiments.credit import BARRED
from incumbent.loop.relations import DAY_US
from incumbent.stores.store import Lake

SHOWN = ["request_id", "time", "user_id", "surface", "mode", "lane", "experiment", "k", "session_id", "context",
         "latency_ms", "slots", "models"]
SEEN = ["request_id", "time", "user_id", "surface", "context", "experiment", "lane"]
OUTCOME = ["event_id", "time", "user_id", "item_id", "action", "value_minor", "currency", "surface", "reason",
           "request_id", "exposed_at", "position"]
TOLD = ["event_id", "time", "user_id", "item_id", "action", "request_id", "order_id", "seconds", "context", "marks"]
SPAN = 45  # days of one reading


class Span:
    """The tables of some buckets from `first` to `last`, with what stands `before` and `after` these days.

    Times are whole microseconds since 1970. Outcome rows are those with an exposure, each event once per surface, or
    without any.
    """

    def __init__(self, lake: Lake, buckets: Sequence[int], first: date, last: date, before: int, after: int,
                 seen: int) -> None:
        self._lake, self._buckets, self.first, self.last = lake, list(buckets), first, last
        self.before, self.after, self._seen_days = before, after, seen

    def _scan(self, table: str, columns: list[str], before: int, after: int) -> pa.Table:
        period = Window.of_days(self.first - timedelta(days=before), self.last + timedelta(days=after))
        rows = self._lake.scan(table, period, self._buckets, columns)  # type: ignore[arg-type]
        return rows.set_column(rows.schema.get_field_index("time"), "time", rows["time"].cast(pa.int64()))

    @cached_property
    def shown(self) -> pa.Table:
        """Impressions, from the day before the first on: clicks name requests of the day before."""
        return self._scan("impression", SHOWN, 1, 0)

    @cached_property
    def seen(self) -> pa.Table:
        """Who asked when and where, as far back as history and cohorts go."""
        return self._scan("impression", SEEN, self._seen_days, 0)

    @cached_property
    def outcomes(self) -> pa.Table:
        """Outcome rows, as far back as history goes, and as far ahead as what is relevant."""
        rows = self._scan("outcome", OUTCOME, self.before, self.after)
        seen = pc.or_(pc.is_null(rows["reason"]), pc.is_valid(rows["exposed_at"]))
        return rows.append_column("placed", seen)

    @cached_property
    def told(self) -> pa.Table:
        """Feedback that nothing bars from counting, as far back as history goes."""
        rows = self._scan("feedback", TOLD, self.before, 0)
        bars = pc.is_in(pc.list_flatten(rows["marks"]), pa.array(sorted(BARRED), pa.string()))
        free = np.ones(rows.num_rows, np.bool_)
        free[pc.list_parent_indices(rows["marks"]).filter(bars).to_numpy()] = False
        return rows.filter(pa.array(free)).drop_columns(["marks"])


def on_days(rows: pa.Table, first: date, last: date) -> pa.Table:
    """The rows of some days, both included."""
    low, high = (int((day - date(1970, 1, 1)).days) * DAY_US for day in (first, last + timedelta(days=1)))
    time = rows["time"].to_numpy()
    return rows.filter(pa.array((time >= low) & (time < high)))


def spans(days: Iterable[date]) -> list[list[date]]:
    """Days in groups of one reading each.

    >>> [len(part) for part in spans([date(2026, 1, 1), date(2026, 1, 2), date(2026, 6, 1)])]
    [2, 1]
    """
    out: list[list[date]] = []
    for day in sorted(days):
        if out and (day - out[-1][0]).days < SPAN:
            out[-1].append(day)
        else:
            out.append([day])
    return out
