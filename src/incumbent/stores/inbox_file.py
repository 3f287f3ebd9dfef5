"""One inbox: a SQLite file of one writer, with its frames, its position, and the ids of a day."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec

from incumbent.clock import EPOCH
from incumbent.errors import StoreError
from incumbent.stores import inbox_ids
from incumbent.stores.sqlite_pages import PAGE
from incumbent.stores.store import Record, Segment

SUFFIX = ".sqlite"
SEGMENT_BYTES = 64 << 20  # a segment ends behind the frame that takes it past this
BUSY_S = 10.0  # how long a statement waits for another process
RELEASE_FRAMES = 64  # frames deleted in one short transaction, so that the writer never waits long

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE frames (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE position (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL,
  frame INTEGER NOT NULL, skip INTEGER NOT NULL, end_frame INTEGER, end_take INTEGER);
INSERT INTO position VALUES (1, -1, 1, 0, NULL, NULL);
"""
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_TRANSIENT = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY,
              sqlite3.SQLITE_CANTOPEN}

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Record | None]).decode


class InboxDamaged(StoreError):
    """An inbox file whose content is not what was written."""


class InboxRefused(StoreError):
    """The disk refused for now (full, read-only, busy); the same may succeed later."""


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode, usable from any one thread at a time."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}", uri=True, timeout=BUSY_S,
                           isolation_level=None, check_same_thread=False)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """SQLite's errors as `StoreError`, naming the file."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGE:
            raise InboxDamaged("an inbox file is damaged", got=f"{path}: {error}",
                               hint="restart the process that writes it: the file is set aside, and what can be read "
                                    "of it goes on") from error
        if code in _TRANSIENT:
            raise InboxRefused("the inbox cannot be written", got=f"{path}: {error}",
                               hint="free space on, or give write access to, its file system; nothing of this append "
                                    "was kept") from error
        raise StoreError("the inbox failed", got=f"{path}: {error}") from error


class InboxFile:
    """The file, through one connection; each verb is one short transaction (`release`: several).

    Records stand in frames, one row per group commit: MessagePack with its CRC-32, because SQLite does not checksum
    its pages. `position` holds the released end, and durably the end of the one segment that is handed out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with explained(path):
            self._db = connect(path)
            try:
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA secure_delete = FAST")  # what is deleted from a page that stays is zeroed
                meta = dict(self._db.execute("SELECT key, value FROM meta"))
                self.writer: str = meta["writer"]
                self._day: int = meta["day"]
                frame, end, last = self._db.execute("SELECT frame, end_frame, (SELECT max(id) FROM frames) "
                                                    "FROM position").fetchone()
            except BaseException:
                self._db.close()
                raise
        self._next = max(frame, end or 0, last or 0) + 1
        self._withering = True  # maybe: the next commit looks
        self.inode = path.stat().st_ino

    @classmethod
    def create(cls, path: Path, writer: str, now: datetime) -> InboxFile:
        """A new, empty inbox, whole from the moment at which its name appears."""
        temporary = path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        with explained(path):
            db = connect(temporary, create=True)
            try:
                db.execute(f"PRAGMA page_size = {PAGE}")
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")
                db.executescript(f"BEGIN; {_SCHEMA} {inbox_ids.SCHEMA} COMMIT;")
                db.executemany("INSERT INTO meta VALUES (?, ?)", [
                    ("format", 1), ("writer", writer), ("day", (now - EPOCH).days)])
                db.execute("PRAGMA journal_mode = WAL")
            finally:
                db.close()
        temporary.rename(path)
        sync_directory(path.parent)
        return cls(path)

    # ------------------------------------------------------------------------------------------------ the writer
    def commit(self, records: Sequence[Record], now: datetime) -> list[bool] | None:
        """Add records in one synced transaction; None where all of them were new, else which were."""
        n, keys = len(records), inbox_ids.pack([record.event_id for record in records])
        new: list[bool] | None = None
        with explained(self.path), self._transaction():
            day = inbox_ids.turn(self._db, self._day, (now - EPOCH).days)
            if not inbox_ids.add_all(self._db, day, keys):
                self._db.execute("ROLLBACK")
                self._db.execute("BEGIN IMMEDIATE")
                day = inbox_ids.turn(self._db, self._day, (now - EPOCH).days)
                new = inbox_ids.add_new(self._db, day, keys)
                records = [record for record, fresh in zip(records, new, strict=True) if fresh]
            if records:
                data = _encode(records)
                self._db.execute("INSERT INTO frames VALUES (?, ?, ?, ?)",
                                 (self._next, len(records), zlib.crc32(data), data))
            withering = (self._withering or day > self._day) and inbox_ids.wither(self._db, day, n)
        self._day, self._withering = day, withering
        self._next += bool(records)
        return new

    # ------------------------------------------------------------------------------------------------ the sealer
    @property
    def pending(self) -> bool:
        """Whether a segment was handed out and not yet released."""
        with explained(self.path):
            return self._db.execute("SELECT end_frame FROM position").fetchone()[0] is not None

    @property
    def backlog(self) -> int:
        """Records not yet released."""
        with explained(self.path):
            return int(self._db.execute("SELECT coalesce(sum(n), 0) - (SELECT skip FROM position) FROM frames "
                                        "WHERE id >= (SELECT frame FROM position)").fetchone()[0])

    def drain(self, limit: int) -> Segment | None:
        """The segment that is handed out, or the next one, its end recorded and synced before it is."""
        with explained(self.path):
            while True:
                position = self._db.execute("SELECT sequence, frame, skip, end_frame, end_take FROM position"
                                            ).fetchone()
                if position[3] is None:
                    if (end := self._record_end(limit)) is None:
                        return None
                    position = (position[0] + 1, *position[1:3], *end)
                sequence, frame, skip, end_frame, take = position
                records = [record for number, part in self._frames(frame, end_frame)
                           for record in part[skip if number == frame else 0:take if number == end_frame else None]
                           if record is not None]
                segment = Segment(self.writer, sequence, records)
                if records:
                    return segment
                self.release(segment)  # all of it was erased

    def _record_end(self, limit: int) -> tuple[int, int] | None:
        with self._transaction():
            end: tuple[int, int] | None = None
            left, size = max(limit, 1), 0
            for number, n, skip, n_bytes in self._db.execute(
                    "SELECT id, n, iif(id = frame, skip, 0), length(data) FROM frames, position "
                    "WHERE id >= frame ORDER BY id"):
                end = (number, min(n, skip + left))
                left, size = left - (n - skip), size + n_bytes
                if left <= 0 or size >= SEGMENT_BYTES:
                    break
            if end is not None:
                self._db.execute("UPDATE position SET sequence = sequence + 1, end_frame = ?, end_take = ?", end)
        return end

    def _frames(self, first: int, last: int) -> Iterator[tuple[int, list[Record | None]]]:
        for number, n, crc, data in self._db.execute(
                "SELECT id, n, crc, data FROM frames WHERE id BETWEEN ? AND ? ORDER BY id", (first, last)):
            yield number, unpack(self.path, number, n, crc, data)

    def release(self, segment: Segment) -> None:
        """Forget the segment that is handed out; any other is already released, and nothing happens."""
        with explained(self.path):
            self._db.execute("PRAGMA synchronous = NORMAL")  # a lost release only hands the same segment out again
            try:
                with self._transaction():
                    self._db.execute(
                        "UPDATE position SET (frame, skip) = (SELECT iif(end_take < n, id, id + 1), "
                        "iif(end_take < n, end_take, 0) FROM frames WHERE id = end_frame), "
                        "end_frame = NULL, end_take = NULL WHERE sequence = ? AND end_frame IS NOT NULL",
                        (segment.sequence,))
                self._delete_released()
            finally:
                self._db.execute("PRAGMA synchronous = FULL")

    def _delete_released(self) -> None:
        while self._db.execute("DELETE FROM frames WHERE id IN (SELECT id FROM frames WHERE id < (SELECT frame "
                               "FROM position) ORDER BY id LIMIT ?)", (RELEASE_FRAMES,)).rowcount:
            pass

    def retirable(self, now: datetime) -> bool:
        """Whether the file holds nothing any more: no records, and no ids of the last day."""
        with explained(self.path):
            day = self._db.execute("SELECT value FROM meta WHERE key = 'day'").fetchone()[0]
        return not self.pending and self.backlog == 0 and (now - EPOCH).days > day + 1

    # --------------------------------------------------------------------------------------------------- neither
    def erase(self, users: frozenset[str]) -> int:
        """Take the records of `users` out, one frame a transaction, and out of the file's free pages and its WAL.

        `InboxRefused` where a reader keeps the WAL from being emptied: then it is not done, and may be repeated.
        """
        from incumbent.stores.inbox_erase import owned_by

        gone = 0
        with explained(self.path):
            self._db.execute("PRAGMA secure_delete = ON")
            self._delete_released()  # what a crash left of a release
            for (number,) in self._db.execute("SELECT id FROM frames ORDER BY id").fetchall():
                with self._transaction():
                    for _, part in self._frames(number, number):
                        kept = [None if record is None or owned_by(record, users) else record for record in part]
                        if kept != part:
                            gone += sum(a is not b for a, b in zip(part, kept, strict=True))
                            data = _encode(kept)
                            self._db.execute("UPDATE frames SET crc = ?, data = ? WHERE id = ?",
                                             (zlib.crc32(data), data, number))
            self._db.executescript("PRAGMA incremental_vacuum")  # to the end; `execute` would free one page of many
            busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            self._db.execute("PRAGMA secure_delete = FAST")
        if busy:
            raise InboxRefused("the write-ahead log of an inbox is in use and still holds what was erased",
                               got=str(self.path), hint="it is tried again; by hand, erase again")
        return gone

    def close(self) -> None:
        """Close the connection; the last one folds the WAL into the file."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def unpack(path: Path, number: int, n: int, crc: int, data: bytes) -> list[Record | None]:
    """The records of a frame (None where erased); `InboxDamaged` where its checksum or its form says otherwise."""
    try:
        if zlib.crc32(data) == crc and len(records := _decode(data)) == n:
            return records
    except (msgspec.MsgspecError, TypeError):
        pass
    raise InboxDamaged("a frame of an inbox is damaged", got=f"{path}, frame {number}, {n} records",
                       hint="restart the process that writes it: the file is set aside, and what can be read of it "
                            "goes on")


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
