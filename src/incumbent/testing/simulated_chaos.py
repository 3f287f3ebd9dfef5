"""What happens to a simulated system: crashes, full disks, stepped clocks, deployments, operators, erasures."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

from incumbent.errors import ConflictError, NotFoundError
from incumbent.testing.simulated_shoppers import CATALOGUE

if TYPE_CHECKING:
    from incumbent.testing.simulated_processes import Front, LoopProcess
    from incumbent.testing.simulation import Simulation

DAY_S = 86_400.0
#: what happens, and how often a model day
RATES = {
    "front crash": 0.6, "loop crash": 0.8, "disk full": 0.6, "store refusal": 0.5, "clock step": 0.5,
    "delisting": 0.5, "pin": 0.2, "model version": 0.2, "hold": 0.1, "erasure": 0.25,
}
_BY_HAND = (("promote", 0.25), ("roll_back", 0.1), ("discard", 0.1))  # once, in some runs, in the last third


class Chaos:
    """Draws a timetable of events from its generator and carries it out."""

    def __init__(self, world: Simulation, rng: Random) -> None:
        self._world, self._rng = world, rng
        end = world.settings.days * DAY_S
        happens = RATES if world.settings.faults else {}
        self._plan = [(min(0.05 * DAY_S, end / 4), "start"), *(
            (rng.uniform(0, end), what) for what, rate in happens.items()
            for _ in range(int(rate * world.settings.days + rng.random())))]
        drawn, by_hand = rng.random(), 0.0
        for step, chance in _BY_HAND:
            by_hand += chance
            if world.settings.faults and drawn < by_hand:
                self._plan.append((rng.uniform(0.66, 0.95) * end, step))
                break
        self._plan.sort()

    @property
    def moments(self) -> list[float]:
        """When a front dies or a disk fills up; else, when anything happens."""
        severe = [at for at, what in self._plan if what in ("front crash", "disk full")]
        return severe or [at for at, _ in self._plan]

    async def reign(self) -> None:
        """Carry the timetable out; what takes time does so beside the rest."""
        doings = []
        for at, what in self._plan:
            await asyncio.sleep(max(at - self._world.loop.time(), 0.0))
            self._world.ledger.faults[what] += 1
            doings.append(self._world.loop.create_task(getattr(self, "_" + what.replace(" ", "_"))()))
        await asyncio.gather(*doings)

    # ---------------------------------------------------------------------------------------------------- processes
    async def _front_crash(self) -> None:
        """A front dies and comes back, on a new inbox."""
        world, rng = self._world, self._rng
        front = rng.choice(world.fronts)
        if not front.alive:
            return
        for event_id in front.kill():
            answer = world.ledger.answers.get(event_id)
            if answer is not None and not answer.durable:  # the stated loss window of bounded delay
                world.ledger.counts["lost in the loss window"] += 1
                del world.ledger.answers[event_id]
                world.ledger.made.add(event_id)
        world.ledger.deaths[front.name] = front.died_at
        await asyncio.sleep(rng.choice([0.5, 20.0, 600.0]))
        await world.start_front(front.name.partition(".")[0])

    async def _loop_crash(self) -> None:
        """A loop dies at one of its next steps in the stores: between append and seal, commit and release, ..."""
        world, rng = self._world, self._rng
        process = rng.choice(world.loops)
        if not process.alive or process.fuse.armed:
            return
        process.fuse.arm(rng.choice([rng.randrange(1, 12), rng.randrange(12, 120)]), rng.choice(["before", "after"]))
        for _ in range(2_000):  # a step that never comes is no crash
            await asyncio.sleep(600.0)
            if not process.alive:
                world.ledger.faults["loop died in mid-step"] += 1
                break
            if world.loop.time() > world.settings.days * DAY_S:
                process.kill()
                break
        await asyncio.sleep(rng.choice([5.0, 900.0, 7_200.0]))
        world.start_loop(process.name.partition(".")[0])

    async def _store_refusal(self) -> None:
        """Lake, Control or inbox refuses one step of a loop."""
        process = self._rng.choice(self._world.loops)
        if process.alive and not process.fuse.armed:
            process.fuse.arm(self._rng.randrange(1, 60), "refuse")

    async def _disk_full(self) -> None:
        """One process's disk takes nothing for a while."""
        world, rng = self._world, self._rng
        everyone: list[Front | LoopProcess] = [*world.fronts, *world.loops]
        process = rng.choice(everyone)
        process.log.full = True
        await asyncio.sleep(rng.choice([3.0, 120.0, 3_600.0]))
        process.log.full = False

    async def _clock_step(self) -> None:
        """One machine's clock is set back, or forward; half an hour later it is right again."""
        world, rng = self._world, self._rng
        everyone: list[Front | LoopProcess] = [*world.fronts, *world.loops]
        process = rng.choice(everyone)
        seconds = rng.choice([-1.0, -45.0, -150.0, 20.0])
        process.clock.step(seconds)
        await asyncio.sleep(1_800.0)
        process.clock.step(-seconds)

    # ------------------------------------------------------------------------------------------------------- people
    async def _start(self) -> None:
        self._world.operator.start("e1", actor="ada", reason="a better model")

    async def _delisting(self) -> None:
        """Some items are no longer for sale; others come back."""
        gone = self._rng.sample(CATALOGUE, self._rng.randrange(0, 4))
        self._world.reconfigure(delisted=gone)

    async def _pin(self) -> None:
        world, rng = self._world, self._rng
        tree = world.config.model_dump(mode="json")["surfaces"]
        pins = [{"position": rng.randrange(1, 6), "item_id": rng.choice(CATALOGUE)}] if rng.random() < 0.7 else []
        world.reconfigure(surfaces={**tree, "home": {**tree["home"], "pinned": pins}})

    async def _model_version(self) -> None:
        world = self._world
        tree = world.config.model_dump(mode="json")["models"]
        name = self._rng.choice(["old", "new"])
        version = str(int(tree[name]["version"]) + 1)
        world.reconfigure(models={**tree, name: {**tree[name], "version": version}})

    async def _hold(self) -> None:
        """Somebody holds the experiment for half a day."""
        if await self._by_hand("hold"):
            await asyncio.sleep(DAY_S / 2)
            await self._by_hand("resume")

    async def _promote(self) -> None:
        await self._by_hand("promote")

    async def _roll_back(self) -> None:
        await self._by_hand("roll_back")

    async def _discard(self) -> None:
        await self._by_hand("discard")

    async def _by_hand(self, step: str) -> bool:
        try:
            getattr(self._world.operator, step)("e1", actor="bob", reason="because it is Tuesday")
        except (ConflictError, NotFoundError):  # not in this stage
            return False
        return True

    async def _erasure(self) -> None:
        world = self._world
        await world.erase(self._rng.choice(world.tastes.users[: 40]))
