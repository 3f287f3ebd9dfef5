"""An index that is written anew under its version's own name: a shuffle is told, an honest rewrite is not."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from incumbent.loop.drift import latest_vectors, rewrites
from incumbent.loop.drift import status as drift_status
from incumbent.loop.drift.job import DriftJob
from incumbent.testing.drift_loop import World
from incumbent.testing.event_shop import START

NAME = "embeddings/titles/item/v1"
ORDER = np.random.default_rng(2).permutation(48)


@pytest.fixture
def world():
    """A shop whose index stands, and no baseline: places are held against places."""
    made = World(watch=["embeddings"])
    made.job = DriftJob(made.lake, made.control, made.clock, made.config.drift)
    write(made, 0, made.shop.base)
    assert run(made) == ()
    return made


def write(world, day, rows, items=range(48), entity="item"):
    at = START + timedelta(days=day, minutes=1)
    made = [world.shop.vector(f"{entity}{day}-{n}", at, world.shop.name(n), rows[n]) for n in items]
    world.commit([one if entity == "item" else one.__class__(**{
        **{name: getattr(one, name) for name in one.__struct_fields__}, "entity": entity}) for one in made])
    world.clock.set(START + timedelta(days=day, hours=12))


def run(world):
    return world.job.run_once().versions.findings


def test_a_shuffle_under_the_same_version_is_a_ticket_that_names_items(world):
    write(world, 1, world.shop.base[ORDER])
    (found,) = run(world)
    assert (found.subject, found.check, found.status, found.severity) == (
        f"stream:{NAME}", "drift:version", "drift", "ticket")
    assert found.reason.startswith("items_moved: ") and "of 48 anchors is left between two times" in found.reason
    rows = found.evidence["explanation"]["items"]
    far = np.linalg.norm(world.shop.base[ORDER] - world.shop.base, axis=1)
    assert [row["distance"] for row in rows] == pytest.approx(sorted(far, reverse=True)[:10], rel=1e-4)
    assert rows[0]["title"].endswith(f"number {far.argmax()}")
    assert [one.event_id for one in world.control.conclusions("finding")] == [found.event_id]
    assert f"stream:{NAME}" in drift_status.subjects(world.control)
    assert run(world) == (), "told once"
    write(world, 3, world.shop.base[ORDER])
    assert run(world) == (), "as it was since"


def test_equal_vectors_and_noise_say_nothing(world):
    write(world, 1, world.shop.base)
    assert run(world) == ()
    write(world, 2, world.shop.base + np.random.default_rng(4).normal(size=world.shop.base.shape) * 0.15)
    assert run(world) == ()


def test_few_items_wait_for_others_and_a_second_ticket_for_a_day(world):
    write(world, 1, world.shop.base[ORDER], range(10))
    assert run(world) == (), "20 anchors are needed in 4 dimensions"
    write(world, 2, world.shop.base[ORDER], range(10, 24))
    (found,) = run(world)
    assert found.evidence["anchors"] == 24
    at = world.clock.now()
    write(world, 2.1, world.shop.base)
    assert world.clock.now() < at + timedelta(days=1) and run(world) == ()
    write(world, 4, world.shop.base[ORDER])
    assert len(run(world)) == 1


def test_pairs_that_wait_outlive_the_process(world):
    write(world, 1, world.shop.base[ORDER], range(10))
    assert run(world) == ()
    world.job = DriftJob(world.lake, world.control, world.clock, world.config.drift)
    write(world, 2, world.shop.base[ORDER], range(10, 24))
    (found,) = run(world)
    far = np.linalg.norm(world.shop.base[ORDER] - world.shop.base, axis=1)[:24]
    rows = found.evidence["explanation"]["items"]
    assert found.evidence["anchors"] == 24
    assert [row["distance"] for row in rows] == pytest.approx(sorted(far, reverse=True)[:10], rel=1e-4)
    assert world.control.range(rewrites.WAITING) == [], "those that were judged do not wait"


def test_a_backlog_is_judged_day_by_day(world):
    """A shuffle does not hide among the honest days after it."""
    for day in range(1, 30):
        write(world, day, world.shop.base[ORDER])
    assert len(run(world)) == 1


def test_shoppers_may_move(world):
    write(world, 1, world.shop.base, entity="user")
    run(world)
    write(world, 2, world.shop.base[ORDER], entity="user")
    assert run(world) == () and latest_vectors.latest(world.lake, "titles", "v1", "user").num_rows == 48
