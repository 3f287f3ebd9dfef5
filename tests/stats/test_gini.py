"""The Gini coefficient against its other form: half the mean absolute difference of all pairs over the mean."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.stats.gini import gini


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=40).filter(any))
@settings(deadline=None, max_examples=60)
def test_half_the_mean_difference_of_pairs_over_the_mean(counts: list[int]) -> None:
    pairs = sum(abs(a - b) for a in counts for b in counts) / len(counts) ** 2
    assert gini(np.array(counts, float)) == pytest.approx(pairs / (2 * sum(counts) / len(counts)), abs=1e-12)


def test_the_ends() -> None:
    assert gini(np.array([0.0, 0.0, 0.0, 7.0])) == 0.75
    assert gini(np.full(9, 3.0)) == 0.0
    assert math.isnan(gini(np.zeros(3))) and math.isnan(gini(np.zeros(0)))
