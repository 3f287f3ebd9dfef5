"""Calibration from sums against the rows: plain loops, and SciPy's optimiser for the recalibration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from incumbent.errors import DataError, StateError
from incumbent.stats.reliability import Reliability

ROWS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0, math.nan]),
                          st.sampled_from([0.0, 1.0, math.nan, None]), st.integers(0, 1)), max_size=60)
ZERO = Reliability.zero(edges=[0.3, 0.6], groups=2)


@settings(deadline=None, max_examples=80)
@given(ROWS, st.integers(0, 60))
def test_sums_and_losses_are_those_of_the_rows(rows, cut):
    def add(part):
        return ZERO.update([r[0] for r in part], [r[1] for r in part], [r[2] for r in part]) if part else ZERO

    state = add(rows[:cut]).merge(add(rows[cut:]))
    here = [r for r in rows if not math.isnan(r[0])]
    known = [r for r in here if r[1] is not None and not math.isnan(r[1])]
    assert state.absent.tolist() == [len(rows) - len(here), len(here) - len(known)]
    gap = 0.0
    for group in (0, 1):
        for k, (low, high) in enumerate([(0, 0.3), (0.3, 0.6), (0.6, 1.01)]):
            mine = [r for r in known if r[2] == group and low <= r[0] < high]
            assert state.rows[group, k] == len(mine) and state.y[group, k] == sum(r[1] for r in mine)
            assert state.p[group, k] == pytest.approx(sum(r[0] for r in mine), abs=1e-12)
            assert state.scored[group, k] == sum(r[2] == group and low <= r[0] < high for r in here)
            if mine:
                gap += abs(sum(r[1] - r[0] for r in mine))
    if not known:
        assert state.ece().value is None and state.brier().reason in ("no labels yet", "no scores")
        return
    assert state.ece().value == pytest.approx(gap / len(known), abs=1e-12)
    assert state.brier().value == pytest.approx(sum((r[0] - r[1]) ** 2 for r in known) / len(known), abs=1e-12)
    logs = [-math.log(min(max(r[0] if r[1] else 1 - r[0], 1e-12), 1 - 1e-12)) for r in known]
    assert state.log_loss().value == pytest.approx(sum(logs) / len(logs), abs=1e-9)
    if len(logs) > 1:
        assert state.log_loss().se == pytest.approx(np.std(logs, ddof=1) / math.sqrt(len(logs)), abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(ROWS, ROWS)
def test_a_part_can_be_taken_away(first, second):
    a, b = (ZERO.update(*(list(column) for column in zip(*part, strict=True))) if part else ZERO
            for part in (first, second))
    rest = a.merge(b).subtract(b)
    for key in ("rows", "y", "scored", "absent"):
        assert (getattr(rest, key) == getattr(a, key)).all()
    assert rest.p == pytest.approx(a.p, abs=1e-9) and rest.loss == pytest.approx(a.loss, abs=1e-9)
    assert a.subtract(a) == ZERO


@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (0.6, 0.0), (1.4, -0.5), (1.0, 0.8)])
def test_slope_and_intercept_are_the_maximum_of_the_likelihood(slope, shift):
    rng = np.random.default_rng(3)
    p = rng.choice(np.linspace(0.02, 0.9, 25), 20_000)  # equal scores within a bin: exact
    y = (rng.random(20_000) < special.expit(shift + slope * special.logit(p))).astype(float)
    state = Reliability.fit(p, bins=60).update(p, y)

    def loss(at):
        return -special.log_expit((2 * y - 1) * (at[0] + at[1] * special.logit(p))).sum()

    best = optimize.minimize(loss, [0.0, 1.0], method="BFGS").x
    assert state.slope().value == pytest.approx(best[1], abs=2e-4)
    assert state.slope().low < slope < state.slope().high
    large = optimize.minimize_scalar(lambda a: loss([a, 1.0]), bounds=(-3, 3), method="bounded").x
    assert state.intercept().value == pytest.approx(large, abs=2e-4)


def test_intervals_cover():
    """Of 300 calibrated samples the 95 % intervals leave the truth out about 15 times (Garwood's less often)."""
    rng = np.random.default_rng(4)
    out = {"slope": 0, "intercept": 0, "observed_expected": 0}
    zero = Reliability.fit(rng.beta(1, 6, 2000), bins=30)
    for _ in range(300):
        p = rng.beta(1, 6, 1500)
        state = zero.update(p, rng.random(1500) < p)
        for name, truth in (("slope", 1.0), ("intercept", 0.0), ("observed_expected", 1.0)):
            found = getattr(state, name)()
            out[name] += not found.low <= truth <= found.high
    assert 4 <= out["slope"] <= 28 and 4 <= out["intercept"] <= 28 and out["observed_expected"] <= 22, out


def test_the_debiased_error_is_small_where_calibrated_and_keeps_what_is_there():
    rng = np.random.default_rng(5)
    p = rng.beta(1, 6, 4000)
    states = [Reliability.fit(p, bins=40).update(p, rng.random(4000) < p) for _ in range(30)]
    squares = [(n * ((y - s) / n) ** 2).sum() / n.sum() for n, y, s in ((s.rows, s.y, s.p) for s in states)]
    assert np.mean([state.rms_error().value for state in states]) < 0.4 * np.sqrt(np.mean(squares))
    wrong = Reliability.fit(p, bins=40).update(p, rng.random(4000) < p * 0.5)
    assert wrong.rms_error().value == pytest.approx(0.5 * np.sqrt((p**2).mean()), abs=0.015)
    assert ZERO.update([0.2], [1]).rms_error().reason == "no bin has two labels"


def test_what_cannot_be_said_is_missing():
    assert ZERO.slope().reason == "no scores"
    assert ZERO.update([0.2], [None]).slope().reason == "no labels yet"
    assert ZERO.update([0.2, 0.9], [1, 1]).slope().reason == "labels of one kind only"
    assert ZERO.update([0.2, 0.2], [0, 1]).slope().reason == "the fit has no finite maximum"  # one bin
    assert ZERO.update([0.0], [0]).observed_expected().reason == "the scores sum to 0"


@pytest.mark.parametrize("call", [
    lambda: ZERO.update([1.1], [0]), lambda: ZERO.update([0.5], [2]), lambda: ZERO.update([0.5], [0], [2]),
    lambda: ZERO.update([0.5], [0, 1]), lambda: Reliability.zero(edges=[0.0, 0.5]), lambda: Reliability.zero(groups=0),
    lambda: Reliability.zero(edges=[]), lambda: Reliability.fit([0.5] * 50), lambda: Reliability.zero(bins=4)])
def test_refusals(call):
    with pytest.raises(DataError):
        call()
    with pytest.raises(StateError, match="no part"):
        ZERO.subtract(ZERO.update([0.5], [0]))
