"""What a shopper excludes, asked of models that heed it and of models that do not: items, categories, interactions."""

from __future__ import annotations

import csv
import sys
from datetime import UTC, datetime, timedelta
from types import ModuleType

import pytest

from incumbent.clock import ManualClock
from incumbent.events.ids import EventIds
from incumbent.events.plan import ModelPlan
from incumbent.events.schema import Feedback, Impression, ModelAnswer, Slot
from incumbent.loop.evaluate import evaluate
from incumbent.loop.evaluation.held_out import period_of
from incumbent.loop.evaluation.held_out_file import from_files
from incumbent.loop.evaluation.held_out_lake import from_lake
from incumbent.metrics.expectation_file import parse_gate
from incumbent.stores.memory_lake import MemoryLake

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
ITEMS = [f"i{n}" for n in range(12)]
KINDS = {item: "abc"[n % 3] for n, item in enumerate(ITEMS)}
PAST = [{"user_id": f"u{n}", "item_id": ITEMS[(5 + n + j) % 12], "event_id": f"e{n}-{j}"}
        for n in range(10) for j in range(2)]


def heeding(request, k):
    """The shopper's own items first, as far as they may be known, then all, less the excluded ones."""
    own = [row["item_id"] for row in PAST if row["user_id"] == request.user_id
           and row["event_id"] not in request.ignore_events]
    return [(item, None) for item in dict.fromkeys(own + ITEMS)
            if item not in request.exclude and KINDS[item] not in request.exclude_categories][:k]


def by_item(request, k):
    """Knows of excluded items alone."""
    own = [row["item_id"] for row in PAST if row["user_id"] == request.user_id]
    return [(item, None) for item in dict.fromkeys(own + ITEMS) if item not in request.exclude][:k]


def deaf(request, k):
    """The same three items to everybody."""
    return [(item, None) for item in ITEMS[:3]]


@pytest.fixture(autouse=True)
def module(monkeypatch):
    made = ModuleType("probed_models")
    for function in (heeding, by_item, deaf):
        setattr(made, function.__name__, function)
    monkeypatch.setitem(sys.modules, "probed_models", made)


def plan(name):
    return ModelPlan(name, "callable", f"probed_models:{name}", "1", deadline_ms=5000)


def table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def probed(held, name, *, champion="by_item"):
    gate = parse_gate(f'k = 4\n[[expect]]\nmetric = "behaviour.{name}"\nat_least = 1.0\n')
    [one] = evaluate(held, plan(champion), plan("heeding"), gate, ManualClock(T0)).outcomes
    return one


def of_files(tmp_path, history=PAST, catalogue=KINDS):
    rows = [{"item_id": item, **({"category": catalogue[item]} if catalogue else {})} for item in ITEMS]
    return from_files(table(tmp_path / "data.csv", [{"user_id": f"u{n}", "item_id": "i1"} for n in range(10)]),
                      history=table(tmp_path / "past.csv", history), catalogue=table(tmp_path / "items.csv", rows),
                      k=4, requests=100)


@pytest.mark.parametrize(("name", "champion"), [("exclusions", 1.0), ("excluded_categories", 0.0)])
def test_a_model_is_asked_without_an_item_and_without_a_category(tmp_path, name, champion):
    one = probed(of_files(tmp_path), name)
    assert (one.status, one.candidate.value, one.champion.value) == ("passed", 1.0, champion)
    assert probed(of_files(tmp_path), name, champion="deaf").champion.value == 0.0


def test_a_model_is_asked_to_forget_what_a_shopper_did(tmp_path):
    """The unknown shopper's list is i0 to i3: of a list that still begins with two items of one's own half is left."""
    one = probed(of_files(tmp_path), "ignored_events")
    assert one.candidate.value == 1.0 and one.status == "passed"
    own = [[ITEMS[(5 + n + j) % 12] for j in range(2)] for n in range(10)]
    kept = [len({*mine, *[item for item in ITEMS if item not in mine][:2]} & set(ITEMS[:4])) / 4 for mine in own]
    assert one.champion.value == pytest.approx(sum(kept) / 10) and 0.5 <= one.champion.value < 0.8
    assert probed(of_files(tmp_path), "ignored_events", champion="deaf").champion.value == 1.0, "it learnt nothing"


def test_what_the_data_do_not_have_is_said(tmp_path):
    without = [{name: row[name] for name in ("user_id", "item_id")} for row in PAST]
    one = probed(of_files(tmp_path, history=without), "ignored_events")
    assert one.status == "missing" and "--history FILE with a column event_id" in one.message
    one = probed(of_files(tmp_path, catalogue=None), "excluded_categories")
    assert one.status == "missing" and "catalogue" in one.message and "category" in one.message


def test_of_a_period_the_ids_are_those_of_the_lake():
    ids, lake, hour = EventIds(ManualClock(T0)), MemoryLake(4), timedelta(hours=1)
    events, told = [], []
    for hours, action in ((-3, "click"), (-2, "view"), (-1, "purchase"), (1, "click")):
        at = T0 + hours * hour
        more = {"value_minor": 100, "currency": "EUR", "order_id": "o1"} if action == "purchase" else {}
        told.append(Feedback(event_id=ids.new(), time=at, user_id="u1", item_id="i1", action=action, **more))
    for user in ("u1", "u2"):
        event_id = ids.new()
        events.append(Impression(
            event_id=event_id, request_id=event_id, ranking_id=event_id, time=T0, user_id=user, surface="home",
            mode="champion", lane="none", plan="0" * 16, slots=[Slot(1, "i0", "solo", "champion")],
            models=[ModelAnswer("champion", "a", "1", "ok", 2.0, 1, ["i0"])]))
    lake.commit([*events, *told], "w", 1)
    gate = parse_gate('[[expect]]\nmetric = "recall@5"\nat_least = 0.0\n')
    held = from_lake(lake, period_of("2026-03-02"), gate, surface="home")
    assert dict(zip((ask.user_id for ask in held.asks), held.events, strict=True)) == {
        "u1": [told[0].event_id, told[2].event_id], "u2": []}, "what is relevant, before the request"
