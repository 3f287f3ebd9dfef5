"""analysis.compare against published figures and a naive recomputation in plain Python."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.config import ExperimentConfig
from incumbent.errors import DataError
from incumbent.experiments.analysis import Look, Units, as_now, compare, series

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def units(x, y, n, lane="interleave", stage="ramp_50", days=None):
    size = len(x)
    days = range(size) if days is None else days
    return Units(np.array([lane] * size if isinstance(lane, str) else lane, dtype=np.str_),
                 np.array([stage] * size if isinstance(stage, str) else stage, dtype=np.str_),
                 np.array([(DAY + timedelta(days=int(d))).date() for d in days], dtype="datetime64[D]"),
                 np.array(x, float), np.array(y, float), np.array(n, float))


def naive_delta(x, y, n):
    """The formula of the reference, term by term."""
    size = len(x)
    mx, my, mn = (statistics.fmean(v) for v in (x, y, n))

    def cov(a, b):
        ma, mb = statistics.fmean(a), statistics.fmean(b)
        return sum((p - ma) * (q - mb) for p, q in zip(a, b, strict=True)) / (size - 1)

    var = ((cov(x, x) + cov(y, y) - 2 * cov(x, y)) / mn**2 - 2 * (mx - my) * (cov(x, n) - cov(y, n)) / mn**3
           + (mx - my) ** 2 * cov(n, n) / mn**4) / size
    return (mx - my) / mn, math.sqrt(max(var, 0.0))


def naive_sequence(mean, sd, n, alpha, n_star):
    """The half-width of the confidence sequence, from the reference."""
    r = math.sqrt((-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / n_star)
    half = sd * math.sqrt(2 * (n * r * r + 1) / (n * r) ** 2 * math.log(math.sqrt(n * r * r + 1) / alpha))
    return mean - half, mean + half


def test_paired_delta_of_the_reference():
    found = compare(units([1, 0, 2, 0, 1], [0, 1, 1, 0, 0], [2, 1, 3, 1, 2]), Look(min_units=2))
    assert found.delta.value == pytest.approx(0.2222222222, abs=1e-10)
    assert found.delta.se == pytest.approx(0.1872314924, abs=1e-10)
    assert (found.wins, found.ties, found.losses, found.pairs) == (3, 1, 1, 9)
    assert found.preference.value == pytest.approx(0.4)
    assert found.delta_ab == pytest.approx((3 + 0.5) / 5 - 0.5)


@pytest.mark.parametrize(("wins", "losses", "p"), [(60, 40, 0.0568879), (70, 40, 0.00544743), (550, 450, 0.00173054)])
def test_exact_sign_of_the_reference(wins, losses, p):
    x = [1] * wins + [0] * losses
    found = compare(units(x, [1 - v for v in x], [1] * len(x), days=[0] * len(x)), Look())
    assert found.p_sign == pytest.approx(p, rel=1e-5)
    assert found.preference.value == pytest.approx((wins - losses) / (wins + losses))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(12, 60))
def test_equals_a_naive_recomputation(seed, size):
    x, y, n = np.random.default_rng(seed).integers([[0], [0], [1]], [[5], [5], [10]], (3, size)).tolist()
    look = Look(min_units=10, alpha=0.1, tuning_units=50)
    found = compare(units(x, y, n, days=[0] * len(x)), look)
    value, se = naive_delta(x, y, n)
    assert found.delta.value == pytest.approx(value, abs=1e-12)
    assert found.delta.se == pytest.approx(se, abs=1e-9)
    signs = [(a > b) - (a < b) for a, b in zip(x, y, strict=True)]
    assert found.preference.value == pytest.approx(statistics.fmean(signs), abs=1e-12)
    sd = max(statistics.stdev(signs), math.sqrt(10 / len(x)))
    low, high = naive_sequence(statistics.fmean(signs), sd, len(x), 0.1, 50)
    assert found.preference.low == pytest.approx(low, abs=1e-9)
    assert found.preference.high == pytest.approx(high, abs=1e-9)
    if se > 1e-9:
        low, high = naive_sequence(value, se * math.sqrt(len(x)), len(x), 0.1, 50)
        assert (found.delta.low, found.delta.high) == pytest.approx((low, high), abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(110, 200))
def test_swapping_the_teams_mirrors_everything(seed, size):
    x, y, n = np.random.default_rng(seed).integers(0, [[4], [4], [6]], (3, size))
    one, other = compare(units(x, y, n)), compare(units(y, x, n))
    assert (one.wins, one.losses, one.ties) == (other.losses, other.wins, other.ties)
    for name in ("preference", "delta", "preference_fixed", "delta_fixed"):
        a, b = getattr(one, name), getattr(other, name)
        if a.value is None:
            assert b.value is None
            continue
        assert a.value == pytest.approx(-b.value, abs=1e-12)
        assert a.low == pytest.approx(-b.high, abs=1e-9)
    assert one.p_sign == pytest.approx(other.p_sign)


def test_evidence_is_one_over_alpha_at_the_end_of_the_sequence():
    rng = np.random.default_rng(5)
    size = 900
    x, y = rng.poisson(0.5, size), rng.poisson(0.4, size)
    found = compare(units(x, y, np.ones(size), days=[0] * size))
    r2 = (-2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))) / 2000
    sd = found.preference.se * math.sqrt(size)
    end = (found.preference.high - found.preference.low) / 2
    e_at_end = math.exp(r2 * (size * end / sd) ** 2 / (2 * (size * r2 + 1))) / math.sqrt(size * r2 + 1)
    assert e_at_end == pytest.approx(20.0, rel=1e-9)
    e = math.exp(r2 * (size * found.preference.value / sd) ** 2 / (2 * (size * r2 + 1))) / math.sqrt(size * r2 + 1)
    assert found.e_value == pytest.approx(e, rel=1e-9)
    assert found.p_value == pytest.approx(min(1.0, 1 / e), rel=1e-9)


def test_other_lanes_and_units_without_pairs_are_left_out():
    x, y, n = [1] * 120 + [9] * 50 + [0] * 30, [0] * 200, [1] * 170 + [0] * 30
    lanes = ["interleave"] * 120 + ["holdout"] * 50 + ["interleave"] * 30
    found = compare(units(x, y, n, lane=lanes, days=[0] * 200))
    assert (found.units, found.uncompared, found.wins) == (120, 30, 120)


def test_nothing_is_estimated_before_the_first_look():
    found = compare(units([1] * 99, [0] * 99, [1] * 99))
    assert found.preference.value is None and found.delta.value is None
    assert "99 of the 100" in found.preference.reason
    assert found.e_value is None and found.p_sign is None and found.wins == 99


def test_credit_is_winsorised_at_the_declared_cap():
    x = [1000.0] + [1.0] * 149
    found = compare(units(x, [0] * 150, [1] * 150), Look(cap=5.0))
    assert found.capped == 1
    assert found.delta.value == pytest.approx((5 + 149) / 150)


def test_few_decided_units_are_not_certainty():
    """One win in a thousand: the sequence must still allow a net preference ten times as large."""
    x = [1] + [0] * 999
    found = compare(units(x, [0] * 1000, [1] * 1000, days=[0] * 1000))
    assert found.preference.high > 0.01 and found.preference.low < 0


def test_all_ties_have_an_interval_around_zero():
    found = compare(units([0] * 500, [0] * 500, [2] * 500, days=[0] * 500))
    assert found.preference.value == 0 and found.preference.low < 0 < found.preference.high
    assert found.e_value <= 1


def test_series_is_what_each_look_showed():
    rng = np.random.default_rng(7)
    size = 400
    table = units(rng.poisson(0.6, size), rng.poisson(0.4, size), rng.integers(0, 4, size),
                  days=np.sort(rng.integers(0, 12, size)))
    points = series(table)
    for point in points:
        whole = compare(table.where(table.day <= np.datetime64(point.day)))
        assert point.units == whole.units
        for name in ("preference", "delta"):
            mine, theirs = getattr(point, name), getattr(whole, name)
            assert mine.reason == theirs.reason
            if mine.value is not None:
                assert (mine.value, mine.low, mine.high) == pytest.approx(
                    (theirs.value, theirs.low, theirs.high), abs=1e-9)
    assert points[-1].units == compare(table).units
    assert series(table.where(np.zeros(size, dtype=bool))) == []


def test_restated_units_stand_beside_and_judged_ones_stay():
    rows = [SimpleNamespace(unit=f"u{i}", lane="interleave", stage="ramp_50", matured_at=DAY, x=1.0, y=0.0, n=1.0)
            for i in range(150)]
    late = [SimpleNamespace(**{**vars(rows[0]), "x": 0.0, "y": 1.0})]
    judged, now = compare(Units.of(rows)), compare(as_now(rows, late))
    assert (judged.wins, judged.losses) == (150, 0)
    assert (now.wins, now.losses, now.units) == (149, 1, 150)


def test_look_is_what_the_experiment_declared():
    config = ExperimentConfig(surface="s", candidate="c", cap=3.0, alpha=0.1, tuning_units=77, min_look_units=40)
    assert Look.of(config) == Look(cap=3.0, alpha=0.1, tuning_units=77, min_units=40)


def test_unsound_arrays_are_refused():
    with pytest.raises(DataError, match="differ in length"):
        Units(*(np.array(["a"]),) * 2, np.array(["2026-01-01"], dtype="datetime64[D]"),
              np.zeros(1), np.zeros(1), np.zeros(2))
    with pytest.raises(DataError, match="finite"):
        units([math.nan], [0], [1])


def test_stage_of_first_exposure_selects():
    table = units([1, 1, 0], [0, 0, 1], [1, 1, 1], stage=["canary", "ramp_50", "ramp_50"])
    assert table.first_in("ramp_50").x.tolist() == [1.0, 0.0]
