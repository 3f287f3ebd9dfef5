"""max-T by exchanging windows: calibrated over many columns that depend on one another; exact where countable."""

import math
from itertools import combinations

import numpy as np
import pytest

from incumbent.drift.comparison.together import choices, together
from incumbent.drift.robust import standardised
from incumbent.errors import DataError


def test_one_window_among_m_reaches_one_over_m_plus_one_with_any_number_of_columns():
    rng = np.random.default_rng(1)
    baseline, now = rng.normal(size=(49, 200)), rng.normal(size=(1, 200))
    now[0, 17] = 60.0
    found = together(baseline, now, alpha=0.05)
    assert found.resolution == pytest.approx(1 / 50) and found.adjusted[17] == pytest.approx(1 / 50)
    assert np.delete(found.adjusted, 17).min() > 0.05, "the others are not dragged along"


def test_the_p_value_is_counted_over_every_choice():
    rng = np.random.default_rng(2)
    baseline, now = rng.normal(size=(7, 1)), rng.normal(1, 1, size=(2, 1))
    found = together(baseline, now, alpha=0.1)
    pool = standardised(np.concatenate([baseline, now]), 0.5)[0][:, 0]
    means = [(pool[a] + pool[b]) / 2 for a, b in combinations(range(9), 2)]
    assert len(means) == math.comb(9, 2) == round(1 / found.resolution)
    assert found.alone[0] == pytest.approx(np.mean(np.array(means) >= pool[7:].mean() - 1e-12))
    assert found.scores[0] == pytest.approx(now.mean())


@pytest.mark.parametrize("k", [1, 5])
def test_false_alarms_over_dependent_columns_are_as_promised(k):
    alarms = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        common = rng.normal(size=(40 + k, 1))  # columns that move together
        rows = common + 0.5 * rng.standard_t(4, size=(40 + k, 12))
        alarms += together(rows[:40], rows[40:], alpha=0.1, seed=seed).adjusted.min() <= 0.1
    assert 1 <= alarms <= 22, alarms  # 100 at a tenth: 10, and 4 standard deviations above


def test_a_window_without_a_score_counts_for_nothing():
    rng = np.random.default_rng(3)
    baseline, now = rng.normal(size=(30, 3)), np.array([[0.0, math.nan, 8.0]])
    baseline[4, 0] = math.nan
    found = together(baseline, now, alpha=0.05)
    assert math.isnan(found.adjusted[1]) and found.adjusted[2] <= 1 / 30 and not math.isnan(found.adjusted[0])


def test_too_few_windows_are_an_error():
    with pytest.raises(DataError, match="too few windows"):
        together(np.zeros((2, 1)), np.zeros((1, 1)), alpha=0.05)


def test_many_choices_are_drawn_and_the_observed_one_is_among_them():
    drawn = choices(40, 20, np.random.default_rng(0))
    assert drawn.shape == (5000, 20) and drawn[0].tolist() == list(range(40, 60))
    assert all(len(set(row)) == 20 for row in drawn[:50].tolist())


def test_a_column_that_is_far_off_hides_no_other():
    rng = np.random.default_rng(4)
    baseline, now = rng.normal(size=(25, 3)), rng.normal(size=(5, 3))
    now += [50.0, 3.0, 0.0]
    found = together(baseline, now, alpha=0.05)
    assert found.adjusted[0] < 0.001 and found.adjusted[1] < 0.01 < 0.05 < found.adjusted[2]


def test_a_column_that_hardly_varies_hides_no_other():
    rng = np.random.default_rng(5)
    baseline, now = rng.normal(size=(60, 2)), np.array([[12.0, 0.1]])
    baseline[:, 1] = np.where(np.arange(60) % 7 == 0, 0.2, 0.1)  # most windows alike: its scale is nothing
    assert together(baseline, now, alpha=0.05).adjusted[0] == pytest.approx(1 / 61)
