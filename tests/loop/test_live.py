"""Live numbers: impression credit by owner, by minute, in bounded memory."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from incumbent.clock import ManualClock
from incumbent.events.schema import Feedback
from incumbent.loop.live import LiveTally, read
from incumbent.stores.memory_control import MemoryControl
from incumbent.testing.golden import event_id, impression, moment

NOW = moment("2026-03-01T12:00")


def shown(name: str, user: str = "u1", minutes: float = 0) -> Any:
    return impression(name, NOW + timedelta(minutes=minutes), user, "home", "e/ramp_50/interleave",
                      ["a:pair0:T", "b:pair0:C", "c:shared"])


def told(name: str, item: str, action: str, request: str | None = "r1", user: str = "u1", minutes: float = 0,
         **more: Any) -> Feedback:
    time = NOW + timedelta(minutes=minutes)
    return Feedback(event_id=event_id(name, time), time=time, user_id=user, item_id=item,
                    action=action, request_id=request, **more)  # type: ignore[arg-type]


def test_outcomes_count_for_the_owner_of_the_slot_they_name() -> None:
    tally = LiveTally(ManualClock(NOW))
    tally.add([shown("r1"), told("1", "a", "click"), told("2", "b", "purchase", value_minor=500, currency="EUR"),
               told("3", "c", "click"), told("4", "z", "click"), told("5", "a", "click", request=None),
               told("6", "a", "purchase", user="u2", value_minor=900, currency="EUR"),
               told("7", "a", "click", marks=["unserved"]), told("8", "a", "view")])
    assert tally.counts("hour") == {
        "requests": {"home/interleave": 1},
        "actions": {"home/click/candidate": 1, "home/purchase/champion": 1, "home/click/neutral": 1,
                    "home/click/unmatched": 1, "none/click/unmatched": 1, "none/purchase/foreign_user": 1},
        "value_minor": {"home/EUR/champion": 500, "none/EUR/foreign_user": 900}}


def test_an_hour_and_a_day_pass() -> None:
    clock = ManualClock(NOW)
    tally = LiveTally(clock)
    tally.add([shown("r1"), shown("old", minutes=-61), shown("ancient", minutes=-1441), shown("ahead", minutes=3)])
    assert tally.counts("hour")["requests"].total() == 2
    assert tally.counts("day")["requests"].total() == 3
    clock.advance(61 * 60)
    assert tally.counts("hour")["requests"].total() == 0
    assert tally.counts("day")["requests"].total() == 3
    clock.advance(86400)
    tally.add([])
    assert tally.counts("day")["requests"].total() == 0 and tally._minutes == {}


def test_a_forgotten_shopper_is_remembered_no_more() -> None:
    tally = LiveTally(ManualClock(NOW))
    tally.add([shown("r1"), shown("r2")])
    tally.forget("u2")
    assert tally.remembered == 2
    tally.forget("u1")
    assert tally.remembered == 0 and tally.counts("hour")["requests"].total() == 2


def test_memory_is_bounded() -> None:
    tally = LiveTally(ManualClock(NOW), max_requests=10)
    tally.add(shown(f"r{n}") for n in range(100))
    assert tally.remembered == 10
    tally.add([told("1", "a", "click", request="r99"), told("2", "a", "click", request="r1")])
    assert tally.counts("hour")["actions"] == {"home/click/candidate": 1, "none/click/unmatched": 1}
    clock = ManualClock(NOW)
    tally = LiveTally(clock)
    for _ in range(5000):
        clock.advance(60)
        tally.add([impression("r", clock.now(), "u1", "home", "-", ["a"])])
    assert len(tally._minutes) <= 1440


def test_what_is_published_is_what_is_read_over_hosts() -> None:
    clock, control = ManualClock(NOW), MemoryControl()
    assert read(control).as_of is None and read(control).hour == {}
    first, second = LiveTally(clock), LiveTally(clock)
    first.add([shown("r1"), told("1", "a", "click")])
    first.publish(control, 0)
    clock.advance(5)
    second.add([shown("r2"), told("2", "b", "click", request="r2")])
    second.publish(control, 1)
    second.publish(control, 1)  # replaces, does not add
    live = read(control)
    assert live.provisional and live.as_of == NOW
    assert live.hour["requests"] == {"home/interleave": 2}
    assert live.day["actions"] == {"home/click/candidate": 1, "home/click/champion": 1}
