"""The planner's figures, and that the planned number does find the effect."""

from __future__ import annotations

import math

import numpy as np
import pytest

from incumbent.errors import DataError
from incumbent.experiments.analysis import Look, Units, series
from incumbent.experiments.power import guardrail_users_needed, units_needed


def test_formula():
    z = 1.959963984540054 + 0.8416212335729143
    assert units_needed(0.5, 0.05) == math.ceil(2.4 * z * z * 0.5 / 0.05**2)
    assert units_needed(0.5, 0.05, sequential=False) == math.ceil(z * z * 0.5 / 0.05**2)


def test_the_ramp_dilutes_by_the_square_of_the_share():
    small, large = (guardrail_users_needed(2.0, 0.1, share=p, holdout=0.2) for p in (0.05, 0.5))
    assert small / large == pytest.approx(100, rel=1e-3)


def test_only_what_is_beyond_the_margin_is_told():
    bare = guardrail_users_needed(1.0, 0.05, share=0.5, holdout=0.2)
    assert guardrail_users_needed(1.0, 0.10, share=0.5, holdout=0.2, margin=0.05) == bare
    assert guardrail_users_needed(1.0, 0.0, share=0.5, holdout=0.2, margin=0.05) == bare
    with pytest.raises(DataError):
        guardrail_users_needed(1.0, 0.05, share=0.5, holdout=0.2, margin=0.05)


@pytest.mark.parametrize("kwargs", [{"variance": 1.0, "effect": 0.0}, {"variance": -1.0, "effect": 0.1},
                                    {"variance": 1.0, "effect": 0.1, "power": 1.0},
                                    {"variance": 1.0, "effect": 0.1, "alpha": 0.0}])
def test_senseless_plans_are_refused(kwargs):
    with pytest.raises(DataError):
        units_needed(**kwargs)


def test_planned_units_reach_the_planned_power():
    """Tuned to the planned n, at least 80 % (less four standard errors) of 300 worlds have excluded 0 by then."""
    rng, effect, decided, worlds = np.random.default_rng(17), 0.1, 0.5, 300
    n = units_needed(decided - effect**2, effect)
    found = 0
    for _ in range(worlds):
        sign = rng.choice([1.0, -1.0, 0.0], size=n, p=[(decided + effect) / 2, (decided - effect) / 2, 1 - decided])
        units = Units(np.repeat("interleave", n), np.repeat("ramp_50", n),
                      np.datetime64("2026-01-01") + np.arange(n) * 20 // n, np.maximum(sign, 0), np.maximum(-sign, 0),
                      np.ones(n))
        found += any(p.preference.low is not None and p.preference.low > 0
                     for p in series(units, Look(tuning_units=n)))
    print(f"planned n = {n}: found in {found} of {worlds}")
    assert found >= worlds * 0.8 - 4 * math.sqrt(worlds * 0.8 * 0.2)
