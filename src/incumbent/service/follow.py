"""Follow Control: the newest plan and exclusions, polled every second; the last ones stay where Control is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.errors import IncumbentError, StoreError
from incumbent.events.plan import ModelPlan, ServingPlan
from incumbent.logs import get
from incumbent.loop.catalogue import current_plan
from incumbent.loop.ingest import Exclusion
from incumbent.loop.plan import unservable
from incumbent.loop.serve import Gateway
from incumbent.models.guard import Guarded, build
from incumbent.service.metrics import Meter
from incumbent.stores.store import Control

GRACE_S = 5.0  # a model that left the plan is closed this much later, when no request can hold it any more
T = TypeVar("T")


class Follower:
    """Keeps one gateway on the current plan, and the map of exclusions that it reads.

    A plan that cannot be served (a model that does not load) is reported, and the one before stays. `problem` is what
    readiness says. Control is only ever touched on a thread of its own: a slow one costs no request anything.
    """

    def __init__(self, control: Control, clock: Clock, meter: Meter, gateway: Gateway | None,
                 exclusions: dict[str, frozenset[str]], make: Callable[[ModelPlan, Clock], Guarded] = build) -> None:
        self._control, self._clock, self._meter, self._gateway, self._make = control, clock, meter, gateway, make
        self._exclusions = exclusions
        self._guards: dict[str, Guarded] = {}
        self._version, self._seen = 0, 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="control")
        self._polling = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self._log = get("incumbent.service.follow")
        self.problem: str | None = "no plan yet" if gateway is not None else None
        self.unservable = False  # the newest plan could not be put to use

    async def publish(self, config: Config) -> None:
        """Publish the plan of a configuration and of the experiments as they stand; a plan that is current already
        stays. Where Control is away the one that it has counts, once it is back."""
        try:
            rows = await self._run(self._control.experiments)
            await self._run(self._control.publish, await self._run(current_plan, config, self._control))
        except StoreError as error:
            self._away(error)
            return
        for name, reason in unservable(config, rows).items():
            self._log.warning("an experiment is not served", experiment=name, reason=reason)

    async def poll(self) -> bool:
        """Look once; True where a new plan is in use. Never raises."""
        async with self._polling:
            try:
                version = await self._run(self._control.plan_version)
                plan = await self._run(self._control.plan) if version != self._version else None
                self._seen, changed = await self._run(self._control.exclusions, self._seen)
            except Exception as error:  # whatever a store does, serving goes on
                return self._away(error)
            self._exclusions.update(changed)
            for user in [user for user, items in changed.items() if not items]:
                self._exclusions.pop(user, None)
            self._meter.set("incumbent_plan_unreachable", 0)
            if plan is None or self._gateway is None:
                return False
            return self._use(plan)

    def _away(self, error: Exception) -> bool:
        self._meter.set("incumbent_plan_unreachable", 1)
        if self._version == 0:
            self.problem = f"no plan yet: {error}"
        self._log.warning("control cannot be reached; serving on", plan_version=self._version, error=str(error))
        return False

    def _use(self, plan: ServingPlan) -> bool:
        assert self._gateway is not None
        try:
            guards = {name: old if (old := self._guards.get(name)) is not None and old.plan == model
                      else self._make(model, self._clock) for name, model in plan.models.items()}
            self._gateway.use(plan, guards)
        except Exception as error:  # a model's own code runs here
            self.problem = f"plan {plan.version} cannot be served: {error}"
            self._log.error("a plan cannot be served; the one before stays", plan_version=plan.version,
                            error=str(error), exc_info=None if isinstance(error, IncumbentError) else error)
            self._version = plan.version
            self.unservable = True
            return False
        gone = [guard for guard in self._guards.values() if guard not in guards.values()]
        self._guards, self._version, self.problem, self.unservable = guards, plan.version, None, False
        self._meter.set("incumbent_plan_version", plan.version)
        if gone:
            leaving = asyncio.get_running_loop().create_task(_close_later(gone))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
        self._log.info("serving by plan", plan_version=plan.version, plan=plan.hash)
        return True

    async def exclude(self, exclusions: list[Exclusion]) -> None:
        """Put exclusions into Control and, once they are there, before this gateway's next request."""
        await self._run(partial(_exclude, self._control, exclusions))
        for user, item, _ in exclusions:
            self._exclusions[user] = self._exclusions.get(user, frozenset()) | {item}

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def close(self) -> None:
        """Close the models and the thread."""
        for task in list(self._leaving):
            task.cancel()
        await _close(self._guards.values())
        self._thread.shutdown(wait=False)


def _exclude(control: Control, exclusions: list[Exclusion]) -> None:
    for user, item, at in exclusions:
        control.exclude(user, item, at)


async def _close_later(guards: list[Guarded]) -> None:
    await asyncio.sleep(GRACE_S)
    await _close(guards)


async def _close(guards: Iterable[Guarded]) -> None:
    for guard in guards:
        try:
            await asyncio.wait_for(guard.recommender.close(), 2.0)
        except Exception as error:  # a model's own clean-up is its own affair
            get("incumbent.service.follow").warning("a model did not close", model=guard.plan.name, error=str(error))
