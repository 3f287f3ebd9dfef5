"""The fixed histogram against a loop of comparisons."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError, StateError
from incumbent.stats.histogram import FixedHistogram

EDGES = st.lists(st.integers(-20, 20), min_size=1, max_size=6, unique=True).map(sorted)
VALUES = st.lists(st.one_of(st.integers(-25, 25).map(float), st.sampled_from([math.inf, -math.inf, math.nan])))


@settings(deadline=None, max_examples=100)
@given(EDGES, VALUES)
def test_every_value_is_in_its_cell(edges, values):
    state = FixedHistogram.zero(edges=edges).update(values)
    want = [0] * (len(edges) + 1)
    for value in values:
        if not math.isnan(value):
            want[sum(edge <= value for edge in edges)] += 1
    assert state.counts.tolist() == want and int(state.missing) == sum(map(math.isnan, values))


def test_any_shape_and_any_number_type():
    zero = FixedHistogram.zero(edges=[0, 1])
    assert zero.update(np.ones((2, 3), np.float32)).counts.tolist() == [0, 0, 6]
    assert zero.update([]) == zero


def test_quantiles_lie_in_their_bin():
    state = FixedHistogram.zero(edges=[0, 10, 20, 40]).update([1, 2, 3, 4, 12, 14, 30, 35])
    bins = {0.0: (0, 10), 0.25: (0, 10), 0.5: (0, 10), 0.6: (10, 20), 0.9: (20, 40), 1.0: (20, 40)}
    for q, (low, high) in bins.items():
        estimate = state.quantile(q)
        assert (estimate.low, estimate.high) == (low, high) and low <= estimate.value <= high
    assert state.quantile(0.25).value == 5.0  # the second of four in [0, 10)


def test_quantiles_outside_the_edges_are_missing():
    state = FixedHistogram.zero(edges=[0, 1]).update([-5, 0.5, 7, 7])
    assert state.quantile(0.1).reason == "the quantile lies below 0, outside the edges"
    assert state.quantile(0.9).reason == "the quantile lies not below 1, outside the edges"
    assert FixedHistogram.zero(edges=[0]).quantile(0.5).reason == "no values"


def test_shares_count_missing_values_nowhere():
    state = FixedHistogram.zero(edges=[0]).update([1, 2, -1, math.nan])
    assert (state.share(1).value, state.share(1).n) == (2 / 3, 3)


@pytest.mark.parametrize("edges", [[], [1, 1], [2, 1], [0, math.inf], [math.nan], [[0, 1]]])
def test_bad_edges(edges):
    with pytest.raises(DataError, match="finite and rising"):
        FixedHistogram.zero(edges=edges)


def test_refusals():
    with pytest.raises(DataError):
        FixedHistogram.zero(bins=3)
    with pytest.raises(DataError):
        FixedHistogram.zero(edges=[0]).quantile(1.5)
    with pytest.raises(StateError, match="no part"):
        FixedHistogram.zero(edges=[0]).update([1]).subtract(FixedHistogram.zero(edges=[0]).update([-1]))


def test_negative_zero_is_no_other_configuration():
    assert FixedHistogram.zero(edges=[-0.0]).config_hash == FixedHistogram.zero(edges=[0.0]).config_hash
