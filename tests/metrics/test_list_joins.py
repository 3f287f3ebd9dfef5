"""Lists, pairs and means of rows against loops over Python sets: uneven lists, repeats, gaps, wide and far-off ids."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.metrics.exposure import coverage, personalisation
from incumbent.metrics.item_facts import mean_of_head, mean_of_rows
from incumbent.metrics.judged import among, judge
from incumbent.metrics.lists import lists_of, read_lists
from incumbent.metrics.measurement import measure
from incumbent.metrics.metric import Batch, Side

ITEMS = st.integers(0, 6)
SHOWN = st.lists(st.lists(ITEMS, max_size=7), min_size=1, max_size=6)
PAIRS = st.lists(st.tuples(st.integers(0, 8), ITEMS), max_size=30)
FAR = {"near": lambda i: i, "shifted": lambda i: i + 10**15, "scattered": lambda i: i * 10**11 - 7,
       "text": "i{}".format}
LAW = settings(deadline=None, max_examples=25)


def rows(shown, name):
    return {"user_id": [name(u) for u, items in enumerate(shown) for _ in items],
            "item_id": [name(i) for items in shown for i in items],
            "rank": [at for items in shown for at in range(len(items))]}


@pytest.mark.parametrize("far", FAR)
@LAW
@given(shown=SHOWN, wanted=PAIRS)
def test_hits_are_those_of_sets(far, shown, wanted):
    name, want = FAR[far], set(wanted)
    frame = {"user_id": [name(u) for u, _ in wanted], "item_id": [name(i) for _, i in wanted]}
    if not wanted or not any(shown):
        return
    lists = read_lists(rows(shown, name))
    users = [u for u, items in enumerate(shown) if items]
    flat = [(u, i) for u, items in enumerate(shown) for i in items]
    assert among(lists, frame, "history").tolist() == [pair in want for pair in flat]
    asked = np.array([at for at in range(len(flat)) if at % 3 == 0])
    assert among(lists, frame, "history", asked).tolist() == [flat[at] in want for at in asked]
    found = judge(lists, frame)
    expected = [(at, items.index(i) + 1) for at, items in enumerate(shown[u] for u in users)
                for i in dict.fromkeys(items) if (users[at], i) in want]
    assert list(zip(found.where.tolist(), found.position.tolist(), strict=True)) == expected
    assert found.repeats == sum(pair in want for pair in flat) - len(expected)


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("k", [1, 3, 10])
@LAW
@given(shown=SHOWN)
def test_repeats_are_found_and_counted_once(far, k, shown):
    if not any(shown):
        return
    name, flat, again = FAR[far], 0, []
    for items in shown:
        again += [flat + at for at, i in enumerate(items[:k]) if i in items[:at]]
        flat += len(items)
    batch = Batch(rows(shown, name))
    assert batch.once(lists_of).again(k).tolist() == again
    side = Side(catalogue={"item_id": [name(i) for i in range(7)]})
    for metric in (coverage(k=k), personalisation(k=k)):
        through_state = metric.estimate(metric.state().update(*metric.observe(batch, side)))
        assert metric.of(batch, side) == through_state
    assert measure(batch.rows, [coverage(k=k)], side).estimates[f"coverage@{k}"].value == pytest.approx(
        len({i for items in shown for i in items[:k]}) / 7)


def test_repeats_of_long_lists_are_found_as_those_of_short_ones():
    rng = np.random.default_rng(4)
    shown = [rng.integers(0, 90, size).tolist() for size in (50, 3, 70, 1, 33)]
    lists, flat = read_lists(rows(shown, int)), 0
    for k in (20, 40, 100):
        again, flat = [], 0
        for items in shown:
            again += [flat + at for at, i in enumerate(items[:k]) if i in items[:at]]
            flat += len(items)
        assert again and lists.again(k).tolist() == again


@pytest.mark.parametrize("longest", [22, 23, 300])
def test_hits_of_long_lists_with_repeats_are_those_of_sets(longest):
    rng = np.random.default_rng(longest)
    shown = [rng.integers(0, 2 * longest, size).tolist() for size in (longest, 1, longest // 2, longest)]
    wanted = list(zip(rng.integers(0, 4, 5 * longest).tolist(), rng.integers(0, 2 * longest, 5 * longest).tolist(),
                      strict=True))
    want, lists = set(wanted), read_lists(rows(shown, int))
    gains = {pair: 1.0 + (pair[0] + pair[1]) % 3 for pair in want}
    frame = {"user_id": [u for u, _ in wanted], "item_id": [i for _, i in wanted],
             "gain": [gains[pair] for pair in wanted]}
    flat = [(u, i) for u, items in enumerate(shown) for i in items]
    assert among(lists, frame, "history").tolist() == [pair in want for pair in flat]
    first = [(u, at + 1, gains[u, i]) for u, items in enumerate(shown) for at, i in enumerate(items)
             if (u, i) in want and i not in items[:at]]
    found = judge(lists, frame)
    assert list(zip(found.where.tolist(), found.position.tolist(), found.gain.tolist(), strict=True)) == first
    assert found.repeats == sum(pair in want for pair in flat) - len(first) > 0
    assert found.twice == len(wanted) - len(want) > 0
    so_far = [sum(other[0] == hit[0] for other in first[:at + 1]) for at, hit in enumerate(first)]
    assert found.index.tolist() == so_far


def test_users_in_any_order_with_several_lists_have_their_own_pairs():
    shown = {"user_id": [7, 7, 3, 3, 7], "list_id": [1, 1, 2, 2, 3], "item_id": [0, 1, 0, 2, 1],
             "rank": [1, 2, 1, 2, 1]}
    pairs = {"user_id": [3, 7, 9], "item_id": [0, 1, 0]}
    lists = read_lists(shown)
    assert among(lists, pairs, "history").tolist() == [False, True, True, False, True]
    assert among(lists, pairs, "history", np.array([4, 0])).tolist() == [True, False]


@LAW
@given(shown=SHOWN, values=st.lists(st.sampled_from([0.5, 2.0, -1.0, math.nan]), min_size=7, max_size=7),
       k=st.integers(1, 8))
def test_means_of_the_head_leave_out_what_is_missing(shown, values, k):
    if not any(shown):
        return
    batch = Batch(rows(shown, "i{}".format))
    lists = batch.once(lists_of)
    of_ids = np.array([values[int(text[1:])] for text in lists.coded[1].to_pylist()])
    heads = [[values[i] for i in items[:k] if not math.isnan(values[i])] for items in shown if items]
    expected = [sum(head) / len(head) if head else math.nan for head in heads]
    assert mean_of_head(batch, of_ids, k) == pytest.approx(expected, nan_ok=True)
    assert mean_of_rows(batch, of_ids[lists.coded[0]], k) == pytest.approx(expected, nan_ok=True)
