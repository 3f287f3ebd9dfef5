"""The processes of a simulated system: fronts (gateway and collector) and loops (all jobs), each able to die."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from random import Random
from typing import Any

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.events.ids import EventIds, Signer
from incumbent.events.plan import ModelPlan
from incumbent.events.schema import Impression
from incumbent.loop.act import Actor
from incumbent.loop.attribute import Attributor
from incumbent.loop.decide import Decider
from incumbent.loop.definitions import definitions
from incumbent.loop.ingest import Ingest
from incumbent.loop.mature import Maturer
from incumbent.loop.plan import build_plan
from incumbent.loop.relations import Engine
from incumbent.loop.rollup import Rollup
from incumbent.loop.schedule import Job, Scheduler
from incumbent.loop.seal import Sealer
from incumbent.loop.serve import Gateway
from incumbent.models.guard import Guarded
from incumbent.service.follow import Follower
from incumbent.service.metrics import Meter
from incumbent.stores.memory_lake import MemoryLake
from incumbent.testing.faults import Crash
from incumbent.testing.simulated_stores import Fuse, Fused, Inboxes, SimulatedLog, WatchedControl
from incumbent.testing.virtual_time import VirtualClock, VirtualLoop

POLL_S = 1.0  # how often a front looks for a new plan and new exclusions
SECRET = b"simulation"


class Front:
    """One gateway and collector: the real ones, on a clock and a log of their own, following Control once a second.

    `polled` only when something changed: a poll that finds nothing new is left out, at no difference but speed.
    """

    def __init__(
        self, name: str, clock: VirtualClock, log: SimulatedLog, control: WatchedControl, config: Config, rng: Random,
        *, durable: bool, make: Callable[[ModelPlan, Clock], Guarded], observe: Callable[[Impression], None],
    ) -> None:
        self.name, self.clock, self.log, self.durable = name, clock, log, durable
        self.alive = True
        self.died_at = math.inf
        self.exclusions: dict[str, frozenset[str]] = {}
        ids = EventIds(clock, rng.randbytes)
        self.gateway = Gateway(log, clock=clock, ids=ids, signer=Signer(SECRET), durable=durable,
                               limits=config.limits, exclusions=self.exclusions, observe=observe)
        self._follower = Follower(control, clock, Meter(None, name, clock), self.gateway, self.exclusions, make)
        self.ingest = Ingest(log, clock=clock, ids=ids, signer=Signer(SECRET), limits=config.limits,
                             exclude=self._follower.exclude)
        self._control, self._config = control, config
        self._phase = rng.uniform(0, POLL_S)
        self._due = -1.0
        self._polls: set[asyncio.Task[bool]] = set()

    async def start(self, loop: VirtualLoop) -> None:
        """Publish the configuration's plan, and serve by whatever is in force."""
        self._loop = loop
        self._control.followers.append(self.changed)
        await self._follower.publish(self._config)
        await self._follower.poll()

    def changed(self) -> None:
        """Control has something new: it is seen at the next tick of this front."""
        now = self._loop.time()
        due = (math.floor((now - self._phase) / POLL_S) + 1) * POLL_S + self._phase
        if self._due <= now:
            self._due = due
            self._loop.call_at(due, self._poll)

    def _poll(self) -> None:
        if self.alive:
            task = self._loop.create_task(self._follower.poll())
            self._polls.add(task)
            task.add_done_callback(self._polls.discard)

    def kill(self) -> list[str]:
        """End without warning; the event ids of what was not synced yet."""
        lost = [record.event_id for records, _ in self.log._waiting for record in records]
        self.alive, self.died_at = False, self._loop.time()
        self._control.followers.remove(self.changed)
        self.log.crash()
        return lost


class LoopProcess:
    """All jobs of a loop, the real ones, under leases; it dies where its fuse says so.

    Of two loops each measures and decides every other time, so that what one leaves undone the other finds.
    """

    def __init__(
        self, name: str, clock: VirtualClock, log: SimulatedLog, logs: list[SimulatedLog], lake: MemoryLake,
        control: WatchedControl, config: Callable[[], Config], rng: Random, engine: Engine, *, first: bool,
    ) -> None:
        self.name, self.clock, self.log, self.fuse = name, clock, log, Fuse()
        self.alive = True
        held: Any = Fused(control, self.fuse)
        kept: Any = Fused(lake, self.fuse)
        inboxes: Any = Fused(Inboxes(log, logs), self.fuse)
        timing = config().loop
        common: dict[str, Any] = {"holder": name, "lease_s": timing.lease_s}
        known = lambda: definitions(held, config())  # noqa: E731
        self.sealer = Sealer(inboxes, kept, held, clock, limit=2_000, **common)
        self.attributor = Attributor(kept, held, clock, known, engine=engine, **common)
        self.maturer = Maturer(kept, held, clock, engine=engine, **common,
                               grace_s=timing.seal_s + timing.attribute_s / 2)
        self.rollup = Rollup(kept, held, clock, known, **common)
        self.decider = Decider(kept, held, clock, EventIds(clock, rng.randbytes), **common)
        self.actor = Actor(held, inboxes, clock, lambda: build_plan(config(), held.experiments()), sinks=(), **common)
        self._lake = kept
        soon, later = (60.0, 0.0) if first else (420.0, timing.attribute_s / 2)
        self.scheduler = Scheduler([
            Job("seal", self.sealer.run_once, timing.seal_s, first_s=soon),
            Job("measure", self.measure, timing.attribute_s, first_s=soon + later),
            Job("decide", self.decider.run_once, timing.decide_s, first_s=soon + later),
            Job("act", self.actor.run_once, timing.act_s, first_s=soon),
            Job("house", self.keep_house, timing.compact_s, first_s=soon + timing.compact_s),
        ], clock)

    def measure(self) -> None:
        """Outcomes, then matured units, then states."""
        self.attributor.run_once()
        self.maturer.run_once()
        self.rollup.run_once()

    def keep_house(self) -> None:
        """Merge what the seals left in small pieces."""
        self._lake.compact(self.clock.now())

    def everything(self) -> None:
        """Every job once, in the order in which the data meets them."""
        for name in ("seal", "measure", "decide", "act"):
            self.scheduler.run_now(name)

    async def run(self) -> None:
        """Do what is due until the process dies."""
        while self.alive:
            due = min(status.due for status in self.scheduler.status())
            await asyncio.sleep(max(due - self.clock.monotonic(), 0.001))
            try:
                if self.alive:
                    self.scheduler.tick()
            except Crash:
                self.kill()

    def kill(self) -> None:
        """End without warning; leases that it holds run out by themselves."""
        self.alive = False
        self.fuse.blown = True
        self.log.crash()
