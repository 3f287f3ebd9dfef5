"""Counts against a plain dict, and what happens to keys that do not fit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError, StateError
from incumbent.stats.counts import Counts

KEYS = st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=40)


@settings(deadline=None, max_examples=80)
@given(KEYS, KEYS)
def test_it_counts_like_a_dict(first, second):
    state = Counts.zero().update(first).merge(Counts.zero().update(second))
    want = Counter(first + second)
    assert int(state.missing) == want.pop(None, 0)
    assert state.counts == dict(want) and list(state.counts) == sorted(want)
    assert state == Counts.zero().update(second + first)
    assert Counts.from_bytes(state.to_bytes()).counts == state.counts


def test_keys_that_numpy_would_cut_survive():
    keys = ["a", "a\0", "", "\0", "ü", "\ud800", "長い"]
    state = Counts.zero().update(keys)
    assert Counts.from_bytes(state.to_bytes()).counts == dict.fromkeys(sorted(keys), 1)


def test_counts_can_be_given():
    assert Counts.zero().update(["a", "b", "a"], [2, 0, 3]).counts == {"a": 5}
    assert Counts.zero().update(np.array(["a", "b"])).counts == {"a": 1, "b": 1}
    big = Counts.zero().update(["a"], [2**62])
    assert Counts.from_bytes(big.to_bytes()).counts == {"a": 2**62}


class TestVocabulary:
    def test_other_keys_are_counted_together_and_subtract(self):
        zero = Counts.zero(keys=["b", "a"])
        whole, part = zero.update(["a", "x", "y", "a"]), zero.update(["x", "a"])
        assert (whole.counts, int(whole.other), whole.total) == ({"a": 2}, 2, 4)
        assert whole.subtract(part).counts == {"a": 1} and int(whole.subtract(part).other) == 1

    def test_the_order_of_the_vocabulary_is_no_setting(self):
        assert Counts.zero(keys=["a", "b"]).config_hash == Counts.zero(keys=["b", "a", "a"]).config_hash

    def test_shares(self):
        state = Counts.zero(keys=["a", "b"]).update(["a", "x", "a", "a"])
        assert (state.share("a").value, state.share("b").value) == (0.75, 0.0)
        assert state.share("x").reason == "the key may stand under other"
        assert state.share("a").n == 4 and state.share("a").low < 0.75 < state.share("a").high
        assert Counts.zero().share("a").reason == "no units"


class TestBudget:
    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.sampled_from("abcdefghijklmnop"), max_size=60), st.integers(1, 6), st.randoms())
    def test_what_is_kept_depends_on_the_keys_and_not_on_order_or_sharding(self, keys, budget, random):
        zero = Counts.zero(budget=budget)
        whole = zero.update(keys)
        shuffled = keys[:]
        random.shuffle(shuffled)
        parts = zero
        while shuffled:
            size = random.randint(1, 9)
            parts = zero.update(shuffled[:size]).merge(parts)
            shuffled = shuffled[size:]
        assert parts == whole and len(whole.counts) <= budget
        assert all(keys.count(key) == count for key, count in whole.counts.items())  # kept counts are exact
        assert whole.total == len(keys)

    def test_size_is_bounded_and_overflow_is_said(self):
        state = Counts.zero(budget=50).update(f"k{i}" for i in range(10_000))
        assert len(state.counts) == 50 and int(state.other) == 9950
        gone = next(f"k{i}" for i in range(10_000) if f"k{i}" not in state.counts)
        assert state.share(gone).reason == "the key may stand under other"
        with pytest.raises(StateError, match="over their budget"):
            state.subtract(Counts.zero(budget=50))
        within = Counts.zero(budget=50).update(["a", "b"])
        assert within.subtract(Counts.zero(budget=50).update(["a"])).counts == {"b": 1}


def test_bytes_are_the_same_in_another_process():
    code = "from incumbent.stats.counts import Counts; import sys\n" \
           "sys.stdout.write(Counts.zero(budget=3).update('a b c d e f a b'.split()).to_bytes().hex())"
    want = Counts.zero(budget=3).update(list("abcdefab")).to_bytes().hex()
    for seed in ("1", "2"):
        run = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed},
                             capture_output=True, text=True, check=True)
        assert run.stdout == want


@pytest.mark.parametrize("call", [
    lambda: Counts.zero().update("abc"), lambda: Counts.zero().update([1]), lambda: Counts.zero().update(["a"], [-1]),
    lambda: Counts.zero().update(["a"], [0.5]), lambda: Counts.zero(budget=0), lambda: Counts.zero(budget=True),
    lambda: Counts.zero(keys=["a"], budget=3), lambda: Counts.zero(keys="ab"), lambda: Counts.zero(key=["a"])])
def test_refusals(call):
    with pytest.raises(DataError):
        call()


def test_subtracting_what_is_no_part():
    for bad in (["b"], ["a", "a"], [None]):
        with pytest.raises(StateError, match="no part"):
            Counts.zero().update(["a"]).subtract(Counts.zero().update(bad))
