"""Reading a Delta table's log: which data files a version has, and which partitions a run of versions changed.

The log is one JSON file per version, each a list of actions (Delta protocol, "Actions"): `add` and `remove` name data
files; an action with ``dataChange`` false moves rows from file to file without changing them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from msgspec import Struct

from incumbent.stores.store import Partition


class DataFile(Struct, frozen=True):
    """One data file of a version, with what is known of it without opening it."""

    path: str  # relative to the table
    partition: Partition
    rows: int
    size: int
    ids: tuple[str, str] | None = None  # the least and the greatest event id
    times: tuple[datetime, datetime] | None = None

    def values(self) -> dict[str, str | None]:
        """The partition as the log writes it."""
        return {"day": self.partition.day.isoformat(), "bucket": str(self.partition.bucket)}

    def stats(self) -> str:
        """The statistics as the log writes them; the greatest time is rounded up to the log's milliseconds."""
        least: dict[str, str] = {}
        most: dict[str, str] = {}
        if self.ids is not None:
            least["event_id"], most["event_id"] = self.ids
        if self.times is not None:
            least["time"] = _milliseconds(self.times[0])
            most["time"] = _milliseconds(_up(self.times[1]))
        return msgspec.json.encode({"numRecords": self.rows, "minValues": least, "maxValues": most,
                                    "nullCount": dict.fromkeys(least, 0)}).decode()


class Snapshot(Struct, frozen=True):
    """The data files of one version, by path; version -1 is a table that does not exist."""

    version: int
    files: dict[str, DataFile]

    NONE: ClassVar[Snapshot]


Snapshot.NONE = Snapshot(-1, {})


class _Stats(Struct):
    numRecords: int = 0
    minValues: dict[str, Any] = {}
    maxValues: dict[str, Any] = {}


class _Add(Struct):
    path: str
    partitionValues: dict[str, str]
    size: int
    dataChange: bool
    stats: str | None = None


class _Remove(Struct):
    path: str
    dataChange: bool
    partitionValues: dict[str, str] | None = None


class _Action(Struct):
    add: _Add | None = None
    remove: _Remove | None = None


class _Checkpoint(Struct):
    version: int


_checkpoint = msgspec.json.Decoder(_Checkpoint)
_action = msgspec.json.Decoder(_Action)
_stats = msgspec.json.Decoder(_Stats)


def entry_name(version: int) -> str:
    """The file name of a version's log entry.

    >>> entry_name(7)
    '00000000000000000007.json'
    """
    return f"{version:020d}.json"


def load(table: DeltaTable) -> Snapshot:
    """The snapshot of an opened table, from its checkpoint and the entries after it."""
    actions = pa.table(table.get_add_actions(flatten=True)).to_pydict()
    count = len(actions["path"])
    none = [None] * count
    columns = [actions.get(name, none) for name in (
        "path", "partition.day", "partition.bucket", "num_records", "size_bytes",
        "min.event_id", "max.event_id", "min.time", "max.time")]
    files = [
        DataFile(path, Partition(day, bucket), rows or 0, size, (low, high) if low and high else None,
                 (_aware(start), _aware(end)) if start and end else None)
        for path, day, bucket, rows, size, low, high, start, end in zip(*columns, strict=True)
    ]
    return Snapshot(table.version(), {file.path: file for file in files})


def advance(snapshot: Snapshot, log: Path) -> Snapshot:
    """The snapshot after the entries that follow it."""
    if snapshot.version < 0:
        return snapshot
    version, files = snapshot.version, snapshot.files
    while (entry := _entry(log, version + 1)) is not None:
        version += 1
        files = dict(files) if files is snapshot.files else files
        for action in entry:
            if action.remove is not None:
                files.pop(action.remove.path, None)
            if action.add is not None:
                files[action.add.path] = _file(action.add)
    return snapshot if version == snapshot.version else Snapshot(version, files)


def first_entry_after(version: int, log: Path) -> int:
    """The version to start from: `version`, or that of the newest checkpoint where the entries in between are gone."""
    if version >= 0 and ((log / entry_name(version + 1)).exists() or not (log / "_last_checkpoint").exists()):
        return version
    try:
        newest = _checkpoint.decode((log / "_last_checkpoint").read_bytes()).version
    except (FileNotFoundError, msgspec.DecodeError):
        return max(version, 0)
    return max(newest, version, 0)


def changed(log: Path, since: int, until: int) -> frozenset[Partition] | None:
    """The partitions whose rows changed in the versions (since, until]; None where an entry is no longer there."""
    partitions: set[Partition] = set()
    for version in range(since + 1, until + 1):
        entry = _entry(log, version)
        if entry is None:
            return None
        for action in entry:
            for part in (action.add, action.remove):
                if part is not None and part.dataChange:
                    if part.partitionValues is None:
                        return None
                    partitions.add(_partition(part.partitionValues))
    return frozenset(partitions)


def added(log: Path, partition: Partition, since: int, until: int) -> list[DataFile] | None:
    """The files that rows came to a partition with in the versions (since, until]; None where some went, or where an
    entry is no longer there."""
    found = []
    for version in range(since + 1, until + 1):
        entry = _entry(log, version)
        if entry is None:
            return None
        for action in entry:
            gone = action.remove
            if gone is not None and gone.dataChange and (
                    gone.partitionValues is None or _partition(gone.partitionValues) == partition):
                return None
            if action.add is not None and action.add.dataChange and _partition(
                    action.add.partitionValues) == partition:
                found.append(_file(action.add))
    return found


def drop_torn_checkpoints(log: Path) -> int:
    """Delete checkpoints that a power cut tore, where the entries they sum up are still there; their number."""
    torn = 0
    for path in log.glob("*.checkpoint*.parquet"):
        try:
            pq.read_metadata(path)
        except (pa.ArrowInvalid, OSError):
            if (log / entry_name(0)).exists():
                (log / "_last_checkpoint").unlink(missing_ok=True)
                path.unlink()
                torn += 1
    return torn


def _entry(log: Path, version: int) -> list[_Action] | None:
    try:
        return list(_actions((log / entry_name(version)).read_bytes()))
    except FileNotFoundError:
        return None


def _actions(data: bytes) -> Iterator[_Action]:
    for line in data.splitlines():
        if line:
            yield _action.decode(line)


def _file(add: _Add) -> DataFile:
    stats = _stats.decode(add.stats) if add.stats else _Stats()
    low, high = stats.minValues.get("event_id"), stats.maxValues.get("event_id")
    start, end = stats.minValues.get("time"), stats.maxValues.get("time")
    return DataFile(add.path, _partition(add.partitionValues), stats.numRecords, add.size,
                    (low, high) if low and high else None,
                    (datetime.fromisoformat(start), datetime.fromisoformat(end)) if start and end else None)


def _partition(values: dict[str, str]) -> Partition:
    return Partition(date.fromisoformat(values["day"]), int(values["bucket"]))


def _aware(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _milliseconds(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _up(moment: datetime) -> datetime:
    """The moment rounded up to a millisecond; the last moment there is stays itself."""
    try:
        return moment + timedelta(microseconds=-moment.microsecond % 1000)
    except OverflowError:
        return moment
