"""Virtual time: an asyncio loop that jumps to its next timer instead of sleeping, and clocks that read it.

Two weeks of a system that waits most of the time pass in the seconds that its computing takes, and in the same order
every time: nothing but timers and callbacks decides what comes next.
"""

from __future__ import annotations

import asyncio
from asyncio import Handle, TimerHandle
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar

from incumbent.errors import UnavailableError

T = TypeVar("T")


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets, threads or real time.

    `time` stands still while callbacks run and jumps to the next timer when none is ready, so that computing takes no
    model time. What is given to an executor runs here and now. `UnavailableError` where nothing is ready and no timer
    is set: everybody waits for something that cannot come.

    >>> loop = VirtualLoop()
    >>> loop.run_until_complete(asyncio.sleep(86_400)), loop.time()
    (None, 86400.0)
    >>> loop.close()
    """

    def __init__(self) -> None:
        super().__init__()
        self._elapsed_s = 0.0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, TimerHandle]] = []  # as tuples: compared without a call
        self._set = 0
        self._cancelled = 0
        self._selector = self

    def time(self) -> float:
        """Seconds of model time since the loop was made."""
        return self._elapsed_s

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any,  # type: ignore[override]
                context: Context | None = None) -> TimerHandle:
        """Call back at a model time; timers of one moment run in the order in which they were set."""
        timer = TimerHandle(when, callback, args, self, context)
        timer._scheduled = True  # type: ignore[attr-defined]
        self._set += 1
        heappush(self._timers, (when, self._set, timer))
        return timer

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any,  # type: ignore[override]
                   context: Context | None = None) -> TimerHandle:
        """Call back so many seconds from now."""
        return self.call_at(self._elapsed_s + delay, callback, *args, context=context)

    def call_soon(self, callback: Callable[..., Any], *args: Any,  # type: ignore[override]
                  context: Context | None = None) -> Handle:
        """Call back before any time passes, after what was to be called before."""
        handle = Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        self._cancelled += 1
        if self._cancelled > 100 and 2 * self._cancelled > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]
            heapify(self._timers)
            self._cancelled = 0

    def _run_once(self) -> None:
        """What `asyncio.BaseEventLoop.run_forever` repeats: all that is ready, or else the next timer's moment.

        No event ever comes from outside, only time passes.
        """
        ready = self._ready
        while not ready:
            if not self._timers:
                raise UnavailableError("the simulation stands still", expected="a timer or a callback",
                                       hint="something is awaited that nobody will ever do")
            when, _, timer = heappop(self._timers)
            timer._scheduled = False  # type: ignore[attr-defined]
            if timer._cancelled:
                self._cancelled -= 1
                continue
            self._elapsed_s = max(self._elapsed_s, when)
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Run `func` now; the future that comes back is done."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody has to be woken: everything runs in one thread."""


class VirtualClock:
    """A process's clock over a virtual loop: `monotonic` is the loop's, `now` may be stepped.

    >>> from incumbent.clock import EPOCH
    >>> clock = VirtualClock(VirtualLoop(), EPOCH)
    >>> clock.step(-30.0)
    >>> clock.now().isoformat(), clock.monotonic()
    ('1969-12-31T23:59:30+00:00', 0.0)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, start: datetime) -> None:
        self._loop = loop
        self._zero = start

    def now(self) -> datetime:
        """The business time, in UTC."""
        return self._zero + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        """The loop's time in seconds."""
        return self._loop.time()

    def step(self, seconds: float) -> None:
        """Set the business time forward, or back, as an operator or a time server does."""
        self._zero += timedelta(seconds=seconds)


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function on a loop of its own; what it left behind is cancelled.

    >>> async def two_weeks(loop: VirtualLoop) -> float:
    ...     await asyncio.sleep(14 * 86_400)
    ...     return loop.time()
    >>> run(two_weeks)
    1209600.0
    """
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
