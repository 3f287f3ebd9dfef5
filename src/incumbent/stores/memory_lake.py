"""The lake in memory: for tests and simulation. The same answers as the embedded one, nothing durable."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, datetime
from functools import reduce
from itertools import chain
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from incumbent.events.schema import Event
from incumbent.events.window import Window
from incumbent.stores import erase
from incumbent.stores.columns import by_table, to_arrow
from incumbent.stores.dedup import first_of_each
from incumbent.stores.delta_read import checked_columns
from incumbent.stores.partitions import split, within
from incumbent.stores.store import Commit, Fresh, Partition, Quarantined, Table
from incumbent.stores.tables import TABLES, TIME, conform, empty, schema

#: a reading of fewer rows a chunk is handed out as one chunk: whoever reads pays for each chunk anew
_CHUNK_ROWS = 4_096


class _Rows:
    """One table: its rows by partition, its version, and when each partition changed last."""

    def __init__(self) -> None:
        self.version = -1
        self.parts: dict[Partition, list[pa.Table]] = {}
        self.loose: Counter[Partition] = Counter()  # parts that came since the last compaction
        self.changed: dict[Partition, int] = {}
        self.marks: dict[str, int] = {}
        self.grown: dict[Partition, list[tuple[int, int]]] = {}  # versions that appended, and the rows there before
        self.unknown: dict[Partition, int] = {}  # before this version the partition did not only grow
        self._ids: set[str] | None = None  # of all rows, once somebody appends

    def touch(self, partitions: Iterable[Partition]) -> None:
        self.version += 1
        self.changed.update(dict.fromkeys(partitions, self.version))

    @property
    def ids(self) -> set[str]:
        """The event ids of all rows."""
        if self._ids is None:
            self._ids = {event_id for parts in self.parts.values() for event_id in _ids(parts)}
        return self._ids

    def append(self, partition: Partition, part: pa.Table, ids: Iterable[str]) -> None:
        """Add rows to a partition, as the next version will have them."""
        parts = self.parts.setdefault(partition, [])
        self.grown.setdefault(partition, []).append((self.version + 1, sum(map(len, parts))))
        self.ids.update(ids)
        parts.append(part)
        self.loose[partition] += 1

    def since(self, partition: Partition, version: int) -> list[pa.Table] | None:
        """What came after a version, None where that is not known."""
        if not max(0, self.unknown.get(partition, 0)) <= version <= self.version:
            return None
        grown = self.grown.get(partition, [])
        at = bisect_right(grown, version, key=itemgetter(0))
        if at == len(grown):
            return []
        known, new = grown[at][1], []
        for part in self.parts[partition]:
            if part.num_rows > known:
                new.append(part.slice(known))
            known = max(known - part.num_rows, 0)
        return new

    def put(self, partition: Partition, parts: list[pa.Table]) -> None:
        """Make `parts` the rows of a partition; the next version is the first that knows them."""
        self.grown.pop(partition, None)
        self.unknown[partition] = self.version + 1
        if self._ids is not None:
            self._ids.difference_update(_ids(self.parts.get(partition, ())))
            self._ids.update(_ids(parts))
        self.parts[partition] = [part for part in parts if part.num_rows]
        self.loose[partition] = len(self.parts[partition])
        if not self.parts[partition]:
            del self.parts[partition]

    def whole(self, partition: Partition) -> list[pa.Table]:
        """The parts of a partition, small ones put together first, so that the next reading need not."""
        parts = self.parts[partition]
        if len(parts) > 1 and sum(part.num_rows for part in parts) < _CHUNK_ROWS * len(parts):
            parts = self.parts[partition] = [pa.concat_tables(parts).combine_chunks()]
        return parts


class MemoryLake:
    """A `Lake` that forgets everything when the process ends.

    >>> MemoryLake().scan("item", columns=["item_id"]).num_rows
    0
    """

    def __init__(self, buckets: int = 16) -> None:
        self.buckets = buckets
        self._tables: dict[Table, _Rows] = {table: _Rows() for table in TABLES}
        self._guard = threading.RLock()

    def commit(self, events: Sequence[Event | Quarantined], writer: str, sequence: int) -> Commit:
        """Append events exactly once per (writer, sequence) and table, without ids that are there already."""
        rows = {table: to_arrow(table, group, self.buckets) for table, group in by_table(events).items()}
        with self._guard:
            done = [self._append(self._tables[table], part, writer, sequence) for table, part in rows.items()]
        return Commit(any(commit.applied for commit in done), sum(commit.rows for commit in done),
                      frozenset().union(*(commit.partitions for commit in done)))

    def _append(self, into: _Rows, rows: pa.Table, writer: str, sequence: int) -> Commit:
        last = into.marks.get(writer)
        if last == sequence:
            return Commit(False, 0, frozenset())
        into.marks[writer] = sequence if last is None else max(last, sequence)
        fresh: dict[Partition, pa.Table] = {}
        for partition, part in split(first_of_each(rows)).items():
            new = [event_id for event_id in part["event_id"].to_pylist() if event_id not in into.ids]
            if new:  # copied, as a slice would keep what is erased from the partitions beside it
                fresh[partition] = part.filter(pc.is_in(part["event_id"], pa.array(new, pa.string())))
                into.append(partition, fresh[partition], new)
        into.touch(fresh)
        return Commit(True, sum(part.num_rows for part in fresh.values()), frozenset(fresh))

    def replace(self, table: Table, partition: Partition, rows: pa.Table, writer: str, sequence: int) -> Commit:
        """Put `rows` in the place of a partition, exactly once per (partition, writer, sequence)."""
        rows = within(partition, conform(table, rows), self.buckets)
        with self._guard:
            into = self._tables[table]
            mark = _mark(writer, partition)
            last = into.marks.get(mark)
            if last is not None and sequence <= last:
                return Commit(False, 0, frozenset())
            into.marks[mark] = sequence
            touched = frozenset({partition} if rows.num_rows or partition in into.parts else ())
            into.put(partition, [rows])
            into.touch(touched)
        return Commit(True, rows.num_rows, touched)

    def replaced(self, table: Table, partitions: Iterable[Partition], writer: str) -> int | None:
        """The highest sequence under which `writer` replaced any of these partitions, None where it never did."""
        with self._guard:
            marks = self._tables[table].marks
            return max((marks[mark] for p in partitions if (mark := _mark(writer, p)) in marks), default=None)

    def scan(self, table: Table, period: Window | None = None, buckets: Iterable[int] | None = None,
             columns: Sequence[str] | None = None, users: Iterable[str] | None = None) -> pa.Table:
        """The rows whose event time lies in `period`, of the buckets and users asked for."""
        names = checked_columns(table, columns)
        column = erase.USER_COLUMNS.get(table)
        if users is not None and column is None:
            return empty(table, names)
        wanted = None if buckets is None else set(buckets)
        with self._guard:
            chosen = [partition for partition in self._tables[table].parts
                      if (wanted is None or partition.bucket in wanted)
                      and (period is None or period.touches(partition.day))]
            parts = [part for partition in chosen for part in self._tables[table].whole(partition)]
        if period is not None and all(Window.of_day(p.day).start >= period.start and Window.of_day(
                p.day).end <= period.end for p in chosen):
            period = None  # whole days
        rows = pa.concat_tables(parts) if parts else schema(table).empty_table()
        where = _mask(table, rows, period, users if users is None else set(users), column)
        rows = rows if names is None else rows.select(names)
        rows = rows if where is None else rows.filter(where)
        return rows.combine_chunks() if rows.num_rows < _CHUNK_ROWS * (len(parts) - 1) else rows

    def changes(self, table: Table, since: int) -> tuple[int, frozenset[Partition]]:
        """The table's version and the partitions whose rows changed after `since`; -1 asks for all that hold rows."""
        with self._guard:
            rows = self._tables[table]
            if not 0 <= since <= rows.version:
                return rows.version, frozenset(rows.parts)
            return rows.version, frozenset(p for p, version in rows.changed.items() if version > since)

    def fresh(self, table: Table, partition: Partition, since: int) -> Fresh:
        """The rows of a partition that came after version `since`, or all of them; see `Lake.fresh`."""
        with self._guard:
            rows = self._tables[table]
            new = rows.since(partition, since)
            whole = new is None
            parts = list(rows.whole(partition)) if new is None and partition in rows.parts else new or []
            version = rows.version

        def read(columns: Sequence[str]) -> Iterator[pa.Table]:
            names = checked_columns(table, columns)
            for part in parts:
                yield part if names is None else part.select(names)

        return Fresh(version, whole, sum(part.num_rows for part in parts), read)

    def compact(self, before: datetime) -> dict[str, int]:
        """Merge the parts of every day that began before `before`; per table, the number of parts merged away."""
        merged: dict[str, int] = {}
        with self._guard:
            for table, rows in self._tables.items():
                if rows.version < 0:
                    continue
                merged[table] = 0
                for partition, parts in rows.parts.items():
                    if rows.loose[partition] > 1 and Window.of_day(partition.day).start < before:
                        merged[table] += rows.loose[partition]
                        rows.loose[partition] = 1
                        rows.parts[partition] = [pa.concat_tables(parts)]
        return merged

    def expire(self, table: Table, before: date) -> int:
        """Drop the whole days before `before`, which is no change; returns the rows that went."""
        with self._guard:
            rows = self._tables[table]
            old = [partition for partition in rows.parts if partition.day < before]
            went = sum(part.num_rows for partition in old for part in rows.parts[partition])
            for partition in old:
                rows.put(partition, [])
            rows.version += bool(old)
            return int(went)

    def erase(self, users: Iterable[str]) -> dict[str, int]:
        """Remove users from every table, and quarantined messages that name them."""
        chosen = frozenset(users)
        with self._guard:
            return {table: self._erase(table, rows, chosen) for table, rows in self._tables.items()
                    if table in erase.USER_COLUMNS and rows.version >= 0} if chosen else {}

    def _erase(self, table: Table, rows: _Rows, users: frozenset[str]) -> int:
        went, touched = 0, []
        for partition, parts in list(rows.parts.items()):
            whole = pa.concat_tables(parts)
            keep = erase.kept(table, whole.select(erase.KEYS[table]), users)
            if keep is not None:
                left = whole.filter(keep)
                went += whole.num_rows - left.num_rows
                rows.put(partition, [left])
                touched.append(partition)
        if touched:
            rows.touch(touched)
        return went


def _ids(parts: Iterable[pa.Table]) -> Iterator[str]:
    return chain.from_iterable(part["event_id"].to_pylist() for part in parts)


def _mask(table: Table, rows: pa.Table, period: Window | None, users: Collection[str] | None,
          user_column: str | None) -> pa.ChunkedArray | None:
    """Which rows lie in the period and belong to the users; None where there is no condition."""
    masks: list[Any] = []
    if period is not None:
        start, end = (pa.scalar(moment, TIME) for moment in (period.start, period.end))
        masks += [pc.greater_equal(rows["time"], start), pc.less(rows["time"], end)]
    if users is not None and user_column is not None:
        masks.append(pc.is_in(rows[user_column], value_set=pa.array(sorted(users), pa.string())))
        if table in erase.VECTORS:  # an item may have the name of a user
            masks.append(pc.equal(rows["entity"], "user"))
    return reduce(pc.and_, masks) if masks else None


def _mark(writer: str, partition: Partition) -> str:
    return f"{writer}@{partition.day.isoformat()}/{partition.bucket}"
