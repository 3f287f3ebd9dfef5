"""Faults at named points of a running system, without a hook in the system itself.

A point is ``before:`` or ``after:`` and the dotted path of a function or method; behind ``@`` the path of one that must
be under way in the same thread for a pass to count. In a child process, the point kills it (SIGKILL: no cleanup, as
when the machine's memory runs out)::

    python -m incumbent.testing.faults --kill after:incumbent.stores.lake.DeltaLake.commit --nth 3 -- MODULE ARGS

In a test, `failing` raises at a point: an `OSError` as the disk gives it, or `Crash`, which stands for a kill.
"""

from __future__ import annotations

import argparse
import errno
import functools
import importlib
import inspect
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from msgspec import Struct

from incumbent.errors import DataError, NotFoundError

#: the functions whose two sides are worth dying at, in the order in which an event meets them
TARGETS = (
    "incumbent.stores.inbox_file.InboxFile.commit",
    "incumbent.stores.inbox_file.InboxFile.drain",
    "incumbent.loop.seal.Sealer.run_once",
    "incumbent.stores.lake.DeltaLake.commit",
    "incumbent.stores.delta.DeltaFolder.prepare",
    "incumbent.stores.delta.DeltaFolder.write",
    "incumbent.stores.sync.sync_file",
    "incumbent.stores.sync.sync_directory",
    "incumbent.stores.delta.DeltaFolder.commit",
    "incumbent.stores.delta.DeltaFolder.checkpoint",
    "incumbent.stores.inbox_file.InboxFile.release",
)
POINTS = tuple(f"{when}:{target}" for target in TARGETS for when in ("before", "after"))


class Crash(BaseException):
    """A kill in process: nothing that catches `Exception` stops it."""


class Point(Struct, frozen=True):
    """One side of one function.

    >>> Point.parse("after:incumbent.stores.sync.sync_file").target
    'incumbent.stores.sync.sync_file'
    >>> Point.parse("before:incumbent.stores.sync.sync_file@incumbent.loop.seal.Sealer.run_once").inside
    ('incumbent.loop.seal.Sealer.run_once',)
    """

    when: str  # before, after
    target: str
    inside: tuple[str, ...] = ()  # where they are not all under way in this thread, it is no pass

    @classmethod
    def parse(cls, text: str) -> Point:
        """The point in ``before:PATH`` or ``after:PATH``, with ``@PATH`` behind it any times; `DataError` else."""
        when, _, path = text.partition(":")
        target, *inside = path.split("@")
        if when not in ("before", "after") or not target or not all(inside):
            raise DataError("not a point", got=text, expected="before:PATH or after:PATH, maybe with @PATH")
        return cls(when, target, tuple(inside))

    @property
    def here(self) -> bool:
        """Whether all of `inside` are under way in this thread."""
        missing, frame = set(self.inside), sys._getframe(1)
        while missing and frame is not None:
            missing.discard(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}")
            frame = frame.f_back  # type: ignore[assignment]
        return not missing


def resolve(target: str) -> tuple[Any, str, Any]:
    """The owner (module or class), the name in it, and the function; `NotFoundError` where there is none.

    >>> resolve("incumbent.testing.faults.resolve")[1]
    'resolve'
    """
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            owner: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError as error:
            if error.name is None or not target.startswith(error.name):
                raise
            continue
        try:
            for name in parts[cut:-1]:
                owner = getattr(owner, name)
            function = inspect.getattr_static(owner, parts[-1])
        except AttributeError:
            break
        if callable(getattr(owner, parts[-1])):
            return owner, parts[-1], function
        break
    raise NotFoundError("no function of that name", got=target, expected="the dotted path of a function or method")


@contextmanager
def at(point: str, act: Callable[[], None], nth: int = 1) -> Iterator[None]:
    """Call `act` at the `nth` time that a point is passed, by whatever thread; undone on leaving."""
    parsed = Point.parse(point)
    owner, name, found = resolve(parsed.target)
    wrapped = _wrap(found, parsed.when, _once(act, nth, parsed))
    replaced = [(owner, name)]
    if inspect.ismodule(owner):  # also where it was imported by name
        replaced += [(module, key) for module in list(sys.modules.values()) if inspect.ismodule(module)
                     for key, value in list(vars(module).items()) if value is found and (module, key) != (owner, name)]
    for holder, key in replaced:
        setattr(holder, key, wrapped)
    try:
        yield
    finally:
        for holder, key in replaced:
            setattr(holder, key, found)


def _once(act: Callable[[], None], nth: int, point: Point) -> Callable[[], None]:
    passed, guard = 0, threading.Lock()

    def step() -> None:
        nonlocal passed
        if not point.here:
            return
        with guard:
            passed += 1
            due = passed == nth
        if due:
            act()

    return step


def _wrap(found: Any, when: str, step: Callable[[], None]) -> Any:
    if isinstance(found, staticmethod | classmethod):
        return type(found)(_wrap(found.__func__, when, step))
    if inspect.iscoroutinefunction(found):
        @functools.wraps(found)
        async def later(*args: Any, **kwargs: Any) -> Any:
            if when == "before":
                step()
            answer = await found(*args, **kwargs)
            if when == "after":
                step()
            return answer

        return later

    @functools.wraps(found)
    def now(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            step()
        answer = found(*args, **kwargs)
        if when == "after":
            step()
        return answer

    return now


@contextmanager
def failing(point: str, error: BaseException | str, nth: int = 1) -> Iterator[None]:
    """Raise at the `nth` pass of a point: an exception, or the `OSError` of an errno name.

    >>> with failing("before:incumbent.stores.sync.sync_directory", "ENOSPC"):
    ...     from incumbent.stores import sync
    ...     sync.sync_directory(None)
    Traceback (most recent call last):
    ...
    OSError: [Errno 28] No space left on device
    """
    raised = disk_error(error) if isinstance(error, str) else error

    def act() -> None:
        raise raised

    with at(point, act, nth):
        yield


def disk_error(name: str) -> OSError:
    """The `OSError` of an errno name: ENOSPC (full), EROFS (read-only), EIO (broken)."""
    number = getattr(errno, name, None)
    if number is None:
        raise DataError("no such errno", got=name, expected="ENOSPC, EROFS, EIO ...")
    return OSError(number, os.strerror(number))


def kill() -> None:
    """SIGKILL to this very process."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a module as ``python -m`` would, with a fault in it."""
    parser = argparse.ArgumentParser(prog="python -m incumbent.testing.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--kill", action="append", default=[], metavar="POINT", help="SIGKILL at the point")
    parser.add_argument("--fail", action="append", default=[], nargs=2, metavar=("POINT", "ERRNO"),
                        help="raise an OSError at the point")
    parser.add_argument("--nth", type=int, default=1, help="at which pass of the point (default 1)")
    parser.add_argument("module", help="the module to run: incumbent.cli, or one of yours")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    given = parser.parse_args(arguments)
    with ExitStack() as stack:
        for point in given.kill:
            stack.enter_context(at(point, kill, given.nth))
        for point, name in given.fail:
            stack.enter_context(failing(point, name, given.nth))
        sys.argv = [given.module, *given.arguments]
        runpy.run_module(given.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
