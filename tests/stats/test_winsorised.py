"""Winsorised sums against plain Python, and that a few baskets no longer carry the mean."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError, StateError
from incumbent.stats.buckets import Buckets
from incumbent.stats.winsorised import Winsorised

rows = st.lists(st.tuples(st.integers(0, 3), st.floats(-50, 50), st.integers(1, 3)), min_size=1, max_size=30)


@given(rows, st.floats(0.5, 40))
@settings(deadline=None, max_examples=50)
def test_sums_and_what_was_cut_equal_the_definition(made, cap):
    state = Winsorised.zero(k=4, variables=["x", "n"], cap=cap).update([b for b, *_ in made], [r[1:] for r in made])
    kept = [max(-cap, min(x, cap)) for _, x, _ in made]
    assert state.ratio("x", "n").value == pytest.approx(sum(kept) / sum(n for *_, n in made), abs=1e-9)
    assert int(state.over) == sum(abs(x) > cap for _, x, _ in made)
    assert float(state.cut) == pytest.approx(sum(abs(x) - cap for _, x, _ in made if abs(x) > cap), abs=1e-9)
    half = Winsorised.zero(k=4, variables=["x", "n"], cap=cap).update([made[0][0]], [made[0][1:]])
    rest = state.subtract(half)
    assert rest.merge(half).ratio("x", "n").value == pytest.approx(state.ratio("x", "n").value, abs=1e-9)


def test_without_a_cap_it_is_buckets_and_says_so():
    rng = np.random.default_rng(3)
    buckets, values = rng.integers(0, 16, 200), rng.lognormal(size=200)
    plain = Buckets.zero(k=16, variables=["x"]).update(buckets, values).ratio("x")
    made = Winsorised.zero(k=16, variables=["x"]).update(buckets, values).ratio("x")
    assert (made.value, made.low, made.high) == (plain.value, plain.low, plain.high) and "no cap yet" in made.method


def test_a_capped_mean_of_heavy_tails_covers_its_own_mean():
    rng, cap, hits = np.random.default_rng(11), 20.0, 0
    big = np.minimum(rng.pareto(1.2, 2_000_000), cap).mean()
    for _ in range(200):
        values = rng.pareto(1.2, 1000)
        found = Winsorised.zero(k=100, variables=["x"], cap=cap).update(np.arange(1000) % 100, values).ratio("x")
        hits += found.low <= big <= found.high
    assert 180 <= hits <= 199


def test_missing_values_are_missing_and_not_cut():
    state = Winsorised.zero(k=2, variables=["x"], cap=1.0).update([0, 1, 1], [np.inf, np.nan, 5.0])
    assert int(state.missing) == 2 and int(state.over) == 1 and float(state.cut) == 4.0


def test_bad_caps_and_caps_that_differ_are_refused():
    for cap in (0, -1.0, float("inf"), float("nan"), True, "5"):
        with pytest.raises(DataError, match="cap must be above 0"):
            Winsorised.zero(cap=cap)
    with pytest.raises(StateError, match="different configurations"):
        Winsorised.zero(cap=1.0).merge(Winsorised.zero(cap=2.0))
