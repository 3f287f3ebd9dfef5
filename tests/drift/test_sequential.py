"""E-detectors and CUSUM: steps by hand, integrals, promised run lengths, and the detectors on them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from incumbent.drift.budget import soonest_harm
from incumbent.drift.cusum import cusum_run_length, cusum_step, cusum_threshold, page_hinkley_step
from incumbent.drift.detector import BaselineWindow, Reference
from incumbent.drift.risk import BoundedRisk
from incumbent.drift.sequential import NONE, bounded_bets, calibrated, e_step, mixed_step, ranked, shafer
from incumbent.drift.stream import RankStream, embedding_stream
from incumbent.drift.windowed import WindowDetector
from incumbent.errors import ConfigError, DataError
from incumbent.stats.moments import Moments


@settings(deadline=None, max_examples=80)
@given(st.lists(st.floats(0.01, 20), min_size=1, max_size=12))
def test_steps_are_the_sums_and_maxima_over_starting_points(es):
    products = [math.prod(es[start:]) for start in range(len(es))]
    sr = cusum = None
    for e in es:
        sr, cusum = e_step(sr, math.log(e)), e_step(cusum, math.log(e), "e_cusum")
    assert math.exp(sr) == pytest.approx(sum(products), rel=1e-9)
    assert math.exp(cusum) == pytest.approx(max(products), rel=1e-9)


def test_no_evidence_is_a_number_that_json_can_hold():
    none = e_step(None, -math.inf)
    assert none == NONE and json.loads(json.dumps(none)) == none
    assert math.exp(e_step(none, math.log(3.0))) == pytest.approx(3.0)
    logs, log_m = mixed_step([1.0, 2.0], [-math.inf, 0.0])
    assert logs == [NONE, pytest.approx(math.log(math.exp(2) + 1))] and log_m == pytest.approx(logs[1] - math.log(2))


@pytest.mark.parametrize("calibrator", [calibrated, shafer])
def test_calibrators_have_mean_one_and_fall(calibrator):
    def e(p):
        return math.exp(max(calibrator(p), -700))

    whole = sum(integrate.quad(e, a, b, limit=400)[0] for a, b in ((1e-12, 1e-6), (1e-6, 1e-2), (1e-2, 1.0)))
    assert 0.9 < whole <= 1.0 + 1e-6
    values = [calibrator(p) for p in (1e-300, 1e-9, 1e-3, 0.1, 0.5, 0.9989, 0.9991, 1.0)]
    assert values == sorted(values, reverse=True)
    with pytest.raises(DataError):
        calibrator(0.0)


def test_the_calibrator_is_the_mixture_that_it_says():
    for p in (1e-6, 0.01, 0.3, 0.9995):
        mixed = integrate.quad(lambda k, p=p: k * p ** (k - 1), 0, 1)[0]
        assert math.exp(calibrated(p)) == pytest.approx(mixed, rel=1e-7)


@settings(deadline=None, max_examples=60)
@given(st.floats(0.01, 0.99), st.sampled_from(["higher", "lower"]))
def test_bets_are_fair_at_the_edge_of_the_null(mean, worse):
    """Of all distributions on [0, 1] with that mean the two-point one is the most extreme: its mean e-value is 1."""
    one, zero = bounded_bets(1.0, mean, worse=worse), bounded_bets(0.0, mean, worse=worse)
    for a, b in zip(one, zero, strict=True):
        assert mean * math.exp(a) + (1 - mean) * math.exp(b) == pytest.approx(1.0)


def run_length(step, rng, limit):
    for t in range(1, limit + 1):
        if step(rng):
            return t
    return limit


def test_a_false_alarm_takes_one_over_alpha_steps_or_more():
    alpha, lengths = 0.02, []
    rng = np.random.default_rng(1)
    for _ in range(300):
        memory = [None]

        def step(rng, memory=memory):
            memory[0], log_m = mixed_step(memory[0], bounded_bets(float(rng.random() < 0.1), 0.1))
            return log_m >= math.log(1 / alpha)

        lengths.append(run_length(step, rng, 600))
    assert np.mean(lengths) > 1 / alpha


def rank_length(rng, m, alpha=0.02, limit=400):
    null, past, log_m = list(rng.normal(size=m)), [], None
    for t in range(1, limit + 1):
        score = float(rng.normal())
        log_m = e_step(log_m, calibrated(ranked(score, null, past)))
        past.append(score)
        if log_m >= math.log(1 / alpha):
            return t
    return limit


def test_ranks_among_those_before_keep_the_run_length():
    rng = np.random.default_rng(2)
    assert np.mean([rank_length(rng, 10) for _ in range(100)]) > 50


# ------------------------------------------------------------------------------------------------- CUSUM, by its books
def test_cusum_by_hand_and_both_sides():
    memory, levels = None, []
    for z in (1.0, -0.5, 2.0, -3.0):
        memory, level = cusum_step(memory, z)
        levels.append(level)
    assert levels == [0.5, 0.0, 1.5, 2.5] and memory == [0.0, 2.5]


@pytest.mark.parametrize(("h", "shift", "published"), [  # Montgomery, table 9.3: k = 1/2, two-sided
    (4.0, 0.0, 168.0), (5.0, 0.0, 465.0), (4.0, 1.0, 8.38), (5.0, 1.0, 10.4), (5.0, 2.0, 4.01)])
def test_run_lengths_are_those_of_the_tables(h, shift, published):
    assert cusum_run_length(h, shift=shift) == pytest.approx(published, rel=0.04)


def test_the_threshold_delivers_its_run_length():
    h, rng, lengths = cusum_threshold(100.0), np.random.default_rng(3), []
    for _ in range(300):
        memory = [None]

        def step(rng, memory=memory):
            memory[0], level = cusum_step(memory[0], float(rng.normal()))
            return level > h

        lengths.append(run_length(step, rng, 2000))
    assert np.mean(lengths) == pytest.approx(100.0, rel=0.2)
    with pytest.raises(DataError):
        cusum_threshold(1.0)


def test_page_hinkley_against_a_naive_sum():
    values, memory = np.random.default_rng(4).normal(size=40), None
    for t in range(40):
        memory, level = page_hinkley_step(memory, float(values[t]), tolerance=0.1)
        sums = np.cumsum([values[i] - values[: i + 1].mean() - 0.1 for i in range(t + 1)])
        assert level == pytest.approx(sums[-1] - min(0.0, sums.min()))
    with pytest.raises(DataError, match="finite"):
        page_hinkley_step(memory, math.nan)


# ---------------------------------------------------------------------------------------------------------- detectors
def rates(rng, rate, count, n=300):
    return [Moments.zero().update((rng.random(n) < rate).astype(float)) for _ in range(count)]


def test_harm_beyond_tolerance_pages_and_less_does_not():
    rng = np.random.default_rng(5)
    detector = BoundedRisk(tolerance=0.02, alpha=0.001)
    reference = Reference.of(rates(rng, 0.10, 30))
    for rate, expected in ((0.11, False), (0.25, True)):
        memory, said = None, []
        for state in rates(rng, rate, 60):
            result, memory = detector.step(state, reference, memory)
            said.append(result)
            if result.status == "drift":
                assert result.severity == "page" and memory is None
        assert any(one.status == "drift" for one in said) is expected


def test_a_fall_is_harm_where_lower_is_worse():
    rng = np.random.default_rng(6)
    detector = BoundedRisk(worse="lower", alpha=0.01)
    reference, memory, found = Reference.of(rates(rng, 0.6, 20)), None, False
    for state in rates(rng, 0.3, 40):
        result, memory = detector.step(state, reference, memory)
        found |= result.status == "drift"
    assert found and detector.bound(reference) < 0.6


@settings(deadline=None, max_examples=12)
@given(st.floats(0.001, 0.1), st.floats(1.01, 2.0), st.integers(0, 2**32 - 1))
def test_cutting_what_is_high_keeps_the_bet_fair(rate, reach, seed):
    """Of x with E min(x, top) = bound, however high x goes, no bet gains on average."""
    rng = np.random.default_rng(seed)
    detector = BoundedRisk(worse="lower", tolerance=rate / 10, reach=reach, least_rows=1)
    reference = Reference.of([Moments.zero().update([value]) for value in rate * rng.uniform(0.5, 1.5, 20)])
    top = reach * max(state.mean("x").value for state in reference.held)
    bound, gain = detector.bound(reference), 0.0
    xs = rng.uniform(0, 1, 60) ** 8  # some far above the top
    cut = np.minimum(xs, top)
    low, high = cut < bound, cut >= bound  # weights that give min(x, top) the mean `bound` exactly
    weights = np.where(low, 1.0, (bound - cut[low]).sum() / (cut[high] - bound).sum())
    for x, weight in zip(xs, weights / weights.sum(), strict=True):
        result, _ = detector.step(Moments.zero().update([float(x)]), reference, None)
        gain += weight * result.e_value
    assert gain == pytest.approx(1.0)


def shares(rng, rate, count, rows, spread):
    """Windows of a click-through whose days differ by `spread`."""
    rates = rate * np.exp(spread * rng.normal(size=count) - spread**2 / 2)
    return [float(one) / rows for one in rng.binomial(rows, rates)]


def as_states(values):
    return [Moments.zero().update([value] * 30) for value in values]


def test_a_total_collapse_of_two_in_a_hundred_is_told_in_two_weeks():
    """Twelve monitors, one alarm a month, daily windows; with [0, 1] for a room it took 160 days."""
    rng, reach = np.random.default_rng(9), 1.25
    reference = Reference.of(as_states(shares(rng, 0.02, 60, 2000, 0.05)))
    alpha = 12 / 4383
    told = {}
    for scaled in (reach, None):
        detector, memory = BoundedRisk(worse="lower", tolerance=0.002, alpha=alpha, reach=scaled), None
        dead, result = as_states([0.0])[0], None
        told[scaled] = 0
        while result is None or result.status != "drift":
            result, memory = detector.step(dead, reference, memory)
            told[scaled] += 1
        assert told[scaled] == soonest_harm(detector.worst(reference), alpha)
    assert told[reach] <= 14 and told[None] > 150


@pytest.mark.parametrize(("spread", "held"), [(0.15, 45), (0.3, 9)])
def test_days_that_differ_keep_the_promised_run_length(spread, held):
    rng, alarms, windows, alpha = np.random.default_rng(10), 0, 0, 1 / 50
    for _ in range(4):
        reference = Reference.of(as_states(shares(rng, 0.02, held, 1000, spread)))
        detector, memory = BoundedRisk(worse="lower", tolerance=0.0, alpha=alpha, reach=1.25), None
        for state in as_states(shares(rng, 0.02, 60, 1000, spread)):
            result, memory = detector.step(state, reference, memory)
            alarms, windows = alarms + (result.status == "drift"), windows + 1
    assert alarms <= alpha * windows


def test_a_reach_is_of_what_is_worse_when_lower():
    with pytest.raises(ConfigError, match="reach"):
        BoundedRisk(reach=1.25)
    with pytest.raises(ConfigError, match="reach"):
        BoundedRisk(worse="lower", reach=1.0)
    calm = Reference.of(as_states([0.02] * 10))
    assert BoundedRisk(worse="lower", reach=1.25).worst(calm) == pytest.approx(4)  # .02 / (.025 - .02)
    assert BoundedRisk(worse="lower").worst(calm) == pytest.approx(0.02 / 0.98)
    assert BoundedRisk(worse="lower", tolerance=0.5, reach=1.25).worst(calm) == 0.0
    assert BoundedRisk().worst(Reference.of(as_states([0.1] * 3))) is None


def test_out_of_bounds_and_hopeless_tolerances_are_said():
    rng = np.random.default_rng(7)
    reference = Reference.of(rates(rng, 0.5, 20))
    assert BoundedRisk(tolerance=0.6).step(rates(rng, 0.5, 1)[0], reference, None)[0].status == "no_data"
    wild = Moments.zero().update([5.0] * 50)
    assert BoundedRisk().step(wild, reference, None)[0].status == "invalid"
    with pytest.raises(ConfigError):
        BoundedRisk(tolerance=2.0)


def test_a_stream_finds_what_one_window_may_not_say():
    detector = embedding_stream(alpha=1 / 100)
    states = detector.example(np.random.default_rng(8), 45, 20)
    reference, memory, at = detector.calibrate(Reference.of(states[:20])), None, None
    for t, state in enumerate(states[20:]):
        result, memory = detector.step(state, reference, memory)
        if result.status == "drift":
            at = t
            break
    assert at is not None and at >= 5 and result.p_value > 1 / 100 and memory is None


def test_a_stream_under_another_alpha_goes_on_at_the_same_part_of_its_threshold():
    """Between two windows the part of the budget changes: alpha * M does not, so neither does what was promised."""
    rng = np.random.default_rng(4)
    states = [Moments.zero().update(rng.normal(size=40)) for _ in range(30)]
    reference = Reference(tuple(BaselineWindow(one) for one in states))

    def stream(alpha: float) -> RankStream:
        return RankStream("gap", WindowDetector(
            "gap", lambda a, b: {"gap": abs(a.mean().value - b.mean().value)}, alpha=0.5), alpha=alpha)

    first, kept = stream(0.001).step(Moments.zero().update(rng.normal(0.4, 1, 40)), reference, None)
    window = Moments.zero().update(rng.normal(0.4, 1, 40))
    same, larger, smaller = (stream(alpha).step(window, reference, kept)[0] for alpha in (0.001, 0.002, 0.0005))
    e = same.e_value / (first.e_value + 1)
    assert larger.e_value == pytest.approx((first.e_value / 2 + 1) * e)
    assert smaller.e_value == pytest.approx((first.e_value * 2 + 1) * e)
