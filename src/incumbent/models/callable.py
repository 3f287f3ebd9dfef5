"""A Python callable as a model: ``module:function``, sync (in threads of its own) or async (on a loop of its own)."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread
from typing import Any

from incumbent.errors import ConfigError
from incumbent.events.plan import ModelPlan
from incumbent.models.recommender import Ask, ModelBusy, ModelFailure, Scored


class CallableModel:
    """Calls ``function(request: Ask, k: int)``, which returns (item_id, score) pairs, best first, or `Told`.

    A sync function runs in threads, at most `concurrency` at once. A thread cannot be stopped: one that hangs keeps
    its place, and when all places hang the model is busy at once instead of queueing without end. An async function
    runs on an event loop in a thread of its own: one that blocks it holds up that model and nothing else. With
    `local` it runs on the caller's own loop, which it promised never to block.
    """

    def __init__(self, plan: ModelPlan, function: Callable[[Ask, int], Any] | None = None) -> None:
        self._function = function or resolve(plan.target)
        self._async = inspect.iscoroutinefunction(self._function) or inspect.iscoroutinefunction(
            getattr(self._function, "__call__", None))  # noqa: B004  an object with an async __call__
        self._places = plan.concurrency
        self._taken = 0
        self._pool = None if self._async else ThreadPoolExecutor(plan.concurrency, f"model-{plan.name}")
        self._aside = _Loop(f"model-{plan.name}") if self._async and not plan.local else None

    def recommend(self, request: Ask, k: int) -> Coroutine[Any, Any, Scored]:
        """The callable's own list."""
        if self._pool is not None:
            return self._in_thread(self._pool, request, k)
        if self._aside is not None:
            return self._aside.run(self._function, request, k)
        own: Coroutine[Any, Any, Scored] = self._function(request, k)
        return own

    async def _in_thread(self, pool: ThreadPoolExecutor, request: Ask, k: int) -> Scored:
        if self._taken >= self._places:
            raise ModelBusy(f"all {self._places} threads are taken")
        loop = asyncio.get_running_loop()
        future = pool.submit(self._function, request, k)
        self._taken += 1
        future.add_done_callback(lambda done: self._give_back(loop, done))
        scored: Scored = await asyncio.wrap_future(future)
        return scored

    def _give_back(self, loop: asyncio.AbstractEventLoop, _: Future[Any]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._free)

    def _free(self) -> None:
        self._taken -= 1

    async def close(self) -> None:
        """Let the threads go without waiting for one that hangs."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        if self._aside is not None:
            self._aside.close()


class _Loop:
    """An event loop in a daemon thread, started when it is first needed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, function: Callable[[Ask, int], Any], request: Ask, k: int) -> Scored:
        """What an async function answers; it is cancelled with its caller."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            Thread(target=self._turn, args=(self._loop,), name=self._name, daemon=True).start()
        scored: Scored = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(
            _contained(function, request, k), self._loop))
        return scored

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()

    def close(self) -> None:
        """Cancel what runs on it and let it end, without waiting."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(_ended(), self._loop)
            self._loop = None


async def _contained(function: Callable[[Ask, int], Any], request: Ask, k: int) -> Scored:
    try:
        found: Scored = await function(request, k)
    except (SystemExit, KeyboardInterrupt) as error:  # it would end the loop
        raise ModelFailure(f"{type(error).__name__}: {error}") from error
    return found


async def _ended() -> None:
    running = asyncio.all_tasks() - {asyncio.current_task()}
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=1.0)
    asyncio.get_running_loop().stop()


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
