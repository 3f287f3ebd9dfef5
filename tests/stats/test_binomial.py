"""The sign test, its interval, and that the two say the same."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.stats.binomial import proportion, sign_test


@pytest.mark.parametrize(("wins", "losses", "p"), [
    (60, 40, "0.0568879"), (70, 40, "0.00544743"), (550, 450, "0.00173054"), (40, 60, "0.0568879")])
def test_known_answers(wins, losses, p):
    assert f"{sign_test(wins, losses):.6g}" == f"{float(p):.6g}"


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 60), st.integers(0, 60))
def test_p_against_exact_rationals(wins, losses):
    n = wins + losses
    weight = [Fraction(math.comb(n, k), 2**n) for k in range(n + 1)]
    exact = min(Fraction(1), 2 * min(sum(weight[: wins + 1]), sum(weight[wins:])))
    assert sign_test(wins, losses) == pytest.approx(float(exact), rel=1e-12)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from([0.5, 0.3, 0.05, 0.9]),
       st.sampled_from([0.05, 0.01, 0.2]))
def test_the_test_and_the_interval_agree(wins, losses, null, alpha):
    """Clopper-Pearson leaves the null out exactly where the test rejects it: never one without the other."""
    if wins + losses == 0:
        return
    estimate, p = proportion(wins, wins + losses, alpha=alpha), sign_test(wins, losses, null=null)
    if abs(p - alpha) > 1e-9:  # at equality the last bit decides
        assert (p < alpha) == (not estimate.low <= null <= estimate.high)


@pytest.mark.parametrize(("x", "n", "low", "high"), [  # Clopper and Pearson's charts, as binom.test of R prints them
    (0, 10, 0.0, 0.3084971), (5, 10, 0.187086, 0.812914), (10, 10, 0.6915029, 1.0), (1, 100, 0.0002531460, 0.0544594)])
def test_interval(x, n, low, high):
    estimate = proportion(x, n)
    assert (estimate.value, estimate.n) == (x / n, n)
    assert (estimate.low, estimate.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


@pytest.mark.parametrize("share", [0.02, 0.37])
def test_the_interval_covers_exactly_summed(share):
    n = 40
    covered = sum(math.comb(n, x) * share**x * (1 - share) ** (n - x) for x in range(n + 1)
                  if proportion(x, n).low <= share <= proportion(x, n).high)
    assert covered >= 0.95


def test_nothing_is_missing_and_no_evidence():
    assert proportion(0, 0).reason == "no units" and sign_test(0, 0) == 1.0


@pytest.mark.parametrize("bad", [(-1, 3), (1.5, 3)])
def test_counts_are_counts(bad):
    with pytest.raises(DataError):
        sign_test(*bad)
    with pytest.raises(DataError):
        proportion(bad[0], 3)
    with pytest.raises(DataError):
        proportion(4, 3)
    with pytest.raises(DataError):
        sign_test(1, 1, null=1.0)
