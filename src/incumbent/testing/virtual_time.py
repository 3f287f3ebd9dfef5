"""Virtual time: an asyncio loop that jumps to its next timer instead of sleeping, and clocks that read it.

Two weeks of a system that waits most of the time pass in the seconds that its computing takes, and in the same order
every time: nothing but timers and callbacks decides what comes next.
"""

from __future__ import annotations

import asyncio
from asyncio import Handle, TimerHandle
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar

from incumbent.errors import UnavailableError

T = TypeVar("T")


class _Soon(Handle):
    """A callback in a context: what a `Handle` is outside a debug mode, in half its time."""

    __slots__ = ()
    _callback: Any
    _args: Any

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None) -> None:
        self._callback, self._args = callback, args
        self._context = copy_context() if context is None else context
        self._cancelled = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._callback!r}>"

    def cancel(self) -> None:
        """Let it not be called, and what it holds go."""
        self._cancelled = True
        self._callback = self._args = None


class _Due(TimerHandle):
    """The same at a moment of model time."""

    __slots__ = ()
    _loop: VirtualLoop
    _callback: Any
    _args: Any

    def __init__(self, when: float, callback: Callable[..., Any], args: tuple[Any, ...], loop: VirtualLoop,
                 context: Context | None) -> None:
        self._when, self._callback, self._args, self._loop = when, callback, args, loop
        self._context = copy_context() if context is None else context
        self._cancelled, self._scheduled = False, True

    __repr__ = _Soon.__repr__

    def cancel(self) -> None:
        """Let it not be called, and what it holds go."""
        if not self._cancelled:
            self._cancelled = True
            self._callback = self._args = None
            if self._scheduled:
                self._loop._timer_handle_cancelled(self)


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
        self._ready: deque[_Soon | _Due] = deque()
        self._timers: list[tuple[float, int, _Due]] = []  # as tuples: compared without a call
        self._stopping = False
        self._set = 0
        self._cancelled = 0
        self._selector = self

    def time(self) -> float:
        """Seconds of model time since the loop was made."""
        return self._elapsed_s

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any,  # type: ignore[override]
                context: Context | None = None) -> TimerHandle:
        """Call back at a model time; timers of one moment run in the order in which they were set."""
        timer = _Due(when, callback, args, self, context)
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
        handle = _Soon(callback, args, context)
        self._ready.append(handle)
        return handle

    def create_task(self, coro: Coroutine[Any, Any, T], *, name: str | None = None,  # type: ignore[override]
                    context: Context | None = None) -> asyncio.Task[T]:
        """A task on this loop."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        self._cancelled += 1
        if self._cancelled > 100 and 2 * self._cancelled > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]
            heapify(self._timers)
            self._cancelled = 0

    def _run_once(self) -> None:
        """All that `asyncio.BaseEventLoop.run_forever` repeats: what is ready, or else the next timer, until the loop
        is told to stop.

        No event ever comes from outside, only time passes.
        """
        ready = self._ready
        while not self._stopping:
            if not ready:
                ready.append(self._next())
            for _ in range(len(ready)):
                handle = ready.popleft()
                if handle._cancelled:
                    continue
                try:
                    handle._context.run(handle._callback, *handle._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.call_exception_handler({"message": f"Exception in callback {handle!r}", "exception": error})

    def _next(self) -> _Due:
        """The next timer; it is its moment now."""
        timers = self._timers
        while timers:
            when, _, timer = heappop(timers)
            timer._scheduled = False
            if timer._cancelled:
                self._cancelled -= 1
                continue
            if when > self._elapsed_s:
                self._elapsed_s = when
            return timer
        raise UnavailableError("the simulation stands still", expected="a timer or a callback",
                               hint="something is awaited that nobody will ever do")

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
