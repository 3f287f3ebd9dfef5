"""The triangle of delayed conversions against a loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError, StateError
from incumbent.stats.delay import Delay

ROW = st.integers(0, 9).flatmap(lambda age: st.tuples(st.just(float(age)), st.one_of(
    st.just(math.nan), st.integers(0, age).map(float))))
ROWS = st.lists(st.one_of(ROW, st.just((math.nan, math.nan))), max_size=50)


@settings(deadline=None, max_examples=60)
@given(ROWS, st.integers(0, 50), st.integers(1, 6))
def test_it_counts_like_a_loop_and_subtracts(rows, cut, ages):
    zero = Delay.zero(ages=ages)
    a, b = (zero.update([r[0] for r in part], [r[1] for r in part]) for part in (rows[:cut], rows[cut:]))
    whole = a.merge(b)
    table, shown = [[0] * (ages + 1) for _ in range(ages + 1)], [0] * (ages + 1)
    for age, late in rows:
        if not math.isnan(age):
            at = int(min(age, ages))
            shown[at] += 1
            if not math.isnan(late) and late <= ages:
                table[at][int(late)] += 1
    assert whole.shown.tolist() == shown and whole.converted.tolist() == table
    assert int(whole.missing) == sum(math.isnan(age) for age, _ in rows)
    assert whole.subtract(b) == a


def test_counts_stand_for_rows():
    zero = Delay.zero(ages=3)
    assert zero.update([3, 3], [1, np.nan], [4, 6]) == zero.update([3] * 10, [1] * 4 + [None] * 6)
    assert zero.estimates()["so_far"].value is None


@pytest.mark.parametrize("call", [
    lambda z: z.update([1], [2]), lambda z: z.update([-1], [None]), lambda z: z.update([0.5], [None]),
    lambda z: z.update([1], [0.5]), lambda z: z.update([1], [0], [-1]), lambda z: z.update([1], [0], [0.5]),
    lambda z: z.update([1], []), lambda z: Delay.zero(ages=0), lambda z: Delay.zero(days=3)])
def test_refusals(call):
    with pytest.raises(DataError):
        call(Delay.zero(ages=3))
    with pytest.raises(StateError, match="no part"):
        Delay.zero().subtract(Delay.zero().update([1], [0]))
