"""Before there are numbers: when they come, from real cursors and a real look."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from incumbent.clock import ManualClock
from incumbent.config import parse
from incumbent.events.ids import EventIds
from incumbent.loop import attribute, looks
from incumbent.loop.decide import Decider
from incumbent.loop.operate import Operator
from incumbent.loop.report import report
from incumbent.stats.counts import Counts
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.stores.store import StateRow

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
TREE = {"models": {"a": {"target": "m:a"}, "b": {"target": "m:b"}}, "surfaces": {"home": {"champion": "a"}},
        "experiments": {"e1": {"surface": "home", "candidate": "b"}}}
CONFIG = parse(TREE)


def at(minutes):
    return T0 + timedelta(minutes=minutes)


class Loop:
    """Control as the loop leaves it: measured, started, looked."""

    def __init__(self):
        self.clock = ManualClock(T0)
        self.control, self.ids = MemoryControl(), EventIds(self.clock)

    def measured(self, minutes):
        self.control.set_cursor(attribute.CURSOR, msgspec.json.encode(
            attribute.AttributeCursor(at=at(minutes))).decode())

    def started(self, minutes):
        self.clock.set(at(minutes))
        Operator(self.control, CONFIG, self.clock, self.ids).start("e1", actor="ada", reason="try")

    def looked(self, minutes):
        self.clock.set(at(minutes))
        Decider(MemoryLake(2), self.control, self.clock, self.ids).run_once()

    def notes(self, minutes, config=CONFIG):
        return [section.notes for section in report(self.control, config, at(minutes)).sections]


@pytest.mark.parametrize(("minutes", "said"), [
    (3, "nothing had come in at 2026-03-01 12:00 UTC, when it was measured; next at 12:10 UTC (every 600 s)"),
    (15, "nothing had come in at 2026-03-01 12:00 UTC, when it was measured; next is due now (every 600 s)"),
    (120, "nothing had come in at 2026-03-01 12:00 UTC, when it was measured; due since 2026-03-01 12:10 UTC (every "
          "600 s): does a service run?"),
])
def test_a_surface_without_numbers_says_when_they_come(minutes, said):
    loop = Loop()
    loop.measured(0)
    assert loop.notes(minutes)[0] == [said]


def test_a_surface_that_fell_silent_says_since_when():
    loop = Loop()
    three = Counts.zero().update(["interleave/ok"], [3]).to_bytes()
    loop.control.put(T0.date(), 0, "exact", [StateRow("requests/home", T0.date(), 0, "counts", "1", three)])
    loop.measured(0)
    assert loop.notes(60)[0] == []
    assert loop.notes(30 * 24 * 60)[0] == ["nothing has come in since 2026-03-01"]


def test_a_look_that_came_before_the_first_measuring_is_none():
    loop = Loop()
    loop.measured(0)
    loop.started(2)
    assert loop.notes(3)[1] == ["not judged yet: next at 12:12 UTC (every 600 s)"]
    loop.looked(4)  # finds nothing: what came in since the start is measured at 12:10
    assert loop.notes(5)[1] == ["not judged yet: next at 12:14 UTC (every 600 s)"]
    loop.measured(10)
    loop.looked(14)
    notes = loop.notes(15)[1]
    assert notes[0].startswith("hold: ") and "answered 0 of" in notes[0]  # measured, and nobody asked: that is a number
    assert "looked at 2026-03-01 12:14 UTC, next at 12:24 UTC (every 600 s)" in notes


def test_an_experiment_that_has_ended_is_looked_at_no_more():
    loop = Loop()
    loop.started(0)
    loop.looked(20)
    Operator(loop.control, CONFIG, loop.clock, loop.ids).discard("e1", actor="ada", reason="enough")
    assert not any("next" in note for note in loop.notes(21)[1])


def test_under_a_replay_clock_nobody_is_promised_a_time():
    loop = Loop()
    loop.started(0)
    replay = parse({**TREE, "service": {"clock": "replay", "replay_start": T0.isoformat()}})
    assert loop.notes(1, replay)[1] == [
        "not judged yet: next when the replay steps the loop (and every 600 s of ours)"]
    row = loop.control.experiment("e1")
    assert looks.unjudged(loop.control, replay, row, at(1)) == loop.notes(1, replay)[1][0]


def test_a_run_that_takes_some_seconds_is_not_overdue():
    every_five = parse({**TREE, "loop": {"attribute_s": 5, "decide_s": 5}})
    loop = Loop()
    loop.measured(0)
    told = [looks.unmeasured(loop.control, every_five, T0 + timedelta(seconds=late)) for late in (4, 11, 64, 66)]
    assert "next at" in told[0] and "due now" in told[1] and "due now" in told[2] and "does a service run?" in told[3]
