"""The anti-join of a commit: rows whose event id the lake does not hold yet, wherever it stands.

An id holds a time of its own (UUIDv7), which stays when a producer that sends an event again restates its time or its
user. An id is looked for on the days of its row's time and of its own time, and on their neighbours, in every bucket:
so it is found where the row that came first lies within a day of its id's time, as events do, or of the time that is
sent now. What slips through is an id far from the times of both rows, which are far from each other: made up, twice.

Ids are time-ordered, so that the least and greatest id of a file rule nearly every file out without opening it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from incumbent.stores.delta_log import DataFile, Snapshot
from incumbent.stores.delta_read import read

_DAY_MS = 86_400_000
_EPOCH = 719_163  # the ordinal of 1970-01-01


def first_of_each(rows: pa.Table) -> pa.Table:
    """The rows without those whose event id stood in an earlier row."""
    ids = rows["event_id"].to_pylist()
    if len(set(ids)) == len(ids):
        return rows
    seen: set[str] = set()
    return rows.filter(pa.array([not (i in seen or seen.add(i)) for i in ids]))  # type: ignore[func-returns-value]


def unseen(root: Path, table: str, snapshot: Snapshot, rows: pa.Table) -> pa.Table:
    """The rows, each id once, whose ids no file of the snapshot holds on the days where they may stand."""
    rows = first_of_each(rows)
    wanted = looked_for(rows)
    files: list[DataFile] = []
    asked: set[str] = set()
    for file in snapshot.files.values():
        some = may_hold(file, wanted.get(file.partition.day.toordinal() - _EPOCH, []))
        if some:
            files.append(file)
            asked.update(some)
    if not files:
        return rows
    ids = sorted(asked)
    between = (ds.field("event_id") >= ids[0]) & (ds.field("event_id") <= ids[-1])
    among = pc.is_in(ds.field("event_id"), value_set=pa.array(ids, pa.string()))
    known = read(root, table, files, ["event_id"], between & among)["event_id"]
    return rows.filter(pc.invert(pc.is_in(rows["event_id"], value_set=known))) if len(known) else rows


def looked_for(rows: pa.Table) -> dict[int, list[str]]:
    """Day, in days since 1970 -> the ids, sorted, that are looked for on it.

    >>> rows = pa.table({"event_id": ["00000000-03e8-7000-8000-000000000000"], "day": pa.array([7], pa.date32())})
    >>> sorted(looked_for(rows))
    [-1, 0, 1, 6, 7, 8]
    """
    groups: dict[tuple[int, str], list[str]] = {}
    for event_id, day in zip(rows["event_id"].to_pylist(), rows["day"].cast(pa.int32()).to_pylist(), strict=True):
        groups.setdefault((day, event_id[:8]), []).append(event_id)  # 8 digits are a minute: there are few
    wanted: dict[int, list[str]] = {}
    for (day, minute), ids in groups.items():
        for near in {*_near(day), *_near(_day_of(minute, day))}:
            wanted.setdefault(near, []).extend(ids)
    return {day: sorted(ids) for day, ids in wanted.items()}


def _near(day: int) -> Iterable[int]:
    return range(day - 1, day + 2)


def _day_of(minute: str, default: int) -> int:
    """The day in the first 8 digits of a UUIDv7; `default` for another id."""
    try:
        return (int(minute, 16) << 16) // _DAY_MS
    except ValueError:
        return default


def may_hold(file: DataFile, ids: list[str]) -> list[str]:
    """Those of the sorted ids that lie between the file's least and greatest id."""
    if file.ids is None:
        return ids
    return ids[bisect_left(ids, file.ids[0]):bisect_right(ids, file.ids[1])]
