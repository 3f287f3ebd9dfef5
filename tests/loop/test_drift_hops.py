"""One drift job makes three hops and no more: loop -> stores (states), drift (step), stores (conclusion)."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from incumbent.testing.drift_loop import SPRING

GROUND = ("errors", "clock", "config", "registry", "events", "testing", "logs", "stats")


def place(frame: FrameType | None) -> str | None:
    name = frame.f_globals.get("__name__", "") if frame else ""
    parts = name.split(".")
    return None if parts[0] != "incumbent" or len(parts) < 2 or parts[1] in GROUND else parts[1]


def test_three_hops(after_spring):
    world = after_spring(watch=["items", "response"])
    world.live(SPRING, SPRING + 2)
    world.measure()
    detector = world.detector()
    detector.run_once(world.clock.now())  # what is made once for a baseline is made
    world.live(SPRING + 2, SPRING + 3)
    world.measure()
    hops: list[tuple[str, str, str]] = []

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and (here := place(frame)) is not None:
            caller = frame.f_back
            while caller is not None and place(caller) is None:
                caller = caller.f_back
            if (there := place(caller)) is not None and there != here:
                hops.append((there, here, frame.f_code.co_name))
    sys.setprofile(watch)
    try:
        done = detector.run_once(world.clock.now())
    finally:
        sys.setprofile(None)
    assert done.ticks == 2 and done.judged == 3  # items and failures of one day, clicks of the day before
    assert {(source, target) for source, target, _ in hops} == {("loop", "stores"), ("loop", "drift")}
    entered = [(target, name) for _, target, name in hops]
    assert entered.count(("drift", "step")) == done.judged
    assert entered.count(("stores", "set_cursor")) == done.ticks, "one transaction a tick"
    assert entered.count(("stores", "range")) >= done.judged
