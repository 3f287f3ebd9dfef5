"""The interval of a share over clusters: tables, monotonicity at the edge, and coverage in simulation."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.stats.bounded_share import HOW, bounded_share, within
from incumbent.stats.moments import Moments


def of(hits, n, alpha=0.05):
    """Independent 0/1 values, each a cluster; the plain standard error with divisor n."""
    p = hits / n
    return bounded_share(p, math.sqrt(p * (1 - p) / n), n, n, alpha=alpha)


class TestKnown:
    @pytest.mark.parametrize(("hits", "n", "low", "high"), [
        (0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (0, 100, 0.0, 0.0362), (5, 1000, 0.0016, 0.0116),
        (500, 1000, 0.4685, 0.5315)])
    def test_tables_of_clopper_and_pearson(self, hits, n, low, high):
        made = of(hits, n)
        assert (made.low, made.high) == (pytest.approx(low, abs=2e-4), pytest.approx(high, abs=2e-4))

    def test_one_error_is_no_better_than_none(self):
        """The normal interval says less than 0.8 % after one error in 400, and the exact one of none 0.9 %."""
        ends = [of(hits, 400).high for hits in range(6)]
        assert ends == sorted(ends)

    def test_clusters_cost(self):
        """Four requests a user that all agree are worth a fourth."""
        p = 0.1
        alone, grouped = (bounded_share(p, math.sqrt(p * (1 - p) / users), 400, users) for users in (400, 100))
        assert grouped.high - grouped.low > 1.9 * (alone.high - alone.low)

    def test_edges(self):
        assert (bounded_share(0.3, None, 5, 1).low, bounded_share(0.3, None, 5, 1).high) == (0.0, 1.0)
        assert bounded_share(0.3, 0.0, 50, 50).high == 0.3
        for value in (-0.1, 1.1, math.nan):
            with pytest.raises(DataError, match="a share must be"):
                bounded_share(value, 0.1, 5, 5)


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 1), st.floats(0, 0.5), st.integers(1, 1000))
def test_ends_are_shares_around_the_value(value, se, clusters):
    made = bounded_share(value, se, clusters, clusters)
    assert 0 <= made.low <= value <= made.high <= 1


def test_covers_small_shares_of_clustered_requests():
    """True share 2 %, users of uneven activity who err together: 95 % intervals hold it in 93 % of 400 samples or more.

    The normal interval of the same samples does so in fewer than 90 %.
    """
    rng, inside, normal = random.Random(5), 0, 0
    for _ in range(400):
        rows = []
        for _user in range(80):
            level = rng.betavariate(0.4, 19.6)
            rows.append([float(rng.random() < level) for _ in range(1 + int(rng.expovariate(0.5)))])
        n = sum(map(len, rows))
        value = sum(map(sum, rows)) / n
        rest = [sum(row) - value * len(row) for row in rows]
        se = math.sqrt(80 / 79 * sum(x * x for x in rest)) / n
        made = bounded_share(value, se, n, 80)
        inside += made.low <= 0.02 <= made.high
        normal += abs(value - 0.02) <= 1.96 * se
    assert inside >= 372 and normal < 360, (inside, normal)


def test_covers_the_mean_of_few_users_where_the_t_interval_does_not_and_stays_in_0_to_1():
    """NDCG-like numbers of 12 users, of whom a tenth has a hit: 95 % intervals of 400 samples."""
    rng = random.Random(11)
    gains = [1 / math.log2(1 + position) for position in range(1, 11)]
    truth = 0.1 * sum(gains) / 10
    inside = student = left = 0
    for _ in range(400):
        values = [rng.choice(gains) if rng.random() < 0.1 else 0.0 for _ in range(12)]
        t = Moments.zero().update(values).mean()
        made = within(t, t.n)
        assert 0 <= made.low <= made.value <= made.high <= 1 and made.method == f"mean, {HOW}"
        inside += made.low <= truth <= made.high
        student += t.low <= truth <= t.high
        left += t.low < 0
    assert inside >= 380 and student < 320 and left > 200, (inside, student, left)


def test_what_is_missing_stays_so():
    missing = Moments.zero().mean()
    assert within(missing, 0) is missing


def test_a_last_bit_is_no_spread():
    made = bounded_share(1 - 2e-16, 1e-17, 400, 400)
    assert made.value == 1 and made.low == bounded_share(1.0, 0.0, 400, 400).low < 1
