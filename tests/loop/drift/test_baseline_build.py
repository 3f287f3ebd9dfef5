"""Baselines: what they hold, when they are refused and why, how one is put in force."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from incumbent.errors import DataError, NotFoundError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Audit
from incumbent.events.window import Window
from incumbent.loop.drift import baselines
from incumbent.loop.drift import status as drift_status
from incumbent.loop.drift.audited import audited
from incumbent.loop.drift.build import BaselineBuilder
from incumbent.testing.drift_loop import SPRING, World
from incumbent.testing.event_shop import START

SMALL: dict[str, Any] = {"vectors": 0, "requests": 25}


def lived(days: int, **more: Any) -> World:
    world = World(watch=["items", "response"], **{**SMALL, **more})
    world.live(0, days)
    world.attribute()
    return world


def test_what_the_spring_holds(built):
    found = drift_status.shown(built.control, "spring")
    assert found["in_force"] and (found["windows"], found["window"]) == (SPRING, "day")
    assert found["models"] == {"home/popular": ["1"]} and found["spaces"] == {"titles/item": ["v1"]}
    streams = {one["stream"]: one for one in found["streams"]}
    assert set(streams) == {
        "calibration/home/popular/1", "context/home/age", "context/home/device", "delay/home",
        "embeddings/titles/item/v1", "items/home/popular", "ndcg/home", "prices/home/popular",
        "response/home", "scores/home/popular/1"}
    assert streams["embeddings/titles/item/v1"]["rows"] == SPRING * 40
    assert streams["items/home/popular"]["held"] == SPRING - SPRING // 4, "a quarter fitted the frame"
    assert "windows alarm against the others" in streams["items/home/popular"]["agreement"]
    windows = baselines.active(built.control).windows("response/home")
    assert sum(one.fitted for one in windows) == SPRING // 4 and len(windows) == SPRING
    shown = sum(n for one in windows for key, n in one.state.counts.items() if key.startswith("shown|"))
    assert shown == SPRING * 40


def test_who_built_it_and_why_is_kept(built):
    (audit,) = [one for one in built.control.conclusions("audit") if isinstance(one, Audit)]
    assert (audit.action, audit.actor, audit.reason) == ("baseline.build", "ann", "a calm time")
    assert audit.details["hash"] == built.control.baseline("spring").hash


@pytest.mark.parametrize(("first", "last", "why"), [
    (0, 5, "too short for a baseline"), (100, 130, "nothing in the period"), (1, 2, "too short")])
def test_a_period_that_is_none_is_refused_with_the_reason(first, last, why):
    world = lived(3)
    world.clock.advance(seconds=130 * 86_400)
    with pytest.raises(DataError, match=why):
        world.build(first, last)
    assert world.control.baselines() == [] and baselines.active(world.control) is None


@pytest.mark.slow
def test_a_period_that_disagrees_with_itself_is_refused_unless_that_is_asked_for():
    world = World(watch=["items"], requests=60, vectors=0, faults={"mix": 24})
    world.live(0, 36)
    world.attribute()
    with pytest.raises(DataError, match="disagrees with itself") as caught:
        world.build(0, 36)
    assert "items/home/popular" in str(caught.value) and "alarm against the others" in str(caught.value)
    assert "1 of " in str(caught.value) and "--leave-out-unstable" in str(caught.value)
    assert world.control.baselines() == []
    off = World(world.lake, world.control, watch=["context"])
    off.clock.set(world.clock.now())
    assert "and nothing is on" in off.build(0, 36, "off").row.definition["left_out"]["items/home/popular"]
    made = world.build(0, 36, leave_out_unstable=True)
    assert "items/home/popular" in made.row.definition["unstable"] and "items/home/popular" not in made.about
    assert "context/home/age" in made.about


def test_days_of_known_events_are_in_no_baseline_and_thin_streams_are_left_out():
    begin = START + timedelta(days=10)
    event = {"name": "outage", "start": begin.isoformat(), "end": (begin + timedelta(days=2)).isoformat()}
    world = lived(20, vectors=5, drift={"events": [event]})
    made = world.build(0, 20)
    assert made.row.definition["windows"] == 18
    assert begin not in {one.period.start for one in made.windows("items/home/popular") if one.period}
    assert "windows with 30 rows or more, 14 are needed" in made.row.definition["left_out"]["embeddings/titles/item/v1"]


@pytest.mark.parametrize(("name", "reason", "said"), [
    ("", "calm", "name is short and plain"), ("a/b", "calm", "name is short and plain"),
    ("spring\n", "calm", "name is short and plain"), ("n" * 65, "calm", "name is short and plain"),
    ("spring", " ", "built with a reason")])
def test_a_baseline_has_a_name_that_can_be_asked_for_and_a_reason(name, reason, said):
    world = World(watch=["items"])
    builder = BaselineBuilder(world.lake, world.control, world.clock, world.config)
    with pytest.raises(DataError, match=said):
        builder.build(Window(START, START + timedelta(days=20)), name, actor="ann", reason=reason)
    assert world.control.baselines() == []


def test_a_second_one_is_another_version_and_is_pinned_by_hand():
    world = lived(18)
    first, second = world.build(0, 18), world.build(1, 18)
    assert (first.id, second.id) == ("spring@1", "spring@2") and baselines.active(world.control).id == "spring@1"
    ids = EventIds(world.clock)
    with pytest.raises(DataError, match="with a reason"):
        baselines.pin(world.control, world.clock, ids, second, actor="ann", reason=" ")
    baselines.pin(world.control, world.clock, ids, baselines.find(world.control, "spring"), actor="bob", reason="newer")
    assert baselines.active(world.control).id == "spring@2"
    with pytest.raises(NotFoundError, match="spring@1, spring@2"):
        baselines.find(world.control, "winter")


def test_the_audit_puts_delivered_beside_promised(built):
    found = audited(built.control, World(drift={"false_alarms_per_month": 7}).config)
    rows = {row["name"]: row for row in found["monitors"]}
    items = rows["items/home/popular"]
    assert items["judged"] == SPRING - SPRING // 4 and items["kept"] is True
    assert items["delivered"]["low"] <= items["promised"] and found["refused"] == {}
    assert found["promised_per_month"] == pytest.approx(7, rel=0.01) and found["alarms"] <= found["judged"] * 0.1
    poor = World(drift={"false_alarms_per_month": 0.1})
    told = audited(built.control, poor.config)
    assert "items/home/popular" in told["refused"] and "never make evidence" in told["refused"]["items/home/popular"]
    assert {row["name"] for row in told["monitors"] if row["judged"]} <= {
        row["name"] for row in told["monitors"] if row["honoured"]}
    with pytest.raises(DataError, match="no baseline to audit"):
        audited(World().control, poor.config)


def test_the_status_shows_budget_standings_and_young_cohorts(after_spring):
    world = after_spring(watch=["items", "response"], faults={"mix": SPRING + 2})
    assert drift_status.status(World().control, world.config, START)["baseline"] is None
    world.live(SPRING, SPRING + 8)
    world.look()
    found = drift_status.status(world.control, world.config, world.clock.now())
    first = found["monitors"][0]
    assert (first["name"], first["status"]) == ("items/home/popular", "drift") and first["open"]
    assert len(first["recent"]) == 8 and first["budget"]["honoured"]
    cohorts = found["cohorts"]
    assert len(cohorts) == 6 and "too young" in cohorts[-1]["final"]["reason"]
    assert all(one["final"]["value"] >= one["so_far"]["value"] for one in cohorts[:-1])
    assert cohorts[-2]["maturity"]["value"] < 1 and cohorts[-2]["final"]["low"] < cohorts[-2]["final"]["high"]
    assert found["unwatched"] == []
    older = baselines.active(world.control)
    older.about.pop("ndcg/home")
    (told,) = drift_status._unwatched(older, world.config)
    assert told == "home: the baseline holds no NDCG; it saw no click, or an older version built it"
