"""Virtual time: an asyncio loop that jumps to its next timer instead of sleeping, and clocks that read it.

Two weeks of a system that waits most of the time pass in the seconds that its computing takes, and in the same order
every time: nothing but timers and callbacks decides what comes next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
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
        self._clock_resolution = 1e-7  # timers this near to one another are one moment
        self._selector = self

    def time(self) -> float:
        """Seconds of model time since the loop was made."""
        return self._elapsed_s

    def select(self, timeout: float | None) -> list[Any]:
        """What `asyncio.BaseEventLoop` calls to wait: no event ever comes from outside, only time passes."""
        if timeout is None:
            raise UnavailableError("the simulation stands still", expected="a timer or a callback",
                                   hint="something is awaited that nobody will ever do")
        self._elapsed_s += timeout
        return []

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
