"""What a baseline may be made of, and when it no longer fits: what cannot be held against it is said, not judged."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from incumbent.loop.drift import ledger as drift_ledger
from incumbent.loop.drift import names
from incumbent.loop.drift import status as drift_status
from incumbent.loop.drift.baselines import Baseline, active, changed
from incumbent.testing.drift_loop import SPRING, configured

WATCHED = ["items", "response"]


@pytest.mark.parametrize("key,value", [
    ("click_hours", 1.0), ("conversion_days", 14), ("window", "hour"), ("time_zone", "Europe/Berlin")])
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
    assert key in drift_status.status(world.control, world.config, world.clock.now())["reason"]
    world.config = spring
    (begun,) = world.look()
    assert (begun.check, begun.status) == ("drift:budget", "ok"), "what is set back is judged again"
    assert drift_ledger.read(world.control).standings["items/home/popular"].status == "ok"
    assert drift_status.status(world.control, world.config, world.clock.now())["reason"] is None and world.look() == []


def test_a_baseline_that_does_not_say_its_waits_fits_any(built):
    spring: Any = active(built.control)
    assert changed(spring, built.config.drift) == "" != changed(spring, configured(click_hours=1.0).drift)
    old = Baseline(msgspec.structs.replace(spring.row, definition={}), built.control)
    assert changed(old, configured(click_hours=1.0).drift) == ""
