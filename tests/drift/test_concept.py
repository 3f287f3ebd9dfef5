"""Concept drift against plain loops, without and with drift; the sequential test holds its run length."""

from __future__ import annotations

import math

import numpy as np
import pytest

from incumbent.drift.concept import calibration_drift, click_odds
from incumbent.errors import StateError
from incumbent.stats.reliability import Reliability

ZERO = Reliability.fit(np.random.default_rng(0).beta(1, 8, 5000), bins=20, groups=4)
EXAMINED = np.array([1.0, 0.7, 0.45, 0.3])


def window(rng, rows=4000, odds=1.0, positions=(0.25, 0.25, 0.25, 0.25), tilt=1.0):
    p, at = rng.beta(1, 8, rows) ** tilt, rng.choice(4, rows, p=positions)
    truth = p * EXAMINED[at]
    truth = odds * truth / (1 - truth + odds * truth)
    return ZERO.update(p, (rng.random(rows) < truth).astype(float), at)


def test_click_odds_are_mantel_and_haenszels():
    rng = np.random.default_rng(1)
    a, b = window(rng, 800), window(rng, 3000)
    top = low = 0.0
    for i in range(a.rows.shape[0]):
        for k in range(a.rows.shape[1]):
            n, m, y, x = (int(part[i, k]) for part in (a.rows, b.rows, a.y, b.y))
            if n and m:
                top += y * (m - x) / (n + m)
                low += (n - y) * x / (n + m)
    assert click_odds(a, b).value == pytest.approx(top / low)


def test_one_stratum_is_the_odds_ratio_with_woolfs_variance_near():
    zero = Reliability.zero(edges=[0.5])
    a = zero.update([0.2] * 300, [1] * 90 + [0] * 210)
    b = zero.update([0.2] * 500, [1] * 100 + [0] * 400)
    found = click_odds(a, b)
    assert found.value == pytest.approx(90 * 400 / (210 * 100))
    assert found.se / found.value == pytest.approx(math.sqrt(1 / 90 + 1 / 210 + 1 / 100 + 1 / 400))


def test_clicks_given_score_and_position_do_not_see_the_mix():
    """Traffic moves down the page and scores shrink, so the click rate halves; given both, nothing has changed."""
    reference, outside = window(np.random.default_rng(2), 60_000), 0
    for seed in range(40):
        moved = window(np.random.default_rng(100 + seed), 6000, positions=(0.1, 0.1, 0.3, 0.5), tilt=1.15)
        found = click_odds(moved, reference)
        outside += not found.low <= 1.0 <= found.high
    assert moved.rate().value < 0.7 * reference.rate().value
    assert outside <= 6  # of 40 at 95 %
    worse = [click_odds(window(np.random.default_rng(s), 6000, odds=0.6), reference) for s in range(200, 230)]
    assert max(found.high for found in worse) < 0.9
    assert sum(not found.low <= 0.6 <= found.high for found in worse) <= 5


def test_calibration_drift_says_what_moved():
    rng = np.random.default_rng(4)
    zero = Reliability.fit(rng.beta(1, 6, 5000), bins=30)

    def make(rows, slope=1.0, shift=0.0):
        p = rng.beta(1, 6, rows)
        truth = 1 / (1 + np.exp(-(shift + slope * np.log(p / (1 - p)))))
        return zero.update(p, rng.random(rows) < truth)

    reference, quiet = make(30_000), {"observed_expected": 0, "slope": 0, "intercept": 0}
    for _ in range(60):
        for name, found in calibration_drift(make(3000), reference).items():
            if name in quiet:
                quiet[name] += not found.low <= (1.0 if name == "observed_expected" else 0.0) <= found.high
    assert max(quiet.values()) <= 9, quiet  # of 60 at 95 %
    shifted = calibration_drift(make(3000, shift=-0.7), reference)
    assert shifted["observed_expected"].high < 0.75 and shifted["intercept"].high < -0.4
    assert shifted["rms_error"].value > 0.03
    flat = calibration_drift(make(6000, slope=0.5), reference)
    assert flat["slope"].high < -0.3
    late = calibration_drift(zero.update([0.2], [None]), reference)
    assert late["slope"].reason == "current: no labels yet" and late["observed_expected"].value is None
    with pytest.raises(StateError, match="different bins"):
        calibration_drift(Reliability.zero(), reference)
