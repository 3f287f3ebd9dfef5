"""Vocabulary and the state of ids against plain Python."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError, StateError
from incumbent.stats.items import Items
from incumbent.stats.items_vocabulary import Vocabulary

IDS = st.lists(st.one_of(st.none(), st.sampled_from([f"i{k}" for k in range(30)])), max_size=80)
CATALOGUE = {f"i{k}": None if k == 3 else f"c{k % 4}" for k in range(24)}


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from([f"i{k}" for k in range(20)]), st.integers(1, 9), min_size=1), IDS,
       st.sets(st.sampled_from([f"i{k}" for k in range(30)]), max_size=4), st.integers(1, 12), st.integers(1, 10))
def test_every_row_is_in_its_cells(counts, ids, delisted, top, deciles):
    v = Vocabulary.fit(counts, CATALOGUE)
    state = Items.over(v, top=top, deciles=deciles).update(*v.encode(ids, delisted=delisted))
    there = [key for key in ids if key is not None]
    known = set(counts) | set(CATALOGUE)
    kept = [key for key in there if key not in delisted]
    assert int(state.missing) == ids.count(None) and state.n == len(there)
    assert state.delisted == sum(key in delisted for key in there)
    assert state.new == sum(key not in known for key in kept)
    assert state.unseen == sum(key in known and key not in counts for key in kept)
    order = sorted(counts, key=lambda key: (-counts[key], key))
    tally = Counter(kept)
    assert state.top[:-1].tolist() == [tally[key] for key in order[:top]]
    assert state.top[-1] == sum(tally[key] for key in known) - state.top[:-1].sum()
    kinds = Counter(CATALOGUE.get(key) or "?" for key in there)
    assert state.category.tolist() == [*(kinds[f"c{k}"] for k in range(4)), kinds["?"]]
    total, at, cell = sum(counts.values()), 0, 0
    for name, count in zip(state.cells, state.popularity.tolist(), strict=True):
        if not name.startswith("rank"):
            break
        first, last = map(int, name[5:].split("-"))
        assert first == at + 1 and count == sum(tally[key] for key in order[first - 1:last])
        at, cell = last, cell + 1
        if last < len(order):  # its mass reaches another part of the whole, and without its last id did not
            mass = [sum(counts[key] for key in order[:k]) / total * deciles for k in (last - 1, last)]
            assert int(mass[1] + 1e-9) > int(mass[0] - 1e-9) or mass[1] == int(mass[1])
    assert at == len(order)


@settings(deadline=None, max_examples=30)
@given(IDS, IDS)
def test_days_add_and_subtract(first, second):
    v = Vocabulary.fit({"i1": 5, "i2": 3, "i3": 1}, CATALOGUE)
    zero = Items.over(v, top=2, deciles=3)
    a, b = zero.update(*v.encode(first)), zero.update(*v.encode(second))
    assert a.merge(b) == zero.update(*v.encode(first + second)) and a.merge(b).subtract(b) == a


def test_the_share_that_will_be_unseen_is_good_and_turings():
    rng = np.random.default_rng(0)
    p = 1 / np.arange(1, 5001)
    p /= p.sum()
    fit, fresh = rng.choice(5000, 8000, p=p), rng.choice(5000, 8000, p=p)
    v = Vocabulary.fit(Counter(f"i{k}" for k in fit.tolist()))
    unseen = np.mean(~np.isin(fresh, fit))
    assert v.unseen_share == pytest.approx(unseen, rel=0.1)


def test_categories_of_the_rows_and_of_the_vocabulary():
    v = Vocabulary.fit({"a": 2, "b": 1}, {"a": "", "b": None})
    assert v.categories == ("",)
    assert v.encode(["a", "b", "x"])[1].tolist() == [0, -1, -1]
    assert v.encode(["a", "b", "x"], [None, "", "?"])[1].tolist() == [-1, 0, -1]


def test_the_plain_form_is_the_vocabulary():
    v = Vocabulary.fit({"b": 1, "a": 1, "c": 4}, CATALOGUE)
    again = Vocabulary.of(json.loads(json.dumps(v.plain)))
    assert again.hash == v.hash and again.ids[:3] == ("c", "a", "b") and again.config() == v.config()
    assert Vocabulary.fit({"c": 4, "a": 1, "b": 1, "z": 0}, CATALOGUE).hash == v.hash


@pytest.mark.parametrize("plain", [
    {}, {"ids": ["a"], "counts": [], "categories": [], "category": [-1]},
    {"ids": ["a", "a"], "counts": [1], "categories": [], "category": [-1, -1]},
    {"ids": ["a", "b"], "counts": [1, 2], "categories": [], "category": [-1, -1]},
    {"ids": ["a"], "counts": [1], "categories": [], "category": [0]},
    {"ids": ["a"], "counts": [1], "categories": [], "category": []}])
def test_what_is_no_vocabulary(plain):
    with pytest.raises(DataError, match="not a vocabulary"):
        Vocabulary.of(plain)


V = Vocabulary.fit({"a": 2, "b": 1})


@pytest.mark.parametrize("call", [
    lambda: Vocabulary.fit({}), lambda: Vocabulary.fit({"a": 0}), lambda: Vocabulary.fit({"a": -1}),
    lambda: Vocabulary.fit({"a": 0.5}), lambda: Vocabulary.fit({1: 2}), lambda: V.encode("ab"), lambda: V.encode([1]),
    lambda: V.encode(["a"], []), lambda: V.config(top=0), lambda: Items.zero(), lambda: Items.zero(vocabulary="x"),
    lambda: Items.zero(**(V.config() | {"cutoffs": [2, 1]})), lambda: Items.zero(**(V.config() | {"top": 9})),
    lambda: Items.over(V).update([2], [-1]), lambda: Items.over(V).update([0], [0]),
    lambda: Items.over(V).update([-4], [-1]), lambda: Items.over(V).update([0.5], [-1]),
    lambda: Items.over(V).update([0], [-1, -1])])
def test_refusals(call):
    with pytest.raises(DataError):
        call()


def test_other_vocabularies_do_not_add():
    other = Vocabulary.fit({"a": 2, "b": 2})
    with pytest.raises(StateError, match="different configurations"):
        Items.over(V).merge(Items.over(other))
    with pytest.raises(StateError, match="no part"):
        Items.over(V).update([0], [-1]).subtract(Items.over(V).update([1], [-1]))
