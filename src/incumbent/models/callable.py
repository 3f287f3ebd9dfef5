"""A Python callable as a model: ``module:function``, sync (in threads of its own) or async (on the models' loop)."""

from __future__ import annotations

import asyncio
import dis
import importlib
import inspect
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from threading import BoundedSemaphore, Lock, Thread
from typing import Any

from incumbent.errors import ConfigError
from incumbent.events.plan import ModelPlan
from incumbent.models.recommender import Ask, ModelBusy, ModelFailure, Scored

_SUSPENDS = {"GET_AWAITABLE", "GET_ANEXT"}  # what await, async for and async with are made of


class CallableModel:
    """Calls ``function(request: Ask, k: int)``, which returns (item_id, score) pairs, best first, or `Told`.

    A sync function runs in threads, at most `concurrency` at once; an async one on an event loop that all async models
    of the process share, in a thread which is not the caller's. Neither can be stopped where it blocks: it keeps its
    place, and when all places are taken the model is busy at once instead of queueing without end. With `local` an
    async function runs on the caller's own loop, which it promised never to block; `at_once` says that it also has no
    await in it, so that a call is a result.
    """

    def __init__(self, plan: ModelPlan, function: Callable[[Ask, int], Any] | None = None) -> None:
        self._function = function or resolve(plan.target)
        self._async = inspect.iscoroutinefunction(self._function) or inspect.iscoroutinefunction(
            getattr(self._function, "__call__", None))  # noqa: B004  an object with an async __call__
        self._local = plan.local
        self.at_once = self._async and plan.local and not _awaits(self._function)
        self._places, self._room = plan.concurrency, BoundedSemaphore(plan.concurrency)
        self._pool = None if self._async else ThreadPoolExecutor(plan.concurrency, f"model-{plan.name}")

    def recommend(self, request: Ask, k: int) -> Coroutine[Any, Any, Scored]:
        """The callable's own list."""
        if self._pool is not None:
            return self._in_thread(self._pool, request, k)
        if not self._local:
            return self._on_loop(request, k)
        own: Coroutine[Any, Any, Scored] = self._function(request, k)
        return own

    async def _in_thread(self, pool: ThreadPoolExecutor, request: Ask, k: int) -> Scored:
        self._take()
        try:
            future = pool.submit(self._function, request, k)
        except RuntimeError:  # no thread can be started
            self._room.release()
            raise
        future.add_done_callback(lambda _: self._room.release())
        scored: Scored = await asyncio.wrap_future(future)
        return scored

    async def _on_loop(self, request: Ask, k: int) -> Scored:
        self._take()
        asked: Future[Scored] = Future()  # cancelled with the caller

        def begin() -> None:
            if asked.cancelled():  # nobody waits any more
                self._room.release()
                return
            task = loop.create_task(_contained(self._function, request, k))
            task.add_done_callback(end)
            asked.add_done_callback(lambda _: loop.call_soon_threadsafe(task.cancel) if asked.cancelled() else None)

        def end(task: asyncio.Task[Scored]) -> None:
            self._room.release()
            error = None if task.cancelled() else task.exception()
            with suppress(InvalidStateError):  # the caller gave up just now
                if task.cancelled():
                    asked.cancel()
                elif error is not None:
                    asked.set_exception(error)
                else:
                    asked.set_result(task.result())

        try:
            loop = _shared.loop()
            loop.call_soon_threadsafe(begin)
        except RuntimeError as error:
            self._room.release()
            raise ModelFailure(f"the models' loop does not run: {error}") from error
        return await asyncio.wrap_future(asked)

    def _take(self) -> None:
        if not self._room.acquire(blocking=False):
            raise ModelBusy(f"all {self._places} places are taken")

    async def close(self) -> None:
        """Let the threads go without waiting for one that hangs."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


class _Loop:
    """One event loop in a daemon thread, begun when it is first needed; what models keep on it outlives a plan."""

    def __init__(self) -> None:
        self._lock, self._thread = Lock(), Thread()
        self._made: asyncio.AbstractEventLoop | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; a new one where a model's own task ended it."""
        with self._lock:
            if self._made is None:
                made = asyncio.new_event_loop()
                self._thread = Thread(target=self._turn, args=(made,), name="models", daemon=True)
                self._thread.start()
                self._made = made
            return self._made

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        with suppress(SystemExit, KeyboardInterrupt):
            loop.run_forever()
        with self._lock:
            self._made = None
        with suppress(SystemExit, KeyboardInterrupt):
            loop.run_until_complete(_ended())
        loop.close()


_shared = _Loop()


async def _ended() -> None:
    """Let go of what was under way."""
    await asyncio.sleep(0)
    running = asyncio.all_tasks() - {asyncio.current_task()}
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=1.0)


async def _contained(function: Callable[[Ask, int], Any], request: Ask, k: int) -> Scored:
    try:
        found: Scored = await function(request, k)
    except (SystemExit, KeyboardInterrupt) as error:  # it would end the loop
        raise ModelFailure(f"{type(error).__name__}: {error}") from error
    return found


def _awaits(function: Callable[..., Any]) -> bool:
    """May a coroutine of this function suspend? Only where there is an await in it; where its code is not seen, it may.

    >>> async def found(request, k): return [("a", 1.0)]
    >>> async def asked(request, k): return await found(request, k)
    >>> _awaits(found), _awaits(asked)
    (False, True)
    """
    called = function if inspect.isroutine(function) else type(function).__call__
    code = getattr(called, "__code__", None)
    if code is None or not code.co_flags & inspect.CO_COROUTINE:
        return True
    return any(step.opname in _SUSPENDS for step in dis.get_instructions(code))


def resolve(target: str) -> Callable[..., Any]:
    """The callable behind ``module:function`` (or ``module:object.method``).

    >>> resolve("json:dumps").__name__
    'dumps'
    >>> resolve("json:dump5")
    Traceback (most recent call last):
    ...
    incumbent.errors.ConfigError: model target cannot be loaded. Got 'json:dump5'. Expected module:function. Hint: \
module 'json' has no attribute 'dump5'.
    """
    module_name, colon, path = target.partition(":")
    try:
        if not colon:
            raise AttributeError("there is no colon in it")
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError("model target cannot be loaded", got=target, expected="module:function",
                          hint=str(error)) from error
    if not callable(found):
        raise ConfigError("model target is not callable", got=target, expected="module:function")
    return found  # type: ignore[no-any-return]
