"""Feedback that names another shopper's request: marked, counted, never credited, whenever the impression comes."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any

import msgspec
import pytest

from incumbent.clock import ManualClock
from incumbent.config import ExperimentConfig
from incumbent.events.ids import EventIds, Signer, user_bucket
from incumbent.events.schema import Feedback, Impression
from incumbent.loop.attribute import Attributor, read_cursor
from incumbent.loop.definitions import _earliest_currency
from incumbent.loop.lane_days import of_guardrails
from incumbent.loop.relations import DuckEngine, money, plain
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.testing.golden import impression, moment

NOW = moment("2026-03-02T10:00")
KNOWN = {"e": ExperimentConfig(surface="home", candidate="new", attribution_window_days=2, maturity_window_days=2)}
BUCKETS = 16


class Shop:
    """Requests with the ids that a gateway makes, and an attributor over them."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.ids = EventIds(self.clock, Random(1).randbytes)
        self.lake, self.control, self.sequence = MemoryLake(BUCKETS), MemoryControl(), 0

    def request(self, user: str, **changes: Any) -> Impression:
        event_id = self.ids.new()
        made = impression("r", self.clock.now(), user, "home", "e/ramp_50/interleave", ["a:pair0:T", "b:pair0:C"])
        return msgspec.structs.replace(made, event_id=event_id, request_id=Signer(b"s").sign(event_id), **changes)

    def bought(self, user: str, request: str | None, **changes: Any) -> Feedback:
        return Feedback(event_id=self.ids.new(), time=self.clock.now(), user_id=user, item_id="a", action="purchase",
                        value_minor=100, currency="EUR", request_id=request, **changes)

    def commit(self, *events: Any) -> None:
        self.sequence += 1
        self.lake.commit(list(events), "g", self.sequence)

    def run(self) -> Any:
        return Attributor(self.lake, self.control, self.clock, lambda: KNOWN).run_once()

    def refund(self, user: str, bought: Feedback, **changes: Any) -> Feedback:
        return Feedback(event_id=self.ids.new(), time=self.clock.now(), user_id=user, item_id="a", action="refund",
                        refers_to=bought.event_id, **changes)

    def rows(self) -> list[dict[str, Any]]:
        return sorted(self.lake.scan("outcome").to_pylist(), key=lambda row: row["event_id"])

    def sold(self) -> dict[str, int]:
        """Purchases less refunds by user, as the matured rows sum them."""
        engine, found = DuckEngine(threads=1), Counter[str]()
        for row in engine.collect(money(engine.frame(plain(self.lake.scan("outcome"))))).to_pylist():
            found[row["user_id"]] += row["value_minor"]
        return dict(found)

    def revenue(self) -> tuple[float, float]:
        """Conversions and revenue of the one lane, as the guardrails count them."""
        [(_, state)] = of_guardrails(self.lake.scan("impression"), self.lake.scan("outcome"), {"e": "EUR"})
        _, conversions, revenue, _ = state.sums.sum(axis=0).tolist()
        return conversions, revenue

    def reasons(self) -> dict[str, str | None]:
        return {row["event_id"]: row["reason"] for row in self.lake.scan("outcome").to_pylist()}


def test_u1_and_u2_are_in_different_buckets() -> None:
    assert user_bucket("u1", BUCKETS) != user_bucket("u2", BUCKETS)


@pytest.mark.parametrize("late", [False, True])
def test_it_is_marked_and_counted_and_never_credited(late: bool) -> None:
    shop = Shop()
    own, theirs = shop.request("u2"), shop.request("u1")
    shop.clock.advance(seconds=60)
    stolen, honest = shop.bought("u2", theirs.request_id), shop.bought("u2", own.request_id)
    shop.commit(own, stolen, honest, *([] if late else [theirs]))
    first = shop.run()
    if late:
        assert shop.reasons() == {stolen.event_id: "other_request", honest.event_id: None}
        shop.commit(theirs)
        first = shop.run()
    assert shop.reasons() == {stolen.event_id: "foreign_user", honest.event_id: None}
    assert first.reasons == {"foreign_user": 1}


def test_it_turns_back_when_the_other_shopper_is_forgotten() -> None:
    shop = Shop()
    theirs = shop.request("u1")
    stolen = shop.bought("u2", theirs.request_id)
    shop.commit(theirs, stolen)
    shop.run()
    assert shop.reasons() == {stolen.event_id: "foreign_user"}
    shop.lake.erase(["u1"])
    shop.run()
    assert shop.reasons() == {stolen.event_id: "no_exposure"}


def test_a_refund_on_a_later_day_turns_with_its_purchase() -> None:
    shop = Shop()
    theirs = shop.request("u1")
    stolen = shop.bought("u2", theirs.request_id)
    shop.clock.advance(seconds=86_400)
    refund = Feedback(event_id=shop.ids.new(), time=shop.clock.now(), user_id="u2", item_id="a", action="refund",
                      refers_to=stolen.event_id)
    shop.commit(stolen, refund)
    shop.run()
    assert shop.reasons() == {stolen.event_id: "no_exposure", refund.event_id: "no_exposure"}
    shop.commit(theirs)
    shop.run()
    assert shop.reasons() == {stolen.event_id: "foreign_user", refund.event_id: "foreign_user"}


def test_a_login_half_way_keeps_its_money_and_earns_no_credit() -> None:
    """The page was served to a visitor, who logs in at the checkout and buys under another id."""
    shop = Shop()
    page, later = shop.request("anon-1"), shop.request("u1")
    shop.clock.advance(seconds=60)
    bought = shop.bought("u1", page.request_id)
    shop.commit(page, later, bought)
    shop.run()
    [row] = shop.rows()
    assert (row["reason"], row["value_minor"], row["credit_champion"], row["credit_candidate"]) == (
        "foreign_user", 100, 0.0, 0.0)
    assert shop.revenue() == (1.0, 100.0)
    assert shop.sold() == {"u1": 100} and _earliest_currency(shop.lake, NOW, [NOW.date()]) == "EUR"

    shop.clock.advance(seconds=60)
    shop.commit(shop.refund("u1", bought, request_id=page.request_id, value_minor=30, currency="EUR"),
                shop.refund("u1", bought))  # the rest of it
    shop.run()
    assert [(row["reason"], row["value_minor"]) for row in shop.rows()] == [
        ("foreign_user", 100), ("foreign_user", -30), ("foreign_user", -70)]
    assert shop.revenue() == (1.0, 0.0) and shop.sold() == {"u1": 0}


def test_a_refund_that_names_a_stranger_takes_money_back_and_no_credit() -> None:
    shop = Shop()
    own, theirs = shop.request("u2"), shop.request("u1")
    bought = shop.bought("u2", own.request_id)
    shop.commit(own, theirs, bought, shop.refund("u2", bought, request_id=theirs.request_id))
    shop.run()
    assert [(row["reason"], row["credit_candidate"], row["value_minor"]) for row in shop.rows()] == [
        (None, 1.0, 100), ("foreign_user", 0.0, -100)]
    assert shop.sold() == {"u2": 0}


def test_forgetting_the_owner_of_a_named_request_moves_no_money_and_no_credit() -> None:
    shop = Shop()
    own, theirs = shop.request("u2"), shop.request("u1")
    shop.commit(own, theirs, shop.bought("u2", theirs.request_id))
    shop.run()
    before = shop.sold()
    shop.lake.erase(["u1"])
    shop.run()
    [row] = shop.rows()
    assert (row["reason"], row["credit_candidate"], row["credit_champion"]) == ("other_request", 0.0, 0.0)
    assert shop.sold() == before == {"u2": 100}


@pytest.mark.parametrize("marks", [["foreign_user", "unserved"], ["unserved", "foreign_user"], ["forged"]])
def test_what_was_made_up_is_no_money_whatever_else_it_is(marks: list[str]) -> None:
    shop = Shop()
    own = shop.request("u1")
    shop.commit(own, shop.bought("u1", own.request_id, marks=marks))
    shop.run()
    assert shop.sold() == {} and shop.revenue() == (0.0, 0.0)


def test_a_name_over_midnight_is_found() -> None:
    shop = Shop()
    shop.clock.set(moment("2026-03-02T23:59:59"))
    theirs = shop.request("u1", time=shop.clock.now() + timedelta(seconds=2))  # the next day, as its gateway has it
    shop.clock.advance(seconds=60)
    stolen = shop.bought("u2", theirs.request_id)
    shop.commit(stolen)
    shop.run()
    shop.commit(theirs)
    shop.run()
    assert shop.reasons() == {stolen.event_id: "foreign_user"}


def test_only_impressions_of_the_named_day_wake_it() -> None:
    shop = Shop()
    stolen = shop.bought("u2", shop.request("u1").request_id)
    shop.commit(stolen)
    shop.run()
    assert {(str(shown), str(told)) for shown, told, _ in read_cursor(shop.control).strays} == {
        ("2026-03-02", "2026-03-02")}
    shop.clock.advance(seconds=86_400)
    shop.commit(shop.request("u1"))
    assert shop.run().partitions == 0
    shop.clock.advance(seconds=46 * 86_400)
    shop.commit(shop.request("u1"))
    shop.run()
    assert read_cursor(shop.control).strays == []


def test_many_strangers_cost_one_look_each_half_hour_of_requests() -> None:
    shop = Shop()
    events = []
    for _ in range(40):
        shop.clock.advance(seconds=60)
        events += [shop.bought(f"v{n}", shop.request("u1").request_id) for n in range(5)]
    shop.commit(*events)
    scans, scan = [], shop.lake.scan

    def counted(table: Any, period: Any = None, buckets: Any = None, columns: Any = None, users: Any = None) -> Any:
        scans.extend([period] if buckets is None and table == "impression" else [])
        return scan(table, period, buckets, columns, users)

    shop.lake.scan = counted  # type: ignore[method-assign]
    shop.run()
    assert 0 < len(scans) <= 2 * BUCKETS
    assert all(period.end - period.start <= timedelta(minutes=30) for period in scans)
