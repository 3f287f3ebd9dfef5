"""The null of windows: ranks by hand, exactness where windows are exchangeable, the traps, and tails that say so."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from incumbent.drift.alarm import GROWTH, distances, embedding
from incumbent.drift.detector import Reference
from incumbent.drift.null import Null, judge, leave_one_out, merged, tail_p, unions
from incumbent.drift.robust import biweight, standardised
from incumbent.drift.windowed import WindowDetector
from incumbent.errors import ConfigError, DataError
from incumbent.stats.moments import Moments
from incumbent.stats.vectors import Vectors
from incumbent.testing.drift_worlds import FAULTS, EmbeddingWorld


def gap(a, b):
    return {"gap": abs(a.mean().value - b.mean().value)}


def days(*values):
    return [Moments.zero().update(np.asarray(v, dtype=float)) for v in values]


# ------------------------------------------------------------------------------------------------------ the null
def test_leaving_out_by_subtraction_is_a_recount():
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(int(n), 4)) for n in (60, 80, 100)]
    zero = Vectors.fit(np.vstack(rows), seed=1, centroids=4, bins=4, norm_bins=4)
    states = [zero.update(some) for some in rows]
    null = leave_one_out(states, merged(states), distances)
    for i in range(3):
        rest = zero.update(np.vstack([some for j, some in enumerate(rows) if j != i]))
        again = distances(zero.update(rows[i]), rest)
        assert null.scores[i] == pytest.approx([again[name] for name in null.names], rel=1e-6, abs=1e-6)
        assert null.noises[i] == pytest.approx(1 / len(rows[i]) + 1 / (240 - len(rows[i])))


def test_p_is_the_rank_of_the_largest_standardised_score():
    null = Null(("a",), tuple((float(x),) for x in range(1, 10)), (1.0,) * 9)
    assert [judge(null, {"a": x}, 1.0).p_value for x in (0.5, 4.5, 8.5, 100.0)] == [1.0, 0.6, 0.2, 0.1]
    assert judge(null, {"a": 1e9}, 1.0).p_value == judge(null, {"a": 1e9}, 1.0).resolution == 0.1


def test_the_components_explain():
    rng = np.random.default_rng(2)
    null = Null(("a", "b"), tuple(map(tuple, rng.normal(size=(30, 2)) * [1, 100])), (1.0,) * 30)
    said = judge(null, {"a": 0.0, "b": 1000.0}, 1.0)
    assert said.standardised[1] == said.score > 5 > abs(said.standardised[0])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([10, 19, 40]), st.sampled_from([1, 4]))
def test_ranks_are_exact_in_the_mean_over_who_is_current(seed, m, k):
    """Of m + 1 exchangeable rows each is judged against the others: the share with p <= j / (m + 1) is j / (m + 1)."""
    rows = np.random.default_rng(seed).standard_gamma(2.0, size=(m + 1, k))
    names = tuple("abcd"[:k])
    p = []
    for i in range(m + 1):
        null = Null(names, tuple(map(tuple, np.delete(rows, i, axis=0))), (1.0,) * m)
        p.append(judge(null, dict(zip(names, rows[i], strict=True)), 1.0).p_value)
    assert sorted(p) == pytest.approx([(j + 1) / (m + 1) for j in range(m + 1)])


def test_a_size_that_differs_costs_power_and_not_false_alarms():
    null = Null(("a",), tuple((float(x),) for x in range(1, 20)), (0.01,) * 19)
    growth = {"a": (0.5, 0.0)}
    at = {noise: judge(null, {"a": 19.5}, noise, growth=growth).p_value for noise in (0.0025, 0.01, 0.04)}
    assert at == {0.0025: 0.05, 0.01: 0.05, 0.04: pytest.approx(0.55)}  # at four times the noise the null doubles
    zero = Vectors.fit(np.random.default_rng(1).normal(size=(300, 4)), seed=1, centroids=4)
    some = [zero.update(np.random.default_rng(i).normal(size=(99, 4))) for i in (2, 3)]
    assert set(GROWTH) == set(distances(*some))


# ------------------------------------------------------------------------------------------- robust standard units
def test_biweight_is_near_the_normal_and_unmoved_by_a_few():
    rows = np.random.default_rng(3).normal(3.0, 2.0, size=(4000, 1))
    location, scale = biweight(rows)
    assert location[0] == pytest.approx(3.0, abs=0.1) and scale[0] == pytest.approx(2.0, rel=0.04)
    rows[:200] = 1e9
    moved, stretched = biweight(rows)
    assert moved[0] == pytest.approx(3.0, abs=0.25) and stretched[0] == pytest.approx(2.0, rel=0.15)


def test_every_row_is_standardised_by_the_others_only():
    rows = np.random.default_rng(4).normal(size=(12, 2))
    units, _, _ = standardised(rows)
    for i in range(12):
        location, scale = biweight(np.delete(rows, i, axis=0))
        assert units[i] == pytest.approx((rows[i] - location) / scale)


def test_what_never_varied_is_cut_and_not_infinite():
    units, _, _ = standardised(np.array([[1.0, 0.0]] * 9 + [[1.0, 1e-9]]))
    assert units[:, 0].tolist() == [0.0] * 10 and units[-1, 1] == 1e6 and np.isfinite(units).all()


# ------------------------------------------------------------------------------------------------------------ tails
def test_tails_are_never_taken_in_silence():
    null = Null(("a",), tuple((float(x),) for x in np.random.default_rng(5).normal(size=60)), (1.0,) * 60)
    for tail in ("student", "pareto"):
        said = judge(null, {"a": 8.0}, 1.0, tail=tail)
        assert said.p_value < said.resolution and said.extrapolated == tail
        assert judge(null, {"a": -1.0}, 1.0, tail=tail).extrapolated is None  # inside the sample the rank stands
    assert judge(null, {"a": 8.0}, 1.0).p_value == judge(null, {"a": 8.0}, 1.0).resolution


def test_the_student_tail_is_the_prediction_of_one_more_normal_value():
    rng, hits = np.random.default_rng(6), 0
    for _ in range(4000):
        values = rng.normal(size=11)
        hits += tail_p(values[:10], values[10], "student") <= 0.01
    assert abs(hits / 4000 - 0.01) < 0.0055


def test_the_pareto_tail_finds_an_exponential_one():
    values = np.random.default_rng(7).exponential(size=5000)
    assert tail_p(values, 10.0, "pareto") == pytest.approx(math.exp(-10), rel=1.0)
    with pytest.raises(DataError, match="too few windows for a Pareto tail"):
        tail_p(values[:49], 10.0, "pareto")


def test_unions_say_how_many_share_no_window():
    states = days(*np.random.default_rng(8).normal(size=(20, 30)))
    null = unions(states, merged(states), gap, 4, 50, np.random.default_rng(1))
    assert (null.windows, null.disjoint, null.resolution, null.group) == (50, 5, 1 / 6, 4)
    said = judge(null, {"gap": 50.0}, 1 / 120 + 1 / 600, tail="rows")
    assert said.p_value == pytest.approx(1 / 51) and said.extrapolated == "rows"
    assert judge(null, {"gap": 50.0}, 1 / 120 + 1 / 600).p_value == pytest.approx(1 / 6)
    with pytest.raises(DataError):
        unions(states, merged(states), gap, 11, 50, np.random.default_rng(1))


def test_a_union_is_no_new_window_so_the_current_one_is_held_to_an_interval_of_prediction():
    """Of 5 disjoint unions the mean is off by 1/5 of a variance: the current one counts in units of sqrt(1 + 1/5)."""
    values = tuple((float(x),) for x in np.random.default_rng(9).normal(size=50))
    plain, united = Null(("a",), values, (1.0,) * 50), Null(("a",), values, (1.0,) * 50, 4, 5)
    score, wider = (judge(null, {"a": 3.0}, 1.0, tail="rows").score for null in (plain, united))
    assert wider == pytest.approx(score / math.sqrt(1.2))


# -------------------------------------------------------------------------------------------------------- detector
def test_a_baseline_that_cannot_carry_alpha_is_no_data_with_what_would_be_enough():
    detector = WindowDetector("gap", gap, alpha=0.01, least_rows=1)
    said, memory = detector.step(days([50.0, 51.0])[0], Reference.of(days(*np.ones((50, 2)))), None)
    assert (said.status, said.severity, memory) == ("no_data", "info", None)
    assert "never below 1/51" in said.reason and "it takes 99" in said.reason
    assert WindowDetector("gap", gap, alpha=0.01, tail="student").least_windows() == 8
    with pytest.raises(DataError, match="too few windows"):
        detector.calibrate(Reference.of(days(*np.ones((50, 2)))))


def test_few_rows_and_defects_alone_are_said():
    rng = np.random.default_rng(9)
    states = embedding().example(rng, 25, 0)
    reference = Reference.of(states)
    zero = states[0].subtract(states[0])
    few, _ = embedding().step(zero.update(rng.normal(size=(20, 6))), reference, None)
    rotten, _ = embedding().step(zero.update(np.full((50, 6), np.nan)), reference, None)
    assert (few.status, "20 rows are too few" in few.reason) == ("no_data", True)
    assert (rotten.status, rotten.severity) == ("invalid", "ticket") and "50 rows" in rotten.reason


def test_windows_that_fitted_the_frame_stand_in_the_reference_and_not_in_the_null():
    states = days(*np.random.default_rng(10).normal(size=(30, 40)))
    said, _ = WindowDetector("gap", gap).step(states[-1], Reference.of(states[:-1], fitted=5), None)
    assert said.windows == 24 and int(Reference.of(states[:-1], fitted=5).total.n) == 29 * 40


def test_settings_are_checked():
    with pytest.raises(ConfigError):
        embedding(tail="normal")
    with pytest.raises(DataError):
        embedding(alpha=1.5)
    with pytest.raises(DataError, match="not finite"):
        judge(Null(("a",), ((1.0,),) * 5, (1.0,) * 5), {"a": float("nan")}, 1.0)


# --------------------------------------------------------------------------------------------------------- harness
def delivered(day, worlds, fault=None, m=24, n=300, alpha=0.08):
    alarms = []
    for i in range(worlds):
        world = EmbeddingWorld.seeded(40, i, dimension=12, clusters=6, day=day)
        rng = np.random.default_rng([41, i])
        zero = Vectors.fit(world.rows(rng, 2000), seed=i, centroids=16, bins=16, norm_bins=16)
        detector = embedding(alpha=alpha)
        reference = detector.calibrate(Reference.of([zero.update(world.rows(rng, n)) for _ in range(m)]))
        for _ in range(4):
            alarms.append(detector.step(zero.update(world.window(rng, n, fault)), reference, None)[0].status == "drift")
    return np.array(alarms)


@pytest.mark.parametrize("day", [0.0, 2.0])
def test_false_alarms_are_those_promised_with_and_without_day_effects(day):
    alarms = delivered(day, 12)
    assert stats.binomtest(int(alarms.sum()), len(alarms), 0.08).pvalue > 0.01
    assert alarms.mean() < 0.25


@pytest.mark.parametrize("fault", ["scale_6", "zeros_2", "rotation", "cluster_5"])
def test_clear_faults_are_found_in_most_windows(fault):
    assert delivered(0.0, 2, fault, n=1000).mean() > 0.7
    assert fault in FAULTS


def test_a_row_null_alarms_always_under_day_effects_and_a_window_null_does_not():
    rng = np.random.default_rng(11)
    rows = [rng.normal(size=400) + 0.2 * rng.normal() for _ in range(41)]
    pool = np.concatenate(rows[:40])
    permuted, by_window = 0, 0
    detector = WindowDetector("gap", gap)
    reference = detector.calibrate(Reference.of(days(*rows[:40])))
    for _ in range(60):
        now = rng.normal(size=400) + 0.2 * rng.normal()
        permuted += stats.ttest_ind(now, pool).pvalue < 0.05
        by_window += detector.step(days(now)[0], reference, None)[0].status == "drift"
    assert permuted > 30 and by_window <= 8


def test_unknown_faults_are_named():
    with pytest.raises(DataError, match="no such fault"):
        EmbeddingWorld.seeded(1).window(np.random.default_rng(1), 10, "earthquake")


def test_windows_that_are_all_the_same_are_no_drift_and_another_is():
    """An index that is sent anew every night: the same vectors, in another order; then a tenth of them moved."""
    rng = np.random.default_rng(3)
    index = rng.normal(size=(200, 6)).astype(np.float32)
    zero = Vectors.fit(index, seed=1, centroids=8, bins=8, norm_bins=8)
    nights = [zero.update(index[rng.permutation(200)]) for _ in range(24)]
    detector, reference = embedding(alpha=0.1), Reference.of(nights[:12])
    assert [detector.step(night, reference, None)[0].status for night in nights[12:]] == ["ok"] * 12
    moved = index.copy()
    moved[:20] += 1
    result = detector.step(zero.update(moved), reference, None)[0]
    assert result.status == "drift" and "beyond measure of its own null, which does not vary" in result.reason
    assert "000000.0" not in result.reason
