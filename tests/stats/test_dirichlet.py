"""The sequential sample-ratio check: printed answers, an exact recomputation, and Ville's inequality in simulation."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from incumbent.errors import DataError
from incumbent.stats.dirichlet import sample_ratio_e


@pytest.mark.parametrize(("counts", "weights", "e"), [
    ([5000, 5200], [0.5, 0.5], ".088157"), ([10000, 10400], [0.5, 0.5], ".442966"),
    ([9600, 400], [0.95, 0.05], "384.17")])
def test_known_answers(counts, weights, e):
    digits = len(e.partition(".")[2])
    assert f"{sample_ratio_e(counts, weights):.{digits}f}".lstrip("0") == e


def test_unit_by_unit_in_rationals():
    """The predictive probability of each unit under the mixture, over its configured share: their product is e."""
    rng = np.random.default_rng(4)
    lanes, weights = rng.integers(0, 3, 60).tolist(), [Fraction(1, 2), Fraction(1, 3), Fraction(1, 6)]
    e, seen = Fraction(1), [0, 0, 0]
    for lane in lanes:
        e *= Fraction(seen[lane] + 1, sum(seen) + 3) / weights[lane]
        seen[lane] += 1
    assert sample_ratio_e(seen, [3, 2, 1]) == pytest.approx(float(e), rel=1e-10)


def test_false_alarms_at_every_look_stay_under_alpha():
    rng, alarms = np.random.default_rng(6), 0
    for _ in range(300):
        seen = np.cumsum(rng.multinomial(20, [0.9, 0.1], 100), axis=0)
        alarms += any(sample_ratio_e(row, [0.9, 0.1]) > 20 for row in seen)
    assert alarms / 300 <= 0.05


def test_a_planted_mismatch_is_found_and_evidence_is_bounded_only_by_floats():
    found = [sample_ratio_e([int(n * 0.88), n - int(n * 0.88)], [0.9, 0.1]) for n in (2000, 4000, 8000, 16000)]
    assert all(a < b for a, b in pairwise(found)) and found[-1] > 1000
    assert sample_ratio_e([10**6, 0], [0.5, 0.5]) == float("inf")


def test_edges():
    assert sample_ratio_e([0, 0], [0.5, 0.5]) == 1.0
    with pytest.raises(DataError):
        sample_ratio_e([1, 2], [1, 1], prior=0)
