"""foreign: feedback that names a request which was served to somebody else.

A request id is signed, but its signature does not hold the shopper: the collector cannot tell. Attribution can: what a
feedback names is looked up among its own user's impressions first, which are at hand, and only where it is not there
among everybody's, at the time that stands in the id. An impression counts where it lies in the days that attribution
looks at for that feedback, so that a row depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from incumbent.clock import EPOCH
from incumbent.events.ids import id_time, user_bucket
from incumbent.events.window import Window, day_of
from incumbent.loop.relations import DAY_US
from incumbent.stores.store import Lake, Partition

MARK = "foreign_user"
NEAR = timedelta(minutes=10)  # how far an impression's time may lie from that of its id: the clock stepped
CHUNK = timedelta(minutes=30)  # read at once, of everybody's impressions: two short columns

#: an impression's day, and the partition of feedback whose rows that day may change
Stray = tuple[date, date, int]


class Strangers:
    """Looks up who was served the requests that others name; remembers what has to be looked up again (`strays`).

    A stray is a feedback partition that names a request which is not its user's: it is rebuilt when impressions of that
    day change, whatever their bucket.
    """

    def __init__(self, lake: Lake, reach_days: int) -> None:
        self._lake, self._reach = lake, reach_days
        self.strays: set[Stray] = set()

    def __call__(self, named: pa.Table) -> list[int]:
        """The rows (`row`, `time`, `user_id`, `request_id`) whose request was served to somebody else."""
        asked = named.to_pylist()
        for one in asked:
            told = day_of(_time(one["time"]))
            bucket = user_bucket(one["user_id"], self._lake.buckets)
            self.strays |= {(day, told, bucket) for day in self._days(one["request_id"], told)}
        served = self._served([(one["request_id"], day_of(_time(one["time"]))) for one in asked])
        return [one["row"] for one in asked for user, time in served.get(one["request_id"], ())[:1]
                if user != one["user_id"] and self._near(one["time"], time)]

    def _near(self, told_us: int, shown_us: int) -> bool:
        midnight = told_us // DAY_US * DAY_US
        return midnight - self._reach * DAY_US <= shown_us < midnight + DAY_US

    def _days(self, request_id: str, told: date) -> list[date]:
        """The days on which the impression of a request may lie, of those that are looked at for its feedback."""
        days = Window.of_days(told - timedelta(days=self._reach), told)
        at = _when(request_id)
        return [day for day in days.days() if at is None or day_of(at - NEAR) <= day <= day_of(at + NEAR)]

    def _served(self, names: list[tuple[str, date]]) -> dict[str, list[tuple[str, int]]]:
        """Request -> the users and times of its impressions; asked for by name and day of the feedback."""
        spans = []
        for name, told in set(names):
            at, whole = _when(name), Window.of_days(told - timedelta(days=self._reach), told)
            spans.append((whole.start, whole.end) if at is None else (at - NEAR, at + NEAR))
        wanted, found = pa.array(sorted({name for name, _ in names}), pa.string()), dict[str, list[tuple[str, int]]]()
        for window in _chunks(spans):
            rows = self._lake.scan("impression", window, None, ["request_id", "user_id", "time"])
            rows = rows.filter(pc.is_in(rows["request_id"], wanted))
            for name, user, time in zip(*(rows[column].to_pylist() for column in ("request_id", "user_id")),
                                        rows["time"].cast(pa.int64()).to_pylist(), strict=True):
                found.setdefault(name, []).append((user, time))
        return found


def woken(strays: Iterable[Stray], impressions: Iterable[Partition]) -> set[Partition]:
    """The feedback partitions that a change of these impressions may turn.

    >>> day = date(2026, 3, 1)
    >>> woken([(day, day, 3), (day + timedelta(days=1), day + timedelta(days=1), 3)], [Partition(day, 0)])
    {Partition(day=datetime.date(2026, 3, 1), bucket=3)}
    """
    days = {partition.day for partition in impressions}
    return {Partition(told, bucket) for shown, told, bucket in strays if shown in days}


def _chunks(spans: list[tuple[datetime, datetime]]) -> Iterator[Window]:
    """The union of spans of time, in pieces of at most `CHUNK`, or of whole days where a span is longer than one."""
    merged: list[tuple[datetime, datetime]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    for start, end in merged:
        step = timedelta(days=1) if end - start >= timedelta(days=1) else CHUNK
        while start < end:
            yield Window(start, min(start + step, end))
            start += step


def _when(request_id: str) -> datetime | None:
    """The time in a signed request id, None for one that is made otherwise."""
    try:
        return id_time(request_id.rpartition(".")[0])
    except ValueError:
        return None


def _time(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)
