"""Shoppers: deterministic by seed, and never anything that does not stand in the data."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from incumbent.demo import data
from incumbent.demo.shoppers import Shoppers, Trip, enrol, looks_at, trips
from incumbent.errors import DataError

NOON = datetime(2017, 10, 2, 12, tzinfo=UTC)


def trip(basket: str, days: float, **lines: int) -> Trip:
    return Trip("h1", basket, "s1", NOON + timedelta(days=days), lines)


@pytest.fixture(scope="module")
def drawn(journey, past):
    period = journey.lines.between(data.SPLIT, data.SPLIT + timedelta(days=56))

    def draw(seed: int, shoppers: int = 150) -> list[Trip]:
        return enrol(past, period, shoppers=shoppers, seed=seed, start=data.SPLIT, days=28)

    return draw


def test_equal_seeds_draw_equal_trips_and_other_seeds_others(drawn):
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert len({t.household for t in drawn(1)}) <= 150


def test_trips_are_real_baskets(journey, drawn):
    value = Counter()
    for basket, cents in zip(journey.lines.basket.tolist(), journey.lines.value_minor.tolist(), strict=True):
        value[str(basket)] += cents
    for one in drawn(3):
        assert sum(one.lines.values()) == value[one.basket]
        assert timedelta(minutes=10) <= one.paid_at - one.asks_at < timedelta(minutes=40)
        assert one.asks_at.minute % 30 == one.asks_at.second == 0


def test_households_join_over_the_enrolment(drawn):
    first = {}
    for one in drawn(4, 600):
        first.setdefault(one.household, one.paid_at)
    weeks = Counter((moment - data.SPLIT).days // 7 for moment in first.values())
    assert all(weeks[week] > 60 for week in range(4)), weeks


def test_more_households_than_there_are_is_refused(drawn):
    with pytest.raises(DataError, match="not that many households"):
        drawn(1, 100_000)


def test_how_far_a_household_looks_is_geometric():
    depths = np.array([looks_at(7, str(basket)) for basket in range(20_000)])
    assert depths.min() == 1
    assert depths.mean() == pytest.approx(10.0, rel=0.03)  # 1 / (1 - 0.9)
    assert (depths >= 11).mean() == pytest.approx(0.9**10, abs=0.015)


def test_a_purchase_is_reported_once_and_only_of_what_was_looked_at():
    visits = [trip("1", 0, milk=129, beer=700), trip("2", 3, milk=129), trip("3", 20, milk=150, eggs=99)]
    shoppers = Shoppers(visits, seed=1, patience=1 - 1e-9)  # looks at everything
    assert [(a.action, a.item_id) for a in shoppers.look(visits[0], ["milk", "eggs"])] == [
        ("view", "milk"), ("click", "milk"), ("view", "eggs")]  # eggs are bought in 20 days only
    assert [(a.item_id, a.value_minor, a.currency, a.order_id) for a in shoppers.pay(visits[0])] == [
        ("milk", 129, "USD", "1")]  # beer was not on the list
    list(shoppers.look(visits[1], ["milk"]))
    assert [a.item_id for a in shoppers.pay(visits[1])] == ["milk"]  # shown twice, bought once: one event
    assert list(shoppers.pay(visits[2])) == []  # the last look is 17 days ago


def test_positions_beyond_the_look_are_not_seen():
    visit = trip("9", 0, **{f"i{n}": 100 for n in range(20)})
    shoppers = Shoppers([visit], seed=5)
    depth = looks_at(5, "9")
    views = [a for a in shoppers.look(visit, [f"i{n}" for n in range(20)]) if a.action == "view"]
    assert len(views) == min(depth, 20)
    assert len(list(shoppers.pay(visit))) == min(depth, 20)


def test_every_purchase_is_a_real_line_at_its_time(drawn):
    everything = drawn(6)
    shoppers = Shoppers(everything, seed=6)
    popular = [item for item, _ in Counter(i for t in everything for i in t.lines).most_common(20)]
    real = {(t.household, t.basket, item): (t.paid_at, cents) for t in everything for item, cents in t.lines.items()}
    found = []
    for one in everything:
        list(shoppers.look(one, popular))
        found += shoppers.pay(one)
    keys = [(a.user_id, a.order_id, a.item_id) for a in found]
    assert len(found) > 50 and len(set(keys)) == len(keys)
    assert all(real[key] == (act.time, act.value_minor) for key, act in zip(keys, found, strict=True))


def test_trips_of_no_lines_are_none(past):
    assert trips(past.where(past.household < 0)) == []
