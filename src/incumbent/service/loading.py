"""The models of one gateway: loaded on a thread, kept while their plan is the same, closed when nobody holds them."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from incumbent.clock import Clock
from incumbent.events.plan import ModelPlan
from incumbent.logs import get
from incumbent.models.guard import Guarded, build

GRACE_S = 5.0  # a model that left the plan is closed this much later, when no request can hold it any more
Make = Callable[[ModelPlan, Clock], Guarded]


class Models:
    """Loads what a plan names; a model's own code runs then, which no request waits for.

    Where one of them does not load, those that did are kept for the next try.
    """

    def __init__(self, clock: Clock, make: Make = build) -> None:
        self._clock, self._make = clock, make
        self._used: dict[str, Guarded] = {}
        self._made: dict[str, Guarded] = {}  # and not in use yet
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="models")
        self._leaving: set[asyncio.Task[None]] = set()

    async def load(self, wanted: Mapping[str, ModelPlan]) -> dict[str, Guarded]:
        """The guarded models of a plan, by name; raises whatever a model's own code raises."""
        guards = {}
        importlib.invalidate_caches()  # a file may have come since the last try
        for name, plan in wanted.items():
            guard = next((old for old in (self._used.get(name), self._made.get(name))
                          if old is not None and old.plan == plan), None)
            if guard is None:
                guard = await asyncio.get_running_loop().run_in_executor(self._thread, self._make, plan, self._clock)
                self._leave([self._made.pop(name)] if name in self._made else [])
                self._made[name] = guard
            guards[name] = guard
        return guards

    def use(self, guards: dict[str, Guarded]) -> None:
        """These are served by from now on; the others are closed once no request can hold them."""
        gone = [guard for guard in (*self._used.values(), *self._made.values()) if guard not in guards.values()]
        self._used, self._made = guards, {}
        self._leave(gone)

    def _leave(self, gone: list[Guarded]) -> None:
        if gone:
            leaving = asyncio.get_running_loop().create_task(_close_later(gone))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Close all of them, and the thread."""
        for task in list(self._leaving):
            task.cancel()
        await _close([*self._used.values(), *self._made.values()])
        self._thread.shutdown(wait=False)


async def _close_later(guards: list[Guarded]) -> None:
    await asyncio.sleep(GRACE_S)
    await _close(guards)


async def _close(guards: Iterable[Guarded]) -> None:
    for guard in guards:
        try:
            await asyncio.wait_for(guard.recommender.close(), 2.0)
        except Exception as error:  # a model's own clean-up is its own affair
            get("incumbent.service.loading").warning("a model did not close", model=guard.plan.name, error=str(error))
