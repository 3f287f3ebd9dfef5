"""A retrained space: a rotation raises nothing and is judged on, a shuffle raises with titles, a few anchors wait."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from incumbent.events.schema import Embedding
from incumbent.loop.drift import status as drift_status
from incumbent.loop.drift.baselines import StreamAbout, active
from incumbent.loop.drift.job import DriftJob
from incumbent.loop.drift.space_versions import SpaceVersions
from incumbent.loop.drift.watch import live
from incumbent.loop.watermark import record
from incumbent.testing.drift_loop import SPRING, World
from incumbent.testing.event_shop import START

TURN = np.linalg.qr(np.random.default_rng(5).normal(size=(4, 4)))[0]
OLD, NEW = "embeddings/titles/item/v1", "embeddings/titles/item/v2"


def index(world: World, day: int, version: str, rows: Any, items: int = 48) -> list[Embedding]:
    """A whole index of one version, built on a day."""
    at = START + timedelta(days=day, minutes=1)
    return [world.shop.vector(f"{version}-{day}-{n}", at, world.shop.name(n), rows[n], version) for n in range(items)]


def run(world: World) -> Any:
    record(world.control, "here", world.clock.now(), world.clock.now())
    return DriftJob(world.lake, world.control, world.clock, world.config.drift, outcomes=world.attribute).run_once()


@pytest.fixture
def retrained(after_spring):
    """A world with an index of v1, and what comes of one of v2."""

    def make(rows: Any, items: int = 48) -> tuple[World, Any]:
        world = after_spring(watch=["embeddings"], drift={"false_alarms_per_month": 2})
        world.live(SPRING, SPRING + 1)
        world.commit(index(world, SPRING, "v1", world.shop.base))
        world.commit(index(world, SPRING, "v2", rows(world.shop.base), items))
        return world, run(world)
    return make


def said(done: Any) -> list[tuple[str, str, str]]:
    return [(one.subject.removeprefix("stream:"), one.status, one.reason.partition(":")[0])
            for one in done.versions.findings]


def test_a_rotation_carries_the_baseline_over_and_the_new_version_is_judged(retrained):
    world, done = retrained(lambda base: base @ TURN.T)
    assert said(done) == [(NEW, "ok", "rotation")]
    about = active(world.control).about[NEW]
    assert about.carried_from == OLD and about.windows == active(world.control).about[OLD].windows
    assert run(world).versions.compared == 0, "the same index is not compared again"
    kept = world.control.baseline_parts("spring", active(world.control).row.version, NEW)
    assert sorted(one.part for one in kept) == ["about", "frame", "turn"], "the windows are kept once"
    for old, new in zip(*(active(world.control).windows(name) for name in (OLD, NEW)), strict=True):
        assert (new.period, new.fitted, int(new.state.n)) == (old.period, old.fitted, int(old.state.n))
        assert new.state.mean() == pytest.approx(TURN @ old.state.mean(), abs=0.05), "of noisy anchors"
        assert new.state.config_hash == active(world.control).frames[NEW].zero.config_hash
    for day in range(SPRING + 1, SPRING + 7):
        rows = [one for one in world.shop.day(day) if isinstance(one, Embedding)]
        shift = 2.5 if day >= SPRING + 4 else 0.0
        hats = [("hat" in one.entity_id) * shift for one in rows]
        world.commit([world.shop.vector(f"n{day}-{n}", one.time, one.entity_id,
                                        (np.array(one.vector) + hats[n]) @ TURN.T, "v2")
                      for n, one in enumerate(rows)])
    world.clock.set(START + timedelta(days=SPRING + 7, hours=1))
    findings = [one for one in run(world).detected.findings if one.subject == f"stream:{NEW}"]
    drifts = [one for one in findings if one.status == "drift"]
    assert len(drifts) == 1 and "hat" in drifts[0].evidence["explanation"]["text"]
    assert drifts[0].evidence["window"]["start"] >= (START + timedelta(days=SPRING + 4)).isoformat()


def test_a_shuffled_index_raises_though_every_marginal_is_the_same(retrained):
    order = np.random.default_rng(2).permutation(48)
    world, done = retrained(lambda base: base[order])
    assert said(done) == [(NEW, "drift", "items_moved")]
    (finding,) = done.versions.findings
    assert finding.severity == "ticket" and "number" in finding.evidence["explanation"]["text"]
    assert NEW not in active(world.control).about
    (told,) = drift_status.status(world.control, world.config, world.clock.now())["unwatched"]
    assert told.startswith(f"{NEW}: drift, items_moved: ")


@pytest.mark.slow
def test_few_anchors_wait_and_enough_settle_it(retrained):
    world, done = retrained(lambda base: base @ TURN.T, items=10)
    assert said(done) == [(NEW, "no_data", "version_warmup")]
    world.commit(index(world, SPRING, "v2", world.shop.base @ TURN.T)[10:])
    assert said(run(world)) == [(NEW, "ok", "rotation")]


def test_another_dimension_needs_a_baseline_of_its_own(retrained):
    world, done = retrained(lambda base: np.hstack([base, base]))
    assert said(done) == [(NEW, "no_data", "version_warmup")]
    assert "dimension went from 4 to 8" in done.versions.findings[0].reason
    assert said(run(world)) == [], "told once"
    (told,) = drift_status.status(world.control, world.config, world.clock.now())["unwatched"]
    assert told.startswith(f"{NEW}: no_data, version_warmup: the dimension went from 4 to 8"), "and it stands"


@pytest.mark.slow
def test_a_crash_between_parts_and_finding_loses_neither(retrained, monkeypatch):
    def dying(*_: Any, **__: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(SpaceVersions, "_conclude", dying)
        with pytest.raises(RuntimeError):
            retrained(lambda base: base @ TURN.T)
    world, _ = retrained(lambda base: base @ TURN.T)
    world.control.set_cursor("drift/versions", "{}")  # as before the conclusion
    again = SpaceVersions(world.lake, world.control, world.clock).run_once()
    assert [one.status for one in again.findings] == ["ok"] and NEW in active(world.control).about


def test_versions_that_were_taken_over_from_cost_no_budget():
    made = {f"embeddings/minilm/item/v{n}": StreamAbout(
        "vectors", "none", 60, 45, 6_000, carried_from="embeddings/minilm/item/v0" if n else None,
        carried_at=START + timedelta(days=n) if n else None) for n in range(12)}
    other = {"embeddings/minilm/query/v0": StreamAbout("vectors", "none", 60, 45, 6_000),
             "items/home/old": StreamAbout("items", "none", 60, 45, 6_000)}
    assert set(live({**made, **other})) == {"embeddings/minilm/item/v10", "embeddings/minilm/item/v11", *other}


def test_what_is_no_longer_watched_is_said(retrained):
    world, _ = retrained(lambda base: base @ TURN.T)
    status = drift_status.status(world.control, world.config, world.clock.now())
    assert status["unwatched"] == []
    world.commit(index(world, SPRING, "v3", world.shop.base @ TURN))
    assert said(run(world)) == [("embeddings/titles/item/v3", "ok", "rotation")]
    status = drift_status.status(world.control, world.config, world.clock.now())
    assert status["unwatched"] == [f"{OLD}: 2 newer versions of its space are"]
    assert OLD not in {row["stream"] for row in status["monitors"]}
