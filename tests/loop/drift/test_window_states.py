"""States of windows: the same however the lake is cut and whenever it is read; late events, crashes, retention."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from incumbent import registry
from incumbent.clock import ManualClock
from incumbent.events.schema import Embedding, Impression
from incumbent.loop.drift import names
from incumbent.loop.drift.baselines import CURSOR as PINNED
from incumbent.loop.drift.baselines import active
from incumbent.loop.drift.window_states import WindowStates
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.testing.drift_loop import SPRING, World
from incumbent.testing.event_shop import START

FLOATS = {"vectors": ("sums", "outer"), "numeric": ("sums", "excess"), "reliability": ("p", "scored_p", "loss"),
          "moments": ("means", "scatter")}


def states(control: MemoryControl) -> dict[str, Any]:
    """Key -> the sum of its shards."""
    out: dict[str, Any] = {}
    for row in control.range(names.PREFIX):
        state = registry.load("states", row.state).from_bytes(row.data)
        out[row.key] = out[row.key].merge(state) if row.key in out else state
    return out


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key, state in one.items():
        for name in state.arrays:
            mine, theirs = getattr(state, name, None), getattr(other[key], name, None)
            if mine is None:
                assert state.counts == other[key].counts
            elif name in FLOATS.get(state.name, ()):
                assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-9), (key, name)
            else:
                assert (mine == theirs).all(), (key, name)


def test_buckets_and_the_order_of_arrival_change_nothing(after_spring):
    whole, cut = after_spring(MemoryLake(1)), after_spring(MemoryLake(3))
    events = [event for day in range(SPRING, SPRING + 2) for event in whole.shop.day(day)]
    whole.commit(events)
    for part in range(3):
        cut.commit(events[part::3])
        cut.clock.advance(seconds=3600)
        cut.measure()
    whole.measure()
    found = states(whole.control)
    assert_same(found, states(cut.control))
    assert len(found) == 10 * 2  # streams of the baseline, days
    shown = sum(isinstance(event, Impression) for event in events)
    counted = sum(state.counts[key] for name, state in found.items() if name.startswith("drift/response/")
                  for key in state.counts if key.startswith("shown|"))
    assert counted == shown
    assert sum(int(state.n) for name, state in found.items() if name.startswith("drift/embeddings/")) == sum(
        isinstance(event, Embedding) for event in events)


def test_a_late_event_rebuilds_the_shards_that_it_touches_alone(after_spring):
    world = after_spring(MemoryLake(2))
    world.live(SPRING, SPRING + 3)
    first = world.measure()
    assert first.shards > 3 and world.measure() == type(first)()
    late = next(one for one in world.shop.day(SPRING + 1) if isinstance(one, Embedding))
    world.commit([world.shop.vector("late", late.time, "hat-2", [1.0, 2.0, 3.0, 4.0])])
    again = world.measure()
    assert again.shards == 1, "one day of embeddings"
    key = names.key("embeddings/titles/item/v1", START + timedelta(days=SPRING + 1))
    assert int(states(world.control)[key].n) == 41


def test_a_crash_at_any_shard_loses_and_doubles_nothing(after_spring):
    calm, hurt = after_spring(MemoryLake(2)), after_spring(MemoryLake(2))
    for world in (calm, hurt):
        world.live(SPRING, SPRING + 2)
        world.attribute()
    calm.measure()
    put, left = hurt.control.put, [0]

    def dying(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("killed")
        put(*arguments)

    hurt.control.put = dying
    for allowed in (0, 1, 3):
        left[0] = allowed
        with pytest.raises(RuntimeError):
            hurt.measure()
    left[0] = 1000
    hurt.measure()
    assert_same(states(calm.control), states(hurt.control))


def test_a_vector_of_another_dimension_is_counted_beside(after_spring):
    world = after_spring()
    world.live(SPRING, SPRING + 1)
    world.commit([world.shop.vector("odd", START + timedelta(days=SPRING), "hat-2", [1.0] * 7)])
    world.measure()
    found = states(world.control)
    start = START + timedelta(days=SPRING)
    assert int(found[names.key("embeddings/titles/item/v1", start)].n) == 40
    assert found[names.key("embeddings/titles/item/v1" + names.FOREIGN, start)].counts == {"7": 1}


def test_old_days_go_and_an_erased_shopper_goes(after_spring):
    world = after_spring(MemoryLake(2), drift={"keep_days": 10})
    world.live(SPRING, SPRING + 2)
    world.measure()
    user = next(e.user_id for e in world.shop.day(SPRING) if isinstance(e, Impression))
    before = sum(row.key.startswith("drift/response") for row in world.control.range(names.PREFIX))
    shown = _shown(world)
    theirs = sum(e.user_id == user for day in (SPRING, SPRING + 1) for e in world.shop.day(day)
                 if isinstance(e, Impression))
    world.lake.erase([user])
    world.measure()
    assert _shown(world) == shown - theirs and before
    world.clock.advance(seconds=86_400 * 30)
    world.measure()
    assert world.control.range(names.PREFIX) == []


def _shown(world: World) -> int:
    return sum(n for key, state in states(world.control).items() if key.startswith("drift/response/")
               for one, n in state.counts.items() if one.startswith("shown|"))


@pytest.mark.slow
def test_another_baseline_has_its_states_in_its_own_frames(after_spring):
    world = after_spring()
    world.live(SPRING, SPRING + 20)
    world.measure()
    old = {row.config_hash for row in world.control.range("drift/items/")}
    made = world.build(SPRING, SPRING + 18, "summer")
    assert active(world.control).id == "spring@1", "another has to be pinned by hand"
    world.control.set_cursor(PINNED, world.control.cursor(PINNED).replace("spring", "summer"))
    world.measure()
    rows = world.control.range("drift/items/")
    fresh = {row.config_hash for row in rows if row.day >= made.row.until.date()}
    assert fresh == {made.frames["items/home/popular"].zero.config_hash} and not fresh & old


def test_without_a_baseline_and_beside_another_process_nothing_is_done(built):
    world = World()
    world.live(0, 2)
    assert world.measure().shards == 0 and world.control.range(names.PREFIX) == []
    world.control.acquire("drift/windows", "another", 1e6, world.clock.now())
    stopped = WindowStates(world.lake, world.control, ManualClock(world.clock.now()), world.config.drift).run_once()
    assert stopped.stopped == "another process holds the lease"
