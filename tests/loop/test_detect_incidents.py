"""Incidents of drift: told once, over once, not over for want of data; known causes, another baseline."""

from __future__ import annotations

from datetime import timedelta

from incumbent.drift.detector import BaselineWindow
from incumbent.drift.season import Calendar, Season
from incumbent.events.ids import EventIds
from incumbent.events.schema import Finding
from incumbent.events.window import Window
from incumbent.loop.drift import ledger as drift_ledger
from incumbent.loop.drift.baselines import pin
from incumbent.loop.drift.watch import Watch
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


def test_a_standstill_of_the_whole_shop_is_one_thing_and_so_is_its_end(after_spring):
    world = after_spring(watch=["items", "prices", "context", "response"])
    for first, last in ((SPRING, SPRING + 2), (SPRING + 4, SPRING + 7)):
        for day in range(first, last):
            world.commit(world.shop.day(day))
    world.clock.set(START + timedelta(days=SPRING + 7, hours=1))
    found = world.look()
    told = [(one.status, one.severity, one.evidence["monitors"]) for one in found if one.check == "drift:window"
            and "need no outcome" in one.reason]
    prompt = ["context/home/age", "context/home/device", "items/home/popular", "prices/home/popular",
              "response/home/failed"]
    assert told == [("no_data", "info", prompt), ("ok", "info", prompt)]
    subjects = {f"stream:{name}" for name in prompt}
    assert not [one for one in found if one.status == "no_data" and one.subject in subjects]
    (gone, back) = (one for one in found if one.check == "drift:window" and one.evidence["monitors"] == prompt)
    day = timedelta(days=1)
    assert [one.evidence["window"]["start"] for one in (gone, back)] == [
        (START + (SPRING + n) * day).isoformat() for n in (2, 4)]
    assert "no rows in the window of any stream" in gone.reason and back.reason.startswith("data again")
    standings = drift_ledger.read(world.control).standings
    assert {standings[name].status for name in prompt} == {"ok"}


def test_a_known_cause_is_neither_judged_nor_told(after_spring):
    begin, end = (START + timedelta(days=SPRING + day) for day in (4, 12))
    sale = {"name": "sale", "start": begin.isoformat(), "end": end.isoformat()}
    world = after_spring(watch=["items"], drift={"events": [sale]}, faults={"mix": SPRING + 4})
    assert news(world.lived(SPRING, SPRING + 12)) == []
    standing = drift_ledger.read(world.control).standings["items/home/popular"]
    assert (standing.status, standing.reason) == ("no_data", "sale is excluded by the calendar")
    assert opened(world.lived(SPRING + 12, SPRING + 20), "items/home/popular"), "it goes on after the sale"


def test_an_event_that_the_baseline_hardly_holds_is_not_judged_and_no_news(after_spring):
    spring, now = (START + timedelta(days=day) for day in (20, SPRING + 3))
    sales = [{"name": "sale", "start": begin.isoformat(), "end": (begin + timedelta(days=2)).isoformat(),
              "action": "match"} for begin in (spring, now)]
    world = after_spring(watch=["items", "context"], drift={"events": sales})
    world.live(SPRING, SPRING + 3)
    assert news(world.look()) == []
    assert news(world.lived(SPRING + 3, SPRING + 5)) == []
    standings = drift_ledger.read(world.control).standings
    assert {one.status for one in standings.values()} == {"no_data"}
    assert "2 windows" in standings["items/home/popular"].reason
    assert news(world.lived(SPRING + 5, SPRING + 8)) == []


def test_hours_that_were_thin_in_the_baseline_are_known_whatever_the_season():
    start = START.replace(hour=0)
    hours = [Window(start + timedelta(hours=n), start + timedelta(hours=n + 1)) for n in range(24 * 10)]
    busy = [BaselineWindow(None, one) for one in hours if one.start.hour >= 6]
    watch = Watch(None, None, None, None, busy, hours, start, Season("none"), Calendar(()), 1, 0.05)
    night, noon = (Window(start + timedelta(days=12, hours=at), start + timedelta(days=12, hours=at + 1))
                   for at in (3, 12))
    assert watch.known(night) and not watch.known(noon)


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
