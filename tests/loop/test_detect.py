"""Drift in the loop: quiet weeks, planted faults found once and explained, harm that pages, crashes, lateness."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from incumbent.errors import DataError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Alert, Finding, Impression
from incumbent.loop.act import Actor
from incumbent.loop.detect import Detector
from incumbent.loop.drift import frames, watch
from incumbent.loop.drift import ledger as drift_ledger
from incumbent.loop.drift.baselines import pin
from incumbent.stores.control import SqlControl
from incumbent.stores.lake import DeltaLake
from incumbent.stores.memory_log import MemoryLog
from incumbent.testing.drift_loop import SPRING, World, configured
from incumbent.testing.event_shop import START

LAST = SPRING + 16


def news(findings: list[Finding]) -> list[tuple[str, str, str]]:
    """Subject, status, severity of what is said of streams."""
    return [(one.subject.removeprefix("stream:"), one.status, one.severity) for one in findings
            if one.subject.startswith("stream:")]


def opened(findings: list[Finding], subject: str) -> list[Finding]:
    return [one for one in findings if one.subject == f"stream:{subject}" and one.status in ("drift", "invalid")]


def lived(world: World, last: int = LAST) -> list[Finding]:
    world.live(SPRING, last)
    return world.look()


@pytest.mark.slow
def test_quiet_weeks_alarm_no_more_often_than_was_agreed(after_spring):
    findings = lived(after_spring(), SPRING + 28)
    begun, *rest = findings
    assert (begun.subject, begun.status) == ("baseline:spring", "ok")
    assert begun.reason == "all 13 monitors can honour their part of 6 false alarms a month"
    assert sum(one.status != "ok" for one in rest) <= 6 and not any(one.severity == "page" for one in rest)


@pytest.mark.parametrize(("fault", "subject", "told"), [
    ("mix", "items/home/popular", "candle"),
    ("new_items", "items/home/popular", "new: new-"),
    ("vectors", "embeddings/titles/item/v1", "hat"),
    pytest.param("age", "context/home/age", "mean", marks=pytest.mark.slow),
    pytest.param("device", "context/home/device", "phone", marks=pytest.mark.slow),
])
def test_a_planted_drift_is_found_once_and_named(after_spring, fault, subject, told):
    watch = [subject.partition("/")[0]]
    findings = lived(after_spring(watch=watch, faults={fault: SPRING + 4}))
    (found,) = opened(findings, subject)
    assert found.severity == "ticket", "a drift alone is no page"
    assert told in found.evidence["explanation"]["text"]
    assert found.evidence["window"]["start"] >= (START + timedelta(days=SPRING + 4)).isoformat()
    assert found.evidence["baseline"]["name"] == "spring" and found.evidence["budget"]["alpha"] > 0
    assert found.check == "drift:" + subject.partition("/")[0]


def test_the_explanation_says_how_much_each_piece_moved(after_spring):
    findings = lived(after_spring(watch=["items"], faults={"mix": SPRING + 4}))
    (found,) = opened(findings, "items/home/popular")
    (kinds,) = (one for one in found.evidence["explanation"]["breakdowns"] if one["by"] == "category")
    first = kinds["changes"][0]
    assert first["name"] == "candle" and first["current"] > 2 * first["reference"] and first["part"] > 0.4
    assert sum(change["part"] for change in kinds["changes"]) == pytest.approx(1, abs=0.05)
    assert any("candle number" in title for title in found.evidence["explanation"]["examples"]["after"])


def test_harm_pages_and_says_where(after_spring):
    findings = lived(after_spring(watch=["items", "response"], faults={"clicks": SPRING + 4}))
    (found,) = opened(findings, "response/home/clicked")
    assert (found.severity, found.status) == ("page", "drift")
    told = found.evidence["explanation"]
    assert told["current"] < 0.6 * told["reference"]
    assert abs(told["within"]) > 10 * abs(told["mix"]), "fewer clicks in every segment, not another mix"
    assert {one["segment"] for one in told["segments"]} == {"phone", "desktop"}
    assert not [one for one in findings if one.severity == "page" and "click" not in one.subject]


@pytest.mark.slow
def test_errors_of_the_champion_page(after_spring):
    findings = lived(after_spring(watch=["response"], faults={"errors": SPRING + 4}))
    (found,) = opened(findings, "response/home/failed")
    assert found.severity == "page"


def test_young_cohorts_do_not_read_as_a_collapse(after_spring):
    """Purchases take days: a window is judged once they can have come, so a young one is neither good nor bad."""
    world = after_spring(watch=["items", "response"])
    assert not opened(lived(world), "response/home/converted")
    ledger = drift_ledger.read(world.control)
    assert ledger.until["prompt"] == START + timedelta(days=LAST)
    assert ledger.until["conversions"] == START + timedelta(days=LAST - 7)
    assert ledger.until["clicks"] == START + timedelta(days=LAST - 1)


@pytest.mark.slow
def test_missing_values_are_a_status_of_their_own(after_spring):
    findings = lived(after_spring(watch=["missing", "context"], faults={"age_missing": SPRING + 4}))
    (found,) = opened(findings, "missing/context/home/age")
    assert (found.status, found.severity) == ("invalid", "ticket")
    assert not opened(findings, "context/home/age"), "what is there is distributed as ever"


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
    assert news(lived(world, SPRING + 12)) == []
    standing = drift_ledger.read(world.control).standings["items/home/popular"]
    assert (standing.status, standing.reason) == ("no_data", "sale is excluded by the calendar")
    assert opened(lived_on(world, SPRING + 12, SPRING + 20), "items/home/popular"), "it goes on after the sale"


def lived_on(world: World, first: int, last: int) -> list[Finding]:
    world.live(first, last)
    return world.look()


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


@pytest.mark.slow
def test_judging_day_by_day_or_at_once_says_the_same(after_spring):
    once, daily = (after_spring(watch=["items"], faults={"mix": SPRING + 4}) for _ in range(2))
    wanted = lived(once, SPRING + 10)
    found: list[Finding] = []
    for day in range(SPRING, SPRING + 10):
        found += lived_on(daily, day, day + 1)
    plain = [[(one.event_id, one.subject, one.status, one.reason) for one in side if one.subject != "baseline:spring"]
             for side in (wanted, found)]
    assert plain[0] == plain[1] and plain[0]


def test_what_arrives_late_unsays_nothing(after_spring):
    world = after_spring(watch=["items"], faults={"mix": SPRING + 4})
    before = lived(world)
    ledger = drift_ledger.read(world.control)
    calm = World(faults={})
    world.commit([one for one in calm.shop.day(SPRING + 6) if hasattr(one, "vector")])
    assert world.look() == [] and drift_ledger.read(world.control) == ledger
    kept = world.control.conclusions("finding", "stream:items/home/popular")
    assert [one.event_id for one in kept] == [one.event_id for one in opened(before, "items/home/popular")]


class Dying(Detector):
    """Dies at the n-th call of one verb of Control, before or after it was done."""

    def arm(self, control: Any, verb: str, when: str, at: int) -> None:
        real, left = getattr(control, verb), [at]

        def call(*args: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] == 0 and when == "before":
                raise RuntimeError("killed")
            done = real(*args, **more)
            if left[0] == 0 and when == "after":
                raise RuntimeError("killed")
            return done
        setattr(control, verb, call)
        self.disarm = lambda: setattr(control, verb, real)


@pytest.mark.parametrize("verb", ["conclude", pytest.param("set_cursor", marks=pytest.mark.slow),
                                  pytest.param("range", marks=pytest.mark.slow)])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_neither_loses_nor_repeats_a_finding(after_spring, verb, when):
    calm, hurt = (after_spring(watch=["items", "response"], faults={"mix": SPRING + 2, "clicks": SPRING + 2})
                  for _ in range(2))
    for world in (calm, hurt):
        world.live(SPRING, SPRING + 8)
        world.measure()
    wanted = list(calm.detector().run_once(calm.clock.now()).findings)
    for at in (1, 2, 3, 7):
        process = Dying(hurt.lake, hurt.control, hurt.clock, hurt.config.drift)
        process.arm(hurt.control, verb, when, at)
        with suppress(RuntimeError):
            process.run_once(hurt.clock.now())
        process.disarm()
    hurt.detector().run_once(hurt.clock.now())
    stored = hurt.control.conclusions("finding", limit=1000)
    assert sorted(one.event_id for one in stored) == sorted(one.event_id for one in wanted)
    logged = [row.payload["event"]["event_id"] for row in hurt.control.outbox(1000) if row.kind == "log"]
    assert sorted(logged) == sorted(one.event_id for one in wanted)
    assert msgspec.json.encode(drift_ledger.read(hurt.control)) == msgspec.json.encode(drift_ledger.read(calm.control))


def test_who_cannot_honour_the_budget_says_so_at_start_and_is_not_judged(after_spring):
    world = after_spring(watch=["items", "response"], drift={"false_alarms_per_month": 0.2},
                         faults={"mix": SPRING})
    findings = lived(world, SPRING + 4)
    begun = findings[0]
    assert (begun.check, begun.status, begun.severity) == ("drift:budget", "no_data", "ticket")
    refused = begun.evidence["refused"]
    assert "items/home/popular" in refused and "ranks among 36 windows never make evidence" in refused[
        "items/home/popular"]
    assert not opened(findings, "items/home/popular")
    assert drift_ledger.read(world.control).standings["items/home/popular"].status == "refused"
    assert "response/home/clicked" not in refused, "a bound over time carries any budget"


def test_findings_and_alerts_go_their_way(after_spring):
    world = after_spring(watch=["response"], faults={"clicks": SPRING + 1})
    findings = lived(world, SPRING + 14)
    log, told = MemoryLog(world.clock), []

    class Told:
        def send(self, alert: Alert) -> None:
            told.append(alert)

    actor = Actor(world.control, log, world.clock, lambda: None, sinks=[Told()])  # type: ignore[arg-type, return-value]
    actor.run_once()
    actor.run_once()  # a told alert goes to the log as well
    assert {one.refers_to for one in told} == {one.event_id for one in findings if one.severity != "info"}
    assert any(one.severity == "page" and "response/home/clicked" in one.title for one in told)
    assert log.backlog >= len(findings) and world.control.outbox() == []


def test_another_process_keeps_this_one_out(after_spring):
    world = after_spring()
    world.control.acquire("drift/detect", "another", 1e6, world.clock.now())
    assert world.detector().run_once(world.clock.now()).stopped == "another process holds the lease"


def test_without_a_baseline_or_a_watermark_nothing_is_judged(after_spring):
    assert World().detector().run_once(START).ticks == 0
    world = after_spring()
    world.live(SPRING, SPRING + 2)
    world.measure()
    assert world.detector().run_once().ticks == 0, "nobody has sealed anything yet"


@pytest.mark.slow
def test_the_real_stores_and_a_restart(after_spring, tmp_path):
    """Delta and SQLite: a process each day, and the drift is found once."""
    lake, control = DeltaLake(tmp_path / "lake", 2), SqlControl.in_directory(tmp_path)
    world = after_spring(lake, control, watch=["embeddings"], faults={"vectors": SPRING + 2})
    found: list[Finding] = []
    for day in range(SPRING, SPRING + 5):
        found += lived_on(world, day, day + 1)
    control.close()
    again = SqlControl.in_directory(tmp_path)
    world.control = again
    found += lived_on(world, SPRING + 5, SPRING + 8)
    assert len(opened(found, "embeddings/titles/item/v1")) == 1
    assert [one.event_id for one in again.conclusions("finding", "stream:embeddings/titles/item/v1")] == [
        one.event_id for one in opened(found, "embeddings/titles/item/v1")]
    again.close()


def test_another_baseline_closes_what_was_open_and_judges_anew(after_spring):
    world = after_spring(watch=["items"], faults={"mix": SPRING + 2})
    assert opened(lived(world, SPRING + 24), "items/home/popular")
    made = world.build(SPRING + 4, SPRING + 22, "summer")
    pin(world.control, world.clock, EventIds(world.clock), made, actor="ann", reason="candles are what we sell now")
    (begun, *rest) = lived_on(world, SPRING + 24, SPRING + 26)
    assert begun.subject == "baseline:summer" and begun.evidence["closed"] == ["items/home/popular"]
    assert not [one for one in rest if one.status == "drift"], "what was a drift is the baseline now"


@pytest.mark.slow
def test_a_budget_that_is_raised_lets_the_refused_be_judged(after_spring):
    world = after_spring(watch=["items"], drift={"false_alarms_per_month": 0.1})
    lived(world, SPRING + 1)
    assert drift_ledger.read(world.control).standings["items/home/popular"].status == "refused"
    world.config = configured(["items"], false_alarms_per_month=2)
    (begun,) = lived_on(world, SPRING + 1, SPRING + 2)
    assert begun.status == "ok" and drift_ledger.read(world.control).standings["items/home/popular"].status == "ok"


@pytest.mark.parametrize("age", [1e200, -1.7e308])
def test_a_number_too_large_to_square_is_not_a_number_and_stops_nothing(after_spring, age):
    world = after_spring(watch=["context", "missing"])
    world.live(SPRING, SPRING + 1)
    shown = next(one for one in world.shop.day(SPRING) if isinstance(one, Impression))
    world.commit([msgspec.structs.replace(shown, event_id="huge", request_id="huge", context={"age": age})])
    world.look()
    standings = drift_ledger.read(world.control).standings
    assert standings["context/home/age"].status == "ok" and standings["context/home/age"].recent[0].n == 40
    assert standings["missing/context/home/age"].recent[0].n == 41


@pytest.mark.parametrize("where", ["state", "step"])
def test_a_stream_that_cannot_be_counted_or_judged_is_invalid_and_stops_no_other(after_spring, monkeypatch, where):
    def refuse(*_):
        raise DataError("a planted fault")

    world = after_spring(watch=["items", "context"])
    world.live(SPRING, SPRING + 1)
    if where == "state":
        monkeypatch.setitem(frames._ADD, "numbers", refuse)
    else:
        real = watch.Watch.step
        monkeypatch.setattr(watch.Watch, "step", lambda self, *args: (
            refuse() if self.name == "context/home/age" else real(self, *args)))
    (found,) = [one for one in world.look() if one.subject.startswith("stream:")]
    assert (found.subject, found.status, found.severity) == ("stream:context/home/age", "invalid", "ticket")
    assert "a planted fault" in found.reason
    assert drift_ledger.read(world.control).standings["items/home/popular"].status == "ok"
