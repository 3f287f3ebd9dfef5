"""The anti-join of a commit: rows whose event id the lake does not hold yet.

An event sent twice has the same time and user, so that both fall into the same partition; the ids are time-ordered,
so that the least and greatest id of a file rule nearly every file out without opening it.
"""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from incumbent.stores.delta_log import DataFile, Snapshot
from incumbent.stores.delta_read import read
from incumbent.stores.partitions import split


def first_of_each(rows: pa.Table) -> pa.Table:
    """The rows without those whose event id stood in an earlier row."""
    ids = rows["event_id"].to_pylist()
    if len(set(ids)) == len(ids):
        return rows
    seen: set[str] = set()
    return rows.filter(pa.array([not (i in seen or seen.add(i)) for i in ids]))  # type: ignore[func-returns-value]


def unseen(root: Path, table: str, snapshot: Snapshot, rows: pa.Table) -> pa.Table:
    """The rows, each id once, whose ids no file of the snapshot holds in their partition."""
    rows = first_of_each(rows)
    known: set[str] = set()
    for partition, part in split(rows).items():
        ids = sorted(part["event_id"].to_pylist())
        files = [file for file in snapshot.files.values() if file.partition == partition and may_hold(file, ids)]
        if files:
            between = (ds.field("event_id") >= ids[0]) & (ds.field("event_id") <= ids[-1])
            known.update(read(root, table, files, ["event_id"], between)["event_id"].to_pylist())
    if not known:
        return rows
    return rows.filter(pa.array([i not in known for i in rows["event_id"].to_pylist()], pa.bool_()))


def may_hold(file: DataFile, ids: list[str]) -> bool:
    """Whether one of the sorted ids lies between the file's least and greatest id."""
    if file.ids is None:
        return True
    at = bisect_left(ids, file.ids[0])
    return at < len(ids) and ids[at] <= file.ids[1]
