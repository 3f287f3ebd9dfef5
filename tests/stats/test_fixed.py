"""Fixed-sample inference against gbstats' own printed answers and against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from incumbent.errors import DataError
from incumbent.stats import fixed
from incumbent.stats.estimate import Estimate
from incumbent.stats.moments import Moments


def of_sums(total, squares, n):
    """An estimate of a mean from a sum and a sum of squares, as gbstats takes it."""
    variance = (squares - total**2 / n) / (n - 1)
    return Estimate(total / n, se=math.sqrt(variance / n), n=n)


A, B = of_sums(1396.87, 52377.9767, 3407), of_sums(2422.7, 134698.29, 3461)


@pytest.mark.parametrize(("relative", "known"), [
    (False, "0.29000 0.04538 0.53462 0.02016"),
    (True, "0.70732 -0.03526 1.44989 0.06191"),
])
def test_gbstats_welch(relative, known):
    d = fixed.difference(A, B, relative=relative)
    p = fixed.p_value(d, df=fixed.welch_df(A, B))
    assert f"{d.value:.5f} {d.low:.5f} {d.high:.5f} {p:.5f}" == known


def test_welch_against_scipy_on_rows():
    rng = np.random.default_rng(2)
    a, b = rng.normal(1, 1, 12), rng.normal(1.5, 4, 30)
    ea, eb = Moments.zero().update(a).mean(), Moments.zero().update(b).mean()
    d, oracle = fixed.difference(ea, eb), stats.ttest_ind(b, a, equal_var=False)
    ci = oracle.confidence_interval()
    assert (d.low, d.high) == (pytest.approx(ci.low), pytest.approx(ci.high))
    assert fixed.p_value(d, df=fixed.welch_df(ea, eb)) == pytest.approx(oracle.pvalue)


def test_interval_and_p_value_agree():
    for t in np.linspace(-4, 4, 41):
        estimate = fixed.interval(float(t), 1.0, 10, df=9, alpha=0.05)
        excluded = not estimate.low <= 0 <= estimate.high
        assert excluded == (fixed.p_value(estimate) < 0.05)


def test_relative_to_a_negative_control_keeps_the_direction():
    d = fixed.difference(Estimate(-10.0, se=1.0, n=50), Estimate(-8.0, se=1.0, n=50), relative=True)
    assert d.value == pytest.approx(0.2)


def test_the_relative_interval_covers():
    rng = np.random.default_rng(8)
    hits = 0
    for _ in range(400):
        a, b = rng.exponential(2.0, 300), rng.exponential(2.4, 200)
        d = fixed.difference(Moments.zero().update(a).mean(), Moments.zero().update(b).mean(), relative=True)
        hits += d.low <= 0.2 <= d.high
    assert 0.925 <= hits / 400 <= 0.975


class TestMissing:
    def test_reasons_of_both_sides_are_told(self):
        d = fixed.difference(Estimate.missing("no holdout"), Estimate.missing("no users", n=2))
        assert d.reason == "control: no holdout; treatment: no users" and d.n == 2

    def test_nothing_is_relative_to_zero(self):
        assert "control is 0" in fixed.difference(Estimate(0.0, se=1.0, n=9), A, relative=True).reason

    def test_one_unit_has_a_difference_without_an_interval(self):
        d = fixed.difference(Estimate(1.0, n=1), Estimate(3.0, se=1.0, n=9))
        assert (d.value, d.se, d.low, d.high) == (2.0, None, -math.inf, math.inf)
        assert fixed.p_value(d) == 1.0 == fixed.p_value(Estimate.missing("no users"))

    def test_no_variance_at_all(self):
        assert fixed.p_value(Estimate(0.0, se=0.0, n=9)) == 1.0
        assert fixed.p_value(Estimate(0.1, se=0.0, n=9)) == 0.0
        assert fixed.welch_df(Estimate(0.0, se=0.0, n=9), Estimate(0.0, se=0.0, n=4)) == 11

    def test_tiny_standard_errors_do_not_underflow(self):
        tiny = Estimate(1e-200, se=1e-200, n=10)
        assert fixed.welch_df(tiny, tiny) == pytest.approx(18)

    @pytest.mark.parametrize("alpha", [0, 1, 5, -0.1, math.nan, "5 %", None])
    def test_alpha(self, alpha):
        with pytest.raises(DataError, match=r"Hint: 5 % is 0\.05"):
            fixed.difference(A, B, alpha=alpha)
