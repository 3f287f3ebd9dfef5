"""The Log in memory: for tests, and for simulating the whole system in one process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from datetime import datetime

from incumbent.clock import EPOCH, Clock
from incumbent.errors import StoreError
from incumbent.stores.inbox_erase import owned_by
from incumbent.stores.store import Record, Segment


class MemoryLog:
    """A Log that keeps its records in a list and answers at once; durable as long as its process.

    `fault` is called before each append with its records: what it raises is the answer, and nothing is kept. That is
    how a simulation plays a full disk.

    >>> from incumbent.clock import ManualClock
    >>> log = MemoryLog(ManualClock(EPOCH))
    >>> log.append([Record("e1", "feedback", b"")]).result(), log.append([Record("e1", "feedback", b"")]).result()
    ([True], [False])
    >>> log.drain()
    Segment(writer='memory', sequence=0, records=[Record(event_id='e1', table='feedback', data=b'')])
    """

    tags: frozenset[str] = frozenset()
    source = "local"

    def __init__(self, clock: Clock, *, writer: str = "memory",
                 fault: Callable[[Sequence[Record]], None] | None = None) -> None:
        self.writer = writer
        self.error: StoreError | None = None
        self.dropped = 0
        self._clock = clock
        self._fault = fault
        self._lock = threading.Lock()
        self._records: list[Record] = []
        self._ids: dict[int, set[str]] = {}  # by day of arrival: today's, and the day before
        self._segment: Segment | None = None
        self._sequence = -1
        self._closed = False
        self._drained: datetime | None = None
        self.left = 0  # records behind the segment last handed out
        self._covers: datetime | None = None  # what the segment handed out will make of it

    def append(self, records: Sequence[Record], *, max_delay_s: float = 0.0) -> Future[list[bool]]:
        """Keep the records; the future is resolved when it is returned."""
        if self._closed:
            raise StoreError("the log is closed", hint="the service is stopping")
        future: Future[list[bool]] = Future()
        try:
            future.set_result(self._add(records))
            self.error = None
        except StoreError as error:
            self.error = error
            future.set_exception(error)
        return future

    def append_async(self, records: Sequence[Record], *, max_delay_s: float = 0.0) -> asyncio.Future[list[bool]]:
        """As `append`, for a coroutine to await."""
        future: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
        done = self.append(records)
        error = done.exception()
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(done.result())
        return future

    def post(self, records: Sequence[Record], *, max_delay_s: float = 0.02) -> None:
        """Keep the records; where `fault` refuses them they are dropped and counted."""
        if self.append(records).exception() is not None:
            self.dropped += len(records)

    def _add(self, records: Sequence[Record]) -> list[bool]:
        if self._fault is not None:
            self._fault(records)
        with self._lock:
            today = max([(self._clock.now() - EPOCH).days, *self._ids])
            if today not in self._ids:
                self._ids = {day: ids for day, ids in self._ids.items() if day >= today - 1} | {today: set()}
            ids, before = self._ids[today], self._ids.get(today - 1, set())
            new = []
            for record in records:
                new.append(record.event_id not in ids and record.event_id not in before)
                if new[-1]:
                    ids.add(record.event_id)
                    self._records.append(record)
            return new

    @property
    def backlog(self) -> int:
        """Records not yet released."""
        return len(self._records) + (len(self._segment.records) if self._segment else 0)

    def drain(self, limit: int = 50_000) -> Segment | None:
        """The segment that is handed out, or the next one; see `Log.drain`."""
        with self._lock:
            if self._segment is None and self._records:
                limit = max(limit, 1)
                self._sequence += 1
                self._segment = Segment(self.writer, self._sequence, self._records[:limit])
                self._records = self._records[limit:]
                self.left = len(self._records)
                self._covers = None if self._records else self._clock.now()
            elif self._segment is None:
                self._drained = self._clock.now()
            return self._segment

    @property
    def drained_until(self) -> datetime | None:
        """Everything acknowledged before then was released; see `Log.drained_until`."""
        return self._drained

    def release(self, segment: Segment) -> None:
        """Forget the segment that is handed out; any other is released already."""
        with self._lock:
            if self._segment is not None and segment.sequence == self._segment.sequence \
                    and segment.writer == self.writer:
                self._segment = None
                self._drained = self._covers or self._drained

    def erase(self, users: Iterable[str]) -> int:
        """Remove the users' records; a segment that is handed out loses them too."""
        wanted = frozenset(users)
        with self._lock:
            before = self.backlog
            self._records = [record for record in self._records if not owned_by(record, wanted)]
            if self._segment is not None:
                kept = [record for record in self._segment.records if not owned_by(record, wanted)]
                self._segment = Segment(self.writer, self._segment.sequence, kept) if kept else None
            return before - self.backlog

    def close(self) -> None:
        """Take no more records."""
        self._closed = True
