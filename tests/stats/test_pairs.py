"""The state of paired vectors against plain sums over the pairs, however they are dealt and cut."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError, StateError
from incumbent.stats.pairs import Pairs, paired_blocks

RNG = np.random.default_rng(5)
OLD = (RNG.normal(size=(700, 6)) + 1).astype(np.float32)
NEW = (OLD @ RNG.normal(size=(6, 6)) + 0.3 * RNG.normal(size=(700, 6))).astype(np.float32)
ZERO = Pairs.zero(dimension=6, old_version="v1", new_version="v2")
WHOLE = ZERO.update(OLD, NEW)


def by_hand(old: np.ndarray, new: np.ndarray) -> dict[str, np.ndarray]:
    """Every array of the state, one pair after the other."""
    out = {"n": 0, "old": np.zeros(6), "new": np.zeros(6), "cross": np.zeros((6, 6)), "squares": np.zeros(2)}
    for x, z in zip(old.astype(np.float64), new.astype(np.float64), strict=True):
        out["n"] += 1
        out["old"], out["new"] = out["old"] + x, out["new"] + z
        out["cross"] = out["cross"] + np.outer(x, z)
        out["squares"] = out["squares"] + [x @ x, z @ z]
    return out


def same(state: Pairs, old: np.ndarray, new: np.ndarray) -> None:
    """Within 1e-9 of the sum of magnitudes of what plain sums give."""
    want, sizes = by_hand(old, new), by_hand(np.abs(old), np.abs(new))
    for key, value in want.items():
        assert (np.abs(getattr(state, key) - value) <= 1e-9 * sizes[key]).all(), key


def test_sums_are_those_of_the_pairs():
    same(WHOLE, OLD, NEW)
    assert int(WHOLE.missing) == 0 and WHOLE.dimension == 6


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 700), max_size=6), st.randoms(use_true_random=False))
def test_however_the_pairs_are_dealt(cuts, random):
    order = np.array(random.sample(range(700), 700))
    parts = [ZERO.update(OLD[part], NEW[part]) for part in np.split(order, sorted(cuts))]
    random.shuffle(parts)
    merged = reduce(lambda a, b: a.merge(b), parts)
    same(merged, OLD, NEW)
    assert int(merged.subtract(parts[0]).n) == 700 - int(parts[0].n)


def test_subtracting_gives_the_others():
    part = ZERO.update(OLD[:300], NEW[:300])
    same(WHOLE.subtract(part), OLD[300:], NEW[300:])
    assert WHOLE.subtract(WHOLE) == ZERO
    with pytest.raises(StateError, match="no part"):
        part.subtract(WHOLE)


def test_centred_moments_are_those_about_the_means():
    x, z = OLD.astype(np.float64), NEW.astype(np.float64)
    x, z = x - x.mean(axis=0), z - z.mean(axis=0)
    cross, a, b = WHOLE.moments(centred=True)
    assert np.allclose(cross, x.T @ z, rtol=1e-9, atol=1e-6)
    assert a == pytest.approx((x**2).sum()) and b == pytest.approx((z**2).sum())
    assert WHOLE.moments(centred=False)[0] is WHOLE.cross


def test_pairs_with_a_number_that_is_none_are_left_out_and_counted():
    old, new = OLD.copy(), NEW.copy()
    old[3, 2], new[9, 0], new[10] = np.nan, np.inf, 1e30
    old[20] = 0  # a default vector is a value
    state = ZERO.update(old, new)
    keep = np.ones(700, dtype=bool)
    keep[[3, 9, 10]] = False
    same(state, old[keep], new[keep])
    assert int(state.missing) == 3
    assert ZERO.update(old[3:4], new[3:4]).estimates()["product"].reason == "none of 1 pairs is sound"


def test_sides_may_be_cut_differently():
    chunks = pa.chunked_array([pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), 6)
                               for part in np.array_split(OLD, 7)])
    same(ZERO.update(chunks, NEW.astype(np.float64)), OLD, NEW)
    sizes = [(len(a), len(b)) for a, b in paired_blocks(chunks, NEW, 6, rows=64)]
    assert all(a == b <= 64 for a, b in sizes) and sum(a for a, _ in sizes) == 700


def test_more_rows_than_a_block_and_rows_that_end_on_one():
    old, new = np.tile(OLD, (6, 1))[:4096], np.tile(NEW, (6, 1))[:4096]
    state = ZERO.update(old, new)
    assert int(state.n) == 4096 and np.allclose(state.cross, old.astype(float).T @ new.astype(float))


@pytest.mark.parametrize(("old", "new", "what"), [
    (OLD[:5], NEW[:4], "not paired"), (OLD[:4], NEW[:5], "not paired"), (OLD[:0], NEW[:1], "not paired"),
    (OLD[:3], NEW[:3, :5], "wrong dimension"), (OLD[:3, :2], NEW[:3], "wrong dimension"), ("x", NEW, "not vectors")])
def test_bad_input_is_one_clear_error(old, new, what):
    with pytest.raises(DataError, match=what):
        ZERO.update(old, new)


def test_other_versions_and_dimensions_do_not_add():
    for other in (Pairs.zero(dimension=6, old_version="v2", new_version="v3"), Pairs.zero(dimension=5)):
        with pytest.raises(StateError):
            ZERO.merge(other)
    for settings_ in ({}, {"dimension": 0}, {"dimension": 2.0}, {"dimension": 3, "old_version": 1},
                      {"dimension": 3, "rows": 4}):
        with pytest.raises(DataError):
            Pairs.zero(**settings_)
