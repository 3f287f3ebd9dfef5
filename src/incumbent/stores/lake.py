"""The embedded lake: one Delta table per kind of event in a folder, partitioned by UTC day and user bucket."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path

import msgspec
import pyarrow as pa

from incumbent.clock import Clock, SystemClock
from incumbent.errors import ConflictError, StoreError
from incumbent.events.ids import user_bucket
from incumbent.events.schema import Event
from incumbent.events.window import Window
from incumbent.stores import erase, sync
from incumbent.stores.columns import by_table, to_arrow
from incumbent.stores.dedup import unseen
from incumbent.stores.delta import DeltaFolder
from incumbent.stores.delta_log import DataFile, Snapshot
from incumbent.stores.delta_read import checked_columns, condition, pruned, read, with_retries
from incumbent.stores.partitions import within
from incumbent.stores.store import Commit, Fresh, Partition, Quarantined, Table
from incumbent.stores.tables import TABLES, conform, empty

PIECE_ROWS = 50_000  # of a reading in pieces: small files are read together up to as many
LIKE_FILES = 8  # files of like size that are worth merging while their day is still in progress
NOTHING = Commit(False, 0, frozenset())


class DeltaLake:
    """A `Lake` in a folder; any engine that reads Delta reads it.

    `clock` is the machine's (file ages are real ages, also under a replay). `file_bytes` is the size that compaction
    aims at; `keep_hours` how long files that no version needs stay for readers that still have them open.

    >>> import tempfile
    >>> lake = DeltaLake(Path(tempfile.mkdtemp()) / "lake")
    >>> lake.scan("feedback", columns=["event_id", "day"]).num_rows
    0
    """

    def __init__(self, directory: str | Path, buckets: int = 16, *, clock: Clock | None = None,
                 file_bytes: int = 32 * 2**20, keep_hours: int = 1, checkpoint_every: int = 50) -> None:
        self.directory = Path(directory)
        self.buckets = buckets
        self._file_bytes = file_bytes
        self._keep_hours = keep_hours
        _claim(self.directory, buckets)
        self._folders = {table: DeltaFolder(self.directory, table, clock or SystemClock(),
                                            checkpoint_every=checkpoint_every) for table in TABLES}

    # ------------------------------------------------------------------------------------------------------- writing
    def commit(self, events: Sequence[Event | Quarantined], writer: str, sequence: int) -> Commit:
        """Append events to their tables exactly once per (writer, sequence) and table; synced when it returns.

        The sequence stands in the table's log as an application transaction. A segment that comes out of order is
        not refused: the anti-join by event id keeps what the lake has. `StoreError` where the disk refuses: what was
        committed by then stays, the same segment again completes it.
        """
        rows = {table: to_arrow(table, group, self.buckets) for table, group in by_table(events).items()}
        done = [self._append(table, part, writer, sequence) for table, part in rows.items()]
        return Commit(any(commit.applied for commit in done), sum(commit.rows for commit in done),
                      frozenset().union(*(commit.partitions for commit in done)))

    def _append(self, table: Table, rows: pa.Table, writer: str, sequence: int) -> Commit:
        folder = self._folders[table]
        with folder.lock():
            snapshot = folder.prepare()
            last = folder.transaction(writer)
            if last == sequence:
                return NOTHING
            fresh = unseen(folder.path, table, snapshot, rows)
            files = folder.write(fresh) if fresh.num_rows else []
            folder.commit(files, transactions={writer: sequence} if last is None or sequence > last else {})
        return Commit(True, fresh.num_rows, frozenset(file.partition for file in files))

    def replace(self, table: Table, partition: Partition, rows: pa.Table, writer: str, sequence: int) -> Commit:
        """Put `rows` in the place of a whole partition, exactly once per (partition, writer, sequence).

        A sequence that is not above the last one of this writer for this partition changes nothing: a late repeat
        never brings old rows back. Columns `day` and `bucket` may be absent; others than the partition's are refused.
        """
        rows = within(partition, conform(table, rows), self.buckets)
        folder = self._folders[table]
        application = _application(writer, partition)
        with folder.lock():
            snapshot = folder.prepare()
            last = folder.transaction(application)
            if last is not None and sequence <= last:
                return NOTHING
            old = [file for file in snapshot.files.values() if file.partition == partition]
            new = folder.write(rows) if rows.num_rows else []
            folder.commit(new, old, transactions={application: sequence})
        return Commit(True, rows.num_rows, frozenset({partition} if old or new else ()))

    def replaced(self, table: Table, partitions: Iterable[Partition], writer: str) -> int | None:
        """The highest sequence under which `writer` replaced any of these partitions, None where it never did."""
        folder = self._folders[table]
        if folder.snapshot().version < 0:
            return None
        with folder.lock():
            folder.prepare()
            found = [folder.transaction(_application(writer, partition)) for partition in partitions]
        return max((last for last in found if last is not None), default=None)

    # ------------------------------------------------------------------------------------------------------- reading
    def scan(self, table: Table, period: Window | None = None, buckets: Iterable[int] | None = None,
             columns: Sequence[str] | None = None, users: Iterable[str] | None = None) -> pa.Table:
        """The rows of one version whose event time lies in `period`, in no promised order.

        `users` are ids as logged; a table without users has no rows of theirs. An unknown column is a `DataError`.
        """
        names = checked_columns(table, columns)
        wanted = None if buckets is None else set(buckets)
        chosen = None if users is None else set(users)
        column = erase.USER_COLUMNS.get(table)
        if chosen is not None:
            own = {user_bucket(user, self.buckets) for user in chosen} if column else set()
            wanted = own if wanted is None else wanted & own
        folder = self._folders[table]

        def attempt() -> pa.Table:
            files = pruned(folder.snapshot(), period, wanted)
            if not files:
                return empty(table, names)
            return read(folder.path, table, files, names, condition(table, period, chosen, column))

        return with_retries(attempt, table)

    def changes(self, table: Table, since: int) -> tuple[int, frozenset[Partition]]:
        """The table's version and the partitions whose rows changed after `since`; -1 asks for all that hold rows."""
        return self._folders[table].changed(since)

    def fresh(self, table: Table, partition: Partition, since: int) -> Fresh:
        """The rows of a partition that came after version `since`, or all of them; see `Lake.fresh`.

        `StoreError` where a vacuum deletes a file while it is read: then it may be asked for again.
        """
        folder = self._folders[table]
        version, whole, files = folder.fresh(partition, since)

        def pieces(columns: Sequence[str]) -> Iterator[pa.Table]:
            names = checked_columns(table, columns)
            for part in _runs(files):
                yield with_retries(partial(read, folder.path, table, part, names), table, 1)

        return Fresh(version, whole, sum(file.rows for file in files), pieces)

    # ---------------------------------------------------------------------------------------------------------- care
    def compact(self, before: datetime) -> dict[str, int]:
        """Merge small files of the days that began before `before`, and delete files that nothing needs any more.

        A day that is over is merged whole; of the day in progress, eight files of like size become one, so that it may
        be called every few minutes and still writes each row only some times. Returns, per table, how many files were
        merged away. Each merge is a commit of its own that changes no row.
        """
        merged: dict[str, int] = {}
        for table, folder in self._existing():
            groups: dict[tuple[Partition, int], list[DataFile]] = {}
            for file in pruned(folder.snapshot()):
                day = Window.of_day(file.partition.day)
                if file.size < self._file_bytes and day.start < before:
                    like = -1 if day.end <= before else file.size.bit_length() // 3
                    groups.setdefault((file.partition, like), []).append(file)
            merged[table] = sum(self._merge(folder, part) for (_, like), files in groups.items()
                                if len(files) >= (2 if like < 0 else LIKE_FILES)
                                for part in _bins(files, self._file_bytes))
            with folder.lock():
                folder.prepare()
                folder.vacuum(self._keep_hours)
        return merged

    def _merge(self, folder: DeltaFolder, files: list[DataFile]) -> int:
        with folder.lock():
            snapshot = folder.prepare()
            if any(file.path not in snapshot.files for file in files):
                return 0  # somebody else was faster
            rows = read(folder.path, folder.table, files)
            folder.commit(folder.write(rows), files, change=False)
        return len(files)

    def expire(self, table: Table, before: date) -> int:
        """Drop the whole days before `before`; returns the rows that went.

        No change in the sense of `changes`: what was measured of those days stays and is not rebuilt from nothing.
        """
        folder = self._folders[table]
        if all(file.partition.day >= before for file in folder.snapshot().files.values()):
            return 0
        with folder.lock():
            files = [file for file in folder.prepare().files.values() if file.partition.day < before]
            folder.commit([], files, change=False)
            folder.vacuum(self._keep_hours)
        return sum(file.rows for file in files)

    def erase(self, users: Iterable[str]) -> dict[str, int]:
        """Remove users from every table, in one pass, and then every old file: nothing on disk holds them any more.

        Quarantined messages go where their user is known or their raw bytes name one of the ids. A reader that has an
        old version open starts over on the new one.
        """
        chosen = frozenset(users)
        return {table: self._erase(folder, chosen) for table, folder in self._existing()
                if table in erase.USER_COLUMNS} if chosen else {}

    def _erase(self, folder: DeltaFolder, users: frozenset[str]) -> int:
        buckets = None if folder.table == "quarantine" else {user_bucket(user, self.buckets) for user in users}
        with folder.lock():
            snapshot: Snapshot = folder.prepare()
            old, new, went = [], [], 0
            for file in pruned(snapshot, buckets=buckets):
                keys = read(folder.path, folder.table, [file], erase.KEYS[folder.table])
                keep = erase.kept(folder.table, keys, users)
                if keep is not None:
                    rows = read(folder.path, folder.table, [file]).filter(keep)
                    went += keys.num_rows - rows.num_rows
                    old.append(file)
                    new += folder.write(rows) if rows.num_rows else []
            if old:
                folder.commit(new, old)
            folder.vacuum(0)
        return went

    def _existing(self) -> list[tuple[Table, DeltaFolder]]:
        return [(table, folder) for table, folder in self._folders.items() if folder.snapshot().version >= 0]


def _application(writer: str, partition: Partition) -> str:
    return f"{writer}@{partition.day.isoformat()}/{partition.bucket}"


def _runs(files: Iterable[DataFile]) -> Iterator[list[DataFile]]:
    """Files in runs of about `PIECE_ROWS` rows, at least one each."""
    run: list[DataFile] = []
    for file in files:
        if run and sum(part.rows for part in run) + file.rows > PIECE_ROWS:
            yield run
            run = []
        run.append(file)
    if run:
        yield run


def _bins(files: list[DataFile], limit: int) -> list[list[DataFile]]:
    """Runs of at least two files whose sizes together stay under `limit`."""
    runs: list[list[DataFile]] = [[]]
    size = 0
    for file in files:
        if runs[-1] and size + file.size > limit:
            runs.append([])
            size = 0
        runs[-1].append(file)
        size += file.size
    return [run for run in runs if len(run) > 1]


class _Marker(msgspec.Struct):
    buckets: int


def _claim(directory: Path, buckets: int) -> None:
    """Write down the number of buckets at the first opening; `ConflictError` where it was another."""
    path = directory / "lake.json"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            temporary = path.with_suffix(f".{os.urandom(8).hex()}.tmp")
            sync.write_file(temporary, msgspec.json.encode(_Marker(buckets)))
            temporary.replace(path)
            sync.sync_directory(directory)
        found = msgspec.json.decode(path.read_bytes(), type=_Marker).buckets
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError("the lake's folder cannot be used", got=str(error), expected=f"a writable {directory}",
                         hint="check permissions and free space") from error
    if found != buckets:
        raise ConflictError("the lake has another number of user buckets", got=buckets, expected=str(found),
                            hint=f"set stores.buckets = {found}, or start a new directory")
