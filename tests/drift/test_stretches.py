"""Counts of ranks that share a null: against all orders by hand, and their promise."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom

from incumbent.drift.stretches import Ranks, excess


@pytest.mark.parametrize(("n", "m", "c"), [(3, 5, 2), (4, 3, 1), (2, 6, 7), (5, 4, 3)])
def test_the_tail_is_the_share_of_all_orders(n, m, c):
    counts = []
    for chosen in combinations(range(n + m), n):  # places of the windows among all, the highest first
        above = [place - i for i, place in enumerate(chosen)]  # others above each of them
        counts.append(sum((1 + one) <= c for one in above))
    for k in range(n + 1):
        ps = (c / (m + 1),) * k + (1.0,) * (n - k) if c <= m else (1.0,) * n
        found = excess([Ranks(ps, m)], c / (m + 1))
        assert found.tail == pytest.approx(np.mean([one >= found.count for one in counts]))
        assert found.expected == pytest.approx(np.mean(counts))


def test_groups_without_a_window_in_common_add_up():
    one, two = Ranks((0.1, 0.2, 0.9), 9), Ranks((0.05, 0.6), 19)
    both, rng, counts = excess([one, two], 0.2), np.random.default_rng(1), []
    for _ in range(20000):
        total = 0
        for n, m in ((3, 9), (2, 19)):
            scores = rng.random(n + m)
            total += sum((1 + (scores[n:] >= score).sum()) / (m + 1) <= 0.2 + 1e-9 for score in scores[:n])
        counts.append(total)
    assert both.count == 3 and both.judged == 5
    assert both.tail == pytest.approx(np.mean(np.array(counts) >= 3), abs=0.015)
    assert excess([], 0.2).tail == 1.0


def test_windows_that_are_alike_are_refused_as_often_as_was_said_and_not_as_independent_ones_are():
    """22 among 44: a binomial refuses far too often, since one null's luck is in all their ranks."""
    rng, exact, naive = np.random.default_rng(3), 0, 0
    for _ in range(2500):
        scores = rng.random(66)
        null = np.sort(scores[22:])
        ps = (1 + 44 - np.searchsorted(null, scores[:22])) / 45
        found = excess([Ranks(tuple(ps.tolist()), 44)], 0.3)
        exact += found.tail < 0.005
        naive += binom.sf(found.count - 1, 22, 0.3) < 0.005
    assert exact <= 2500 * 0.005 + 8 and naive > 2500 * 0.005 + 8
