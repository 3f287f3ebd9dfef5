"""Mix against change within: what stays of a divergence once the reference has today's segments."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.drift.mix_change import mix_change
from incumbent.drift.segments import segment_changes
from incumbent.errors import StateError
from incumbent.stats.numeric import Numeric

COUNTS = st.lists(st.integers(20, 500), min_size=3, max_size=3)


def js(p, q):
    p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return sum((a * math.log(a / m) + b * math.log(b / m)) / 2 for a, b, m in zip(p, q, middle, strict=True) if a and b)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from("abcd"), st.tuples(COUNTS, COUNTS), min_size=1))
def test_it_is_the_divergence_less_that_of_the_reweighted_reference(sides):
    now = {name: np.array(pair[0]) for name, pair in sides.items()}
    then = {name: np.array(pair[1]) for name, pair in sides.items()}
    found = mix_change(now, then)
    whole = [sum(pair[0][k] for pair in sides.values()) for k in range(3)]
    past = [sum(pair[1][k] for pair in sides.values()) for k in range(3)]
    weighted = [sum(sum(a) * b[k] / sum(b) for a, b in sides.values()) for k in range(3)]
    assert found.js == pytest.approx(js(whole, past), abs=1e-12)
    assert found.within == pytest.approx(js(whole, weighted), abs=1e-12)
    assert found.mix + found.within == pytest.approx(found.js, abs=1e-12)


def test_a_segment_that_comes_is_mix_and_rare_cells_are_one():
    old = np.array([500, 500, 0])
    found = mix_change({"a": old, "new": np.array([0, 0, 300])}, {"a": old})
    assert found.within == pytest.approx(0, abs=1e-12) and found.mix == pytest.approx(found.js)
    rare = np.append(old, np.ones(6, int))
    assert mix_change({"a": rare}, {"a": np.append(old, np.zeros(6, int))}).noise == pytest.approx(
        2 * (1 / 1006 + 1 / 1000) / 8)
    assert mix_change({}, {"a": old}) is None is mix_change({"a": old}, {"a": old * 0})


def test_numbers_feel_it_by_their_cells():
    rng = np.random.default_rng(1)
    zero = Numeric.fit(rng.normal(size=2000))
    still, moved = zero.update(rng.normal(size=800)), zero.update(rng.normal(1, 1, size=800))
    past = {"a": zero.update(rng.normal(size=800)), "b": zero.update(rng.normal(size=800))}
    found = segment_changes({"a": still, "b": moved, "c": zero.update([0.0])}, past)
    assert [(one.segment, one.reason) for one in found] == [
        ("b", None), ("a", None), ("c", "no values in the reference")]
    assert found[0].part > 0.95
    with pytest.raises(StateError, match="different cells"):
        segment_changes({"a": still}, {"a": Numeric.fit(rng.normal(2, 1, 2000)).update(rng.normal(size=200))})
