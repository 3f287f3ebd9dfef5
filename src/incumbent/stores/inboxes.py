"""All inboxes of a directory, seen from the one who seals: live ones, and those of dead processes, which it adopts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

from incumbent.clock import Clock
from incumbent.errors import StoreError
from incumbent.stores.inbox_file import SUFFIX, InboxDamaged, InboxFile
from incumbent.stores.inbox_lock import InboxLock
from incumbent.stores.salvage import check, discard, salvage
from incumbent.stores.store import Segment

FOLDER = "inbox"
REST = timedelta(minutes=1)  # how long an inbox is left alone that would not release what the lake has


class Inboxes:
    """The drain side of the embedded Log. Exactly one process (the sealer, under its lease) may drain a directory.

    A file whose lock is free belongs to no process: it is adopted, that is drained under its lock, and removed once it
    holds neither records nor ids of the last day. Until then a new process may take it over as its own.
    """

    def __init__(self, directory: Path, clock: Clock, own: Path | None = None) -> None:
        self.folder = directory / FOLDER
        self.problems: list[StoreError] = []
        self._clock = clock
        self._own = own
        self._files: dict[Path, InboxFile] = {}
        self._current: tuple[InboxFile, InboxLock | None] | None = None
        self._turn = 0
        self._salvaged = False
        self.left = 0  # records behind the segment last handed out
        self._drained: dict[Path, datetime] = {}  # all that was acknowledged before then is released
        self._seen: set[Path] = set()  # also those that were never drained
        self._covers: tuple[Path, datetime] | None = None  # what the segment handed out will make of it
        self._resting: dict[Path, datetime] = {}  # until then

    def orphans(self) -> list[Path]:
        """The inboxes whose process is gone."""
        found = []
        for path in self._paths():
            lock = InboxLock.take(path) if path != self._own else None
            if lock is not None:
                lock.give()
                found.append(path)
        return found

    def drain(self, limit: int = 50_000) -> Segment | None:
        """The oldest segment of the next inbox that has one; the same again until it is released."""
        if self._current is not None:
            file, lock = self._current
            try:
                waiting = file.backlog
                segment = file.drain(limit)
            except InboxDamaged as damage:  # since it was handed out
                self._current = self._covers = None
                self._damaged(file.path, lock, damage)
                segment = None
            if segment is not None:
                self.left = waiting - len(segment.records)
                return segment
            self._let_go()  # another sealer released it: the lease had gone there
        paths = self._paths()
        paths = paths[self._turn % len(paths):] + paths[:self._turn % len(paths)] if paths else []
        for only_pending in (True, False):  # what somebody was handed before a crash comes first
            for path in paths:
                with ExitStack() as stack:
                    lock = InboxLock.take(path) if path != self._own else None
                    if lock is not None:
                        stack.callback(lock.give)
                    segment = self._drain(path, lock, limit, only_pending)
                    if segment is not None:
                        stack.pop_all()  # an orphan's lock is kept until its segment is released
                        self._turn += 1
                        return segment
        if self._salvaged:  # into an inbox that was not there when we looked
            self._salvaged = False
            return self.drain(limit)
        return None

    def _drain(self, path: Path, lock: InboxLock | None, limit: int, only_pending: bool) -> Segment | None:
        try:
            moment = self._clock.now()
            file = self._open(path, adopted=lock is not None)
            if file is None and lock is not None:
                lock.give(remove=True)
            if file is None or moment < self._resting.get(path, moment) or (only_pending and not file.pending):
                return None
            waiting = file.backlog
            segment = file.drain(limit)
        except InboxDamaged as damage:
            self._damaged(path, lock, damage)
            return None
        if segment is not None:
            self._current = (file, lock)
            self.left = waiting - len(segment.records)
            self._covers = None if self.left > 0 else (path, moment)
            return segment
        self._drained[path] = moment
        if lock is not None and file.retirable(self._clock.now()):
            self._retire(path, lock)
        return segment

    def _damaged(self, path: Path, lock: InboxLock | None, damage: InboxDamaged) -> None:
        """Salvage the inbox of a dead process, damaged since it was opened here; one of a living process waits for its
        restart, and the others do not."""
        if lock is not None:
            self._resting.pop(path, None)
            self._files.pop(path).close()
            self._salvage(path)
            lock.give(remove=True)
        elif str(damage) not in map(str, self.problems):
            self.problems.append(damage)

    def release(self, segment: Segment) -> None:
        """Forget a segment's records; a segment that is not the one handed out is released already.

        An inbox that is too damaged for that is told and goes its own way, as in `drain`: what it holds comes again,
        and the lake finds it by its event ids.
        """
        if self._current is not None and self._current[0].writer == segment.writer:
            file, lock = self._current
            if not self._released(file, lock, segment):
                self._current = self._covers = None
                return
            if self._covers is not None:
                self._drained[self._covers[0]] = self._covers[1]
            self._let_go()
            return
        for file in self._each():
            if file.writer == segment.writer:
                self._released(file, None, segment)

    def _released(self, file: InboxFile, lock: InboxLock | None, segment: Segment) -> bool:
        try:
            file.release(segment)
        except InboxDamaged as damage:
            self._drained.pop(file.path, None)
            self._resting[file.path] = self._clock.now() + REST  # else it would be handed out at once, for ever
            self._damaged(file.path, lock, damage)
            return False
        self._resting.pop(file.path, None)
        return True

    def erase(self, users: Iterable[str]) -> int:
        """Take the records of `users` out of all inboxes. Files that were set aside as damaged go whole: what is in
        them cannot be told with certainty, and what could be read of them went on long ago."""
        wanted = frozenset(users)
        if not wanted:
            return 0
        gone = sum(file.erase(wanted) for file in self._each())
        discard(self.folder)
        return gone

    @property
    def drained_until(self) -> datetime | None:
        """Everything acknowledged before then is released; None while an inbox was not looked at, or cannot be."""
        now, paths = self._clock.now(), self._paths()
        if any(path not in self._drained for path in paths):
            return None
        return min((self._drained[path] for path in paths), default=now)

    @property
    def backlog(self) -> int:
        """Records in all inboxes that are not yet released."""
        return sum(file.backlog for file in self._each())

    def close(self) -> None:
        """Let go of files and locks; a segment that is handed out stays recorded."""
        self._let_go()
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _let_go(self) -> None:
        """Go on to the next inbox; an orphan's lock is free again."""
        if self._current is not None and self._current[1] is not None:
            self._current[1].give()
        self._current = self._covers = None

    def _each(self) -> Iterator[InboxFile]:
        for path in self._paths():
            file = self._open(path, adopted=False)
            if file is not None:
                yield file

    def _paths(self) -> list[Path]:
        try:
            with os.scandir(self.folder) as entries:
                paths = sorted(self.folder / entry.name for entry in entries if entry.name.endswith(SUFFIX))
        except FileNotFoundError:
            paths = []
        for gone in set(self._files) - set(paths):
            self._files.pop(gone).close()
        if not self._seen <= set(paths):  # its records went on in another inbox: look at all of them again
            self._drained.clear()
        self._seen = set(paths)
        return paths

    def _open(self, path: Path, *, adopted: bool) -> InboxFile | None:
        """The file behind a path as it stands now, None where it is gone; a damaged orphan is salvaged first."""
        known = self._files.get(path)
        try:
            inode = path.stat().st_ino
            if known is not None and known.inode == inode:
                return known
            if known is not None:
                self._files.pop(path).close()
            if adopted:
                check(path)
            self._files[path] = InboxFile(path)
        except FileNotFoundError:
            return None
        except InboxDamaged:
            if not adopted:
                raise
            self._salvage(path)
            return None
        return self._files[path]

    def _salvage(self, path: Path) -> None:
        created = new_inbox(self.folder, self._clock.now(), os.urandom)
        with ExitStack() as stack:
            stack.callback(created[1].give)
            stack.callback(created[0].close)
            self.problems.append(salvage(path, created[0], self._clock.now()))
        self._salvaged = True

    def _retire(self, path: Path, lock: InboxLock) -> None:
        self._files.pop(path).close()
        self._drained.pop(path, None)
        self._seen.discard(path)
        for suffix in ("-shm", "-wal", ""):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        lock.give(remove=True)


def clear_unfinished(folder: Path) -> None:
    """Remove what processes left behind that died while they made or removed an inbox."""
    for path in folder.glob("*.lock"):
        inbox = path.with_suffix(SUFFIX)
        lock = InboxLock.take(inbox) if not inbox.exists() else None
        if lock is not None and not inbox.exists():
            for suffix in (".new", ".new-journal", ".new-wal", ".new-shm"):
                path.with_suffix(suffix).unlink(missing_ok=True)
            lock.give(remove=True)
        elif lock is not None:
            lock.give()


def new_inbox(folder: Path, now: datetime, random: Callable[[int], bytes]) -> tuple[InboxFile, InboxLock]:
    """A new inbox under a new writer id, and its lock."""
    while True:
        writer = f"w{random(8).hex()}"
        path = folder / (writer + SUFFIX)
        lock = InboxLock.take(path)
        if lock is not None and not path.exists():
            return InboxFile.create(path, writer, now), lock
