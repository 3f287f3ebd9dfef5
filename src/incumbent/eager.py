"""Begin to await on the caller's stack: what is there at once costs neither a task nor a timer."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


def begin(awaitable: Awaitable[T]) -> T | Rest[T]:
    """Run a coroutine to where it first suspends: its result, or the rest of it, to be awaited.

    What it raises on the way is raised here. Until it suspends `asyncio.current_task()` is the caller's, so it must not
    use `asyncio.timeout` before its first real wait.

    >>> async def at_once() -> int: return 1
    >>> begin(at_once())
    1
    """
    steps = awaitable.__await__()
    try:
        awaited = next(steps)
    except StopIteration as stop:
        result: T = stop.value
        return result
    return Rest(steps, awaited)


class Rest(Awaitable[T]):
    """The rest of what was begun and suspended on `awaited`."""

    __slots__ = ("_awaited", "_steps")

    def __init__(self, steps: Generator[Any, Any, T], awaited: Any) -> None:
        self._steps, self._awaited = steps, awaited

    def __await__(self) -> Generator[Any, Any, T]:
        awaited = self._awaited
        try:
            while True:
                try:
                    value = yield awaited
                except BaseException as error:
                    awaited = self._steps.throw(error)
                else:
                    awaited = self._steps.send(value)
        except StopIteration as stop:
            result: T = stop.value
            return result
