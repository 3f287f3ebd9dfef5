"""The audit finds what leave-one-out cannot: trends and days that resemble their neighbours."""

from __future__ import annotations

import json

import numpy as np
import pytest

from incumbent.drift.audit import audit
from incumbent.drift.detector import Reference
from incumbent.drift.windowed import WindowDetector
from incumbent.errors import DataError
from incumbent.stats.moments import Moments


def gap(a, b):
    return {"gap": abs(a.mean().value - b.mean().value)}


def baseline(means, rng, **more):
    return Reference.of([Moments.zero().update(rng.normal(mean, 1, 80)) for mean in means], **more)


def test_a_stable_baseline_keeps_the_promise_also_with_day_effects():
    rng = np.random.default_rng(1)
    said = audit(WindowDetector("gap", gap, alpha=0.1), baseline(0.3 * rng.normal(size=80), rng))
    assert said.kept and said.promised == 0.1 and said.delivered.n == 80
    assert len(said.alarms) / 80 == said.delivered.value < 0.2 and "kept" in str(said)
    json.dumps(said.to_dict(), allow_nan=False)


def test_a_baseline_with_a_trend_does_not():
    rng = np.random.default_rng(2)
    said = audit(WindowDetector("gap", gap, alpha=0.05), baseline(np.linspace(0, 6, 80), rng))
    assert said.kept is False and said.delivered.low > 0.05 and "NOT KEPT" in str(said)


def test_a_baseline_too_small_for_the_promise_is_said_and_not_counted():
    rng = np.random.default_rng(3)
    said = audit(WindowDetector("gap", gap, alpha=0.01), baseline(np.zeros(40), rng))
    assert said.kept is None and said.unjudged == 40 and "never below 1/31" in said.delivered.reason
    assert "unknown" in str(said)


def test_windows_that_fitted_the_frame_are_not_judged():
    rng = np.random.default_rng(4)
    said = audit(WindowDetector("gap", gap, alpha=0.1), baseline(np.zeros(40), rng, fitted=10))
    assert sorted(said.results) == list(range(10, 40))


def test_stretches_are_checked():
    with pytest.raises(DataError, match="stretches"):
        audit(WindowDetector("gap", gap), baseline(np.zeros(3), np.random.default_rng(5)), stretches=1)
