"""Drift in the loop: quiet weeks, planted faults found once and explained, harm that pages."""

from __future__ import annotations

from datetime import timedelta

import pytest

from incumbent.events.schema import Alert
from incumbent.loop.act import Actor
from incumbent.loop.drift import ledger as drift_ledger
from incumbent.stores.memory_log import MemoryLog
from incumbent.testing.drift_loop import SPRING, configured, opened
from incumbent.testing.event_shop import START

LAST = SPRING + 16


@pytest.mark.slow
def test_quiet_weeks_alarm_no_more_often_than_was_agreed(after_spring):
    findings = after_spring().lived(SPRING, SPRING + 28)
    begun, *rest = findings
    assert (begun.subject, begun.status) == ("baseline:spring", "ok")
    assert begun.reason == "all 14 monitors can honour their part of 6 false alarms a month"
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
    findings = after_spring(watch=watch, faults={fault: SPRING + 4}).lived(SPRING, LAST)
    (found,) = opened(findings, subject)
    assert found.severity == "ticket", "a drift alone is no page"
    assert told in found.evidence["explanation"]["text"]
    assert found.evidence["window"]["start"] >= (START + timedelta(days=SPRING + 4)).isoformat()
    assert found.evidence["baseline"]["name"] == "spring" and found.evidence["budget"]["alpha"] > 0
    assert found.check == "drift:" + subject.partition("/")[0]


def test_the_explanation_says_how_much_each_piece_moved(after_spring):
    findings = after_spring(watch=["items"], faults={"mix": SPRING + 4}).lived(SPRING, LAST)
    (found,) = opened(findings, "items/home/popular")
    (kinds,) = (one for one in found.evidence["explanation"]["breakdowns"] if one["by"] == "category")
    first = kinds["changes"][0]
    assert first["name"] == "candle" and first["current"] > 2 * first["reference"] and first["part"] > 0.4
    assert sum(change["part"] for change in kinds["changes"]) == pytest.approx(1, abs=0.05)
    assert any("candle number" in title for title in found.evidence["explanation"]["examples"]["after"])


def test_harm_pages_and_says_where(after_spring):
    findings = after_spring(watch=["items", "response"], faults={"clicks": SPRING + 4}).lived(SPRING, LAST)
    (found,) = opened(findings, "response/home/clicked")
    assert (found.severity, found.status) == ("page", "drift") and found.reason.startswith("the share clicked is 0.")
    told = found.evidence["explanation"]
    assert told["current"] < 0.6 * told["reference"]
    assert abs(told["within"]) > 10 * abs(told["mix"]), "fewer clicks in every segment, not another mix"
    assert {one["segment"] for one in told["segments"]} == {"phone", "desktop"}
    assert not [one for one in findings if one.severity == "page" and "click" not in one.subject]


@pytest.mark.slow
def test_errors_of_the_champion_page(after_spring):
    findings = after_spring(watch=["response"], faults={"errors": SPRING + 4}).lived(SPRING, LAST)
    (found,) = opened(findings, "response/home/failed")
    assert found.severity == "page"


def test_young_cohorts_do_not_read_as_a_collapse(after_spring):
    """Purchases take days: a window is judged once they can have come, so a young one is neither good nor bad."""
    world = after_spring(watch=["items", "response"])
    assert not opened(world.lived(SPRING, LAST), "response/home/converted")
    ledger = drift_ledger.read(world.control)
    assert ledger.until["prompt"] == START + timedelta(days=LAST)
    assert ledger.until["conversions"] == START + timedelta(days=LAST - 7)
    assert ledger.until["clicks"] == START + timedelta(days=LAST - 1)


def test_who_cannot_honour_the_budget_says_so_at_start_and_is_not_judged(after_spring):
    world = after_spring(watch=["items", "response"], drift={"false_alarms_per_month": 0.2},
                         faults={"mix": SPRING})
    findings = world.lived(SPRING, SPRING + 4)
    begun = findings[0]
    assert (begun.check, begun.status, begun.severity) == ("drift:budget", "no_data", "ticket")
    refused = begun.evidence["refused"]
    assert "items/home/popular" in refused and "ranks among 36 windows never make evidence" in refused[
        "items/home/popular"]
    assert not opened(findings, "items/home/popular")
    assert drift_ledger.read(world.control).standings["items/home/popular"].status == "refused"
    assert "response/home/clicked" not in refused, "a bound over time carries any budget"


@pytest.mark.slow
def test_a_budget_that_is_raised_lets_the_refused_be_judged(after_spring):
    world = after_spring(watch=["items"], drift={"false_alarms_per_month": 0.1})
    world.lived(SPRING, SPRING + 1)
    assert drift_ledger.read(world.control).standings["items/home/popular"].status == "refused"
    world.config = configured(["items"], false_alarms_per_month=2)
    (begun,) = world.lived(SPRING + 1, SPRING + 2)
    assert begun.status == "ok" and drift_ledger.read(world.control).standings["items/home/popular"].status == "ok"


def test_findings_and_alerts_go_their_way(after_spring):
    world = after_spring(watch=["response"], faults={"clicks": SPRING + 1})
    findings = world.lived(SPRING, SPRING + 14)
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
