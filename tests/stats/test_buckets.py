"""Buckets: user-clustered variances against textbook recomputation and simulation."""

from __future__ import annotations

import hashlib
import math
import statistics
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError, StateError
from incumbent.events.ids import user_bucket
from incumbent.stats.buckets import Buckets, bucket_of

ROWS = st.lists(st.tuples(st.integers(0, 7), st.integers(-1000, 1000)), max_size=60)


def of(rows, k=8):
    where, values = [r[0] for r in rows], [float(r[1]) for r in rows]
    return Buckets.zero(k=k).update(np.array(where, int), values)


class TestBucketOf:
    @settings(deadline=None, max_examples=100)
    @given(st.text(max_size=20), st.sampled_from([2, 16, 128, 1000]))
    def test_it_is_the_lakes_bucket(self, user, k):
        want = int.from_bytes(hashlib.blake2b(user.encode(), digest_size=8).digest(), "big") % k
        assert bucket_of([user], k).tolist() == [want] == [user_bucket(user, k)]

    def test_it_is_the_same_in_another_process(self):
        code = "from incumbent.stats.buckets import bucket_of; print(bucket_of(['a', 'b', 'ü'], 64).tolist())"
        runs = {subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True,
                               text=True, check=True).stdout for seed in ("1", "2")}
        assert runs == {f"{bucket_of(['a', 'b', 'ü'], 64).tolist()}\n"}

    def test_users_spread_evenly(self):
        counts = np.bincount(bucket_of([f"user-{i}" for i in range(64_000)], 64), minlength=64)
        assert ((counts - 1000) ** 2 / 1000).sum() < 120  # chi2(63) passes 120 once in 50,000 times

    def test_numpy_and_empty_input(self):
        assert bucket_of(np.array(["u42", "u7"]), 16).tolist() == bucket_of(["u42", "u7"], 16).tolist()
        assert bucket_of([], 16).tolist() == []


class TestAgainstTextbook:
    @settings(deadline=None, max_examples=60)
    @given(ROWS)
    def test_the_mean_of_rows_and_its_clustered_error(self, rows):
        estimate = of(rows).ratio("x")
        if not rows:
            assert estimate.reason == "no rows"
            return
        mean = sum(v for _, v in rows) / len(rows)
        rest = [sum(v - mean for b, v in rows if b == j) for j in range(8)]
        assert estimate.value == pytest.approx(mean) and estimate.n == len(rows)
        if len({b for b, _ in rows}) > 1:
            assert estimate.se == pytest.approx(math.sqrt(8 / 7 * sum(r * r for r in rest)) / len(rows), abs=1e-9)
        else:
            assert estimate.se is None and estimate.high == math.inf

    def test_jackknife_by_leaving_out(self):
        rows = [(0, 3), (1, 5), (1, 1), (2, 8), (3, 2), (5, 2)]
        used = sorted({b for b, _ in rows})
        without = [statistics.fmean(v for b, v in rows if b != j) for j in used]
        se = math.sqrt(len(used) - 1) * statistics.pstdev(without)
        estimate = of(rows).jackknife("x")
        assert (estimate.value, estimate.se) == (pytest.approx(21 / 6), pytest.approx(se))

    def test_delta_and_jackknife_agree_on_many_users(self):
        rng = np.random.default_rng(1)
        users = rng.integers(0, 5000, 40_000)
        state = Buckets.zero(k=256, variables=["a", "b"]).update(
            users % 256, np.stack([rng.exponential(size=40_000), rng.integers(1, 4, 40_000)], axis=1))
        assert state.ratio("a", "b").se == pytest.approx(state.jackknife("a", "b").se, rel=0.02)

    def test_total(self):
        estimate = of([(0, 3), (1, 5), (1, 1)], k=2).total("x")
        assert (estimate.value, estimate.se) == (9.0, pytest.approx(math.sqrt(2 * statistics.variance([3, 6]))))
        assert of([(0, 3), (1, 5), (1, 1)], k=2).total().value == 3.0


def test_users_are_the_unit():
    """Rows of a user go together: the interval by user buckets covers, that of independent rows does not."""
    rng = np.random.default_rng(12)
    by_user = by_row = 0
    for _ in range(300):
        users = np.repeat(np.arange(600), rng.geometric(0.1, 600))
        taste = rng.normal(size=600)
        values = 1.0 + taste[users] + rng.normal(size=len(users)) * 0.5
        estimate = Buckets.zero(k=128).update(users % 128, values).ratio("x")
        by_user += estimate.low <= 1.0 <= estimate.high
        half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
        by_row += abs(values.mean() - 1.0) <= half
    print(f"coverage of 95 % intervals: user buckets {by_user / 300:.3f}, independent rows {by_row / 300:.3f}")
    assert 0.915 <= by_user / 300 <= 0.98 and by_row / 300 < 0.6


def test_days_add_and_windows_subtract():
    rng = np.random.default_rng(2)
    days = [[(int(b), int(v)) for b, v in zip(rng.integers(0, 8, 50), rng.integers(0, 100, 50), strict=True)]
            for _ in range(4)]
    week = of([row for day in days for row in day])
    added = of(days[0])
    for day in days[1:]:
        added = added.merge(of(day))
    assert added == week  # whole numbers: to the bit
    assert week.subtract(of(days[0])).subtract(of(days[1])) == of(days[2] + days[3])


def test_missing_values_are_counted_and_left_out():
    state = Buckets.zero(k=4, variables=["a", "b"]).update([0, 1, 2], [[1, 1], [math.nan, 1], [1, math.inf]])
    assert (int(state.rows.sum()), int(state.missing)) == (1, 2)
    gone = Buckets.zero(k=4).update([0], [math.nan])
    assert gone.ratio("x").reason == gone.total("x").reason == gone.jackknife("x").reason == "all 1 rows are missing"


def test_denominators_of_zero():
    state = Buckets.zero(k=4, variables=["a", "b"]).update([0, 1], [[1, 0], [2, 0]])
    assert state.ratio("a", "b").reason == state.jackknife("a", "b").reason == "the denominator is 0"
    one_sided = Buckets.zero(k=4, variables=["a", "b"]).update([0, 1], [[1, 0], [2, 1]])
    assert one_sided.ratio("a", "b").value == 3.0
    assert one_sided.jackknife("a", "b").reason == "the denominator is 0"  # without bucket 1


@pytest.mark.parametrize("call", [
    lambda: Buckets.zero(k=1), lambda: Buckets.zero(k=2.0), lambda: Buckets.zero(k=True), lambda: Buckets.zero(z=1),
    lambda: of([(8, 1)]), lambda: of([(-1, 1)]),
    lambda: Buckets.zero(k=4).update([0.0, 1.0], [1, 2]), lambda: Buckets.zero(k=4).update([0], [1, 2]),
    lambda: of([(1, 1)]).ratio("y")])
def test_refusals(call):
    with pytest.raises(DataError):
        call()


def test_subtracting_what_is_no_part():
    with pytest.raises(StateError, match="no part"):
        of([(0, 1)]).subtract(of([(1, 1)]))
