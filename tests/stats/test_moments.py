"""Moments against the textbook formulas in plain Python, and the known answers of experimentation.md, section 5."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError, StateError
from incumbent.stats import fixed
from incumbent.stats.moments import Moments

values = st.floats(-1e6, 1e6, allow_subnormal=False)
rows_of_two = st.lists(st.tuples(values, values), min_size=2, max_size=30)


def two(rows):
    return Moments.zero(variables=["x", "y"]).update(np.array(rows, float).reshape(-1, 2))


class TestKnownAnswers:
    def test_paired_delta(self):
        rows = np.array([[1, 0, 2, 0, 1], [0, 1, 1, 0, 0], [2, 1, 3, 1, 2]]).T
        estimate = Moments.zero(variables=["x", "y", "n"]).update(rows).paired("x", "y", "n")
        assert f"{estimate.value:.10f} {estimate.se:.10f}" == "0.2222222222 0.1872314924"
        assert f"{estimate.value / estimate.se:.8f}" == "1.18688485"
        assert f"{fixed.p_value(estimate):.8f}" == "0.30094471"

    def test_ratio(self):
        rows = np.array([[3, 1, 4, 1, 5], [2, 1, 3, 1, 2]]).T
        estimate = Moments.zero(variables=["m", "d"]).update(rows).ratio("m", "d")
        assert f"{estimate.value:.8f} {estimate.se:.8f}" == "1.55555556 0.26764794"

    def test_cuped(self):
        rows = np.array([[1, 2, 3, 4, 5, 6], [2, 3, 5, 4, 6, 9]]).T
        state = Moments.zero(variables=["pre", "post"]).update(rows)
        estimate = state.cuped("post", "pre")
        assert f"{state.regression('post', 'pre'):.8f}" == "1.22857143"
        assert f"{state.variance('post'):.6f}" == "6.166667"
        assert f"{6 * estimate.se ** 2:.6f}" == "0.883810"
        assert estimate.value == pytest.approx(29 / 6)  # adjusted to its own covariate mean: unmoved


class TestAgainstTextbook:
    @settings(deadline=None, max_examples=80)
    @given(rows_of_two)
    def test_mean_variance_covariance(self, rows):
        state = two(rows)
        xs, ys = [x for x, _ in rows], [y for _, y in rows]
        scale = max(map(abs, xs + ys)) + 1e-300
        assert math.isclose(state.mean("x").value, statistics.fmean(xs), rel_tol=1e-12, abs_tol=1e-12 * scale)
        assert math.isclose(state.variance("x"), statistics.variance(xs), rel_tol=1e-9, abs_tol=1e-12 * scale**2)
        assert math.isclose(state.covariance()[0, 1], statistics.covariance(xs, ys), rel_tol=1e-9,
                            abs_tol=1e-12 * scale**2)

    @settings(deadline=None, max_examples=60)
    @given(rows_of_two, st.integers(0, 30))
    def test_split_equals_whole(self, rows, cut):
        whole, parts = two(rows), two(rows[:cut]).merge(two(rows[cut:]))
        scale = max(abs(x) for row in rows for x in row)
        assert parts.n == whole.n
        np.testing.assert_allclose(parts.means, whole.means, rtol=1e-12, atol=1e-12 * scale)
        np.testing.assert_allclose(parts.scatter, whole.scatter, rtol=1e-9, atol=1e-11 * scale**2)

    def test_the_interval_is_students(self):
        xs = [1.0, 2.0, 4.0, 8.0]
        estimate = Moments.zero().update(xs).mean()
        half = 3.182446305284263 * statistics.stdev(xs) / 2  # t(0.975, 3), printed in any table as 3.182
        assert estimate.high - estimate.value == pytest.approx(half) and estimate.n == 4

    def test_ratio_to_nothing_is_the_mean_and_pair_without_n_is_the_difference(self):
        rows = [[1, 0], [0, 3], [2, 1], [5, 2]]
        state = two(rows)
        ratio, mean = state.ratio("x"), state.mean("x")
        assert (ratio.value, ratio.se) == (mean.value, pytest.approx(mean.se))
        pair, difference = state.paired("x", "y"), Moments.zero().update([x - y for x, y in rows]).mean()
        assert (pair.value, pair.se) == (pytest.approx(difference.value), pytest.approx(difference.se))

    def test_a_ratio_to_itself_is_one_for_sure(self):
        estimate = two([[1, 0], [3, 3], [2, 1]]).ratio("x", "x")
        assert (estimate.value, estimate.se) == (1.0, 0.0)

    def test_cuped_with_a_common_theta_and_mean_moves_the_group_to_that_point(self):
        rows = [[1, 2], [2, 3], [3, 5]]
        estimate = two(rows).cuped("y", "x", theta=2.0, covariate_mean=5.0)
        adjusted = [y - 2.0 * (x - 5.0) for x, y in rows]
        assert estimate.value == pytest.approx(statistics.fmean(adjusted))
        assert estimate.se == pytest.approx(statistics.stdev(adjusted) / math.sqrt(3))

    def test_cuped_with_a_constant_covariate_adjusts_nothing(self):
        state = two([[1, 2], [1, 3], [1, 5]])
        assert state.cuped("y", "x").se == state.mean("y").se

    def test_the_delta_method_covers(self):
        rng = np.random.default_rng(11)
        hits = 0
        for _ in range(400):
            n = rng.poisson(3, 200) + 1
            x = rng.poisson(0.3 * n)
            estimate = two(np.stack([x, n], axis=1)).ratio("x", "y")
            hits += estimate.low <= 0.3 <= estimate.high
        assert 0.925 <= hits / 400 <= 0.975  # 95 % +- 2.3 standard errors


class TestShift:
    @pytest.mark.parametrize("shift", [1e9, -1e12])
    def test_variance_survives_a_shift(self, shift):
        xs = np.random.default_rng(5).integers(0, 1000, 500).astype(float)  # exact under either shift
        still, moved = Moments.zero().update(xs), Moments.zero()
        for part in np.array_split(xs + shift, 37):
            moved = moved.merge(Moments.zero().update(part))
        assert moved.variance("x") == pytest.approx(still.variance("x"), rel=1e-9 if abs(shift) < 1e10 else 1e-6)


class TestBlocks:
    @pytest.mark.parametrize("layout", ["C", "F"])
    @pytest.mark.parametrize("shift", [0.0, 1e9])
    def test_many_rows_have_the_moments_that_exact_sums_give(self, layout, shift):
        rows = np.random.default_rng(8).normal(loc=(shift, 3.0), size=(20_000, 2))
        rows[::500, 0], rows[7:9_000, 1] = math.inf, math.nan  # a whole block of missing rows among them
        m = Moments.zero(variables=["a", "b"]).update(np.asarray(rows, order=layout))
        good = [row for row in rows.tolist() if all(map(math.isfinite, row))]
        assert (int(m.n), int(m.missing)) == (len(good), len(rows) - len(good))
        for name, column in zip("ab", zip(*good, strict=True), strict=True):
            centred = [value - column[0] for value in column]
            mean = math.fsum(centred) / len(good)
            assert m.mean(name).value == pytest.approx(column[0] + mean, rel=1e-15, abs=1e-12)
            spread = math.fsum((value - mean) ** 2 for value in centred) / (len(good) - 1)
            assert m.variance(name) == pytest.approx(spread, rel=1e-12)


class TestMissing:
    def test_rows_that_are_not_finite_are_left_out_whole_and_counted(self):
        state = two([[1, 1], [math.nan, 2], [3, math.inf], [3, 4]])
        assert (int(state.n), int(state.missing), state.mean("y").value) == (2, 2, 2.5)

    def test_no_units_one_unit_and_only_missing_ones(self):
        assert two([]).mean("x").reason == "no units"
        assert two([[math.nan, 1]]).mean("x").reason == "all 1 units are missing"
        one = two([[4, 1]]).mean("x")
        assert (one.value, one.se, one.low, one.high, one.n) == (4.0, None, -math.inf, math.inf, 1)
        assert math.isnan(two([[4, 1]]).variance("x"))

    def test_a_denominator_of_zero_is_missing(self):
        state = two([[1, 1], [2, -1]])
        assert state.ratio("x", "y").reason == "the denominator is 0"
        assert state.paired("x", "x", "y").reason == "the denominator is 0"


class TestSubtract:
    def test_leaving_one_window_out(self):
        rng = np.random.default_rng(3)
        parts = [rng.normal(size=(50, 2)) + 100 for _ in range(5)]
        whole = two(np.concatenate(parts))
        for i, part in enumerate(parts):
            rest, direct = whole.subtract(two(part)), two(np.concatenate(parts[:i] + parts[i + 1:]))
            np.testing.assert_allclose(rest.means, direct.means, rtol=1e-12)
            np.testing.assert_allclose(rest.scatter, direct.scatter, rtol=1e-8)

    def test_all_of_it_leaves_zero_exactly(self):
        state = two([[1, 2], [3, 4]])
        assert state.subtract(state) == two([])

    def test_what_is_no_part_is_refused(self):
        with pytest.raises(StateError, match="no part"):
            two([[1, 2]]).subtract(two([[1, 2], [3, 4]]))


class TestRefusals:
    @pytest.mark.parametrize("names", [[], ["a", "a"], [1], [""]])
    def test_variables(self, names):
        with pytest.raises(DataError, match="distinct names"):
            Moments.zero(variables=names)

    def test_settings_shapes_names_and_alpha(self):
        with pytest.raises(DataError, match="unknown setting"):
            Moments.zero(variable=["x"])
        with pytest.raises(DataError, match="wrong shape"):
            two([[1, 2]]).update([1.0, 2.0])
        with pytest.raises(DataError, match=r"no such variable. Got 'z'. Expected one of x, y"):
            two([[1, 2]]).mean("z")
        with pytest.raises(DataError, match=r"alpha must be in \(0, 1\)"):
            two([[1, 2]]).mean("x", alpha=5)

    def test_it_is_immutable(self):
        state = two([[1, 2]])
        with pytest.raises(AttributeError):
            state.n = 3
        with pytest.raises(ValueError):
            state.means[0] = 1
