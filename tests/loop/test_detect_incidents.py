"""Incidents of drift: told once, over once, not over for want of data; known causes, another baseline."""

from __future__ import annotations

from datetime import timedelta

from incumbent.events.ids import EventIds
from incumbent.events.schema import Finding
from incumbent.loop.drift import ledger as drift_ledger
from incumbent.loop.drift.baselines import pin
from incumbent.testing.drift_loop import SPRING, opened
from incumbent.testing.event_shop import START


def news(findings: list[Finding]) -> list[tuple[str, str, str]]:
    """Subject, status, severity of what is said of streams."""
    return [(one.subject.removeprefix("stream:"), one.status, one.severity) for one in findings
            if one.subject.startswith("stream:")]


def test_silence_is_no_data_told_once_and_its_end_too(after_spring):
    world = after_spring(watch=["embeddings"], drift={"false_alarms_per_month": 0.5})
    for day in range(SPRING, SPRING + 10):
        quiet = SPRING + 3 <= day < SPRING + 7
        world.shop.faults = {"silence": 0} if quiet else {}
        world.commit(world.shop.day(day))
    world.clock.set(START + timedelta(days=SPRING + 10, hours=1))
    said = news(world.look())
    stream = "embeddings/titles/item/v1"
    assert [one for one in said if one[0] == stream] == [(stream, "no_data", "info"), (stream, "ok", "info")]
    assert len(said) == 2, "nothing else is told"


def test_a_known_cause_is_neither_judged_nor_told(after_spring):
    begin, end = (START + timedelta(days=SPRING + day) for day in (4, 12))
    sale = {"name": "sale", "start": begin.isoformat(), "end": end.isoformat()}
    world = after_spring(watch=["items"], drift={"events": [sale]}, faults={"mix": SPRING + 4})
    assert news(world.lived(SPRING, SPRING + 12)) == []
    standing = drift_ledger.read(world.control).standings["items/home/popular"]
    assert (standing.status, standing.reason) == ("no_data", "sale is excluded by the calendar")
    assert opened(world.lived(SPRING + 12, SPRING + 20), "items/home/popular"), "it goes on after the sale"


def test_an_incident_is_one_however_long_and_is_over_once(after_spring):
    world = after_spring(watch=["items"])
    for day in range(SPRING, SPRING + 24):
        world.shop.faults = {"mix": 0} if SPRING + 4 <= day < SPRING + 14 else {}
        world.commit(world.shop.day(day))
        world.clock.set(START + timedelta(days=day + 1, hours=1))
    findings = world.look()
    items = [one for one in findings if one.subject == "stream:items/home/popular"]
    assert [one.status for one in items] == ["drift", "ok"]
    over = items[1].evidence["window"]["start"]
    assert over >= (START + timedelta(days=SPRING + 14 + 2)).isoformat() and "3 ordinary windows" in items[1].reason


def test_another_baseline_closes_what_was_open_and_judges_anew(after_spring):
    world = after_spring(watch=["items"], faults={"mix": SPRING + 2})
    assert opened(world.lived(SPRING, SPRING + 24), "items/home/popular")
    made = world.build(SPRING + 4, SPRING + 22, "summer")
    pin(world.control, world.clock, EventIds(world.clock), made, actor="ann", reason="candles are what we sell now")
    (begun, *rest) = world.lived(SPRING + 24, SPRING + 26)
    assert begun.subject == "baseline:summer" and begun.evidence["closed"] == ["items/home/popular"]
    assert not [one for one in rest if one.status == "drift"], "what was a drift is the baseline now"
