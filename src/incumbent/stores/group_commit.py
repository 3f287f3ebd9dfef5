"""Group commit: many appends, one thread, one sync for all that wait."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TypeAlias

from incumbent.clock import Clock
from incumbent.errors import StoreError
from incumbent.stores.inbox_file import InboxRefused
from incumbent.stores.store import Record

Answer: TypeAlias = "list[bool] | StoreError"
#: records; when they are due on the monotonic clock; who waits; the loop of an asyncio waiter
Entry: TypeAlias = (
    "tuple[Sequence[Record], float, Future[list[bool]] | asyncio.Future[list[bool]] | None, "
    "asyncio.AbstractEventLoop | None]"
)

QUEUE_LIMIT = 20_000  # appends waiting at once; past it the disk does not keep up
COMMIT_RECORDS = 2_000  # a commit takes whole appends until it has so many
HELD_RECORDS = 50_000  # posted records kept for another try while the disk refuses
RETRY_S = 0.5
_NOW, _EVER = float("-inf"), float("inf")


class GroupCommit:
    """A thread that takes what was queued, writes it in one transaction, and answers all who wait for it together.

    `write` gets the records of whole appends and returns None where all were new, else which were; it raises
    `StoreError` where it kept none. All waiters of one event loop cost it one `call_soon_threadsafe` per commit.
    """

    def __init__(self, write: Callable[[list[Record]], list[bool] | None], clock: Clock, name: str) -> None:
        self._write = write
        self._monotonic = clock.monotonic
        self._queue: deque[Entry] = deque()
        self._held: list[Record] = []
        self._arrived = threading.Event()
        self._urgent = threading.Event()
        self._until = _NOW  # while the thread waits for company: when that ends
        self._closed = False
        self.error: StoreError | None = None  # of the last commit
        self.dropped = 0  # posted records given up
        self.commits = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, records: Sequence[Record], max_delay_s: float,
            future: Future[list[bool]] | asyncio.Future[list[bool]] | None,
            loop: asyncio.AbstractEventLoop | None) -> None:
        """Queue one append; raises `StoreError` where it was closed or cannot keep up."""
        if self._closed:
            raise StoreError("the log is closed", hint="the service is stopping")
        if len(self._queue) >= QUEUE_LIMIT:
            raise StoreError("the inbox does not keep up", got=f"{len(self._queue)} appends waiting",
                             hint="the disk is slow or full; send again later")
        due = self._monotonic() + max_delay_s if max_delay_s > 0 else _NOW
        self._queue.append((records, due, future, loop))
        if due < self._until:
            self._urgent.set()
        if not self._arrived.is_set():
            self._arrived.set()

    def close(self) -> None:
        """Write what is queued, and end the thread."""
        self._closed = True
        self._urgent.set()
        self._arrived.set()
        self._thread.join()
        while self._queue:
            self._answer([self._queue.popleft()], StoreError("the log is closed"))

    def _run(self) -> None:
        while True:
            if not self._queue:
                self._arrived.wait(RETRY_S if self._held else None)
            self._arrived.clear()
            closing = self._closed
            if self._queue and not closing:
                self._linger()
            self._urgent.clear()
            if self._queue or self._held:
                self._commit(self._take())
            if closing and not self._queue:
                self.dropped += len(self._held)
                return

    def _linger(self) -> None:
        """Wait for company until the first append is due, or until one comes that will not wait, or there is enough."""
        if len(self._queue) >= COMMIT_RECORDS:
            return
        self._until = _EVER  # from here on whoever comes wakes us; then only who is due earlier
        self._until = min(entry[1] for entry in list(self._queue))
        remaining_s = self._until - self._monotonic()
        if remaining_s > 0:
            self._urgent.wait(remaining_s)
        self._until = _NOW

    def _take(self) -> list[Entry]:
        entries, n = [], len(self._held)
        while self._queue and n < COMMIT_RECORDS + len(self._held):
            entries.append(self._queue.popleft())
            n += len(entries[-1][0])
        return entries

    def _commit(self, entries: list[Entry]) -> None:
        held, self._held = self._held, []
        if len(entries) == 1 and not held:
            records = list(entries[0][0])
        else:
            records = held + [record for entry in entries for record in entry[0]]
        answer: list[bool] | StoreError | None
        try:
            answer = self._write(records) if records else None
            self.error = None
        except StoreError as error:
            answer = self.error = error
        except Exception as error:  # a waiter must hear of it, whatever it is
            answer = self.error = StoreError("the inbox failed", got=f"{type(error).__name__}: {error}")
        self.commits += 1
        if isinstance(answer, StoreError):
            self._hold(held + [record for entry in entries if entry[2] is None for record in entry[0]], answer)
            self._answer(entries, answer)
        else:
            self._answer(entries, answer if answer is None else answer[len(held):])

    def _hold(self, posted: list[Record], error: StoreError) -> None:
        keep = HELD_RECORDS if isinstance(error, InboxRefused) else 0
        self._held = posted[:keep]
        self.dropped += len(posted) - len(self._held)

    def _answer(self, entries: list[Entry], answer: Answer | None) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[list[bool]], Answer]]] = {}
        at = 0
        for records, _, future, loop in entries:
            n = len(records)
            own: Answer = answer if isinstance(answer, StoreError) else (
                [True] * n if answer is None else answer[at:at + n])
            at += n
            if isinstance(future, Future):
                resolve([(future, own)])
            elif future is not None and loop is not None:
                loops.setdefault(loop, []).append((future, own))
        for loop, pairs in loops.items():
            with suppress(RuntimeError):  # that loop is gone, and who waited with it
                loop.call_soon_threadsafe(resolve, pairs)


def resolve(pairs: Sequence[tuple[Future[list[bool]] | asyncio.Future[list[bool]], Answer]]) -> None:
    """Give each future its answer; one that was cancelled meanwhile is left alone."""
    for future, answer in pairs:
        with suppress(InvalidStateError):
            if future.done():
                continue
            if isinstance(answer, StoreError):
                future.set_exception(answer)
            else:
                future.set_result(answer)
