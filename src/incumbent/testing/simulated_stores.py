"""Stores of a simulated system: in memory, with syncs that take time, disks that fill up and processes that die."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from datetime import datetime
from random import Random
from typing import Any

from incumbent.clock import Clock
from incumbent.errors import StoreError
from incumbent.events.plan import ServingPlan
from incumbent.stores.inbox_erase import owned_by
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_log import MemoryLog
from incumbent.stores.store import Lease, Record, Segment
from incumbent.testing.faults import Crash

RETRY_S = 0.5  # how soon a log tries again to write what it holds for nobody who waits


class SimulatedLog(MemoryLog):
    """The log of one process: group commits that take `sync_s`, a disk that may be `full`, and an end without warning.

    What `crash` finds unsynced is gone, as in a power cut; the rest waits for whoever adopts the inbox.
    """

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop, rng: Random, *, writer: str) -> None:
        super().__init__(clock, writer=writer, fault=self._refuse_when_full)
        self.full = False
        self.dead = False
        self.refused = 0
        self._loop, self._rng = loop, rng
        self._waiting: list[tuple[Sequence[Record], asyncio.Future[list[bool]] | None]] = []
        self._timer: asyncio.TimerHandle | None = None

    def _refuse_when_full(self, records: Sequence[Record]) -> None:
        if self.full or self.dead:
            self.refused += 1
            raise StoreError("no space left on device", hint="a simulated disk is full")

    def append_async(self, records: Sequence[Record], *, max_delay_s: float = 0.0) -> asyncio.Future[list[bool]]:
        """Durable when the future resolves: at the end of the next group commit."""
        future: asyncio.Future[list[bool]] = self._loop.create_future()
        if self.dead:
            future.set_exception(StoreError("the process is dead"))
        else:
            self._queue(records, future, max_delay_s)
        return future

    def post(self, records: Sequence[Record], *, max_delay_s: float = 0.02) -> None:
        """Durable after at most `max_delay_s` and one sync; tried again while the disk is full."""
        if not self.dead:
            self._queue(records, None, max_delay_s)

    def _queue(self, records: Sequence[Record], future: asyncio.Future[list[bool]] | None, delay_s: float) -> None:
        self._waiting.append((records, future))
        rare = self._rng.random() < 0.002
        self._arm(delay_s + (self._rng.uniform(0.05, 0.4) if rare else self._rng.uniform(0.001, 0.006)))

    def _arm(self, delay_s: float) -> None:
        due = self._loop.time() + delay_s
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._sync)

    def _sync(self) -> None:
        """One group commit: everything that waits, in the order in which it came, or as much as the disk takes."""
        self._timer = None
        waiting, self._waiting = self._waiting, []
        refused: StoreError | None = None
        for at, (records, future) in enumerate(waiting):
            try:
                new = self._add(records)
            except StoreError as error:
                refused, waiting = error, waiting[at:]
                break
            if future is not None and not future.done():
                future.set_result(new)
        self.error = refused
        if refused is not None:
            self._hold_back(waiting, refused)
        if self._waiting and not self.dead:
            self._arm(RETRY_S)

    def _hold_back(self, waiting: list[tuple[Sequence[Record], asyncio.Future[list[bool]] | None]],
                   error: StoreError) -> None:
        """Tell those who wait for the disk; the rest is tried again."""
        for _, future in waiting:
            if future is not None and not future.done():
                future.set_exception(error)
        self._waiting = [one for one in waiting if one[1] is None]

    def crash(self) -> None:
        """End the process: what is not synced is lost, and whoever waits for it never hears of it."""
        self.dead = True
        if self._timer is not None:
            self._timer.cancel()
        for _, future in self._waiting:
            if future is not None and not future.done():
                future.set_exception(StoreError("the process is dead"))
                future.exception()  # its waiter may be dead too
        self._waiting.clear()
        self._ids.clear()  # nobody sends to it again

    def erase(self, users: Iterable[str]) -> int:
        """Remove the users' records, those that wait for their sync too."""
        wanted = frozenset(users)
        self._waiting = [([r for r in records if not owned_by(r, wanted)], future)
                         for records, future in self._waiting]
        return super().erase(wanted)

    def records(self) -> list[Record]:
        """Everything that is still in the inbox."""
        handed = list(self._segment.records) if self._segment is not None else []
        return handed + list(self._records) + [r for records, _ in self._waiting for r in records]


class Inboxes:
    """All inboxes of a host as its sealer sees them, of live processes and of dead ones; appends go to its own."""

    def __init__(self, own: SimulatedLog, logs: list[SimulatedLog]) -> None:
        self._own, self._logs = own, logs
        self.writer = own.writer
        self.source = own.source
        self.dropped = 0
        self.left = 0

    @property
    def error(self) -> StoreError | None:
        return self._own.error

    @property
    def backlog(self) -> int:
        return sum(log.backlog for log in self._logs)

    @property
    def drained_until(self) -> datetime | None:
        moments = [log.drained_until for log in self._logs]
        known = [moment for moment in moments if moment is not None]
        return min(known) if known and len(known) == len(moments) else None

    def append(self, records: Sequence[Record], *, max_delay_s: float = 0.0) -> Future[list[bool]]:
        return self._own.append(records)

    def append_async(self, records: Sequence[Record], *, max_delay_s: float = 0.0) -> asyncio.Future[list[bool]]:
        return self._own.append_async(records, max_delay_s=max_delay_s)

    def post(self, records: Sequence[Record], *, max_delay_s: float = 0.02) -> None:
        self._own.post(records, max_delay_s=max_delay_s)

    def drain(self, limit: int = 50_000) -> Segment | None:
        for log in self._logs:
            if (segment := log.drain(limit)) is not None:
                self.left = log.left
                return segment
        return None

    def release(self, segment: Segment) -> None:
        for log in self._logs:
            log.release(segment)

    def erase(self, users: Iterable[str]) -> int:
        wanted = list(users)
        return sum(log.erase(wanted) for log in self._logs)

    def close(self) -> None:
        self._own.close()


class Fuse:
    """A death, or one refusal of a store, at the n-th step that one process takes in its stores from now on."""

    STEPS = frozenset({
        "commit", "replace", "release", "drain", "put", "set_cursor", "acquire", "give_back", "conclude", "outbox_done",
        "outbox_failed", "publish", "seal", "restate", "append"})

    def __init__(self) -> None:
        self.blown = False
        self._left = 0
        self._how = ""

    @property
    def armed(self) -> bool:
        """Whether something is still to come."""
        return self._left > 0

    def arm(self, steps: int, how: str) -> None:
        """At step `steps`: ``before`` or ``after`` it the process dies, or the store refuses it (``refuse``)."""
        self._left, self._how = steps, how

    def step(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Take one step."""
        if self.blown:
            raise Crash
        self._left -= 1
        if self._left != 0:
            return method(*args, **kwargs)
        if self._how == "refuse":
            raise StoreError("input/output error", hint="a simulated disk refused")
        if self._how == "after":
            method(*args, **kwargs)
        self.blown = True
        raise Crash


class Fused:
    """A store as one process holds it, with that process's fuse in it."""

    def __init__(self, store: Any, fuse: Fuse) -> None:
        self._store, self._fuse = store, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in Fuse.STEPS:
            return found
        return lambda *args, **kwargs: self._fuse.step(found, *args, **kwargs)


class WatchedControl(MemoryControl):
    """Control in memory that tells who follows it of every plan and exclusion, and notes a lease with two holders."""

    def __init__(self) -> None:
        super().__init__()
        self.followers: list[Callable[[], None]] = []
        self.usurped: list[str] = []
        self.leases_granted = 0
        self._leading: dict[str, Lease] = {}

    def publish(self, plan: ServingPlan) -> ServingPlan:
        published = super().publish(plan)
        self._tell()
        return published

    def exclude(self, user_id: str, item_id: str, at: datetime, *, excluded: bool = True,
                kind: str = "item", late: bool = False) -> None:
        super().exclude(user_id, item_id, at, excluded=excluded, kind=kind, late=late)
        self._tell()

    def _tell(self) -> None:
        for follower in self.followers:
            follower()

    def acquire(self, name: str, holder: str, ttl_s: float, now: datetime) -> Lease | None:
        lease = super().acquire(name, holder, ttl_s, now)
        if lease is not None:
            self.leases_granted += 1
            before = self._leading.get(name)
            if before is not None and before.holder != holder and (before.until > now or lease.token <= before.token):
                self.usurped.append(f"{name}: {holder} took it from {before.holder} before {before.until}")
            self._leading[name] = lease
        return lease

    def give_back(self, lease: Lease) -> None:
        super().give_back(lease)
        held = self._leading.get(lease.name)
        if held is not None and (held.holder, held.token) == (lease.holder, lease.token):
            del self._leading[lease.name]
