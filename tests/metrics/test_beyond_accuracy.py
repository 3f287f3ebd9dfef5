"""Metrics beyond accuracy against plain Python over lists, and what becomes of items that the side does not know."""

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError, StateError
from incumbent.metrics.category_mix import category_calibration
from incumbent.metrics.exposure import concentration, coverage, gini, personalisation
from incumbent.metrics.intra_list import category_diversity, diversity
from incumbent.metrics.item_counts import ItemCounts
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.self_information import novelty, popularity, surprisal, unseen_share
from incumbent.metrics.unexpected import serendipity, unexpectedness
from incumbent.testing.checks import states

ITEMS = "abcdefghijkl"
COUNTS = {"a": 40, "b": 20, "c": 20, "d": 10, "e": 5, "f": 4, "g": 1, "h": 0}
KINDS = {item: None if item == "k" else "xyz"[n % 3] for n, item in enumerate(ITEMS[:11])}
VECTORS = {item: [float(x) for x in row] for item, row in zip(
    ITEMS[:10], np.random.default_rng(2).normal(size=(10, 4)), strict=True)}

shops = st.tuples(
    st.dictionaries(st.sampled_from("uvwxyz"), st.lists(st.sampled_from(ITEMS), min_size=1, max_size=8), min_size=1),
    st.dictionaries(st.sampled_from("uvwxyz"), st.lists(st.sampled_from(ITEMS), min_size=1, max_size=8)),
    st.dictionaries(st.sampled_from("uvwxyz"), st.sets(st.sampled_from(ITEMS), min_size=1)),
    st.sampled_from([1, 2, 3, 10]))


def batch_of(lists):
    rows = [(user, item, rank) for user, items in lists.items() for rank, item in enumerate(items)]
    return Batch(dict(zip(("user_id", "item_id", "rank"), map(list, zip(*rows, strict=True)), strict=True)))


def pairs_of(wanted):
    return {"user_id": np.array([u for u, items in wanted.items() for _ in items], dtype=str),
            "item_id": np.array([i for items in wanted.values() for i in items], dtype=str)}


def side_of(history=None, relevant=None):
    return Side(popularity={"item_id": list(COUNTS), "count": list(COUNTS.values())},
                catalogue={"item_id": list(KINDS), "category": list(KINDS.values())},
                vectors={"item_id": list(VECTORS), "vector": list(VECTORS.values())},
                history=pairs_of(history or {}), relevant=pairs_of(relevant or {}))


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else None


def same(metric, batch, side, expected):
    found = metric.values(batch, side).tolist()
    assert len(found) == len(expected)
    for value, wanted in zip(found, expected, strict=True):
        assert math.isnan(value) if wanted is None else value == pytest.approx(wanted, abs=1e-9), metric.name


@given(shops)
@settings(deadline=None, max_examples=50)
def test_per_list_metrics_equal_the_definition(shop):
    lists, history, relevant, k = shop
    batch, side, heads = batch_of(lists), side_of(history, relevant), [items[:k] for items in lists.values()]
    bits = {item: math.log2(100 / count) for item, count in COUNTS.items() if count}
    same(novelty(k=k), batch, side, [mean(bits.get(item, math.log2(100)) for item in head) for head in heads])
    same(novelty(k=k, unseen="left_out"), batch, side, [mean(bits[i] for i in head if i in bits) for head in heads])
    same(surprisal(k=k), batch, side,
         [mean(bits.get(item, math.log2(100)) / math.log2(100) for item in head) for head in heads])
    same(popularity(k=k), batch, side, [mean(COUNTS.get(item, 0) / 100 for item in head) for head in heads])
    same(unseen_share(k=k), batch, side, [mean(item not in bits for item in head) for head in heads])
    bar = sorted(COUNTS.values(), reverse=True)[k - 1] if k < len(COUNTS) else 0
    expected = {item for item, count in COUNTS.items() if count >= bar and count}
    odd = [[i not in expected and i not in history.get(user, ()) for i in items[:k]] for user, items in lists.items()]
    same(unexpectedness(k=k), batch, side, [mean(part) for part in odd])
    found = []
    for (user, items), part in zip(lists.items(), odd, strict=True):
        wanted = relevant.get(user)
        firsts = [at for at, item in enumerate(items[:k]) if items.index(item) == at]
        found.append(sum(part[at] and items[at] in wanted for at in firsts) / k if wanted else None)
    same(serendipity(k=k), batch, side, found)


@given(shops)
@settings(deadline=None, max_examples=50)
def test_diversity_and_calibration_equal_the_definition(shop):
    lists, history, relevant, k = shop
    batch, side, heads = batch_of(lists), side_of(history, relevant), [items[:k] for items in lists.values()]

    def apart(one, other):
        a, b = VECTORS[one], VECTORS[other]
        return 1 - sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    same(diversity(k=k), batch, side,
         [mean(apart(*pair) for pair in combinations([i for i in head if i in VECTORS], 2)) for head in heads])
    same(category_diversity(k=k), batch, side,
         [mean(KINDS[i] != KINDS[j] for i, j in combinations([i for i in head if KINDS.get(i)], 2)) for head in heads])
    steck = []
    for user, head in zip(lists, heads, strict=True):
        had, got = (Counter(KINDS[i] for i in part if KINDS.get(i)) for part in (history.get(user, ()), head))
        if not had or not got:
            steck.append(None)
            continue
        terms = []
        for kind, count in had.items():
            p, q = count / had.total(), got[kind] / got.total()
            terms.append(p * math.log(p / (0.99 * q + 0.01 * p)))
        steck.append(sum(terms))
    same(category_calibration(k=k), batch, side, steck)


@given(shops)
@settings(deadline=None, max_examples=50)
def test_exposure_equals_the_definition(shop):
    lists, _, _, k = shop
    batch, side = batch_of(lists), side_of()
    sets = [set(items[:k]) for items in lists.values()]
    counts = sorted(sum(item in part for part in sets) for item in KINDS)
    total, size = sum(counts), len(KINDS)
    outside = sum("l" in part for part in sets)
    wanted = {
        coverage: sum(count > 0 for count in counts) / size,
        gini: sum(abs(a - b) for a in counts for b in counts) / (2 * size * total) if total else None,
        concentration: sum((count / total) ** 2 for count in counts) if total else None,
        personalisation: 1 - mean(len(a & b) for a, b in combinations(sets, 2)) / mean(map(len, sets))
        if len(sets) > 1 else None}
    for make, value in wanted.items():
        metric = make(k=k)
        state = metric.state().update(*metric.observe(batch, side))
        found = metric.estimate(state)
        assert found.value == (value if value is None else pytest.approx(value, abs=1e-9)), metric.name
        assert int(state.lists) == len(lists) and int(state.outside) == (0 if make is personalisation else outside)


def test_item_counts_refuse_what_does_not_add():
    state = ItemCounts.zero(k=2).update(["ü", "a"], [1, 0], lists=1)
    assert ItemCounts.from_bytes(state.to_bytes()) == state and state.counts == {"a": 0, "ü": 1}
    with pytest.raises(StateError, match="different configurations"):
        state.merge(ItemCounts.zero(k=3))
    with pytest.raises(StateError):
        state.subtract(state)
    for items, counts in ((["a"], [-1]), (["a"], [1, 2])):
        with pytest.raises(DataError, match="one count"):
            state.update(items, counts)


def test_bad_sides_are_named():
    batch, side = batch_of({"u": ["a", "b"]}), side_of()
    twice = Side(popularity={"item_id": ["a", "a"], "count": [1, 2]})
    with pytest.raises(DataError, match="stands there twice"):
        novelty().values(batch, twice)
    with pytest.raises(DataError, match="counts of 0 or more"):
        novelty().values(batch, Side(popularity={"item_id": ["a"], "count": [-1]}))
    with pytest.raises(DataError, match="popularity lack columns count"):
        novelty().values(batch, Side(popularity={"item_id": ["a"]}))
    with pytest.raises(DataError, match="of one length"):
        diversity().values(batch, Side(vectors={"item_id": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}))
    with pytest.raises(DataError, match="not finite"):
        diversity().values(batch, Side(vectors={"item_id": ["a"], "vector": [[float("nan")]]}))
    with pytest.raises(DataError, match="mixed id types"):
        category_diversity().values(batch, Side(catalogue={"item_id": [1], "category": ["x"]}))
    for make in (novelty, coverage, diversity):
        with pytest.raises(DataError, match="k must be"):
            make(k=0)
    with pytest.raises(DataError, match="smoothing"):
        category_calibration(smoothing=1.0)
    assert category_calibration(smoothing=0.1).name == "category_calibration_0.1@10"
    assert novelty(unseen="left_out").observe(batch, side)[1].tolist() == [pytest.approx(math.log2(100) - (
        math.log2(40) + math.log2(20)) / 2)]


def test_blocks_of_lists_change_nothing(monkeypatch):
    rng = np.random.default_rng(4)
    lists = {f"u{n}": [ITEMS[i] for i in rng.permutation(10)[: rng.integers(1, 9)]] for n in range(50)}
    whole = diversity().values(batch_of(lists), side_of())
    monkeypatch.setattr("incumbent.metrics.intra_list._ROWS", 5)
    assert diversity().values(batch_of(lists), side_of()) == pytest.approx(whole, nan_ok=True)


@pytest.mark.parametrize("case", list(states.SUITE.cases_of("item_counts", ItemCounts)), ids=str)
def test_item_counts_keep_the_laws_of_a_state(case):
    case.check()
