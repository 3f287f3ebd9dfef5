"""A version of a space that is no longer served leaves the budget, its incident is over; its rows bring it back."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from incumbent.clock import EPOCH
from incumbent.events.plan import ExperimentPlan, ModelPlan, ServingPlan, SurfacePlan
from incumbent.events.schema import Embedding
from incumbent.events.window import Window
from incumbent.loop.drift import ledger as drift_ledger
from incumbent.loop.drift import names, replaced
from incumbent.loop.drift import status as drift_status
from incumbent.loop.drift.audited import audited
from incumbent.loop.drift.baselines import StreamAbout
from incumbent.loop.drift.job import DriftJob
from incumbent.loop.watermark import record
from incumbent.testing.drift_loop import SPRING, World, opened
from incumbent.testing.event_shop import START

TURN = np.linalg.qr(np.random.default_rng(5).normal(size=(4, 4)))[0]
OLD, NEW = "embeddings/titles/item/v1", "embeddings/titles/item/v2"
DAY = timedelta(days=1)


def run(world: World) -> Any:
    record(world.control, "here", world.clock.now(), world.clock.now())
    return DriftJob(world.lake, world.control, world.clock, world.config.drift, outcomes=world.attribute).run_once()


def index(world: World, day: int, version: str, rows: Any, items: int = 48) -> None:
    """A whole index of one version, written on a day."""
    at = START + day * DAY + timedelta(minutes=1)
    world.commit([world.shop.vector(f"{version}-{day}-{n}", at, world.shop.name(n), rows[n], version)
                  for n in range(items)])


def comes(world: World, day: int, version: str) -> None:
    """A day's vectors, all of one version."""
    turn = TURN.T if version == "v2" else np.eye(4)
    rows = [one for one in world.shop.day(day) if isinstance(one, Embedding)]
    world.commit([world.shop.vector(f"{version}+{day}-{n}", one.time, one.entity_id, np.array(one.vector) @ turn,
                                    version) for n, one in enumerate(rows)])
    world.clock.set(START + (day + 1) * DAY + timedelta(hours=1))


def budget(world: World) -> dict[str, float]:
    """Of every stream that is watched its part, false alarms a month."""
    found = drift_status.status(world.control, world.config, world.clock.now())
    return {row["name"]: row["budget"]["false_alarms_per_month"] for row in found["monitors"]}


@pytest.fixture
def retrained(after_spring: Any) -> Any:
    """A world on whose first day an index of v1 was written, and one of v2 that only rotates it."""

    def make(**drift: Any) -> World:
        world = after_spring(watch=["embeddings"], drift={"false_alarms_per_month": 2, **drift})
        world.live(SPRING, SPRING + 1)
        index(world, SPRING, "v1", world.shop.base)
        index(world, SPRING, "v2", world.shop.base @ TURN.T)
        run(world)
        return world
    return make


def test_a_replaced_version_leaves_the_budget_and_comes_back_with_its_vectors(retrained):
    world, parts = retrained(), []
    for day, version in enumerate(("v2", "v2", "v2", "v1", "v2", "v2", "v2"), SPRING + 1):
        comes(world, day, version)
        run(world)
        parts.append(budget(world))
    both, alone = {OLD: 1.0, NEW: 1.0}, {NEW: 2.0}
    assert parts == [both, both, alone, both, both, both, alone]
    assert {row["name"]: row["promised_per_month"] for row in audited(world.control, world.config)["monitors"]} == (
        pytest.approx(alone))
    assert drift_status.status(world.control, world.config, world.clock.now())["unwatched"] == []


def test_days_at_once_say_what_they_say_one_by_one(retrained):
    daily, once = retrained(), retrained()
    for world in (daily, once):
        for day, version in enumerate(("v2", "v2", "v2", "v1", "v2", "v2", "v2", "v2"), SPRING + 1):
            comes(world, day, version)
            run(world) if world is daily else None
    run(once)
    assert drift_ledger.read(daily.control) == drift_ledger.read(once.control)
    assert drift_ledger.read(once.control).replaced == {OLD: NEW}


def test_the_freed_part_lets_a_refused_monitor_be_judged_and_says_so(retrained):
    world = retrained(false_alarms_per_month=1, monitors={
        "embeddings": {"method": "rank"}, **{name: {"on": False} for name in (
            "items", "prices", "scores", "context", "missing", "response", "ndcg", "calibration", "skew",
            "vector_age")}})
    standings = drift_ledger.read(world.control).standings
    assert {standings[name].status for name in (OLD, NEW)} == {"refused"}, "half a part takes twice the windows"
    for day in range(SPRING + 1, SPRING + 4):
        comes(world, day, "v2")
    (said,) = [one for one in run(world).detected.findings if one.check == "drift:budget"]
    assert said.status == "ok" and said.reason.startswith("all 1 monitors")
    comes(world, SPRING + 4, "v2")
    run(world)
    assert drift_ledger.read(world.control).standings[NEW].status == "ok"


def test_an_open_incident_of_a_replaced_version_is_over_once(after_spring):
    world = after_spring(watch=["embeddings"], drift={"false_alarms_per_month": 2}, faults={"vectors": SPRING})
    world.live(SPRING, SPRING + 8)
    assert opened(run(world).detected.findings, OLD)
    index(world, SPRING + 7, "v1", world.shop.base)
    index(world, SPRING + 7, "v2", world.shop.base @ TURN.T)
    world.shop.faults, findings = {}, []
    for day in range(SPRING + 8, SPRING + 14):
        comes(world, day, "v2")
        findings += run(world).detected.findings
    over = [one for one in findings if one.subject == f"stream:{OLD}" and one.status == "ok"]
    assert [(one.reason, one.severity, one.check) for one in over] == [
        ("over: replaced by version v2", "info", "drift:embeddings")]
    assert over[0].evidence["window"]["start"] == (START + (SPRING + 10) * DAY).isoformat()
    assert over[0].evidence["replaced_by"] == NEW
    standing = drift_ledger.read(world.control).standings[OLD]
    assert (standing.open, standing.status, standing.reason) == (None, "ok", "over: replaced by version v2")
    assert f"stream:{OLD}" in drift_status.subjects(world.control), "what was said of it is still listed"


def test_an_open_incident_of_a_version_that_two_newer_ones_pushed_out_is_over():
    about = {f"embeddings/titles/item/v{n}": StreamAbout("vectors", "none", 60, 45, 6_000, carried_at=EPOCH + n * DAY)
             for n in (1, 2, 3)}
    baseline: Any = SimpleNamespace(id="spring@1", about=about)
    standings = {name: drift_ledger.Standing(open="id") for name in about}
    ledger = drift_ledger.Ledger("spring@1", {}, standings)
    assert replaced.over(ledger, baseline) == {OLD: "embeddings/titles/item/v3"}
    taken_back = drift_ledger.Ledger("spring@1", {}, standings, replaced={NEW: OLD})
    assert replaced.over(taken_back, baseline) == {NEW: OLD}, "two versions are watched, the oldest again"


def test_a_version_that_the_baseline_was_not_carried_to_is_named_while_it_is_served(retrained):
    world = retrained()
    index(world, SPRING, "v3", world.shop.base @ TURN, items=10)
    run(world)
    for day in range(SPRING + 1, SPRING + 6):
        comes(world, day, "v2")
        run(world)
        told = drift_status.status(world.control, world.config, world.clock.now())["unwatched"]
        assert [one.partition(":")[0] for one in told] == (
            ["embeddings/titles/item/v3"] if day <= SPRING + 2 else []), day
    world.control.publish(plan("v3"))
    (told,) = drift_status.status(world.control, world.config, world.clock.now())["unwatched"]
    assert "v3: no_data, version_warmup" in told, "a model says that it serves it"


def plan(says: str, candidate: str | None = None) -> ServingPlan:
    """A surface whose champion, and whose candidate, names a version of vectors; a model of neither names v0."""
    models = {"a": says, "b": candidate, "c": "v0"}
    experiment = ExperimentPlan("e", "b", "salt", "ramp_5", 0.5) if candidate else None
    made = {name: ModelPlan(name, "callable", "shop:a", "1", embedding_version=one) for name, one in models.items()}
    return ServingPlan(version=0, time=None, surfaces={"home": SurfacePlan("home", "a", experiment)}, models=made)


def test_what_a_model_in_service_names_is_not_replaced_and_windows_without_any_do_not_count():
    def after(days: list[set[str]], says: Any = None) -> dict[str, str]:
        ledger = drift_ledger.Ledger("spring@1")
        for n, came in enumerate(days):
            start = START + n * DAY
            keys = {names.key(f"embeddings/titles/item/{one}", start) for one in came}
            control: Any = SimpleNamespace(plan=lambda: says, range=lambda key, _, keys=keys: iter([1][:key in keys]))
            ledger = replaced.counted(control, ledger, about, Window(start, start + DAY), 3)
        return {one.rpartition("/")[2]: by.rpartition("/")[2] for one, by in ledger.replaced.items()}

    about = {f"embeddings/{name}": StreamAbout("vectors", "none", 60, 45, 6_000, carried_at=at) for name, at in {
        "titles/item/v0": None, "titles/item/v1": EPOCH + DAY, "titles/item/v2": EPOCH + 2 * DAY,
        "images/item/v1": None}.items()}
    new = {"v2"}
    assert after([new, new]) == {} and after([new, new, set()]) == {}
    assert after([new, set(), new, set(), new]) == {"v0": "v2", "v1": "v2"}
    assert after([new, new, {"v1", "v2"}, new, new]) == {"v0": "v2"}
    assert after([new] * 3 + [{"v1"}] * 3) == {"v0": "v2", "v2": "v1"}, "taken back"
    assert after([new] * 3, plan("v1")) == {"v0": "v2"} and after([new] * 3, plan("v9", "v1")) == {"v0": "v2"}
