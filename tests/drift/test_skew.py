"""Version skew and age of vectors against plain counting over the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.drift.skew import metric_gap, skew_share, skew_update, skew_zero
from incumbent.drift.vector_age import age_s, age_update, age_zero, oldest_s
from incumbent.errors import DataError
from incumbent.stats.buckets import bucket_of

VERSIONS = st.sampled_from(["a", "b", "", None])
ROWS = st.lists(st.tuples(st.integers(0, 30), VERSIONS, VERSIONS, st.floats(-3, 3) | st.just(float("nan"))),
                max_size=60)


def add(state, rows):
    users, queries, items, values = zip(*rows, strict=True) if rows else ((), (), (), ())
    return skew_update(state, bucket_of([f"u{u}" for u in users], 16), queries, items, np.array(values, dtype=float))


@settings(deadline=None, max_examples=60)
@given(ROWS, st.integers(0, 60))
def test_share_and_gap_are_those_of_the_rows(rows, cut):
    state = add(skew_zero(k=16), rows[:cut]).merge(add(skew_zero(k=16), rows[cut:]))
    known = [(q, i, v) for _, q, i, v in rows if q and i]
    share, gap = skew_share(state), metric_gap(state)
    if not known:
        assert share.value is None and share.reason
    else:
        assert share.value == pytest.approx(sum(q != i for q, i, _ in known) / len(known))
    same = [v for q, i, v in known if q == i and v == v]
    other = [v for q, i, v in known if q != i and v == v]
    if same and other:
        assert gap.value == pytest.approx(sum(other) / len(other) - sum(same) / len(same), abs=1e-9)
        assert gap.low <= gap.value <= gap.high and gap.n == len(same) + len(other)
    else:
        assert gap.value is None and gap.reason == f"no {'mismatched' if same else 'matched'} pair with a metric"
    assert int(state.sums[:, 2].sum()) == len(rows) - len(known)


def test_the_interval_of_the_gap_covers_where_users_differ():
    """500 worlds, 40 rows a user, users of very different rates: 95 % intervals, and rows as units would not."""
    rng = np.random.default_rng(11)
    covered = narrow = 0
    for _ in range(500):
        rate = rng.beta(1, 4, 200).repeat(40)
        skewed = (rng.random(200) < 0.4).repeat(40)
        clicks = (rng.random(8000) < rate * np.where(skewed, 0.75, 1.0)).astype(float)
        where = np.arange(200).repeat(40) % 128
        gap = metric_gap(skew_update(skew_zero(), where, ["q"] * 8000, np.where(skewed, "old", "q").tolist(), clicks))
        covered += gap.low <= -0.05 <= gap.high
        se = np.sqrt(clicks[skewed].var() / skewed.sum() + clicks[~skewed].var() / (~skewed).sum())
        narrow += abs(gap.value + 0.05) <= 1.96 * se
    assert 0.92 <= covered / 500 <= 0.98
    assert narrow / 500 < 0.8


def test_subtracting_takes_a_day_out_again():
    rows = [(u, "a", "b" if u % 3 else "a", float(u % 2)) for u in range(30)]
    day = add(skew_zero(k=16), rows[:10])
    rest = add(skew_zero(k=16), rows).subtract(day)
    assert metric_gap(rest).value == pytest.approx(metric_gap(add(skew_zero(k=16), rows[10:])).value)


@pytest.mark.parametrize("columns", [
    ([0], ["a", "b"], ["a", "b"], None), ([0, 1], ["a", "b"], ["a"], None), ([0, 1], ["a", "b"], ["a", "b"], [1.0])])
def test_columns_of_unequal_length_are_refused(columns):
    with pytest.raises(DataError, match="unequal"):
        skew_update(skew_zero(), *columns)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(2, 1e9), min_size=1, max_size=50), st.integers(0, 50))
def test_oldest_and_median_age_are_within_a_percent(ages, cut):
    now = 2e9
    made = [now - age for age in ages]
    state = age_update(age_zero(), made[:cut], now).merge(age_update(age_zero(), made[cut:], now))
    assert oldest_s(state).value == pytest.approx(max(ages), rel=0.0101)
    assert age_s(state).value == pytest.approx(sorted(ages)[(len(ages) - 1) // 2], rel=0.0101)
    assert oldest_s(state).n == len(ages) and oldest_s(state).unit == "s"


def test_ages_that_are_not_known():
    state = age_update(age_zero(), [float("nan")] * 3, 100.0)
    assert int(state.missing) == 3 and oldest_s(state).value is None and oldest_s(state).reason
    assert age_s(age_update(age_zero(), [150.0], 100.0)).value == pytest.approx(-50, rel=0.01), "made after now"
    with pytest.raises(DataError, match="now"):
        age_update(age_zero(), [1.0], float("nan"))
