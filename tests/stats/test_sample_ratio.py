"""The chi-square check of lane sizes."""

from __future__ import annotations

import math

import pytest

from incumbent.errors import DataError
from incumbent.stats.sample_ratio import sample_ratio_p


@pytest.mark.parametrize(("counts", "weights", "p"), [
    ([5000, 5200], [0.5, 0.5], "0.0476704"), ([10000, 10400], [1, 1], "0.0051014"),
    ([9600, 400], [0.95, 0.05], "4.46839e-06"), ([9500, 500], [0.95, 0.05], "1")])
def test_known_answers(counts, weights, p):
    assert f"{sample_ratio_p(counts, weights):.6g}" == f"{float(p):.6g}"


def test_three_lanes_by_hand():
    chi2 = (1000 - 3100 / 3) ** 2 / (3100 / 3) * 2 + (1100 - 3100 / 3) ** 2 / (3100 / 3)
    assert sample_ratio_p([1000, 1000, 1100], [1, 1, 1]) == pytest.approx(math.exp(-chi2 / 2))  # chi2 with 2 df


def test_nobody_yet():
    assert sample_ratio_p([0, 0], [0.5, 0.5]) == 1.0


@pytest.mark.parametrize(("counts", "weights"), [
    ([1], [1]), ([1, 2], [1]), ([-1, 2], [1, 1]), ([1.5, 2], [1, 1]), ([1, 2], [0, 1]), ([1, 2], [math.nan, 1]),
    ([math.inf, 2], [1, 1])])
def test_bad_lanes(counts, weights):
    with pytest.raises(DataError):
        sample_ratio_p(counts, weights)
