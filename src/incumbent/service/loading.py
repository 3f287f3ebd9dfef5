"""The models of one gateway: loaded on threads, kept while their plan is the same, closed when nobody holds them."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Executor, Future
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from incumbent.clock import Clock
from incumbent.errors import ConfigError
from incumbent.events.plan import ModelPlan
from incumbent.logs import get
from incumbent.models.guard import Guarded, build

# a model that left the plan is closed so much later, at the least, and so long after the deadline of its last request
GRACE_S, MARGIN_S = 5.0, 1.0
Make = Callable[[ModelPlan, Clock], Guarded]
P = ParamSpec("P")
T = TypeVar("T")


class Models:
    """Loads what a plan names, one model after another; a model's own code runs then, which no request waits for.

    Where one of them does not load, those that did are kept for the next try. Each load has a thread of its own: one
    that hangs keeps neither a later one waiting nor the process from ending.
    """

    def __init__(self, clock: Clock, make: Make = build) -> None:
        self._clock, self._make = clock, make
        self._used: dict[str, Guarded] = {}
        self._made: dict[str, Guarded] = {}  # and not in use yet
        self._making: dict[str, tuple[ModelPlan, asyncio.Task[Guarded]]] = {}
        self._threads = _Threads()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def awaited(self) -> str | None:
        """The model that is being loaded."""
        return next(iter(self._making), None)

    async def load(self, wanted: Mapping[str, ModelPlan]) -> dict[str, Guarded]:
        """The guarded models of a plan, by name; raises whatever a model's own code raises.

        It may be cancelled. A model under way that is still wanted is gone on with, not begun anew; one that is not is
        left to itself, and closed where it ends after all.
        """
        importlib.invalidate_caches()  # a file may have come since the last try
        self._making = {name: making for name, making in self._making.items() if wanted.get(name) == making[0]}
        return {name: await self._one(name, plan) for name, plan in wanted.items()}

    async def _one(self, name: str, plan: ModelPlan) -> Guarded:
        for kept in (self._used.get(name), self._made.get(name)):
            if kept is not None and kept.plan == plan:
                return kept
        if name not in self._making:
            self._making[name] = plan, self._background(self._new(name, plan))
        return await asyncio.shield(self._making[name][1])

    async def _new(self, name: str, plan: ModelPlan) -> Guarded:
        try:
            guard = await asyncio.get_running_loop().run_in_executor(
                self._threads, _make, self._make, plan, self._clock)
        finally:
            making = self._making.get(name)
            if wanted := making is not None and making[1] is asyncio.current_task():
                del self._making[name]
        if wanted:
            self._leave([self._made[name]] if name in self._made else [])
            self._made[name] = guard
        else:
            self._leave([guard])
        return guard

    def use(self, guards: dict[str, Guarded]) -> None:
        """These are served by from now on; the others are closed once no request can hold them."""
        gone = [guard for guard in (*self._used.values(), *self._made.values()) if guard not in guards.values()]
        self._used, self._made = guards, {}
        self._leave(gone)

    def _leave(self, gone: list[Guarded]) -> None:
        if gone:
            self._background(_close_later(gone))

    def _background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Close all of them; what is still being loaded is left to its thread."""
        for task in list(self._tasks):
            task.cancel()
        await _close([*self._used.values(), *self._made.values()])


class _Threads(Executor):
    """A daemon thread for every call, as many as there are: what hangs in one holds up nobody else."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        done: Future[T] = Future()

        def work() -> None:
            done.set_running_or_notify_cancel()
            try:
                done.set_result(fn(*args, **kwargs))
            except Exception as error:
                done.set_exception(error)

        Thread(target=work, name="model-loading", daemon=True).start()
        return done


def _make(make: Make, plan: ModelPlan, clock: Clock) -> Guarded:
    """A guarded model; what would end a thread or an event loop (`sys.exit` in an import) is an error like others."""
    try:
        return make(plan, clock)
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            raise
        raise ConfigError("a model's own code ended instead of loading it", got=f"{type(error).__name__}: {error}",
                          hint=f"look at what {plan.target!r} does when it is loaded") from error


def grace_s(gone: Iterable[Guarded]) -> float:
    """Seconds after which no request can hold one of these models any more: past the longest of their deadlines.

    >>> from types import SimpleNamespace
    >>> of = lambda deadline_ms: SimpleNamespace(plan=SimpleNamespace(deadline_ms=deadline_ms))
    >>> grace_s([of(100), of(200)]), grace_s([of(100), of(60_000)])
    (5.0, 61.0)
    """
    return max(GRACE_S, *(guard.plan.deadline_ms / 1000 + MARGIN_S for guard in gone))


async def _close_later(guards: list[Guarded]) -> None:
    await asyncio.sleep(grace_s(guards))
    await _close(guards)


async def _close(guards: Iterable[Guarded]) -> None:
    for guard in guards:
        try:
            await asyncio.wait_for(guard.recommender.close(), 2.0)
        except Exception as error:  # a model's own clean-up is its own affair
            get("incumbent.service.loading").warning("a model did not close", model=guard.plan.name, error=str(error))
