"""One Delta table in a folder: its snapshot, its commits, its lock. What the lake's verbs are made of.

Every commit is: data files written and synced, then one log entry that names them, then that entry and its directory
synced. So a crash at any moment leaves a version that is whole or one that does not exist, and a power cut can never
leave an entry whose data is missing. deltalake writes the log entries (it syncs nothing); files and syncing are ours.
Statistics are kept for `event_id` and `time` alone: the log never holds a user id.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, PostCommitHookProperties, RemoveAction

from incumbent.clock import EPOCH, Clock
from incumbent.errors import StoreError
from incumbent.stores import delta_log, sync
from incumbent.stores.delta_log import DataFile, Snapshot
from incumbent.stores.partitions import split
from incumbent.stores.store import Partition, Table
from incumbent.stores.tables import PARTITION_COLUMNS, schema

CONFIGURATION = {
    "delta.dataSkippingStatsColumns": "event_id,time",
    "delta.logRetentionDuration": "interval 30 days",
    "delta.enableExpiredLogCleanup": "false",  # cleaned by `tidy`, under the lock
}
_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


class DeltaFolder:
    """A Delta table below `root`, made at its first commit. Several processes may read; one at a time commits."""

    def __init__(self, root: Path, table: Table, clock: Clock, *, checkpoint_every: int = 50, threads: int = 4) -> None:
        self.table = table
        self.path = root / table
        self.log_path = self.path / "_delta_log"
        self._root = root
        self._clock = clock
        self._checkpoint_every = checkpoint_every
        self._threads = threads
        self._snapshot = Snapshot.NONE
        self._guard = threading.RLock()
        self._handle: DeltaTable | None = None
        self._synced = -1  # log entries up to here are known to be on disk
        self._widened = False

    # ------------------------------------------------------------------------------------------------------- reading
    def snapshot(self) -> Snapshot:
        """The newest version, read from the log entries that came since the last call."""
        with self._guard:
            if self._snapshot.version < 0 and not self._exists():
                return self._snapshot
            if self._snapshot.version < delta_log.first_entry_after(self._snapshot.version, self.log_path):
                self._snapshot = delta_log.load(self._open())
            self._snapshot = delta_log.advance(self._snapshot, self.log_path)
            return self._snapshot

    def changed(self, since: int) -> tuple[int, frozenset[Partition]]:
        """The version, and the partitions that gained or lost rows after version `since`."""
        snapshot = self.snapshot()
        known = 0 <= since <= snapshot.version
        changed = delta_log.changed(self.log_path, since, snapshot.version) if known else None
        if changed is None:  # from the start, or the entries are gone: everything may have changed
            changed = frozenset(file.partition for file in snapshot.files.values())
        return snapshot.version, changed

    def fresh(self, partition: Partition, since: int) -> tuple[int, bool, list[DataFile]]:
        """The version, whether all of a partition's files are meant, and the files: of the rows after `since` alone,
        where it is known that none went and the files that brought them are still there."""
        snapshot = self.snapshot()
        new = delta_log.added(self.log_path, partition, since, snapshot.version) \
            if 0 <= since <= snapshot.version else None
        if new is not None and all((self.path / file.path).exists() for file in new):
            return snapshot.version, False, new
        return snapshot.version, True, [file for file in snapshot.files.values() if file.partition == partition]

    def _exists(self) -> bool:
        return any(self.log_path.glob("*.json"))

    def _open(self) -> DeltaTable:
        try:
            return DeltaTable(self.path)
        except (DeltaError, OSError) as error:
            if delta_log.drop_torn_checkpoints(self.log_path):
                return DeltaTable(self.path)
            raise self._refused("cannot be read", error) from error

    # ------------------------------------------------------------------------------------------------------- writing
    @contextmanager
    def lock(self) -> Iterator[None]:
        """The right to commit, among threads and processes of this machine; a dead process gives it free."""
        locks = self._root / "_locks"
        try:
            locks.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(locks / self.table, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._refused("cannot be locked", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def prepare(self) -> Snapshot:
        """Under the lock, before a commit: the table exists with today's columns, and all of its log is on disk."""
        try:
            if not self._exists():
                self._create()
            if self._handle is None:
                self._handle = self._open()
            else:
                self._handle.update_incremental()
            if not self._widened:
                self._widen(self._handle)
            snapshot = self.snapshot()
            self._sync_log(snapshot.version)
        except (DeltaError, OSError) as error:
            self._handle = None
            raise self._refused("cannot be written", error) from error
        return snapshot

    def transaction(self, application: str) -> int | None:
        """The last sequence that `application` committed, None before its first."""
        assert self._handle is not None
        version: int | None = self._handle.transaction_version(application)
        return version

    def write(self, rows: pa.Table) -> list[DataFile]:
        """Write rows as one synced file per partition; they belong to the table only once committed."""
        try:
            files = [self._write_part(partition, part) for partition, part in split(rows).items()]
            paths = [self.path / file.path for file in files]
            with ThreadPoolExecutor(self._threads) as pool:  # syncs at once share the disk's journal writes
                list(pool.map(sync.sync_file, paths))
                list(pool.map(sync.sync_directory, {path.parent for path in paths}))
        except OSError as error:  # what was written is no part of the table; vacuum takes it away
            raise self._refused("refuses new data", error) from error
        return files

    def _write_part(self, partition: Partition, rows: pa.Table) -> DataFile:
        folder = f"day={partition.day.isoformat()}/bucket={partition.bucket}"
        sync.make_directory(self.path / folder, self._root)
        path = f"{folder}/part-{os.urandom(16).hex()}.zstd.parquet"
        pq.write_table(rows.drop_columns(list(PARTITION_COLUMNS)), self.path / path, compression="zstd",
                       store_schema=False, write_statistics=["event_id", "time", "user_id"])
        ids, times = pc.min_max(rows["event_id"]).as_py(), pc.min_max(rows["time"]).as_py()
        return DataFile(path=path, partition=partition, rows=rows.num_rows, size=(self.path / path).stat().st_size,
                        ids=(ids["min"], ids["max"]), times=(times["min"], times["max"]))

    def commit(self, added: Sequence[DataFile], removed: Iterable[DataFile] = (), *, change: bool = True,
               transactions: Mapping[str, int] | None = None) -> int:
        """One log entry that adds and removes files, synced; returns the version. `change=False` moves rows only."""
        assert self._handle is not None
        now_ms = (self._clock.now() - EPOCH) // EPOCH.resolution // 1000
        adds = [AddAction(file.path, file.size, file.values(), now_ms, change, file.stats()) for file in added]
        removes = [RemoveAction(file.path, change, now_ms, file.size, file.values()) for file in removed]
        marks = [Transaction(name, sequence, now_ms) for name, sequence in (transactions or {}).items()]
        try:
            self._handle.create_write_transaction(
                [*adds, *removes], "append", self._handle.schema(), list(PARTITION_COLUMNS),
                commit_properties=CommitProperties(app_transactions=marks), post_commithook_properties=_NO_HOOKS)
            snapshot = self.snapshot()
            self._sync_log(snapshot.version)
        except (DeltaError, OSError) as error:
            self._handle = None
            raise self._refused("refuses the commit", error) from error
        if snapshot.version % self._checkpoint_every == 0:
            self.checkpoint()
        return snapshot.version

    def checkpoint(self) -> None:
        """Write the whole state of the log in one file, so that opening stays fast."""
        try:
            self._handle = self._open()
            self._handle.create_checkpoint()
            for path in self.log_path.glob("*checkpoint*"):
                sync.sync_file(path)
            sync.sync_directory(self.log_path)
        except (DeltaError, OSError) as error:
            self._handle = None
            raise self._refused("cannot write a checkpoint", error) from error

    def vacuum(self, keep_hours: int) -> int:
        """Delete files that no version of the last `keep_hours` needs, and those of crashed commits; their number."""
        assert self._handle is not None
        try:
            self._handle.update_incremental()
            gone = self._handle.vacuum(keep_hours, enforce_retention_duration=False, full=True)  # only lists them
            if not gone:
                return 0
            self._handle.vacuum(keep_hours, dry_run=False, enforce_retention_duration=False, full=True,
                                post_commithook_properties=_NO_HOOKS)
            self._handle.update_incremental()
            self._handle.cleanup_metadata()
            for bucket in self.path.glob("day=*/bucket=*"):
                _remove_if_empty(bucket)
            for day in self.path.glob("day=*"):
                _remove_if_empty(day)
            self._sync_log(self.snapshot().version)
        except (DeltaError, OSError) as error:
            self._handle = None
            raise self._refused("cannot be vacuumed", error) from error
        return len(gone)

    # --------------------------------------------------------------------------------------------------------- inner
    def _create(self) -> None:
        sync.make_directory(self.log_path, self._root.parent)
        DeltaTable.create(self.path, schema=schema(self.table), partition_by=list(PARTITION_COLUMNS),
                          configuration=CONFIGURATION)
        self._widened = True

    def _widen(self, handle: DeltaTable) -> None:
        """Give a table that an older version made the columns that came since."""
        fields = pa.schema(handle.schema().to_arrow())
        whole = schema(self.table)
        if any(not _covers(fields, field) for field in whole):
            write_deltalake(handle, whole.empty_table(), mode="append", schema_mode="merge",
                            post_commithook_properties=_NO_HOOKS)
            handle.update_incremental()
        self._widened = True

    def _sync_log(self, version: int) -> None:
        """Sync every log entry that is not known to be on disk, also those of a process that died before it could."""
        if version <= self._synced:
            return
        first = max(self._synced + 1, version - self._checkpoint_every if self._synced < 0 else 0)
        for number in range(first, version + 1):
            with suppress(FileNotFoundError):  # old entries are cleaned away once a checkpoint holds them
                sync.sync_file(self.log_path / delta_log.entry_name(number))
        sync.sync_directory(self.log_path)
        self._synced = version

    def _refused(self, what: str, error: BaseException) -> StoreError:
        return StoreError(f"lake table {self.table} {what}", got=str(error), expected=f"a writable {self.path}",
                          hint="free space or permissions, then it goes on by itself; nothing acknowledged is lost")


def _covers(have: pa.Schema, field: pa.Field) -> bool:
    """Whether a schema has a field with all of its nested fields."""
    return field.name in have.names and _names(field.type) <= _names(have.field(field.name).type)


def _names(kind: Any, prefix: str = "") -> frozenset[str]:
    if pa.types.is_list(kind):
        return _names(kind.value_type, prefix)
    if pa.types.is_struct(kind):
        return frozenset().union(*({prefix + f.name} | _names(f.type, f"{prefix}{f.name}.") for f in kind))
    return frozenset()


def _remove_if_empty(path: Path) -> None:
    if not any(path.iterdir()):
        path.rmdir()
