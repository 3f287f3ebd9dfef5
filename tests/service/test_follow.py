import asyncio
import subprocess
import sys
import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest
from structlog.testing import capture_logs

from incumbent.clock import ManualClock, SystemClock
from incumbent.config import Config
from incumbent.errors import ConfigError, StoreError
from incumbent.events.ids import EventIds, Signer
from incumbent.events.plan import ExperimentPlan, SurfacePlan
from incumbent.loop.plan import build_plan
from incumbent.loop.requests import RecommendationRequest
from incumbent.loop.serve import Gateway
from incumbent.models.guard import Guarded
from incumbent.service import health
from incumbent.service.follow import Follower
from incumbent.service.health import ClockWatch
from incumbent.service.metrics import Meter
from incumbent.stores.embedded import open_stores
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_log import MemoryLog
from incumbent.testing.gateway import Scripted

T0 = datetime(2026, 3, 1, tzinfo=UTC)


class Timer(SystemClock):
    """A clock whose monotonic side stands where a test puts it."""

    elapsed_s = 0.0

    def monotonic(self):
        return self.elapsed_s


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
    def __init__(self, control=None):
        self.control, self.clock, self.made, self.closed = control or Flaky(), Timer(), [], []
        self.broken = {"m:broken"}
        self.meter, self.exclusions = Meter(None, "front", self.clock), {}
        self.gateway = Gateway(MemoryLog(self.clock), clock=self.clock, ids=EventIds(self.clock), signer=Signer(b"s"),
                               exclusions=self.exclusions)
        self.follower = Follower(self.control, self.clock, self.meter, self.gateway, self.exclusions, self.make)

    def make(self, plan, clock):
        if plan.target in self.broken:
            raise ConfigError("model does not load", got=plan.target)
        self.made.append(plan.name)
        model = Scripted([f"{plan.name}1", f"{plan.name}2"])
        model.close = lambda: self._close(plan.name)
        return Guarded(plan, model, clock)

    async def _close(self, name):
        self.closed.append(name)

    async def page(self, **changes):
        asked = {"surface": "home", "user_id": "u", "k": 1, **changes}
        return await self.gateway.recommend(RecommendationRequest(**asked))

    async def items(self, user="u"):
        answer = await self.page(user_id=user, k=5)
        return [item.item_id for item in answer.items]


def run(story):
    asyncio.run(story(Held()))


def test_a_new_plan_is_used_and_models_that_stay_are_kept(monkeypatch):
    monkeypatch.setattr("incumbent.service.loading.GRACE_S", 0.01)
    monkeypatch.setattr("incumbent.service.loading.MARGIN_S", -0.09)

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


def test_a_plan_whose_model_comes_later_is_tried_again_ever_more_rarely():
    async def story(held):
        held.control.publish(build_plan(config("b", b="m:broken")))
        tried = []
        make = held.make

        def noted(plan, clock):
            tried.append((plan.name, clock.elapsed_s))
            return make(plan, clock)

        held.follower._models._make = noted
        for _ in range(1300):  # ten minutes of polls, half a second apart
            assert not await held.follower.poll()
            held.clock.elapsed_s += 0.5
        broken = [at for name, at in tried if name == "b"]
        assert broken[:9] == [0, 1, 3, 7, 15, 31, 63, 123, 183]
        assert held.made == ["a"]  # what did load is kept
        held.broken.clear()
        held.clock.elapsed_s += 60
        assert await held.follower.poll() and held.follower.problem is None and not held.follower.unservable
        assert await held.items() == ["b1", "b2"]

    run(story)


def test_a_model_whose_file_comes_later_is_served(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    async def story(held):
        clock = Timer()
        follower = Follower(held.control, clock, held.meter, held.gateway, {})
        held.control.publish(build_plan(config(a="comes_later:model", b="comes_later:model")))
        assert not await follower.poll() and "No module named 'comes_later'" in follower.problem
        (tmp_path / "comes_later.py").write_text("async def model(request, k):\n    return [('late', 1.0)]\n")
        clock.elapsed_s = 2.0
        assert await follower.poll() and await held.items() == ["late"]
        await follower.close()

    run(story)


def test_a_problem_is_logged_once_for_as_long_as_it_is_the_same():
    async def story(held):
        with capture_logs() as lines:
            def said():
                return [line["event"] for line in lines if line["log_level"] != "info"]

            held.control.publish(build_plan(config("b", b="m:broken")))
            for _ in range(100):
                await held.follower.poll()
                held.clock.elapsed_s += 1
            assert len(said()) == 1, said()
            held.control.publish(build_plan(config("a", a="m:broken")))
            await held.follower.poll()
            assert len(said()) == 2
            held.control.away = True
            for _ in range(10):
                await held.follower.poll()
            assert len(said()) == 3
            held.control.away = False
            await held.follower.poll()
            held.control.away = True
            await held.follower.poll()
            assert len(said()) == 4

    run(story)


def loading(held, *slow):
    """From now on these targets load only once they are released; per target (began, release)."""
    make, loop = held.make, asyncio.get_running_loop()
    gates = {target: (asyncio.Event(), threading.Event()) for target in slow}

    def gated(plan, clock):
        if plan.target in gates:
            began, release = gates[plan.target]
            loop.call_soon_threadsafe(began.set)
            assert release.wait(30)
        return make(plan, clock)

    held.follower._models._make = gated
    return gates


async def until(done, look):
    async with asyncio.timeout(20):
        while not done():
            await look()
            await asyncio.sleep(0.01)


def test_a_model_that_takes_long_to_load_keeps_nobody_waiting(monkeypatch):
    monkeypatch.setattr("incumbent.service.follow.PATIENCE_S", 0.01)

    async def story(held):
        held.control.publish(build_plan(config()))
        await held.follower.start()
        began, release = loading(held, "m:other")["m:other"]
        held.control.publish(build_plan(config("b", b="m:other")))
        assert not await asyncio.wait_for(held.follower.poll(), 5)
        await asyncio.wait_for(began.wait(), 30)
        assert await held.items() == ["a1", "a2"] and held.follower.problem is None
        held.control.exclude("u", "a1", T0)  # by another gateway
        assert not await asyncio.wait_for(held.follower.poll(), 5)
        assert await held.items() == ["a2"]
        held.clock.elapsed_s += 5
        assert not await asyncio.wait_for(held.follower.poll(), 5)
        assert held.follower.problem == "plan 2 is loading: model 'b' takes long (plan 1 serves on)"
        assert b'reason="plan 2 is loading' in held.meter.expose() and not held.follower.unservable
        assert health.judge({"plan": lambda: held.follower.unready}) == (True, {"plan": held.follower.problem})
        release.set()
        await until(lambda: held.gateway.plan.version == 2, lambda: asyncio.sleep(0))
        assert await held.items() == ["b1", "b2"] and held.follower.problem is None
        assert await held.follower.poll() and not await held.follower.poll()
        assert held.made == ["a", "b", "b"]

    run(story)


def test_a_newer_plan_takes_the_place_of_one_that_is_loading(monkeypatch):
    monkeypatch.setattr("incumbent.service.follow.PATIENCE_S", 0.01)
    monkeypatch.setattr("incumbent.service.loading.grace_s", lambda gone: 0.0)

    async def story(held):
        held.control.publish(build_plan(config()))
        await held.follower.start()
        gates = loading(held, "m:hangs", "m:slow")
        began, release = gates["m:hangs"]
        held.control.publish(build_plan(config("b", b="m:hangs")))
        await held.follower.poll()
        await asyncio.wait_for(began.wait(), 30)
        held.clock.elapsed_s += 60
        await held.follower.poll()
        assert "plan 2 is loading" in held.follower.problem
        held.control.publish(build_plan(config()))  # a roll-back
        await until(lambda: held.gateway.plan.version == 3, held.follower.poll)
        assert held.follower.problem is None and await held.items() == ["a1", "a2"]
        held.control.publish(build_plan(config("c", c="m:c")))  # what hangs still keeps no later one waiting
        await until(lambda: held.gateway.plan.version == 4, held.follower.poll)
        assert await held.items() == ["c1", "c2"] and held.made == ["a", "b", "c"]
        release.set()  # it loads after all, and nobody wants it
        await until(lambda: "b" in held.closed, held.follower.poll)
        assert await held.items() == ["c1", "c2"] and held.made == ["a", "b", "c", "b"] and held.closed == ["b"]
        began, release = gates["m:slow"]
        for n in range(3):  # plans of which each wants it: it is loaded once
            held.control.publish(build_plan(config("b", b="m:slow"), delisted=[f"gone{n}"]))
            await held.follower.poll()
            await asyncio.wait_for(began.wait(), 30)
        release.set()
        await until(lambda: held.gateway.plan.version == 7, held.follower.poll)
        assert await held.items() == ["b1", "b2"] and held.made == ["a", "b", "c", "b", "b"]
        await held.follower.close()

    run(story)


def test_at_the_start_a_plan_that_loads_is_waited_for_and_one_that_hangs_is_replaced(monkeypatch):
    monkeypatch.setattr("incumbent.service.follow.PATIENCE_S", 0.01)

    async def story(held):
        began, release = loading(held, "m:hangs")["m:hangs"]
        held.control.publish(build_plan(config("b", b="m:hangs")))
        starting = asyncio.create_task(held.follower.start())
        await asyncio.wait_for(began.wait(), 30)
        held.clock.elapsed_s += 5
        await until(lambda: held.follower.problem == "plan 1 is loading: model 'b' takes long",
                    lambda: asyncio.sleep(0))
        assert not starting.done() and not health.judge({"plan": lambda: held.follower.unready})[0]
        held.control.publish(build_plan(config()))
        await asyncio.wait_for(starting, 30)
        assert held.gateway.plan.version == 2 and held.follower.problem is None
        release.set()

    run(story)


def test_a_load_that_hangs_keeps_no_process_from_ending():
    told = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout == "left\n", told.stderr


HANGS = """
import asyncio, threading
from incumbent.clock import SystemClock
from incumbent.events.plan import ModelPlan
from incumbent.service.loading import Models

async def main():
    models = Models(SystemClock(), lambda plan, clock: threading.Event().wait())
    try:
        await asyncio.wait_for(models.load({"m": ModelPlan("m", "callable", "m:f", "1")}), 0.05)
    except TimeoutError:
        await models.close()
        print("left")

asyncio.run(main())
"""


@pytest.mark.parametrize("ending", [SystemExit(3), KeyboardInterrupt(), StopIteration(), asyncio.CancelledError()])
def test_a_model_that_would_end_the_process_is_one_that_does_not_load(ending):
    async def story(held):
        def ends(plan, clock):
            raise ending

        held.follower._models._make = ends
        held.control.publish(build_plan(config()))
        assert not await held.follower.poll()
        assert f"own code ended instead of loading it. Got '{type(ending).__name__}: " in held.follower.problem
        assert held.follower.unservable

    run(story)


def test_a_model_that_left_the_plan_is_not_closed_under_a_request(monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    async def story(held):
        models = {name: {"target": f"m:{name}", "deadline_ms": ms} for name, ms in (("a", 100), ("b", 60_000))}
        surfaces = {"home": {"champion": "c"}}
        held.control.publish(build_plan(Config(
            models={**models, "c": {"target": "m:c"}}, surfaces=surfaces)))
        await held.follower.poll()
        own = SimpleNamespace(**{**vars(asyncio), "sleep": sleep})  # of this module alone: other threads sleep on
        monkeypatch.setattr("incumbent.service.loading.asyncio", own)
        for left in ({"a": models["a"]}, {}):
            held.control.publish(build_plan(Config(models={**left, "c": {"target": "m:c"}}, surfaces=surfaces)))
            assert await held.follower.poll()
            await held.follower.exclude([])
        assert slept == [61.0, 5.0] and held.closed == ["b", "a"]

    run(story)


def test_a_restarted_gateway_continues_rankings_of_older_plans():
    async def story(held):
        shops = [build_plan(config(), delisted=[f"gone{n}"]) for n in range(5)]
        held.control.publish(shops[0])
        await held.follower.poll()
        first = await held.page()
        for shop in shops[1:]:
            held.control.publish(shop)
        again = Held(held.control)
        await again.follower.poll()
        second = await again.page(cursor=first.cursor, debug=True)
        assert second.debug.plan == shops[0].hash and second.debug.reason is None
        assert [item.item_id for item in second.items] == ["a2"]
        # and one that was running sees the plans between two polls
        third = await again.page()
        await held.follower.poll()
        assert set(held.gateway._ready) == {shop.hash for shop in shops}
        assert (await held.page(cursor=third.cursor, debug=True)).debug.plan == shops[4].hash

    run(story)


def test_an_old_plan_that_cannot_be_served_keeps_no_new_one_away():
    async def story(held):
        plan = build_plan(config())
        held.control.publish(msgspec.structs.replace(plan, surfaces={"home": SurfacePlan(
            name="home", champion="a", experiment=ExperimentPlan("e", "b", "s", "canary", 0.5, policy="no_such"))}))
        held.control.publish(plan)
        assert await held.follower.poll() and await held.items() == ["a1", "a2"]

    run(story)


def test_a_large_plan_is_hashed_off_the_loop_and_once(monkeypatch, tmp_path):
    from incumbent.events import plan as plans

    where = []
    blake2b = plans.hashlib.blake2b

    def noted(*arguments, **options):
        where.append(threading.current_thread().name)
        return blake2b(*arguments, **options)

    clock = SystemClock()
    database = open_stores(Config(stores={"directory": str(tmp_path)}), clock, role="reader").control
    plan = build_plan(config(), groups={f"i{n}": f"g{n}" for n in range(1000)})
    assert database.publish(plan).hash == plan.hash

    async def story(_):
        held = Held(database)
        monkeypatch.setattr(plans, "hashlib", SimpleNamespace(blake2b=noted))
        assert await held.follower.poll()
        assert held.gateway.plan.hash == plan.hash and not await held.follower.poll()
        assert where == []  # the hash that it was published under is carried
        memory = Held()
        memory.control.publish(build_plan(config()))
        published = len(where)
        assert await memory.follower.poll() and len(where) == published == 1

    run(story)
    database.close()


def test_what_is_wrong_with_the_plan_is_a_metric():
    async def story(held):
        assert b'incumbent_problem{about="plan",reason="no plan yet"} 1.0' in held.meter.expose()
        held.control.publish(build_plan(config()))
        await held.follower.poll()
        assert b"incumbent_problem{" not in held.meter.expose()
        held.control.publish(build_plan(config("b", b="m:broken")))
        await held.follower.poll()
        told = held.meter.expose().decode()
        assert 'incumbent_problem{about="plan",reason="plan 2 cannot be served: model does not load. Got' in told
        assert "(plan 1 serves on)" in told

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


def test_who_starts_it_says_what_keeps_the_first_plan_away_and_the_log_does_not_repeat_it(monkeypatch):
    told = []

    async def story(held):
        monkeypatch.setattr(held.follower._log, "error", lambda what, **_: told.append(what), raising=False)
        held.control.publish(build_plan(config(a="m:broken")))
        await held.follower.start()
        assert held.follower.unservable and "model does not load" in held.follower.problem and told == []
        held.control.publish(build_plan(config(b="m:broken")))
        await held.follower.poll()
        assert len(told) == 1

    run(story)
