"""The log histogram keeps its promise on every value, and its counts in every sharding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError, StateError
from incumbent.stats.histogram import LogHistogram
from incumbent.stats.log_histogram import _cells, _edges

MAGNITUDES = st.floats(1e-9, 1e12)
SIGNED = st.builds(lambda x, sign: x * sign, MAGNITUDES, st.sampled_from([-1, 1]))


@settings(deadline=None, max_examples=200)
@given(SIGNED, st.sampled_from([0.005, 0.01, 0.1, 0.5]))
def test_one_value_is_read_within_its_accuracy(x, accuracy):
    estimate = LogHistogram.zero(accuracy=accuracy).update([x]).quantile(0.5)
    assert abs(estimate.value - x) <= accuracy * abs(x) * (1 + 1e-9)
    assert estimate.low * (1 - math.copysign(1e-12, estimate.low)) <= x <= estimate.high * (
        1 + math.copysign(1e-12, estimate.high))


@settings(deadline=None, max_examples=80)
@given(st.lists(st.one_of(SIGNED, st.just(0.0)), min_size=1, max_size=60), st.floats(0, 1))
def test_quantiles_of_lists(values, q):
    state = LogHistogram.zero(accuracy=0.02).update(values)
    exact = sorted(values)[math.floor(q * (len(values) - 1))]
    assert abs(state.quantile(q).value - exact) <= 0.02 * abs(exact) * (1 + 1e-9)


@settings(deadline=None, max_examples=60)
@given(st.lists(SIGNED, max_size=40), st.integers(0, 40))
def test_sharding_changes_no_bit(values, cut):
    zero = LogHistogram.zero()
    assert zero.update(values[cut:]).merge(zero.update(values[:cut])).to_bytes() == zero.update(values).to_bytes()


@pytest.mark.parametrize("accuracy", [0.005, 0.01, 0.1])
def test_every_edge_falls_on_its_own_side(accuracy):
    """The logarithm only guesses; the edges decide, at every edge and at the two floats beside it."""
    edges = _edges(accuracy, 1e-9, 1e12)
    index = np.arange(len(edges))
    assert (_cells(edges, accuracy, 1e-9, 1e12) == np.maximum(index, 1)).all()
    assert (_cells(np.nextafter(edges, np.inf), accuracy, 1e-9, 1e12) == index + 1).all()
    assert (_cells(np.nextafter(edges[1:], 0), accuracy, 1e-9, 1e12) == index[1:]).all()
    assert (np.searchsorted(edges, np.geomspace(2e-9, 1e12, 10_000), "left")
            == _cells(np.geomspace(2e-9, 1e12, 10_000), accuracy, 1e-9, 1e12)).all()


def test_the_widest_range_does_not_overflow():
    state = LogHistogram.zero(accuracy=0.1, low=1e-300, high=1e300).update([1e-290, 1.0, 1e290])
    assert [round(math.log10(state.quantile(q).value)) for q in (0, 0.5, 1)] == [-290, 0, 290]


class TestPolicies:
    def test_zero_and_less_than_low(self):
        estimate = LogHistogram.zero(low=1.0, high=10.0).update([0.0, 0.5, -0.5]).quantile(0.5)
        assert (estimate.value, estimate.low, estimate.high) == (0.0, -1.0, 1.0)

    def test_beyond_high_and_infinite(self):
        state = LogHistogram.zero(low=1.0, high=10.0).update([2.0, 1e6, math.inf, -math.inf])
        assert state.total == 4 and state.quantile(0.5, alpha=0.9).value == pytest.approx(2, rel=0.01)
        assert state.quantile(1.0).reason == state.quantile(0.0).reason == "the quantile lies beyond 10"
        assert state.quantile(0.5).high == math.inf  # the interval reaches what lies beyond

    def test_nan_is_missing(self):
        state = LogHistogram.zero().update([math.nan, 1.0])
        assert (state.total, int(state.missing)) == (1, 1)
        assert LogHistogram.zero().update([math.nan]).quantile(0.5).reason == "all 1 values are missing"
        assert state.quantile(0.5).method.endswith("1 missing values left out")
        assert not LogHistogram.zero().update([math.nan]).empty

    def test_order_goes_over_zero(self):
        state = LogHistogram.zero().update([-100.0, -1.0, 0.0, 1.0, 100.0])
        values = [state.quantile(q).value for q in (0, 0.25, 0.5, 0.75, 1)]
        assert values == sorted(values) and values[2] == 0.0 and values[0] == -values[4]


def test_the_interval_covers_the_true_quantile():
    rng, hits = np.random.default_rng(3), {0.5: 0, 0.99: 0}
    for _ in range(300):
        state = LogHistogram.zero(accuracy=0.005).update(rng.exponential(size=800))
        for q in hits:
            estimate = state.quantile(q)
            hits[q] += estimate.low <= -math.log(1 - q) <= estimate.high
    print({q: hit / 300 for q, hit in hits.items()})
    assert all(hit / 300 >= 0.93 for hit in hits.values())


def test_size_is_bounded_as_stated():
    rng = np.random.default_rng(4)
    state = LogHistogram.zero().update(np.exp(rng.uniform(-30, 40, 400_000)) * rng.choice([-1, 1], 400_000))
    assert len(state.cells) <= 4841 and len(state.to_bytes()) < 12 * 4841 + 300


@pytest.mark.parametrize("config", [
    {"accuracy": 0}, {"accuracy": 0.9}, {"low": 0}, {"low": 2, "high": 1}, {"high": math.inf}, {"bins": 3}])
def test_bad_settings(config):
    with pytest.raises(DataError):
        LogHistogram.zero(**config)


def test_refusals():
    with pytest.raises(DataError):
        LogHistogram.zero().update([1.0]).quantile(-0.1)
    with pytest.raises(StateError, match="no part"):
        LogHistogram.zero().update([1.0]).subtract(LogHistogram.zero().update([2.0]))
    whole = LogHistogram.zero().update([1.0, 2.0])
    broken = whole.to_bytes().replace(b'["cells","<i4",[2]]', b'["cells","<i4",[1]]')
    with pytest.raises(StateError):
        LogHistogram.from_bytes(broken)
