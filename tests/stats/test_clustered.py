"""Ratios of clustered sums against the jackknife and plain recomputation."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from incumbent.stats.clustered import ratio, spread


def test_against_the_jackknife():
    """Over 300 clusters of uneven size the standard error is within 2 % of leaving each cluster out."""
    rng = random.Random(1)
    bottom = np.array([1 + rng.expovariate(0.3) for _ in range(300)])
    top = np.array([0.4 * n + rng.gauss(0, 1) for n in bottom])
    value, influence = ratio(top, bottom)
    without = [(top.sum() - a) / (bottom.sum() - b) for a, b in zip(top, bottom, strict=True)]
    mean = sum(without) / 300
    jackknife = math.sqrt(299 / 300 * sum((x - mean) ** 2 for x in without))
    assert value == pytest.approx(0.4, abs=0.05) and spread(influence) == pytest.approx(jackknife, rel=0.02)
    assert influence.sum() == pytest.approx(0, abs=1e-12)


def test_a_difference_has_the_difference_of_the_influences():
    top, other, ones = np.array([1.0, 2.0, 4.0]), np.array([0.0, 1.0, 1.0]), np.ones(3)
    difference = ratio(top, ones)[1] - ratio(other, ones)[1]
    rest = [1 - 0 - 5 / 3, 2 - 1 - 5 / 3, 4 - 1 - 5 / 3]
    assert spread(difference) == pytest.approx(math.sqrt(sum(x * x for x in rest) / 2 / 3))


def test_edges():
    assert ratio(np.ones(2), np.zeros(2)) is None and ratio(np.zeros(0), np.zeros(0)) is None
    assert spread(np.zeros(1)) is None and spread(np.array([0.0, 0.1]), 1) is None
