"""Vectors that are served: of another version than the model says, or old: rows against plain Python, and told."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent import config
from incumbent.events.schema import Embedding, Feedback, Impression
from incumbent.loop.drift import ledger as drift_ledger
from incumbent.loop.drift import status as drift_status
from incumbent.loop.drift.facts import Catalogue
from incumbent.loop.drift.grid import Grid, micros, moment_of
from incumbent.loop.drift.rows import of_recommended
from incumbent.loop.drift.vector_times import VectorTimes
from incumbent.stores.memory_lake import MemoryLake
from incumbent.testing.drift_loop import World
from incumbent.testing.event_shop import START, EventShop

SKEW, AGE = "skew/home/popular", "vector_age/home/popular"
WATCH = ["skew", "vector_age", "missing"]
DAYS = 18
ASKED = st.tuples(st.integers(-1, 41), st.sampled_from("abc"), st.sampled_from(["v1", "v2", "v9"]))
VECTOR = st.tuples(st.integers(0, 40), st.sampled_from("ab"), st.sampled_from(["v1", "v2", "v3"]))


def vector(n: int, minute: float, item: str, version: str, space: str = "titles", entity: str = "item") -> Embedding:
    at = START + timedelta(minutes=minute)
    return Embedding(event_id=f"v{n}", time=at, space=space, version=version, entity=entity, entity_id=item,
                     vector=[1.0, float(n)])


@settings(deadline=None, max_examples=60)
@given(st.lists(VECTOR, max_size=25, unique_by=lambda one: one[:2]), st.lists(ASKED, max_size=12))
def test_the_newest_vector_of_a_moment_is_what_plain_python_finds(came, asked):
    lake = MemoryLake(2)
    lake.commit([vector(n, *one) for n, one in enumerate(came)] + [
        vector(99, 0, "a", "v1", entity="user"), vector(98, 0, "b", "x", space="images"),
        vector(97, 0, "b", "y", space="sounds")], "w", 1)
    moments = np.array([micros(START + timedelta(minutes=minute)) for minute, _, _ in asked], dtype=np.int64)
    versions, ages = VectorTimes(lake).newest(
        pa.array([says for _, _, says in asked], pa.string()), pa.array([item for _, item, _ in asked], pa.string()),
        moments)
    for (minute, item, says), version, age in zip(asked, versions.to_pylist(), ages.to_pylist(), strict=True):
        before = [one for one in came if one[1] == item and one[0] <= minute]
        known = any(one[2] == says for one in came)  # of several spaces, the one that has the version
        if before and known:
            newest = max(before)
            assert (version, age) == (newest[2], pytest.approx((minute - newest[0]) * 60))
        else:
            assert version is None and age is None


def test_of_one_space_any_version_is_asked_and_what_is_new_is_read():
    lake = MemoryLake(1)
    lake.commit([vector(1, 0, "a", "v1")], "w", 1)
    times = VectorTimes(lake)
    at = np.array([micros(START + timedelta(hours=1))])
    ask = (pa.array(["v2"]), pa.array(["a"]), at)
    assert times.newest(*ask)[0].to_pylist() == ["v1"]
    lake.commit([vector(2, 30, "a", "v2")], "w", 2)
    assert times.newest(*ask)[0].to_pylist() == ["v2"] and times.newest(*ask)[1].to_pylist() == [1800.0]


def test_rows_are_the_recommended_items_of_models_that_name_a_version():
    shop = EventShop(requests=20, says="v1", vectors=30)
    events = shop.day(0)
    lake = MemoryLake(1)
    lake.commit([*shop.catalogue(), *events], "w", 1)
    whole = of_recommended(lake.scan("impression"), Grid("hour"), Catalogue(lake).at(START), VectorTimes(lake))
    wanted: Counter[Any] = Counter()
    for shown in (one for one in events if isinstance(one, Impression)):
        for item in shown.models[0].items[:shown.k]:
            made = [one.time for one in events if isinstance(one, Embedding) and one.entity_id == item
                    and one.time <= shown.time]
            hour = shown.time.replace(minute=0, second=0, microsecond=0)
            wanted[hour, shown.user_id, "v1" if made else None, round((shown.time - max(made)).total_seconds(), 3)
                   if made else None] += 1
    rows, ages = whole[SKEW], whole[AGE]
    columns = [*(rows[name].to_pylist() for name in ("start", "user", "item")), ages["number"].to_pylist()]
    told = Counter((moment_of(start), user, item, None if age is None else round(age, 3))
                   for start, user, item, age in zip(*columns, strict=True))
    assert told == wanted and set(rows["query"].to_pylist()) == {"v1"}
    silent = EventShop(requests=5).day(0)
    lake = MemoryLake(1)
    lake.commit(silent, "w", 1)
    said = of_recommended(lake.scan("impression"), Grid("hour"), Catalogue(lake).at(START), VectorTimes(lake))
    assert "items/home/popular" in said and SKEW not in said and AGE not in said


@pytest.fixture(scope="module")
def spring() -> World:
    """A shop whose index of vectors is refreshed every night, and its baseline."""
    world = lived(World(watch=WATCH, requests=30, vectors=0, says="v1", drift={"false_alarms_per_month": 10}), 0, DAYS)
    world.build(0, DAYS)
    return world


def lived(world: World, first: int, last: int, *, versions: Any = lambda day, item: "v1", fresh: bool = True) -> World:
    for day in range(first, last):
        at = START + timedelta(days=day)
        events = world.shop.day(day)
        if fresh:
            events = [*events, *(world.shop.vector(f"i{day}-{n}", at, world.shop.name(n), world.shop.base[n],
                                                   versions(day, n)) for n in range(world.shop.items))]
        world.commit(events)
    world.clock.set(START + timedelta(days=last, hours=1))
    return world


def after(spring: World, **more: Any) -> World:
    world = World(watch=WATCH, requests=30, vectors=0, says="v1", drift={"false_alarms_per_month": 10}, **more)
    world.commit([world.shop.vector(f"i{DAYS}-{n}", START, world.shop.name(n), world.shop.base[n], "v1")
                  for n in range(world.shop.items)])
    world.begin(spring.control, DAYS)
    return world


def opened(findings: list[Any], name: str) -> list[Any]:
    return [one for one in findings if one.subject == f"stream:{name}" and one.status == "drift"]


def test_an_index_that_is_half_of_another_version_is_told_with_the_versions_and_no_page(spring):
    world = lived(after(spring), DAYS, DAYS + 2)
    assert not opened(world.look(), SKEW)
    standing = drift_ledger.read(world.control).standings[SKEW]
    assert standing.status == "ok" and standing.recent[-1].n > 150, "every recommended item has a vector"
    lived(world, DAYS + 2, DAYS + 9, versions=lambda day, item: "v2" if item % 2 else "v1")
    (found,) = opened(world.look(), SKEW)
    assert (found.severity, found.check) == ("ticket", "drift:skew")
    assert found.reason.startswith("the share of items with a vector of another version is 0.")
    told = found.evidence["explanation"]
    assert {(one["model"], one["items"]) for one in told["versions"]} == {("v1", "v1"), ("v1", "v2")}
    assert 0.3 < told["share"]["value"] < 0.7 and "model v1, vectors v2" in told["text"] and "0.00% -> " in told["text"]
    day = (datetime.fromisoformat(found.evidence["window"]["start"]) - START).days
    events, gap = world.shop.day(day), told["click_gap"]
    clicked = {(one.request_id, one.item_id) for one in events if isinstance(one, Feedback) and one.action == "click"}
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for one in (one for one in events if isinstance(one, Impression)):
        for slot in one.slots:
            hits[int(slot.item_id.rpartition("-")[2]) % 2 == 1].append((one.request_id, slot.item_id) in clicked)
    assert gap["n"] == len(hits[True]) + len(hits[False]) and min(map(sum, hits.values())) > 3
    assert gap["value"] == pytest.approx(sum(hits[True]) / len(hits[True]) - sum(hits[False]) / len(hits[False]))
    assert gap["unit"] == "clicks/item" and gap["low"] < gap["value"] < gap["high"] and "so far: " in told["text"]
    assert f"so far: {gap['value']:+.2%} ({gap['low']:+.2%} to {gap['high']:+.2%})" in told["text"]
    found = drift_status.status(world.control, world.config, world.clock.now())
    row = next(one for one in found["monitors"] if one["name"] == SKEW)
    assert (row["status"], row["monitor"], row["severity"]) == ("drift", "skew", "ticket") and row["open"]


def test_an_index_that_nobody_refreshes_is_told(spring):
    world = lived(after(spring), DAYS, DAYS + 1)
    lived(world, DAYS + 1, DAYS + 10, fresh=False)
    findings = world.look()
    (found,) = opened(findings, AGE)
    assert found.severity == "ticket" and "older than 1.8 days: 0.0% -> 100.0% of 180" in found.evidence[
        "explanation"]["text"]
    assert not opened(findings, SKEW), "old, and of the version that the model says"


def test_items_without_a_vector_are_missing_values(spring):
    world = lived(after(spring, faults={"new_items": DAYS}), DAYS, DAYS + 10)
    findings = world.look()
    (found,) = [one for one in findings if one.subject == f"stream:missing/{AGE}" and one.status == "invalid"]
    assert found.severity == "ticket" and not opened(findings, SKEW) and not opened(findings, AGE)


def test_a_baseline_from_before_the_model_named_its_version_says_so(after_spring):
    world = after_spring(watch=["skew", "items"])
    assert drift_status.status(world.control, world.config, START)["unwatched"] == []
    raw = {"models": {"popular": {"target": "shop:popular", "embedding_version": "v1"}},
           "surfaces": {"home": {"champion": "popular"}}}
    (told,) = drift_status.status(world.control, config.parse(raw), START)["unwatched"]
    assert "holds nothing of the vectors" in told and "version v1" in told
