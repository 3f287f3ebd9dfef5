"""Follow Control: the newest plan and exclusions, polled every second; the last ones stay where Control is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.errors import IncumbentError, StoreError
from incumbent.events.plan import ServingPlan
from incumbent.logs import get
from incumbent.loop.catalogue import current_plan
from incumbent.loop.ingest import Exclusion
from incumbent.loop.plan import unservable
from incumbent.loop.serve import PLANS_KEPT, Gateway
from incumbent.loop.shoppers import Change, Kind, Shoppers
from incumbent.models.guard import Guarded, build
from incumbent.service.health import Told
from incumbent.service.loading import Make, Models
from incumbent.service.metrics import Meter
from incumbent.stores.store import Control

RETRY_S, RETRY_MOST_S = 1.0, 60.0  # a plan that cannot be served is tried again: soon, then ever more rarely
PATIENCE_S = 0.4  # a look waits so long for the models of a new plan: most are there then
SLOW_S = 5.0  # models that take longer than this to load are a problem that is told
T = TypeVar("T")


class Follower:
    """Keeps one gateway on the current plan, and the map of exclusions that it reads.

    A plan that cannot be served (a model that does not load) is told and tried again, and the one before stays; so it
    does while models are loaded, which goes on in the background: exclusions are followed meanwhile, and a newer plan
    takes the place of one that is loading. `problem` is what metrics and the page say, `unready` readiness. Control is
    only ever touched on a thread of its own, and models are loaded on others: a slow one costs no request anything.
    """

    def __init__(self, control: Control, clock: Clock, meter: Meter, gateway: Gateway | None,
                 exclusions: dict[str, frozenset[str]], make: Make = build, shoppers: Shoppers | None = None) -> None:
        self._shoppers = shoppers or Shoppers()
        self._control, self._meter, self._gateway, self._exclusions = control, meter, gateway, exclusions
        self._monotonic = clock.monotonic
        self._models = Models(clock, make)
        self._version, self._seen = 0, 0  # of the newest plan, in use or not; of the exclusions
        self._pending: tuple[ServingPlan, Sequence[ServingPlan]] | None = None  # the newest, where it is not in use
        self._loading: asyncio.Task[None] | None = None
        self._since_s = self._again_s = self._wait_s = 0.0
        self._fresh = False
        self._told: set[str] = set()  # what was logged and is so still
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="control")
        self._polling = asyncio.Lock()
        self._log = get("incumbent.service.follow")
        self.problem: str | None = None
        self.unservable = False  # whether the newest plan could not be put to use
        self._starting = False
        self._report("no plan yet" if gateway is not None else None)

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

    async def start(self) -> None:
        """Follow until the newest plan is in use or refused; at once where there is none or Control is away."""
        self._starting = True
        await self.poll()
        while (loading := self._loading) is not None:
            if not (await asyncio.wait({loading}, timeout=PATIENCE_S))[0]:
                await self.poll()
        self._starting = self._fresh = False

    async def poll(self) -> bool:
        """Look once; True where a new plan came into use since the last look. Never raises.

        It waits for a load that it begins, but not for long: later looks find it done.
        """
        async with self._polling:
            plans = await self._look()
            loading = self._next(plans) if self._gateway is not None else None
        if loading is not None:
            await asyncio.wait({loading}, timeout=PATIENCE_S)
        self._tell_slow()
        fresh, self._fresh = self._fresh, False
        return fresh

    async def _look(self) -> list[ServingPlan]:
        """Take over what changed of the exclusions; the plans since the last look."""
        try:
            plans = await self._run(self._newer)
            forgotten, (self._seen, changed), also = await self._run(self._excluded)
        except Exception as error:  # whatever a store does, serving goes on
            self._away(error)
            return []
        if forgotten:
            self._exclusions.clear()
        self._shoppers.take(also)
        self._back(changed)
        return plans

    @property
    def unready(self) -> str | None:
        """The problem as readiness takes it: while a plan loads and the one before serves on, it is told and no more;
        a balancer that took such gateways out would close the shop over a model that takes long to start."""
        serving = self._gateway is not None and self._gateway.plan is not None
        if self.problem is not None and self._loading is not None and serving and not self.unservable:
            return Told(self.problem)
        return self.problem

    def _next(self, plans: list[ServingPlan]) -> asyncio.Task[None] | None:
        """Begin to load the newest plan, or the one that was refused where its time has come."""
        if plans:
            earlier = [*self._pending[1], self._pending[0]] if self._pending is not None else []
            self._version, self._wait_s, self.unservable = plans[-1].version, RETRY_S, False
            self._pending = plans[-1], [*earlier, *plans[:-1]][-PLANS_KEPT:]
        elif self._pending is None or self._loading is not None or self._monotonic() < self._again_s:
            return None
        assert self._pending is not None
        if self._loading is None:
            self._since_s = self._monotonic()
        else:
            self._loading.cancel()
        self._loading = asyncio.get_running_loop().create_task(self._use(*self._pending))
        return self._loading

    def _tell_slow(self) -> None:
        if self._loading is None or self._pending is None or self._monotonic() - self._since_s < SLOW_S:
            return
        version, model = self._pending[0].version, self._models.awaited
        problem = f"plan {version} is loading" + (f": model {model!r} takes long" if model else "") + self._serving()
        if problem != self.problem:
            self._log.warning("a plan takes long to load", plan_version=version, model=model)
        self._report(problem)

    def _newer(self) -> list[ServingPlan]:
        """The plans since the last look, the newest last; at first, those that cursors may name. In a thread."""
        version = self._control.plan_version()
        if version == self._version:
            return []
        plans = self._control.plan_history(max(1, min(PLANS_KEPT, version - self._version)))
        for plan in plans:
            _ = plan.hash  # made here, where it is not carried: it takes a while over a large catalogue
        return plans

    def _excluded(self) -> tuple[bool, tuple[int, Any], Change]:
        """What changed of the exclusions; all of them, and True, where a shopper was forgotten since. In a thread."""
        found = self._control.exclusions(self._seen)
        changed = found[0] != self._seen
        whole = changed and self._control.forgotten() > self._seen
        also = self._shoppers.look(self._control, 0 if whole else self._seen, changed=changed, whole=whole)
        return whole, self._control.exclusions() if whole else found, also

    def _back(self, changed: Any) -> None:
        """Control answers: note what changed."""
        self._told.discard("away")
        self._exclusions.update(changed)
        for user in [user for user, items in changed.items() if not items]:
            self._exclusions.pop(user, None)
        self._meter.set("incumbent_plan_unreachable", 0)

    def _away(self, error: Exception) -> None:
        self._meter.set("incumbent_plan_unreachable", 1)
        if self._version == 0:
            self._report(f"no plan yet: {error}")
        if "away" not in self._told:
            self._log.warning("control cannot be reached; serving on", plan_version=self._version, error=str(error))
            self._told.add("away")

    async def _use(self, plan: ServingPlan, history: Sequence[ServingPlan]) -> None:
        """Load a plan and serve by it. Runs in the background; cancelled where a newer plan is there."""
        assert self._gateway is not None
        try:
            guards = await self._models.load(plan.models)
            self._put(self._gateway, plan, guards, history)
        except Exception as error:  # a model's own code runs here
            self._refuse(plan, error)
        else:
            self._models.use(guards)
            self._pending, self.unservable, self._fresh = None, False, True
            self._report(None)
            self._meter.set("incumbent_plan_version", plan.version)
            self._log.info("serving by plan", plan_version=plan.version, plan=plan.hash)
        self._loading = None

    def _put(self, gateway: Gateway, plan: ServingPlan, guards: dict[str, Guarded],
             history: Sequence[ServingPlan]) -> None:
        try:
            gateway.use(plan, guards, history)
        except IncumbentError as error:
            if not history:
                raise
            gateway.use(plan, guards)  # an old plan that nothing here can serve any more must not keep a new one away
            self._log.warning("rankings of earlier plans are not continued", plan_version=plan.version,
                              error=str(error))

    def _refuse(self, plan: ServingPlan, error: Exception) -> None:
        self.unservable = True
        self._again_s, self._wait_s = self._monotonic() + self._wait_s, min(2 * self._wait_s, RETRY_MOST_S)
        problem = f"plan {plan.version} cannot be served: {error}{self._serving()}"
        starting = self._starting and isinstance(error, IncumbentError)  # who starts it says so
        if problem != self.problem and not starting:
            self._log.error("a plan cannot be served; it is tried again, and the one before stays",
                            plan_version=plan.version, error=str(error),
                            exc_info=None if isinstance(error, IncumbentError) else error)
        self._report(problem)

    def _serving(self) -> str:
        used = self._gateway.plan if self._gateway is not None else None
        return f" (plan {used.version} serves on)" if used is not None else ""

    def _report(self, problem: str | None) -> None:
        self.problem = problem
        self._meter.problems("plan", [] if problem is None else [problem])

    async def exclude(self, exclusions: list[Exclusion]) -> None:
        """Put exclusions into Control by their times, so that none overrides what is newer, and take over what stands
        then before this gateway's next request."""
        self._back(await self._run(self._exclude, exclusions))

    async def set_exclusion(self, user: str, kind: Kind, value: str, at: datetime, *, excluded: bool) -> None:
        """Put one exclusion of any kind into Control, or take it back; it holds before this gateway's next request."""
        await self._run(partial(self._control.exclude, user, value, at, excluded=excluded, kind=kind))
        if kind != "item":
            self._shoppers.take(await self._run(partial(self._shoppers.look, self._control, self._seen, changed=True)))
            return
        items = self._exclusions.get(user, frozenset())
        self._exclusions[user] = items | {value} if excluded else items - {value}
        if not self._exclusions[user]:
            del self._exclusions[user]

    def excluded(self, user: str) -> dict[str, list[str]]:
        """Everything that a user (id as logged) excludes, as it holds here."""
        return {"items": sorted(self._exclusions.get(user, ())), "categories": list(self._shoppers.categories(user)),
                "events": list(self._shoppers.events(user))}

    def _exclude(self, exclusions: list[Exclusion]) -> Mapping[str, frozenset[str]]:
        """Exclude; what then stands of everybody whose exclusions changed since the last look. In a thread."""
        for user, item, at in exclusions:
            self._control.exclude(user, item, at, late=True)
        return self._control.exclusions(self._seen)[1]

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def close(self) -> None:
        """Close the models and the threads; a load that is under way is given up."""
        if self._loading is not None:
            self._loading.cancel()
        await self._models.close()
        self._thread.shutdown(wait=False)
