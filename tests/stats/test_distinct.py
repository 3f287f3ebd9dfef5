"""The distinct-count sketch against a set, over its whole range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError, StateError
from incumbent.stats.distinct import Distinct

IDS = st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=50)


@settings(deadline=None, max_examples=50)
@given(IDS, IDS)
def test_a_union_is_a_union(first, second):
    zero = Distinct.zero(p=8)
    a, b = zero.update(first), zero.update(second)
    assert a.merge(b) == zero.update(first + second)
    assert (a.merge(a).registers == a.registers).all() and int(a.merge(a).n) == 2 * int(a.n)
    assert int(a.missing) == first.count(None)


@pytest.mark.parametrize("size", [1, 10, 300, 3000, 15_000])
def test_the_error_is_the_one_stated(size):
    """Twenty disjoint sets of every size: mean error within its own error, spread within a half of 1.04 / sqrt(m)."""
    errors = []
    for seed in range(20):
        found = Distinct.zero(p=10).update([f"{seed}/{i}" for i in range(size)] * 2).count()
        errors.append(found.value / size - 1)
        assert found.se == pytest.approx(1.04 / 32 * found.value)
    spread = 1.04 / 32
    assert abs(np.mean(errors)) < 3 * spread / np.sqrt(20)
    assert np.std(errors) < 1.6 * spread


def test_it_cannot_subtract_and_says_so():
    a = Distinct.zero().update(["a"])
    with pytest.raises(StateError, match="cannot subtract"):
        a.subtract(a)
    assert Distinct.zero().update([None]).count().reason == "all 1 ids are missing"
    assert Distinct.zero().count().reason == "no ids"


@pytest.mark.parametrize("call", [
    lambda: Distinct.zero(p=3), lambda: Distinct.zero(p=True), lambda: Distinct.zero(q=4),
    lambda: Distinct.zero().update("abc"), lambda: Distinct.zero().update([1])])
def test_refusals(call):
    with pytest.raises(DataError):
        call()
