"""Which windows are judged, and when: after a baseline every window is in it or judged, once; and it is said when."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from incumbent.errors import DataError
from incumbent.events.window import Window
from incumbent.loop.drift import ledger as drift_ledger
from incumbent.loop.drift import status as drift_status
from incumbent.loop.drift.baselines import Baseline
from incumbent.loop.drift.build import BaselineBuilder, period_of
from incumbent.loop.drift.watch import watches
from incumbent.testing.drift_loop import World, configured
from incumbent.testing.event_shop import START

DAYS = 22
SMALL: dict[str, Any] = {"vectors": 0, "requests": 32}


def day(n: int) -> datetime:
    return START + timedelta(days=n)


@pytest.fixture(scope="module")
def world() -> World:
    """A baseline that is built the hour its period is over: some outcomes may still come."""
    made = World(watch=["items", "response", "calibration"], drift={"false_alarms_per_month": 20}, **SMALL)
    made.live(0, DAYS)
    made.attribute()
    made.build(0, DAYS)
    return made


def rows(world: World) -> dict[str, Any]:
    told = drift_status.status(world.control, world.config, world.clock.now())
    return {row["name"]: row for row in told["monitors"]} | {"": told}


def test_every_window_is_in_the_baseline_or_judged_once_it_is_ripe(world):
    before = rows(world)
    assert {name: row["next"]["start"] for name, row in before.items() if name} == {
        name: day(first).isoformat() for name, first in {
            "items/home/popular": DAYS, "calibration/home/popular/1": DAYS - 1,
            "loss/calibration/home/popular/1": DAYS - 1, "response/home/clicked": DAYS - 7,
            "response/home/converted": DAYS - 7, "response/home/failed": DAYS - 7}.items()}
    assert before["response/home/converted"]["next"]["at"] == day(DAYS + 1).isoformat()
    assert before["items/home/popular"]["reason"] == f"not judged yet: next at {day(DAYS + 1):%Y-%m-%d} 00:00 UTC"
    assert before[""]["next"] == day(DAYS - 6).isoformat(), "errors of the last week need no outcome"
    assert before["response/home/failed"]["reason"] == "not judged yet: due now"
    world.look()
    early = rows(world)
    assert early["response/home/failed"]["recent"] and early["response/home/clicked"]["recent"]
    assert early["response/home/converted"]["status"] == early["items/home/popular"]["status"] == "waiting"
    last = DAYS + 10
    for first, then in ((DAYS, DAYS + 3), (DAYS + 3, last)):
        world.lived(first, then)
    baseline: Any = drift_status.baselines.active(world.control)
    ripe = {"items": last, "calibration": last - 1, "clicked": last - 1, "converted": last - 7, "failed": last}
    ledger = drift_ledger.read(world.control)
    for watch in watches(baseline, world.config.drift)[0]:
        held = [one.period.start for one in baseline.windows(watch.judge.stream)]
        seen = [one.start for one in ledger.standings[watch.name].recent]
        until = next(end for word, end in ripe.items() if word in watch.name)
        assert [*held, *seen] == [day(n) for n in range(until)], watch.name
    assert rows(world)["response/home/converted"]["next"]["at"] == day(last + 1).isoformat()


def test_a_baseline_that_was_built_late_is_judged_from_its_end(built):
    baseline: Any = drift_status.baselines.active(built.control)
    assert {watch.since for watch in watches(baseline, built.config.drift)[0]} == {baseline.row.until}


def test_a_monitor_says_how_many_windows_the_clearest_change_takes(built):
    told = drift_status.status(built.control, built.config, built.clock.now())
    watched, _ = watches(drift_status.baselines.active(built.control), built.config.drift)  # type: ignore[arg-type]
    by_rank = {watch.name for watch in watched if watch.part.monitor.kind == "rank"}
    assert {row["name"]: row["budget"]["soonest"] for row in told["monitors"]} == {
        watch.name: 1 if watch.name in by_rank else watch.part.soonest for watch in watched}
    assert by_rank and max(row["budget"]["soonest"] for row in told["monitors"]) > 2


def test_what_is_not_judged_has_no_next(after_spring):
    world = after_spring(watch=["items"], drift={"false_alarms_per_month": 0.1})
    found = rows(world)
    assert found[""]["next"] is None and found["items/home/popular"]["next"] is None
    assert found["items/home/popular"]["budget"]["soonest"] is None
    assert "never make evidence" in found["items/home/popular"]["reason"]
    assert found["items/home/popular"]["status"] == "refused", "before the loop ran as after"
    world.look()
    assert rows(world)["items/home/popular"]["status"] == "refused"


def test_a_period_from_the_year_one_is_that_of_what_the_lake_holds(world):
    def build(first: date) -> Baseline:
        other = World(watch=["items"], **SMALL)
        other.lake, other.clock = world.lake, world.clock
        period = period_of(other.config.drift, first, day(DAYS - 1).date())
        return BaselineBuilder(other.lake, other.control, other.clock, other.config).build(
            period, "spring", actor="ann", reason="a calm time")

    exact, open_ended = build(START.date()), build(date(1, 1, 1))
    assert open_ended.row.since == START and open_ended.row.hash == exact.row.hash
    assert open_ended.row.definition == exact.row.definition


def test_the_calendar_s_first_day_is_a_first_day_everywhere():
    for zone in ("Europe/Berlin", "UTC", "America/New_York"):
        period = period_of(configured(time_zone=zone).drift, date(1, 1, 1), date(2026, 3, 1))
        assert period.start.year == 1 and period.end.date() in (date(2026, 3, 1), date(2026, 3, 2))


def test_a_period_of_which_the_lake_holds_nothing_says_so(world):
    with pytest.raises(DataError, match="the lake holds nothing of it"):
        BaselineBuilder(world.lake, world.control, world.clock, world.config).build(
            Window(day(-60), day(-20)), "winter", actor="ann", reason="a calm time")
