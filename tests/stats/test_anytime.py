"""Confidence sequences: the printed answers of experimentation.md (section 5), duality, and peeking in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.stats import anytime, fixed
from incumbent.stats.estimate import Estimate


def standard(n, value=0.0):
    """An estimate with s = 1."""
    return Estimate(value, se=1 / math.sqrt(n), n=n)


def of_sums(total, squares, n):
    variance = (squares - total**2 / n) / (n - 1)
    return Estimate(total / n, se=math.sqrt(variance / n), n=n)


def of_share(x, n):
    return Estimate(x / n, se=math.sqrt(x / n * (1 - x / n) / n), n=n)


class TestKnownAnswers:
    @pytest.mark.parametrize(("n_star", "r"), [
        (500, ".125985353"), (1000, ".089085098"), (5000, ".039840067"), (10000, ".028171181")])
    def test_tuning(self, n_star, r):
        assert f"{anytime.tuning(0.05, n_star):.9f}" == "0" + r

    def test_tuning_one_sided(self):
        assert f"{anytime.tuning(0.05, 5000, one_sided=True):.9f}" == "0.035577689"

    @pytest.mark.parametrize(("n", "half"), [
        (100, ".66943886"), (1000, ".10637547"), (5000, ".04292434"), (20000, ".02211204"), (100000, ".01055207")])
    def test_half_width(self, n, half):
        estimate = anytime.two_sided(standard(n))
        assert f"{estimate.high:.8f}" == "0" + half and estimate.low == -estimate.high

    @pytest.mark.parametrize(("n", "half"), [(1000, ".09968835"), (5000, ".03930233")])
    def test_half_width_one_sided(self, n, half):
        assert f"{anytime.upper(standard(n)).high:.8f}" == "0" + half
        assert f"{-anytime.lower(standard(n)).low:.8f}" == "0" + half
        assert anytime.lower(standard(n)).high == math.inf == -anytime.upper(standard(n)).low

    def test_price_of_peeking(self):
        ratio = anytime.two_sided(standard(5000)).high / (1.959964 / math.sqrt(5000))
        assert f"{ratio:.3f} {ratio ** 2:.1f}" == "1.549 2.4"

    def test_e_and_p(self):
        assert f"{anytime.e_value(standard(5000, 0.05)):.4f}" == "86.1027"
        assert f"{anytime.p_value(standard(5000, 0.05)):.6f}" == "0.011614"

    def test_gbstats_sequential_relative(self):
        a, b = of_sums(1396.87, 52377.9767, 3000), of_sums(2422.7, 134698.29, 3461)
        e = anytime.two_sided(fixed.difference(a, b, relative=True), n_star=1000)
        assert f"{e.value:.5f} {e.low:.5f} {e.high:.5f} {e.se:.5f}" == "0.50336 -0.55844 1.56516 0.33341"

    def test_gbstats_sequential_proportions(self):
        d = fixed.difference(of_share(1396, 3000), of_share(2422, 3461), relative=True)
        e = anytime.two_sided(d, n_star=5000)
        assert f"{e.value:.5f} {e.low:.5f} {e.high:.5f}" == "0.50386 0.40098 0.60675"


class TestDuality:
    @settings(deadline=None, max_examples=100)
    @given(st.floats(-10, 10), st.floats(1e-3, 1e3), st.integers(2, 10**7), st.sampled_from([0.05, 0.01, 0.2]),
           st.sampled_from([100, 5000, 10**6]))
    def test_e_is_one_over_alpha_at_the_ends(self, value, s, n, alpha, n_star):
        estimate = Estimate(value, se=s / math.sqrt(n), n=n)
        sequence = anytime.two_sided(estimate, alpha=alpha, n_star=n_star)
        for end in (sequence.low, sequence.high):
            e = anytime.e_value(estimate, end, alpha=alpha, n_star=n_star)
            assert e == pytest.approx(1 / alpha, rel=1e-6)

    def test_e_is_twenty_at_five_per_cent(self):
        estimate = standard(3000)
        assert anytime.e_value(estimate, anytime.two_sided(estimate).high) == pytest.approx(20, rel=1e-12)

    @settings(deadline=None, max_examples=100)
    @given(st.floats(-0.3, 0.3), st.integers(2, 10**6), st.sampled_from(["two", "greater", "less"]))
    def test_the_p_value_rejects_where_the_sequence_leaves_zero_out(self, value, n, side):
        estimate = standard(n, value)
        p = anytime.p_value(estimate, side=side)
        bound = {"two": anytime.two_sided, "greater": anytime.lower, "less": anytime.upper}[side](estimate)
        out = not bound.low <= 0 <= bound.high
        if side == "two" and abs(p - 0.05) > 1e-9:
            assert out == (p < 0.05)
        elif side != "two":
            assert not out or p <= 0.05  # the closed one-sided boundary is the more careful of the two

    def test_one_sided_evidence_looks_one_way(self):
        up = standard(5000, 0.08)
        assert anytime.e_value(up, side="greater") > anytime.e_value(up) > 20 > 1 > anytime.e_value(up, side="less")

    def test_evidence_beyond_floats(self):
        far = standard(10**6, 5.0)
        assert anytime.e_value(far) == math.inf and anytime.p_value(far) == 0.0 and anytime.log_e_value(far) > 1e6


class TestWithoutVariance:
    def test_no_variance_gives_no_interval_and_no_evidence(self):
        none = Estimate(1.0, se=0.0, n=500)
        assert (anytime.two_sided(none).low, anytime.two_sided(none).high) == (-math.inf, math.inf)
        assert anytime.e_value(none) == 1.0 == anytime.p_value(none)

    def test_a_floor_gives_one(self):
        none, floor = Estimate(0.0, se=0.0, n=5000), 0.5
        assert anytime.two_sided(none, sd_floor=floor).high == pytest.approx(0.5 * 0.04292434, abs=1e-8)
        assert anytime.two_sided(standard(5000), sd_floor=floor) == anytime.two_sided(standard(5000))

    def test_missing_and_single_units(self):
        missing = Estimate.missing("no users")
        assert anytime.lower(missing).reason == "no users" and anytime.e_value(missing) == 1.0
        one = Estimate(2.0, n=1)
        assert anytime.two_sided(one).high == math.inf and anytime.p_value(one) == 1.0


@pytest.mark.parametrize("call", [
    lambda: anytime.tuning(0.05, 0), lambda: anytime.tuning(0.0, 100), lambda: anytime.tuning(0.5, 9, one_sided=True),
    lambda: anytime.two_sided(standard(9), sd_floor=-1.0), lambda: anytime.two_sided(standard(9), sd_floor=math.nan)])
def test_bad_settings(call):
    with pytest.raises(DataError):
        call()


def _crossings(sums, squares, grid, draw):
    out = 0
    for s, q in zip(sums, squares, strict=True):
        for n, total, square in zip(grid, s, q, strict=True):
            se = math.sqrt(max(square / n - (total / n) ** 2, 1e-12) / (n - 1))
            if draw(Estimate(float(total / n), se=se, n=int(n))):
                out += 1
                break
    return out


def test_peeking_keeps_the_error_rate():
    """500 A/A sequences of skewed values to 10,000 units with a look every 100: sequences err rarely, z often."""
    rng, grid = np.random.default_rng(17), np.arange(100, 10_001, 100)
    sums, squares = [], []
    for _ in range(500):
        x = rng.exponential(size=10_000) - 1
        sums.append(x.cumsum()[grid - 1])
        squares.append((x * x).cumsum()[grid - 1])

    def two(e):
        end = anytime.two_sided(e, n_star=2000)
        return not end.low <= 0 <= end.high

    wrong = _crossings(sums, squares, grid, two) / 500
    one = _crossings(sums, squares, grid, lambda e: anytime.lower(e, n_star=2000).low > 0) / 500
    naive = _crossings(sums, squares, grid, lambda e: abs(e.value) > 1.96 * e.se) / 500
    print(f"false alarms over 100 looks: sequence {wrong:.3f}, lower {one:.3f}, z at every look {naive:.3f}")
    assert wrong <= 0.05 and one <= 0.05 and naive > 0.25


def test_evidence_is_fair_on_average():
    """The mean of e under the null is 1 at a fixed n, for all three sides."""
    rng = np.random.default_rng(23)
    values = rng.normal(0, 1 / math.sqrt(2000), 20_000)
    for side in ("two", "greater", "less"):
        mean = np.mean([anytime.e_value(standard(2000, v), side=side) for v in values[:8000]])
        assert 0.8 < mean < 1.25
