import asyncio
from datetime import UTC, datetime

import pytest

from incumbent.clock import ManualClock, SystemClock
from incumbent.config import Config
from incumbent.errors import ConfigError, StoreError
from incumbent.events.ids import EventIds, Signer
from incumbent.loop.plan import build_plan
from incumbent.loop.requests import RecommendationRequest
from incumbent.loop.serve import Gateway
from incumbent.models.guard import Guarded
from incumbent.service.follow import Follower
from incumbent.service.health import ClockWatch
from incumbent.service.metrics import Meter
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_log import MemoryLog
from incumbent.testing.gateway import Scripted

T0 = datetime(2026, 3, 1, tzinfo=UTC)


class Flaky(MemoryControl):
    """A Control that is away while `away` is set."""

    away = False

    def plan_version(self):
        if self.away:
            raise StoreError("the database is away")
        return super().plan_version()

    def exclude(self, *arguments, **options):
        if self.away:
            raise StoreError("the database is away")
        return super().exclude(*arguments, **options)

    def experiments(self):
        if self.away:
            raise StoreError("the database is away")
        return super().experiments()


def config(champion="a", **models):
    names = {"a": "m:a", "b": "m:b", **models}
    return Config(models={name: {"target": target} for name, target in names.items()},
                  surfaces={"home": {"champion": champion, "deadline_ms": 5000}})


class Held:
    def __init__(self):
        self.control, self.clock, self.made, self.closed = Flaky(), SystemClock(), [], []
        self.meter, self.exclusions = Meter(None, "front", self.clock), {}
        self.gateway = Gateway(MemoryLog(self.clock), clock=self.clock, ids=EventIds(self.clock), signer=Signer(b"s"),
                               exclusions=self.exclusions)
        self.follower = Follower(self.control, self.clock, self.meter, self.gateway, self.exclusions, self.make)

    def make(self, plan, clock):
        if plan.target == "m:broken":
            raise ConfigError("model does not load", got=plan.target)
        self.made.append(plan.name)
        model = Scripted([f"{plan.name}1", f"{plan.name}2"])
        model.close = lambda: self._close(plan.name)
        return Guarded(plan, model, clock)

    async def _close(self, name):
        self.closed.append(name)

    async def items(self, user="u"):
        answer = await self.gateway.recommend(RecommendationRequest(surface="home", user_id=user, k=5))
        return [item.item_id for item in answer.items]


def run(story):
    asyncio.run(story(Held()))


def test_a_new_plan_is_used_and_models_that_stay_are_kept(monkeypatch):
    monkeypatch.setattr("incumbent.service.follow.GRACE_S", 0.01)

    async def story(held):
        assert held.follower.problem == "no plan yet"
        held.control.publish(build_plan(config()))
        assert await held.follower.poll() and held.follower.problem is None
        assert await held.items() == ["a1", "a2"] and held.made == ["a", "b"]
        assert not await held.follower.poll()
        held.control.publish(build_plan(config("b", a="m:other")))
        assert await held.follower.poll()
        assert await held.items() == ["b1", "b2"] and held.made == ["a", "b", "a"]
        await asyncio.sleep(0.1)
        assert held.closed == ["a"]
        await held.follower.close()
        assert held.closed == ["a", "a", "b"]

    run(story)


def test_while_control_is_away_the_last_plan_serves_on():
    async def story(held):
        held.control.publish(build_plan(config()))
        await held.follower.poll()
        held.control.away = True
        assert not await held.follower.poll()
        assert await held.items() == ["a1", "a2"] and held.follower.problem is None
        assert b"incumbent_plan_unreachable 1.0" in held.meter.expose()
        held.control.away = False
        held.control.publish(build_plan(config("b")))
        assert await held.follower.poll() and await held.items() == ["b1", "b2"]
        assert b"incumbent_plan_unreachable 0.0" in held.meter.expose()

    run(story)


def test_before_any_plan_it_says_why():
    async def story(held):
        held.control.away = True
        await held.follower.publish(config())
        assert not await held.follower.poll()
        assert "the database is away" in held.follower.problem and not held.follower.unservable

    run(story)


def test_a_plan_that_cannot_be_served_leaves_the_one_before():
    async def story(held):
        held.control.publish(build_plan(config()))
        await held.follower.poll()
        held.control.publish(build_plan(config("b", b="m:broken")))
        assert not await held.follower.poll()
        assert await held.items() == ["a1", "a2"]
        assert "plan 2 cannot be served: model does not load" in held.follower.problem and held.follower.unservable
        held.control.publish(build_plan(config("b")))
        assert await held.follower.poll() and held.follower.problem is None and not held.follower.unservable

    run(story)


def test_exclusions_hold_here_at_once_and_come_from_elsewhere():
    async def story(held):
        held.control.publish(build_plan(config()))
        await held.follower.poll()
        await held.follower.exclude([("u", "a1", T0)])
        assert await held.items() == ["a2"]
        held.control.exclude("v", "a2", T0)
        await held.follower.poll()
        assert await held.items("v") == ["a1"] and await held.items("w") == ["a1", "a2"]
        held.control.exclude("u", "a1", T0, excluded=False)
        await held.follower.poll()
        assert await held.items() == ["a1", "a2"] and "u" not in held.exclusions

    run(story)


def test_an_exclusion_that_cannot_be_kept_is_none():
    async def story(held):
        held.control.away = True
        with pytest.raises(StoreError):
            await held.follower.exclude([("u", "a1", T0)])
        assert held.exclusions == {}

    run(story)


def test_a_clock_that_steps_back_is_counted_and_told():
    clock = ManualClock(T0)
    meter = Meter(None, "front", clock)
    watch = ClockWatch(clock, meter)
    clock.advance(5)
    assert watch.look() is None
    clock.advance(-3600)
    assert watch.look().total_seconds() == 3600
    clock.advance(1)
    assert watch.look() is None
    assert b"incumbent_clock_steps_total 1.0" in meter.expose()
