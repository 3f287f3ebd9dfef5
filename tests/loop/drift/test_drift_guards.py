"""What a baseline may be made of, and when it no longer fits: what cannot be held against it is said, not judged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from incumbent.errors import DataError
from incumbent.loop import watermark
from incumbent.loop.drift import ledger as drift_ledger
from incumbent.loop.drift import names
from incumbent.loop.drift import status as drift_status
from incumbent.loop.drift.audited import audited
from incumbent.loop.drift.baselines import Baseline, active, changed, outdated
from incumbent.loop.drift.watch import watches
from incumbent.testing.drift_loop import SPRING, World, configured
from incumbent.testing.event_shop import START

WATCHED = ["items", "response"]


@pytest.mark.parametrize("key,value", [
    ("window", "hour"), ("time_zone", "Europe/Berlin"), ("season", "none")])
def test_a_baseline_of_another_configuration_is_said_once_and_nothing_is_judged(after_spring, key, value):
    world = after_spring(watch=WATCHED)
    spring = world.config
    world.config = configured(WATCHED, **{key: value})
    world.live(SPRING, SPRING + 2)
    (told,) = world.look()
    assert (told.subject, told.check, told.status, told.severity) == (
        "baseline:spring", "drift:budget", "no_data", "ticket")
    assert f"{key} was {getattr(spring.drift, key)} and is {value}" in told.reason and "rebuild" in told.reason
    assert world.look() == [] and world.control.range(names.PREFIX) == []
    shown = drift_status.status(world.control, world.config, world.clock.now())
    assert key in shown["reason"] and "incumbent baseline build" in shown["reason"] and shown["next"] is None
    assert {(row["status"], row["reason"], row["next"]) for row in shown["monitors"]} == {
        ("no_data", shown["reason"], None)}
    with pytest.raises(DataError, match=f"{key} was .*incumbent baseline build"):
        audited(world.control, world.config)
    world.config = spring
    (begun,) = world.look()
    assert (begun.check, begun.status) == ("drift:budget", "ok"), "what is set back is judged again"
    assert drift_ledger.read(world.control).standings["items/home/popular"].status == "ok"
    assert drift_status.status(world.control, world.config, world.clock.now())["reason"] is None and world.look() == []


@pytest.mark.parametrize("key,value", [("segment", "age"), ("segment", None), ("conversion_days", 14)])
def test_streams_alone_that_are_counted_otherwise_are_not_judged(after_spring, key, value):
    """Items know no segment and no wait: they go on, responses ask for a new baseline, and that is said once."""
    world = after_spring(watch=WATCHED)
    spring = world.config
    world.config = configured(WATCHED, **{key: value})
    world.live(SPRING, SPRING + 3)
    begun, told = (one for one in world.look() if one.subject == "baseline:spring")
    assert (begun.status, told.status, told.severity) == ("ok", "no_data", "ticket")
    responses = [f"response/home/{one}" for one in ("clicked", "converted", "failed")]
    assert [*told.evidence["not_judged"].values()] == [responses]
    assert told.reason.startswith(", ".join(responses) + f" not judged, {key} was {getattr(spring.drift, key)} and is ")
    assert "rebuild" in told.reason and world.look() == []
    items, *rest = sorted(drift_status.status(world.control, world.config, world.clock.now())["monitors"],
                          key=lambda row: row["name"])
    assert items["name"] == "items/home/popular" and items["status"] == "ok" and len(items["recent"]) == 3
    assert {(row["status"], row["next"]) for row in rest} == {("no_data", None)}
    assert all(f"not judged, {key} was" in row["reason"] for row in rest)
    assert world.control.range(names.PREFIX + "items/") and not world.control.range(names.PREFIX + "response/")
    rows = {row["name"]: row for row in audited(world.control, world.config)["monitors"]}
    assert rows["items/home/popular"]["judged"] > 20 and rows["response/home/clicked"]["judged"] == 0
    assert f"{key} was" in rows["response/home/clicked"]["reason"]
    world.config = spring
    world.live(SPRING + 3, SPRING + 4)
    (again,) = world.look()
    assert (again.check, again.status) == ("drift:budget", "ok"), "what is set back is judged again"
    assert world.control.range(names.key("response/home", START + timedelta(days=SPRING + 1))), "and counted anew"
    assert drift_ledger.read(world.control).standings["response/home/failed"].status == "ok" and world.look() == []


def test_a_baseline_that_does_not_say_its_waits_fits_any(built):
    spring: Any = active(built.control)
    hour = configured(click_hours=1.0).drift
    assert outdated(spring, built.config.drift, "response/home") == "" == changed(spring, hour)
    assert outdated(spring, hour, "response/home") == "click_hours was 24.0 and is 1.0"
    assert outdated(spring, hour, "items/home/popular") == "" == outdated(spring, hour, "delay/home")
    old = Baseline(msgspec.structs.replace(spring.row, definition={}), built.control)
    assert outdated(old, hour, "response/home") == ""
    assert outdated(spring, configured(segment=None).drift, "response/home") == "segment was device and is not set"


def lived(days: int) -> World:
    world = World(watch=WATCHED, vectors=0, requests=40)
    world.live(0, days)
    world.attribute()
    return world


def test_a_period_that_is_not_over_or_not_in_the_lake_is_no_baseline():
    world = lived(15)
    with pytest.raises(DataError, match=r"is not over, or not all of it is in the lake.* at most to 2026-03-17 01:00"):
        world.build(0, 16)
    watermark.record(world.control, "a", START + timedelta(days=14, hours=23), world.clock.now())
    with pytest.raises(DataError, match="at most to 2026-03-16 23:00"):
        world.build(0, 15)
    assert world.control.baselines() == []
    assert world.build(0, 14).row.until == START + timedelta(days=14)


def test_windows_whose_outcomes_may_still_come_are_in_no_stream_that_needs_them():
    made = lived(22).build(0, 22)
    last = {name: one.last for name, one in made.about.items()}
    assert last["response/home"] == last["delay/home"] == START + timedelta(days=22 - 7)
    assert last["calibration/home/popular/1"] == START + timedelta(days=22 - 1)
    assert last["items/home/popular"] == START + timedelta(days=22)
    due = {one.name: len(one.all_windows) for one in watches(made, configured(WATCHED).drift)[0]}
    assert due["response/home/converted"] == 15 and due["items/home/popular"] == 22, "nothing is missing of them"


@pytest.mark.parametrize("odd", [2, 3])
def test_a_stray_vector_blinds_no_window_and_many_do(after_spring, odd):
    """Of 40 vectors and 2 others 4.8 % are of another dimension, of 40 and 3 it is 7 %; 5 % are let by."""
    world = after_spring(watch=["embeddings"])
    world.live(SPRING, SPRING + 1)
    world.commit([world.shop.vector(f"odd-{i}", START + timedelta(days=SPRING), "hat-2", [1.0] * 7)
                  for i in range(odd)])
    world.look()
    standing = drift_ledger.read(world.control).standings["embeddings/titles/item/v1"]
    assert f"{odd} vectors of another dimension than the baseline's" in standing.reason
    if odd == 2:
        assert standing.status == "ok" and standing.recent[0].n == 40 and "left out" in standing.reason
    else:
        assert standing.status == "invalid"
