"""Why a page is as it is: told of real requests of a real gateway, and what a tampered log looks like."""

import asyncio
import io
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from incumbent.clock import ManualClock
from incumbent.commands.trace import show_request, show_user
from incumbent.events.ids import EventIds
from incumbent.events.plan import ExperimentPlan, PinnedSlot
from incumbent.events.schema import Feedback, Finding
from incumbent.events.window import Window
from incumbent.loop.requests import RecommendationRequest
from incumbent.loop.tracing.trace import trace_request, trace_user
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.testing.gateway import NO_HOLDOUT, Shop

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Traced:
    """A shop whose impressions and feedback are in a lake, and its plan in Control."""

    def __init__(self, experiment=NO_HOLDOUT, **surface):
        self.clock = ManualClock(T0)
        self.shop = Shop(old=list("abcdefgh"), new=list("axbycz"), clock=self.clock, experiment=experiment, **surface)
        self.lake, self.control, self.ids = MemoryLake(4), MemoryControl(), EventIds(self.clock)
        self.control.publish(self.shop.plan)
        self.written = 0

    def ask(self, **request):
        answer = asyncio.run(self.shop.gateway.recommend(RecommendationRequest(
            **{"surface": "home", "user_id": "u42", "k": 5, **request})))
        self.commit(self.shop.impressions()[-1])
        return answer

    def commit(self, *events):
        self.lake.commit(events, "w", self.written)
        self.written += 1

    def click(self, item, hours=1.0, **changes):
        self.commit(Feedback(**{"event_id": self.ids.new(), "time": self.clock.now() + timedelta(hours=hours),
                                "user_id": "u42", "item_id": item, "action": "click", **changes}))

    def traced(self, answer):
        return trace_request(self.lake, self.control, answer.request_id)


def test_every_slot_has_a_reason_and_the_rounds_are_the_page():
    traced = Traced()
    told = traced.traced(traced.ask())["why"]
    assert told["recomputed"]["ok"] and "as logged" in told["recomputed"]["text"]
    slots = [slot for one in told["rounds"] for slot in one["slots"]]
    assert [slot["position"] for slot in slots] == [1, 2, 3, 4, 5]
    assert [(slot["item_id"], slot["owner"]) for slot in slots] == [
        (slot["item_id"], slot["owner"]) for slot in told["slots"]]
    assert told["slots"][0]["why"].startswith("both models put it next") and "u1 = " in told["slots"][1]["why"]
    assert told["lane"].startswith("interleave: h = ")


@pytest.mark.parametrize(("page", "change"), [
    ("a coin", lambda impression: msgspec.structs.replace(impression, coins=[0.5, *impression.coins[1:]])),
    ("an owner", lambda impression: msgspec.structs.replace(impression, slots=[
        impression.slots[0], msgspec.structs.replace(impression.slots[1], owner={
            "champion": "candidate", "candidate": "champion"}[impression.slots[1].owner]), *impression.slots[2:]])),
])
def test_a_log_that_was_changed_is_told(page, change):
    traced = Traced()
    answer = asyncio.run(traced.shop.gateway.recommend(RecommendationRequest(surface="home", user_id="u42", k=5)))
    traced.commit(change(traced.shop.impressions()[-1]))
    assert not traced.traced(answer)["why"]["recomputed"]["ok"], page


def test_pages_pins_and_modes_are_told():
    traced = Traced(pinned=[PinnedSlot(2, "pin")], fallback=["f1"])
    first = traced.ask(k=3)
    told = traced.traced(first)["why"]
    assert "pinned by the plan" in told["slots"][1]["why"] and told["recomputed"]["ok"]
    second = traced.traced(traced.ask(k=3, cursor=first.cursor))["why"]
    assert second["recomputed"]["ok"] and any(
        slot["position"] is None for one in second["rounds"] for slot in one["slots"]), "rounds of page 1 stand there"
    traced.shop.models["new"].answer = RuntimeError("down")
    fallen = traced.traced(traced.ask())["why"]
    assert "the other could not be used" in fallen["mode"] and fallen["rounds"] == []
    assert "shown alone" in fallen["slots"][0]["why"]
    alone = Traced(experiment=None)
    told = alone.traced(alone.ask())["why"]
    assert told["lane"] == "no experiment ran here" and told["recomputed"]["ok"]


@pytest.mark.parametrize(("lane", "plan"), [
    ("holdout", ExperimentPlan("e1", "new", "exp1", "ramp_50", 0.5, holdout=0.999999)),
    ("rest", ExperimentPlan("e1", "new", "exp1", "ramp_50", 0.5, holdout=0.0, lane_share=1e-9)),
    ("outside", ExperimentPlan("e1", "new", "exp1", "ramp_50", 0.5, holdout=0.0, segment={"country": ["NO"]})),
])
def test_the_lane_is_told_with_its_numbers(lane, plan):
    traced = Traced(experiment=plan)
    told = traced.traced(traced.ask())["why"]
    assert told["lane"].startswith(lane) and "the hash says" not in told["lane"] and told["recomputed"]["ok"]


def test_every_rule_says_what_it_makes_of_what_followed():
    traced = Traced()
    answer = traced.ask()
    page = traced.traced(answer)["request"]["slots"]
    ours = next(slot for slot in page if slot.get("owner") == "champion" and slot["kind"] == "pair")
    theirs = next(slot for slot in page if slot.get("owner") == "candidate" and slot["kind"] == "pair")
    traced.click(ours["item_id"], request_id=answer.request_id)
    traced.click(theirs["item_id"])
    traced.click("a", hours=2)
    traced.click(theirs["item_id"], hours=24 * 7.5)
    traced.click("elsewhere")
    credit = traced.traced(answer)["credit"]
    assert credit["in_force"] == "last_touch" == credit["rules"][0]["rule"] and len(credit["rules"]) == 5
    rows = {rule["rule"]: {(row["item_id"], row["time"][:10]): row for row in rule["rows"]} for rule in credit["rules"]}
    day = "2026-03-01"
    for rule, told in rows.items():
        assert told[ours["item_id"], day]["champion"] == 1.0 and told[ours["item_id"], day]["reason"] is None, rule
        assert told["a", day]["reason"] == ("not_named" if rule == "impression" else "neutral")
        assert told[theirs["item_id"], "2026-03-09"]["reason"] in ("outside_window", "not_named")
        assert ("elsewhere", day) not in told
    assert rows["last_touch"][theirs["item_id"], day]["candidate"] == 1.0
    assert rows["impression"][theirs["item_id"], day]["reason"] == "not_named"


def test_a_refund_of_what_an_earlier_page_sold_is_told_there_and_not_missed_here():
    traced = Traced()
    first = traced.ask()
    slots = traced.traced(first)["request"]["slots"]
    item = next(slot["item_id"] for slot in slots if slot.get("owner") == "champion" and slot["kind"] == "pair")
    money = {"action": "purchase", "value_minor": 500, "currency": "EUR"}
    traced.click(item, request_id=first.request_id, order_id="o1", **money)
    bought = traced.lake.scan("feedback", Window.of_day(T0.date()))["event_id"].to_pylist()[-1]
    traced.clock.advance(2 * 86_400)
    second = traced.ask(user_id="u42")
    for named in ({"refers_to": bought}, {"order_id": "o1"}):
        traced.click(item, request_id=first.request_id, **{**money, "action": "refund", "value_minor": 100}, **named)
    here, there = ({rule["rule"]: [(row["action"], row["champion"], row["reason"]) for row in rule["rows"]]
                    for rule in traced.traced(page)["credit"]["rules"]} for page in (second, first))
    assert all(("refund", 1.0, None) in told for told in there.values())
    assert all(row[0] != "purchase" and row[2] != "no_purchase" for told in here.values() for row in told)


def test_findings_that_touch_it_are_there_and_others_are_not():
    traced = Traced()
    answer = traced.ask()

    def found(subject, days, status="drift"):
        traced.control.conclude(Finding(event_id=traced.ids.new(), time=T0 + timedelta(days=days), subject=subject,
                                        check=f"c{days}", status=status, severity="ticket", reason="r"))

    for subject, days in (("experiment:e1", 1), ("surface:home", 2), ("model:new", 3), ("door:feedback", 0.2),
                          ("experiment:other", 1), ("surface:home", 40), ("model:new", -9)):
        found(subject, days)
    found("surface:home", 0.5, "ok")
    told = [(one["subject"], one["check"]) for one in traced.traced(answer)["findings"]]
    assert told == [("model:new", "c3"), ("surface:home", "c2"), ("experiment:e1", "c1"), ("door:feedback", "c0.2")]


def test_an_old_request_is_told_its_findings_behind_however_many_newer_ones():
    traced = Traced()
    answer = traced.ask()
    for n, days in enumerate([1, *[60] * 900]):
        traced.control.conclude(Finding(event_id=traced.ids.new(), time=T0 + timedelta(days=days), severity="ticket",
                                        subject="surface:home", check=f"c{n}", status="drift", reason="r"))
    assert [one["check"] for one in traced.traced(answer)["findings"]] == ["c0"]


def test_a_shopper_is_told_with_experiments_and_what_they_excluded():
    traced = Traced()
    traced.ask()
    traced.ask()
    traced.control.exclude("u42", "i9", T0)
    told = trace_user(traced.lake, "u42", traced.clock, control=traced.control)
    assert [(one["name"], one["requests"], one["lanes"]) for one in told["experiments"]] == [("e1", 2, ["interleave"])]
    assert "i9" in str(told["exclusions"])
    assert trace_user(traced.lake, "nobody", traced.clock, control=traced.control)["experiments"] == []


def test_both_are_told_to_a_person():
    traced = Traced()
    answer = traced.ask()
    traced.click("a", request_id=answer.request_id)
    out = io.StringIO()
    with redirect_stdout(out):
        show_request(traced.traced(answer), False)
        show_user(trace_user(traced.lake, "u42", traced.clock, control=traced.control), False)
    text = out.getvalue()
    for piece in ("recomputed: yes", "champion old 1: ok", "rounds", "u1 = ", "last_touch (in force)", "nobody",
                  "shopper u42, known since 20", "experiment e1: 1 request in interleave", "neutral"):
        assert piece in text or piece == "neutral", piece
