"""Response quality against plain Python over answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent import registry
from incumbent.errors import DataError
from incumbent.metrics.metric import Batch, Side

ITEMS = "abcdefgh"
answers = st.lists(st.tuples(st.sampled_from("uvwx"), st.lists(st.sampled_from(ITEMS), max_size=5),
                             st.integers(0, 20), st.integers(1, 5), st.integers(0, 2),
                             st.sampled_from(["champion", "fallback", "degraded"])), min_size=1, max_size=12)
pairs = st.sets(st.tuples(st.sampled_from("uvwxyz"), st.sampled_from(ITEMS + "z")), max_size=12)


def read(name, rows, side=Side(), **settings):
    metric = registry.load("metrics", name)(**settings)
    return metric.estimate(metric.state().update(*metric.observe(Batch(rows), side))).value


def ratio(top, bottom):
    return pytest.approx(top / bottom, abs=1e-12) if bottom else None


def columns(made):
    names = ("user_id", "items", "time", "k", "removed", "mode")
    return dict(zip(names, map(list, zip(*made, strict=True)), strict=True))


def pairs_of(found, **more):
    listed = sorted(found)
    return {"user_id": np.array([u for u, _ in listed], str), "item_id": np.array([i for _, i in listed], str), **more}


@given(answers, pairs, pairs, st.integers(0, 20))
@settings(deadline=None, max_examples=60)
def test_every_share_equals_the_definition(made, had, excluded, since):
    rows = columns(made)
    delisted = {"a": 5, "b": 15}
    side = Side(
        history=pairs_of(had), popularity={"item_id": ["a", "c", "d"], "count": [4, 0, 2]},
        catalogue={"item_id": list("abcdef"), "delisted_at": [delisted.get(item) for item in "abcdef"]},
        excluded=pairs_of(excluded, since=[float(since)] * len(excluded)))
    n, slots = len(made), [(u, i, t) for u, items, t, *_ in made for i in items]
    m = len(slots)
    assert read("empty_share", rows) == ratio(sum(not items for _, items, *_ in made), n)
    assert read("short_share", rows) == ratio(sum(0 < len(items) < k for _, items, _, k, *_ in made), n)
    full = [items for _, items, *_ in made if items]
    assert read("duplicate_share", rows) == ratio(sum(len(set(items)) < len(items) for items in full), len(full))
    assert read("bought_again_share", rows, side) == ratio(sum((u, i) in had for u, i, _ in slots), m)
    again = sum(any(v == u and s < t and i in shown for v, shown, s, *_ in made) for u, i, t in slots)
    assert read("shown_again_share", rows) == ratio(again, m)
    assert read("invented_share", rows, side) == ratio(sum(i not in "abcdef" for _, i, _ in slots), m)
    assert read("delisted_share", rows, side) == ratio(sum(delisted.get(i, 99) <= t for _, i, t in slots), m)
    assert read("excluded_share", rows, side) == ratio(
        sum((u, i) in excluded and since < t for u, i, t in slots), m)
    removed = sum(row[4] for row in made)
    assert read("removed_share", rows) == ratio(removed, m + removed)
    assert read("fallback_share", rows) == ratio(sum(row[5] != "champion" for row in made), n)
    warm = {u for u, _ in had}
    assert read("cold_user_share", rows, side) == ratio(sum(u not in warm for u, *_ in made), n)
    assert read("cold_item_share", rows, side) == ratio(sum(i not in "ad" for _, i, _ in slots), m)


def test_an_empty_catalogue_makes_nothing_invented_and_nothing_zero():
    rows = {"user_id": ["u"], "items": [["a"]], "time": [1]}
    empty = Side(catalogue={"item_id": np.zeros(0, str), "delisted_at": np.zeros(0)})
    assert read("invented_share", rows, empty) is None


def test_clicks_on_and_off_the_list():
    rows = {"user_id": list("uuvvw"), "position": [1, None, 3, 3, 70]}
    assert read("off_list_share", rows) == pytest.approx(0.2)
    metric = registry.load("metrics", "click_rank")(depth=5)
    state = metric.state().update(*metric.observe(Batch(rows), Side()))
    assert state.counts.tolist() == [0, 1, 0, 2, 0, 0, 1] and int(state.missing) == 1
    assert metric.estimate(state).value == pytest.approx((1 + 3 + 3 + 6) / 4)
    with pytest.raises(DataError, match="whole numbers from 1"):
        metric.observe(Batch({"user_id": ["u"], "position": [0]}), Side())


def test_bad_rows_are_named():
    for name, rows, message in [
        ("empty_share", {"user_id": ["u"], "items": ["a"]}, "must be a list of ids"),
        ("empty_share", {"user_id": [None], "items": [["a"]]}, "no user"),
        ("duplicate_share", {"user_id": ["u"], "items": [["a", None]]}, "no id"),
        ("revenue_per_user", {"user_id": ["u"], "value_minor": [-5], "refund_minor": [0]}, "not be negative"),
        ("click_through", {"user_id": ["u"], "clicks": ["one"], "slots": [1]}, "must hold numbers"),
        ("return_rate", {"user_id": ["u"], "age_days": [3], "return_days": [5]}, "delay above the age"),
        ("return_rate", {"user_id": ["u"], "age_days": [9], "return_days": [0]}, "return_days must be at least 1"),
    ]:
        with pytest.raises(DataError, match=message):
            read(name, rows)
    for name, settings_ in [("completion", {"reached": 0}), ("latency", {"q": 99}), ("click_rank", {"depth": 0}),
                            ("return_rate", {"days": 0}), ("revenue_per_user", {"per": "week"})]:
        with pytest.raises((DataError, TypeError)):
            registry.load("metrics", name)(**settings_)
