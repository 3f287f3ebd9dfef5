"""Paired numbers against plain recomputation and simulation."""

from __future__ import annotations

import math
import random
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.metrics.paired import Paired, ones
from incumbent.metrics.paired_quantile import quantile

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


def of(rows, **settings):
    users, champion, candidate = zip(*rows, strict=True)
    return Paired(np.array(users), ones(champion), ones(candidate), **settings)


class TestEstimate:
    @settings(deadline=None, max_examples=60)
    @given(ROWS)
    def test_difference_by_plain_python(self, rows):
        """Per user the sum of the differences against their number of requests, and the spread between users."""
        made = of(rows).estimate("difference")
        value = fmean(b - a for _, a, b in rows)
        users = {user for user, _, _ in rows}
        assert made.value == pytest.approx(value) and made.n == len(rows)
        if len(users) == 1:
            assert made.low == -math.inf and made.high == math.inf
            return
        rest = [sum(b - a - value for user, a, b in rows if user == one) for one in users]
        se = math.sqrt(len(users) / (len(users) - 1) * sum(x * x for x in rest)) / len(rows)
        assert made.se == pytest.approx(se, abs=1e-12)

    @settings(deadline=None, max_examples=60)
    @given(ROWS, st.randoms(use_true_random=False))
    def test_order_of_requests_is_nothing(self, rows, rng):
        other = rows[:]
        rng.shuffle(other)
        for which in ("champion", "candidate", "difference", "relative"):
            one, two = of(rows).estimate(which), of(other).estimate(which)
            assert (one.value is None) == (two.value is None)
            assert one.value is None or one.value == pytest.approx(two.value)

    def test_equal_models_differ_by_nothing(self):
        rows = [(n % 7, n % 3, n % 3) for n in range(30)]
        assert of(rows).estimate("difference").high == 0 == of(rows).estimate("relative").value

    def test_missing_requests_are_left_out_of_the_comparison_alone(self):
        both = Paired(np.arange(4), ones([1.0, 0.0, math.nan, 1.0]), ones([1.0, 1.0, 0.0, math.nan]))
        assert both.estimate("candidate").value == pytest.approx(2 / 3)
        assert both.estimate("difference").value == 0.5 and both.estimate("difference").n == 2

    @pytest.mark.parametrize(("values", "low", "high"), [(0.0, 0.0, 0.308), (1.0, 0.692, 1.0)])
    def test_none_or_all_of_ten_users(self, values, low, high):
        """Clopper and Pearson's interval of 0 and of 10 in 10 trials (tables: 0.3085 and 0.6915)."""
        made = of([(n, values, values) for n in range(10)], bounded=True).estimate("candidate")
        assert (made.low, made.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))

    def test_nothing_is_missing(self):
        assert Paired(np.zeros(0, int), ones([]), ones([])).estimate("difference").reason == "no request has a number"
        assert "relative" in of([(0, 0, 1), (1, 0, 1)]).estimate("relative").reason
        zero = np.zeros((2, 2))
        assert Paired(np.arange(2), zero, zero).estimate("candidate").reason == "the denominator is 0"

    def test_shapes_must_fit(self):
        with pytest.raises(DataError, match="numerator and a denominator per request"):
            Paired(np.arange(2), ones([1.0]), ones([1.0, 2.0]))

    def test_relative_covers_the_truth(self):
        """95 % intervals of a lift of 20 % over users of uneven activity: at least 90 % of 150 samples hold it."""
        rng, inside = random.Random(3), 0
        for _ in range(150):
            rows = []
            for user in range(60):
                level = rng.lognormvariate(0, 0.5)
                rows += [(user, rng.gauss(level, 0.3), rng.gauss(1.2 * level, 0.3))
                         for _ in range(1 + int(rng.expovariate(0.5)))]
            made = of(rows).estimate("relative")
            inside += made.low <= 0.2 <= made.high
        assert inside >= 135


class TestQuantile:
    def test_known(self):
        """Type 1 quantiles of 1..100: the least value that so many do not exceed."""
        both = of([(n, n, 2 * n) for n in range(1, 101)])
        for q, want in ((0.5, 50), (0.95, 95), (0.99, 99)):
            assert quantile(both, "champion", q, np.random.default_rng(1)).value == want
            assert quantile(both, "relative", q, np.random.default_rng(1)).value == 1.0

    def test_the_seed_is_all_that_is_drawn(self):
        both = of([(n % 30, n % 17, n % 13) for n in range(200)])
        one, two = (quantile(both, "difference", 0.9, np.random.default_rng(5)) for _ in range(2))
        assert one == two

    def test_covers_the_median_of_clustered_requests(self):
        rng, inside = random.Random(4), 0
        for n in range(60):
            rows = []
            for user in range(50):
                level = rng.gauss(0, 1)
                rows += [(user, level + rng.gauss(0, 0.5), 0.0) for _ in range(4)]
            made = quantile(of(rows), "champion", 0.5, np.random.default_rng(n))
            inside += made.low <= 0 <= made.high
        assert inside >= 53

    def test_bad_q_and_nothing(self):
        with pytest.raises(DataError, match="q must be"):
            quantile(of([(0, 1, 1)]), "champion", 1.0, np.random.default_rng(1))
        empty = Paired(np.zeros(0, int), ones([]), ones([]))
        assert quantile(empty, "champion", 0.5, np.random.default_rng(1)).reason == "no request has a number"
        assert quantile(of([(0, 1, 2)]), "difference", 0.5, np.random.default_rng(1)).high == math.inf
