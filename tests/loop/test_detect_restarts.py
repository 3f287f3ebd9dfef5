"""Judging goes on as if nothing had been: day by day or at once, late events, crashes, another process, a restart."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest

from incumbent.events.schema import Finding
from incumbent.loop.detect import Detector
from incumbent.loop.drift import ledger as drift_ledger
from incumbent.stores.control import SqlControl
from incumbent.stores.lake import DeltaLake
from incumbent.testing.drift_loop import SPRING, World, opened
from incumbent.testing.event_shop import START

LAST = SPRING + 16


@pytest.mark.slow
def test_judging_day_by_day_or_at_once_says_the_same(after_spring):
    once, daily = (after_spring(watch=["items"], faults={"mix": SPRING + 4}) for _ in range(2))
    wanted = once.lived(SPRING, SPRING + 10)
    found: list[Finding] = []
    for day in range(SPRING, SPRING + 10):
        found += daily.lived(day, day + 1)
    plain = [[(one.event_id, one.subject, one.status, one.reason) for one in side if one.subject != "baseline:spring"]
             for side in (wanted, found)]
    assert plain[0] == plain[1] and plain[0]


def test_what_arrives_late_unsays_nothing(after_spring):
    world = after_spring(watch=["items"], faults={"mix": SPRING + 4})
    before = world.lived(SPRING, LAST)
    ledger = drift_ledger.read(world.control)
    calm = World(faults={})
    world.commit([one for one in calm.shop.day(SPRING + 6) if hasattr(one, "vector")])
    assert world.look() == [] and drift_ledger.read(world.control) == ledger
    kept = world.control.conclusions("finding", "stream:items/home/popular")
    assert [one.event_id for one in kept] == [one.event_id for one in opened(before, "items/home/popular")]


class Dying(Detector):
    """Dies at the n-th call of one verb of Control, before or after it was done."""

    def arm(self, control: Any, verb: str, when: str, at: int) -> None:
        real, left = getattr(control, verb), [at]

        def call(*args: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] == 0 and when == "before":
                raise RuntimeError("killed")
            done = real(*args, **more)
            if left[0] == 0 and when == "after":
                raise RuntimeError("killed")
            return done
        setattr(control, verb, call)
        self.disarm = lambda: setattr(control, verb, real)


@pytest.mark.parametrize("verb", ["conclude", pytest.param("set_cursor", marks=pytest.mark.slow),
                                  pytest.param("range", marks=pytest.mark.slow)])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_neither_loses_nor_repeats_a_finding(after_spring, verb, when):
    calm, hurt = (after_spring(watch=["items", "response"], faults={"mix": SPRING + 2, "clicks": SPRING + 2})
                  for _ in range(2))
    for world in (calm, hurt):
        world.live(SPRING, SPRING + 8)
        world.measure()
    wanted = list(calm.detector().run_once(calm.clock.now()).findings)
    for at in (1, 2, 3, 7):
        process = Dying(hurt.lake, hurt.control, hurt.clock, hurt.config.drift)
        process.arm(hurt.control, verb, when, at)
        with suppress(RuntimeError):
            process.run_once(hurt.clock.now())
        process.disarm()
    hurt.detector().run_once(hurt.clock.now())
    stored = hurt.control.conclusions("finding", limit=1000)
    assert sorted(one.event_id for one in stored) == sorted(one.event_id for one in wanted)
    logged = [row.payload["event"]["event_id"] for row in hurt.control.outbox(1000) if row.kind == "log"]
    assert sorted(logged) == sorted(one.event_id for one in wanted)
    assert msgspec.json.encode(drift_ledger.read(hurt.control)) == msgspec.json.encode(drift_ledger.read(calm.control))


def test_another_process_keeps_this_one_out(after_spring):
    world = after_spring()
    world.control.acquire("drift/detect", "another", 1e6, world.clock.now())
    assert world.detector().run_once(world.clock.now()).stopped == "another process holds the lease"


def test_without_a_baseline_or_a_watermark_nothing_is_judged(after_spring):
    assert World().detector().run_once(START).ticks == 0
    world = after_spring()
    world.live(SPRING, SPRING + 2)
    world.measure()
    assert world.detector().run_once().ticks == 0, "nobody has sealed anything yet"


@pytest.mark.slow
def test_the_real_stores_and_a_restart(after_spring, tmp_path):
    """Delta and SQLite: a process each day, and the drift is found once."""
    lake, control = DeltaLake(tmp_path / "lake", 2), SqlControl.in_directory(tmp_path)
    world = after_spring(lake, control, watch=["embeddings"], faults={"vectors": SPRING + 2})
    found: list[Finding] = []
    for day in range(SPRING, SPRING + 5):
        found += world.lived(day, day + 1)
    control.close()
    again = SqlControl.in_directory(tmp_path)
    world.control = again
    found += world.lived(SPRING + 5, SPRING + 8)
    assert len(opened(found, "embeddings/titles/item/v1")) == 1
    assert [one.event_id for one in again.conclusions("finding", "stream:embeddings/titles/item/v1")] == [
        one.event_id for one in opened(found, "embeddings/titles/item/v1")]
    again.close()
