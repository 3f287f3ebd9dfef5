"""Deterministic simulation: the whole system in one process, on virtual time, with everything going wrong.

Two fronts (gateway and collector) and two loops (all jobs) of the real code share a lake and a Control in memory. One
seed draws the shoppers, the models, the experiment and every fault; equal seeds give equal lakes, to the byte.
`incumbent.testing.invariants` then holds the result against plain recomputations.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.events.ids import EventIds
from incumbent.events.plan import ModelPlan
from incumbent.events.schema import Audit
from incumbent.loop.operate import Operator
from incumbent.loop.plan import build_plan
from incumbent.loop.relations import ArrowEngine, DuckEngine, Engine
from incumbent.models.guard import Guarded
from incumbent.stores.memory_lake import MemoryLake
from incumbent.testing.ledger import Ledger
from incumbent.testing.simulated_chaos import Chaos
from incumbent.testing.simulated_experiment import DAY_S, EXPERIMENT, STORIES, config_tree
from incumbent.testing.simulated_models import Burst, SimulatedModel
from incumbent.testing.simulated_processes import Front, LoopProcess
from incumbent.testing.simulated_reach import reached
from incumbent.testing.simulated_shoppers import Shoppers, Tastes
from incumbent.testing.simulated_stores import SimulatedLog, WatchedControl
from incumbent.testing.virtual_time import VirtualClock, VirtualLoop, run

START = datetime(2026, 3, 2, tzinfo=UTC)
FULL_RATE_S = 5.0  # of model time from one visit to the next
RUSH = 360  # visits of a rush: half an hour at the full rate
_BURSTS = ("error", "hang", "slow", "bad_score", "not_a_list", "empty")


class Settings(Struct, frozen=True):
    """What is simulated; everything else is drawn from the seed."""

    seed: int = 1
    days: float = 14.0
    every_s: float = FULL_RATE_S  # of model time, from one visit to the next
    rushes: int = 0  # half hours at the full rate beside it, while a process crashes or its disk fills up
    users: int = 2_400
    appetite: float = 0.4  # how readily shoppers click and buy
    buckets: int = 2  # of users, in the lake
    faults: bool = True
    engine: str = "arrow"  # of the loops' queries: ``arrow``, or ``duckdb`` as in service

    @property
    def requests(self) -> int:
        """Visits; a few of them ask for more than one page, or twice because a front died."""
        return round(self.days * DAY_S / self.every_s) + RUSH * self.rushes


class Report(Struct, frozen=True):
    """What came of a run."""

    settings: Settings
    violations: tuple[str, ...]
    counts: dict[str, int]
    faults: dict[str, int]
    stages: tuple[str, ...]  # of the experiment, in order
    verdicts: tuple[str, ...]  # of its decisions
    reached: frozenset[str]  # what the run came by, see `simulated_reach`
    slowest_ms: float


class Simulation:
    """One world. `live` runs it on a loop; what it leaves is read by the invariants.

    >>> world = Simulation(Settings(seed=3, days=0.05, every_s=120.0, users=30))
    >>> run(world.live)
    >>> len(world.ledger.answers) >= 30, world.ledger.violations
    (True, [])
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = Ledger()
        self.config = Config(**config_tree(self.rng("experiment"), settings.buckets))
        self.lake, self.control = MemoryLake(settings.buckets), WatchedControl()
        self.logs: list[SimulatedLog] = []
        self.fronts: list[Front] = []
        self.loops: list[LoopProcess] = []
        self.checkpoints: list[Callable[[], None]] = []
        story = self.rng("story").choice(STORIES)
        self.tastes = Tastes(settings.users, story, settings.appetite, self.rng("tastes"))
        self._engine: Engine = ArrowEngine() if settings.engine == "arrow" else DuckEngine(threads=1)
        self._born = 0

    def rng(self, name: str) -> Random:
        """A stream of its own for each part, so that one part's draws do not shift another's."""
        return Random(f"{self.settings.seed}/{name}")

    async def live(self, loop: VirtualLoop) -> None:
        """The whole run: open, let shoppers and faults loose, close the doors, and let the loops finish their work."""
        self.loop, self.clock = loop, VirtualClock(loop, START)
        self.ids = EventIds(self.clock, self.rng("operator ids").randbytes)
        self.operator = Operator(self.control, self.config, self.clock, self.ids)
        pick = self.rng("fronts")
        self.shoppers = Shoppers(loop, self.clock, self.ledger, self.tastes, self.rng("shoppers"), lambda: (
            pick.choice(up) if (up := [front for front in self.fronts if front.alive]) else None))
        with structlog.testing.capture_logs():
            for name in ("front-a", "front-b"):
                await self.start_front(name)
            for name in ("loop-a", "loop-b"):
                self.start_loop(name)
            watch = loop.create_task(self._watch())
            chaos = Chaos(self, self.rng("chaos"))
            rushes = self.rng("rushes").choices(chaos.moments, k=self.settings.rushes)
            beside = [loop.create_task(work) for work in (chaos.reign(), *map(self._rush, rushes))]
            await self._traffic()
            await asyncio.gather(*beside)
            await self._settle()
            watch.cancel()

    # ------------------------------------------------------------------------------------------------------ processes
    def _log(self, name: str, clock: VirtualClock) -> SimulatedLog:
        self._born += 1
        log = SimulatedLog(clock, self.loop, self.rng(f"disk {self._born}"), writer=f"{name}.{self._born}")
        self.logs.append(log)
        return log

    async def start_front(self, name: str) -> None:
        """A front, on a machine whose clock is a little off."""
        clock = VirtualClock(self.loop, START)
        log = self._log(name, clock)
        rng = self.rng(log.writer)
        clock.step(rng.uniform(-0.2, 0.2))
        front = Front(log.writer, clock, log, self.control, self.config, rng, durable=name == "front-a",
                      make=self._model, observe=self.ledger.observe)
        await front.start(self.loop)
        self.fronts = [one for one in self.fronts if one.alive] + [front]

    def start_loop(self, name: str) -> None:
        """A loop process, some minutes behind the other one."""
        clock = VirtualClock(self.loop, START)
        log = self._log(name, clock)
        process = LoopProcess(log.writer, clock, log, self.logs, self.lake, self.control, lambda: self.config,
                              self.rng(log.writer), self._engine, first=name == "loop-a")
        self.loops = [one for one in self.loops if one.alive] + [process]
        self.loop.create_task(process.run()).add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.ledger.violation(f"a loop process failed: {task.exception()!r}")

    def _model(self, plan: ModelPlan, clock: Clock) -> Guarded:
        rng = self.rng(f"model {plan.name} {plan.version} {self.loop.time()}")
        end_s = self.settings.days * DAY_S
        bursts = []
        if self.settings.faults:
            shared = self.rng(f"bursts {plan.name}")
            for _ in range(round(self.settings.days / 4 + 0.5)):
                at = shared.uniform(0, end_s)
                bursts.append(Burst(at, at + shared.uniform(300, 5_400), shared.choice(_BURSTS)))
        model = SimulatedModel(plan.name, self.tastes.lists[plan.name == "new"], bursts, rng, self.ledger.faults)
        return Guarded(plan, model, clock)

    # ---------------------------------------------------------------------------------------------------------- life
    async def _traffic(self) -> None:
        rng = self.rng("traffic")
        visits, users = self.settings.requests - RUSH * self.settings.rushes, self.settings.users
        left = visits
        per_visit = (users - 30) / max(left * 0.9, 1)  # shoppers go on coming, nearly to the end
        while left:
            at_once = min(left, 1 if rng.random() < 0.96 else rng.randrange(2, 6))
            for _ in range(at_once):
                self.shoppers.known = 30 + int(per_visit * (visits - left))
                self.shoppers.start(self.shoppers.visit())
            left -= at_once
            await asyncio.sleep(at_once * self.settings.every_s)

    async def _rush(self, around: float) -> None:
        """Half an hour at the full rate, in the middle of which something breaks."""
        await asyncio.sleep(max(around - RUSH * FULL_RATE_S / 2 - self.loop.time(), 0.0))
        for _ in range(RUSH):
            self.shoppers.start(self.shoppers.visit())
            await asyncio.sleep(FULL_RATE_S)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(DAY_S / 2)
            for look in self.checkpoints:
                look()

    def reconfigure(self, **changes: Any) -> None:
        """Change the configuration and publish its plan, as a deployment does."""
        self.config = Config(**{**self.config.model_dump(mode="json"), **changes})
        self.ledger.delist(self.config.delisted, self.loop.time())
        self.control.publish(build_plan(self.config, self.control.experiments()))

    async def erase(self, user: str) -> None:
        """A shopper asks to be forgotten: no more comes from them, and what is on its way has two seconds to arrive."""
        self.ledger.erase(user)
        await asyncio.sleep(2.0)
        for log in self.logs:
            log.erase([user])
        self.lake.erase([user])
        name = hashlib.blake2b(user.encode(), digest_size=8).hexdigest()
        self.control.erase([user], Audit(
            event_id=self.ids.new(), time=self.clock.now(), actor="privacy", action="user.erase",
            subject=f"user:{name}", reason="asked for it"))

    async def _settle(self) -> None:
        """The loops die, disks are well again, late feedback arrives; a new loop works until nothing is left to do."""
        for process in self.loops:
            process.kill()
        for log in self.logs:
            log.full = False
        until = self.loop.time() + 10 * DAY_S
        while self.shoppers.on_their_way and self.loop.time() < until:  # noqa: ASYNC110  time only passes here
            await asyncio.sleep(600.0)
        if self.shoppers.on_their_way:
            self.ledger.violation(f"{self.shoppers.on_their_way} batches were never acknowledged")
        await asyncio.sleep(2 * self.config.loop.lease_s)
        self.start_loop("loop-c")
        last = self.loops[-1]
        before = b""
        for _ in range(10):
            last.everything()
            await asyncio.sleep(60.0)
            after = self.fingerprint_control()
            if after == before:
                break
            before = after
        else:
            self.ledger.violation("the loops do not come to rest")
        for process in self.loops:
            process.alive = False

    # ------------------------------------------------------------------------------------------------------- results
    def fingerprint_control(self) -> bytes:
        """A digest of everything that is measured and decided, but for leases and the time of the last look."""
        control = self.control
        parts = (sorted(control._states), [sorted(shard.items()) for _, shard in sorted(control._states.items())],
                 control._plans, sorted(control._conclusions.items()), sorted(control._experiments.items()),
                 sorted(control._seals.items()), control._matured, control._restated,
                 sorted(control._exclusions.items()), sorted(control._outbox))
        return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=16).digest()

    def fingerprint(self) -> str:
        """A digest of the whole lake and of Control: equal runs, equal digests."""
        digest = hashlib.blake2b(self.fingerprint_control(), digest_size=16)
        for table in ("impression", "feedback", "outcome", "conclusion", "quarantine"):
            rows = self.lake.scan(table).to_pylist()
            for row in sorted(msgspec.json.encode(row, order="sorted") for row in rows):
                digest.update(row)
        return digest.hexdigest()

    def report(self) -> Report:
        """The counts of the run."""
        decisions = self.control.conclusions("decision", EXPERIMENT, 1_000)[::-1]
        return Report(
            self.settings, tuple(self.ledger.violations), dict(self.ledger.counts), dict(self.ledger.faults),
            tuple(change.stage for change in self.control.stages(EXPERIMENT)),
            tuple(getattr(one, "verdict", "") for one in decisions), reached(self), self.ledger.slowest_ms)


def simulate(settings: Settings) -> Simulation:
    """Run one world to its end, and hold it against every invariant."""
    from incumbent.testing import invariants  # which reads what stands here

    world = Simulation(settings)
    world.checkpoints.append(invariants.SealWatch(world))
    with _little_collecting():
        run(world.live)
        for look in world.checkpoints:
            look()
        invariants.check(world)
    return world


@contextmanager
def _little_collecting() -> Iterator[None]:
    """Some million objects that all live on: the collector of cycles would walk over them again and again."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()

