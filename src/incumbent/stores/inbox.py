"""The embedded Log: a SQLite inbox per writing process, committed in groups, acknowledged after the sync."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path

from incumbent.clock import Clock
from incumbent.errors import StoreError
from incumbent.stores.group_commit import GroupCommit
from incumbent.stores.inbox_file import InboxDamaged, InboxFile, sync_directory
from incumbent.stores.inbox_lock import InboxLock
from incumbent.stores.inboxes import FOLDER, Inboxes, clear_unfinished, new_inbox
from incumbent.stores.salvage import check, salvage
from incumbent.stores.store import Record, Segment


class EmbeddedLog:
    """The Log in ``DIRECTORY/inbox/``: WAL mode, ``synchronous=FULL``, one file and one thread per writing process.

    `append` and `append_async` resolve after the commit's sync; `post` asks for no answer. What was appended with
    `max_delay_s` is on disk at most `max_delay_s` plus one sync later: that is what a power cut may take of it where
    the caller did not wait. A process that starts takes over the inbox of one that is gone, with its writer id, its
    sequence and its ids of the day; `StoreError` where the directory cannot be written.

    With ``write=False`` (the sealer) it only drains, erases and counts, over all inboxes of the directory.

    >>> import tempfile
    >>> from incumbent.clock import SystemClock
    >>> log = EmbeddedLog(Path(tempfile.mkdtemp()), SystemClock())
    >>> record = Record("01900000-0000-7000-8000-000000000000", "feedback", b"...")
    >>> log.append([record]).result(), log.append([record]).result()
    ([True], [False])
    >>> segment = log.drain()
    >>> segment.records == [record], segment.writer == log.writer, segment.sequence
    (True, True, 0)
    >>> log.release(segment)
    >>> log.drain() is None
    True
    >>> log.close()
    """

    tags = frozenset({"durable"})
    source = "local"  # Control stands in the same directory: it knows no other

    def __init__(self, directory: Path, clock: Clock, *, write: bool = True,
                 random: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._file: InboxFile | None = None
        self._lock: InboxLock | None = None
        self._commit: GroupCommit | None = None
        self._problems: list[StoreError] = []
        self.writer = ""
        if write:
            folder = directory / FOLDER
            _make(folder)
            clear_unfinished(folder)
            self._file, self._lock = self._take_over(folder) or new_inbox(folder, clock.now(), random)
            self._salvage_all(folder)
            self.writer = self._file.writer
            self._commit = GroupCommit(self._write, clock, f"log-{self.writer}")
        self._inboxes = Inboxes(directory, clock, self._file.path if self._file else None)

    # ------------------------------------------------------------------------------------------------- appending
    def append(self, records: Sequence[Record], *, max_delay_s: float = 0.0) -> Future[list[bool]]:
        """Queue records for the next commit; see `Log.append`. May be called from any thread."""
        future: Future[list[bool]] = Future()
        self._writing().put(records, max_delay_s, future, None)
        return future

    def append_async(self, records: Sequence[Record], *, max_delay_s: float = 0.0) -> asyncio.Future[list[bool]]:
        """As `append`, for a coroutine to await: all waiters of a commit cost the running loop one wake-up."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[bool]] = loop.create_future()
        self._writing().put(records, max_delay_s, future, loop)
        return future

    def post(self, records: Sequence[Record], *, max_delay_s: float = 0.02) -> None:
        """Queue records without waiting for an answer; while the disk refuses they are kept in memory and tried again
        (`error` tells, `dropped` counts what had to be given up)."""
        self._writing().put(records, max_delay_s, None, None)

    @property
    def error(self) -> StoreError | None:
        """Why the last commit failed, None where it did not: readiness reads this."""
        return self._commit.error if self._commit else None

    @property
    def dropped(self) -> int:
        """Posted records that were given up."""
        return self._commit.dropped if self._commit else 0

    @property
    def commits(self) -> int:
        """Group commits so far."""
        return self._commit.commits if self._commit else 0

    @property
    def problems(self) -> list[StoreError]:
        """What was found damaged and set aside since the start."""
        return [*self._problems, *self._inboxes.problems]

    def _writing(self) -> GroupCommit:
        if self._commit is None:
            raise StoreError("this log was opened for draining only", hint="open it with write=True")
        return self._commit

    def _write(self, records: list[Record]) -> list[bool] | None:
        assert self._file is not None
        return self._file.commit(records, self._clock.now())

    # -------------------------------------------------------------------------------------------------- draining
    def drain(self, limit: int = 50_000) -> Segment | None:
        """The next segment of any inbox of the directory, at most `limit` records and about 64 MiB; see `Log.drain`.
        For the one process that seals."""
        return self._inboxes.drain(limit)

    def release(self, segment: Segment) -> None:
        """Forget a segment's records; see `Log.release`."""
        self._inboxes.release(segment)

    @property
    def left(self) -> int:
        """Records behind the segment last handed out; see `Log.left`."""
        return self._inboxes.left

    @property
    def drained_until(self) -> datetime | None:
        """Everything acknowledged before then was released; see `Log.drained_until`."""
        return self._inboxes.drained_until

    def erase(self, users: Iterable[str]) -> int:
        """Remove the users' records from all inboxes of the directory; a segment that is handed out loses them too."""
        return self._inboxes.erase(users)

    @property
    def backlog(self) -> int:
        """Records in the directory's inboxes that wait to be sealed."""
        return self._inboxes.backlog

    def close(self) -> None:
        """Write what is queued, close the files, and give the inbox free for adoption."""
        if self._commit is not None:
            self._commit.close()
        self._inboxes.close()
        if self._file is not None and self._lock is not None:
            self._file.close()
            self._lock.give()
            self._file = self._lock = None

    # --------------------------------------------------------------------------------------------------- opening
    def _take_over(self, folder: Path) -> tuple[InboxFile, InboxLock] | None:
        """The first inbox whose process is gone and which is whole."""
        for path in sorted(folder.glob("*.sqlite")):
            lock = InboxLock.take(path)
            if lock is None:
                continue
            try:
                check(path)
                return InboxFile(path), lock
            except (InboxDamaged, FileNotFoundError):
                lock.give()
            except BaseException:
                lock.give()
                raise
        return None

    def _salvage_all(self, folder: Path) -> None:
        """What is damaged among the inboxes of dead processes goes on in ours."""
        assert self._file is not None
        for path in sorted(folder.glob("*.sqlite")):
            lock = InboxLock.take(path) if path != self._file.path else None
            if lock is None:
                continue
            damaged = False
            try:
                check(path)
            except InboxDamaged:
                damaged = True
                self._problems.append(salvage(path, self._file, self._clock.now()))
            finally:
                lock.give(remove=damaged)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sync_directory(folder.parent)
    except OSError as error:
        raise StoreError("the inbox directory cannot be made", got=str(folder), hint=str(error.strerror),
                         expected="a directory that this process may write to") from None
