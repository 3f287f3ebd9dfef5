"""The additive embedding state: against plain NumPy over the rows, however they are dealt."""

from __future__ import annotations

import json
import struct
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError, StateError
from incumbent.stats.vectors import Vectors
from incumbent.stats.vectors_pass import DEFECTS, TURN, UNIT

COUNTS = ("n", "defects", "waves", "cells", "bins", "norms", "repeats", "zeros")
RNG = np.random.default_rng(7)
MIX = RNG.normal(size=(20, 20)).astype(np.float32)


def world(rng: np.random.Generator, rows: int, d: int = 20) -> np.ndarray:
    """Correlated rows with a mean and heavy tails, float32."""
    return (rng.standard_t(5, size=(rows, d)) @ MIX[:d, :d] / 3 + 2).astype(np.float32)


ROWS = world(RNG, 3000)
ZERO = Vectors.fit(world(RNG, 2000), seed=3, centroids=16)
WHOLE = ZERO.update(ROWS)


def same(one: Vectors, two: Vectors, rows: np.ndarray) -> None:
    """Counts to the bit; floating sums within 1e-9 of the sum of magnitudes."""
    for key in COUNTS:
        assert np.array_equal(getattr(one, key), getattr(two, key)), key
    x = np.abs(rows.astype(np.float64))
    assert (np.abs(one.sums - two.sums) <= 1e-9 * x.sum(axis=0)).all()
    assert (np.abs(one.outer - two.outer) <= 1e-9 * (x.T @ x)[np.triu_indices(x.shape[1])]).all()


# ------------------------------------------------------------------------------------------------ against the rows
def test_sums_are_those_of_the_rows():
    wide = ROWS.astype(np.float64)
    assert int(WHOLE.n) == 3000
    assert np.allclose(WHOLE.mean(), wide.mean(axis=0), rtol=1e-12, atol=0)
    assert np.allclose(WHOLE.covariance(), np.cov(wide.T), rtol=1e-10, atol=1e-12)
    size = np.abs(wide).T @ np.abs(wide)
    assert (np.abs(WHOLE.outer - (wide.T @ wide)[np.triu_indices(20)]) <= 1e-12 * size[np.triu_indices(20)]).all()


def test_principal_is_the_covariance_in_the_basis():
    zero = Vectors.fit(ROWS, seed=1, centroids=4, directions=6)
    inside, tail = zero.update(ROWS).principal
    covariance = np.cov(ROWS.astype(np.float64).T)
    basis = zero.frame.basis.astype(np.float64)
    assert np.allclose(inside, basis @ covariance @ basis.T, rtol=1e-9, atol=1e-10)
    assert tail == pytest.approx((np.trace(covariance) - np.trace(basis @ covariance @ basis.T)) / 14, rel=1e-9)


def test_waves_are_the_fourier_sums_of_every_bandwidth():
    frame = ZERO.frame
    y = ROWS.astype(np.float64) - frame.center
    for octave, bandwidth in enumerate(frame.bandwidths):
        phase = y @ (frame.frequencies.astype(np.float64) * frame.bandwidth / bandwidth).T
        for sums, function in zip(WHOLE.waves[octave], (np.cos, np.sin), strict=True):
            off = 2**octave * 2 * np.pi / TURN / np.sqrt(12) * 0.71  # a phase in the middle of its part of a turn
            assert np.abs(sums / UNIT - function(phase).sum(axis=0)).max() < 4.5 * off * np.sqrt(3000)


@pytest.mark.parametrize("octaves", [1, 3, 8])
def test_one_row_has_the_waves_of_its_phase(octaves):
    """At every octave, to half a part of a turn; and however far away the row is."""
    zero = Vectors.fit(world(np.random.default_rng(1), 500), seed=3, centroids=4, frequencies=40, octaves=octaves)
    for far in (1.0, 30.0, -200.0):
        row = (zero.frame.center + far * (ROWS[:1] - zero.frame.center)).astype(np.float32)
        phase = zero.frame.frequencies.astype(np.float64) @ (row[0].astype(np.float64) - zero.frame.center)
        waves = zero.update(row).waves
        for octave in range(octaves):
            half = 2**octave * (np.pi / TURN + 1e-5 * (1 + np.abs(phase))) + 1 / UNIT
            assert (np.abs(waves[octave, 0] / UNIT - np.cos(2**octave * phase)) <= half).all()
            assert (np.abs(waves[octave, 1] / UNIT - np.sin(2**octave * phase)) <= half).all()


def test_features_make_the_kernel():
    """The inner product of the features of two rows is about the Gaussian kernel, at every bandwidth."""
    zero = Vectors.fit(world(np.random.default_rng(1), 1000), seed=3, centroids=4, frequencies=4096, octaves=3)
    a, b = ROWS[:1], ROWS[1:2]
    left, right = zero.update(a).features(), zero.update(b).features()
    distance2 = float(((a.astype(float) - b) ** 2).sum())
    for octave, bandwidth in enumerate(zero.frame.bandwidths):
        kernel = np.exp(-distance2 / (2 * bandwidth**2))
        assert (left[octave] * right[octave]).sum() / 4096 == pytest.approx(kernel, abs=5 / np.sqrt(4096))


def test_cells_are_the_nearest_centroids():
    centroids = ZERO.frame.centroids.astype(np.float64) + ZERO.frame.center
    distances = ((ROWS[:, None, :].astype(np.float64) - centroids) ** 2).sum(axis=2)
    two = np.sort(distances, axis=1)[:, :2]
    assert ((two[:, 1] - two[:, 0]) > 1e-4).all(), "a tie in the test's own data"
    assert WHOLE.cells.tolist() == np.bincount(distances.argmin(axis=1), minlength=16).tolist()


def test_bins_are_histograms_between_the_frozen_edges():
    frame = ZERO.frame
    values = (ROWS.astype(np.float64) - frame.center) @ frame.directions.astype(np.float64).T
    for p, edges in enumerate(frame.edge_values):
        inner = edges[1:-1]
        if (np.abs(values[:, p, None] - inner) < 1e-4 * np.ptp(inner)).any():
            continue  # a row within float32 of an edge may fall to either side
        assert WHOLE.bins[p].tolist() == np.histogram(values[:, p], [-np.inf, *inner, np.inf])[0].tolist()
    assert (WHOLE.bins.sum(axis=1) == 3000).all()


def test_norms_are_a_histogram_of_lengths():
    edges = ZERO.frame.norm_edges
    norms = np.linalg.norm(ROWS.astype(np.float64), axis=1)
    low = np.array([(norms < edge * 0.999).sum() for edge in edges])
    high = np.array([(norms < edge * 1.001).sum() for edge in edges])
    below = WHOLE.norms.cumsum()[:-1]
    assert (low <= below).all() and (below <= high).all() and WHOLE.norms.sum() == 3000


def test_normalised_vectors_share_one_norm_cell():
    unit = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    state = Vectors.fit(unit, seed=1, centroids=4).update(unit)
    assert sorted(state.norms.tolist())[-1] == 3000, "rounding is spread over cells"
    moved = state.subtract(state).update(unit * np.float32(1.03))
    assert moved.norms.argmax() > state.norms.argmax()


# ---------------------------------------------------------------------------------------------------- the algebra
@settings(deadline=None, max_examples=15)
@given(st.data())
def test_however_dealt_the_counts_are_equal_to_the_bit(data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    rows = world(rng, data.draw(st.integers(1, 400)))
    for row in rng.choice(len(rows), min(len(rows) // 5, 20), replace=False):
        rows[row, rng.integers(20)] = rng.choice([np.nan, np.inf, -np.inf, 1e30])
    rows[rng.random(len(rows)) < 0.05] = 0
    cuts = np.sort(rng.integers(0, len(rows) + 1, data.draw(st.integers(0, 6))))
    shards = np.split(rows[rng.permutation(len(rows))], cuts)
    whole = ZERO.update(rows)
    sound = rows[np.abs(rows).max(axis=1) < 1e18]
    same(reduce(lambda a, b: a.merge(b), [ZERO.update(shard) for shard in shards]), whole, sound)
    same(Vectors.total(ZERO.update(shard) for shard in shards), whole, sound)
    same(reduce(lambda state, shard: state.update(shard), shards, ZERO), whole, sound)


@pytest.mark.parametrize("d", [2, 7, 64, 96, 384])
def test_a_row_meets_the_same_arithmetic_wherever_it_stands(d):
    """Cells and Fourier sums of one row do not depend on the rows around it, at any dimension."""
    rng = np.random.default_rng(d)
    rows = rng.normal(size=(1500, d)).astype(np.float32)
    zero = Vectors.fit(rows, seed=1, centroids=32, frequencies=50)
    whole = zero.update(rows)
    cut = int(rng.integers(1, 1500))
    parts = [zero.update(rows[:cut]), zero.update(rows[cut:cut + 1]), zero.update(rows[cut + 1:][::-1])]
    same(Vectors.total(parts), whole, rows)
    alone = [zero.update(rows[i:i + 1]) for i in range(12)]
    same(Vectors.total(alone), zero.update(rows[:12]), rows[:12])


def test_subtracting_a_window_leaves_the_others():
    a, b = ZERO.update(ROWS[:1000]), ZERO.update(ROWS[1000:])
    same(WHOLE.subtract(b), a, ROWS)
    nothing = WHOLE.subtract(WHOLE)
    assert nothing.empty and nothing.to_bytes() == ZERO.to_bytes()
    with pytest.raises(StateError, match="no part"):
        a.subtract(b)


def test_different_frames_do_not_add():
    other = Vectors.fit(world(np.random.default_rng(7), 2000), seed=4, centroids=16)
    with pytest.raises(StateError, match="different configurations"):
        WHOLE.merge(other)
    with pytest.raises(StateError, match="different configurations"):
        Vectors.total([WHOLE, other])
    with pytest.raises(DataError, match="no states"):
        Vectors.total([])


def test_the_size_is_that_of_the_frame():
    """Under 1.5 MB at 384 dimensions with its configuration, the outer products triangular."""
    rng = np.random.default_rng(0)
    zero = Vectors.fit(rng.normal(size=(600, 384)), seed=1)
    assert zero.outer.shape == (384 * 385 // 2,)
    assert len(zero.to_bytes()) < 1_500_000
    assert len(zero.update(rng.normal(size=(300, 384))).to_bytes()) == len(zero.to_bytes())


def test_bytes_carry_the_frame():
    again, twice = Vectors.from_bytes(WHOLE.to_bytes()), Vectors.from_bytes(WHOLE.to_bytes())
    assert again == WHOLE and again.config_hash == WHOLE.config_hash
    assert again.frame is twice.frame  # parsed once
    assert again.merge(WHOLE).n == 6000
    data = WHOLE.to_bytes()
    (length,) = struct.unpack_from("<I", data, 3)
    header = json.loads(data[7:7 + length])
    header["config"]["octaves"] = 0
    text = json.dumps(header).encode()
    with pytest.raises(StateError, match="not a state"):
        Vectors.from_bytes(data[:3] + struct.pack("<I", len(text)) + text + data[7 + length:])


# ------------------------------------------------------------------------------------------------------- defects
def test_defects_are_counted_and_enter_nothing():
    bad = np.array(ROWS[:8])
    bad[0, 3], bad[1, :2], bad[2, 5], bad[3, 0] = np.nan, (np.nan, np.inf), np.inf, -np.inf
    bad[4], bad[5], bad[6], bad[7] = 0, 4.5, 2e18, -3
    state = WHOLE.merge(ZERO.update(bad))
    assert state.defect_counts() == {"nan": 2, "infinite": 3, "zero": 1, "constant": 2}
    assert tuple(state.defect_counts()) == DEFECTS
    for key in ("n", "sums", "outer", "waves", "cells", "bins", "norms", "repeats"):
        assert np.array_equal(getattr(state, key), getattr(WHOLE, key)), key


def test_zeros_are_counted_in_sound_rows_alone_and_an_old_state_has_none():
    rows = np.array(ROWS[:6])
    rows[0, :7], rows[1, 3], rows[2], rows[3, 1], rows[3, 2] = 0, -0.0, 0, np.nan, 0
    state = ZERO.update(rows)
    assert int(state.zeros) == 8 and int(WHOLE.merge(state).subtract(WHOLE).zeros) == 8
    data = state.to_bytes()
    length = struct.unpack("<I", data[3:7])[0]
    header = json.loads(data[7:7 + length])
    header["version"], header["arrays"] = 1, header["arrays"][:-1]
    text = json.dumps(header).encode()
    old = Vectors.from_bytes(data[:3] + struct.pack("<I", len(text)) + text + data[7 + length:-8])
    assert int(old.zeros) == 0 and np.array_equal(old.outer, state.outer)


@pytest.mark.parametrize(("row", "kind"), [
    (np.full(20, 1e-30), "constant"), (np.r_[1e-30, np.zeros(19)], None), (np.r_[np.full(19, 2.0), 2.5], None),
    (np.r_[3.0, np.zeros(18), 3.0], None), (np.full(20, -0.0), "zero"), (np.r_[np.zeros(19), 1e17], None),
    (np.r_[np.zeros(19), 1e39], "infinite"),
])
def test_what_is_a_defect(row, kind):
    state = ZERO.update(row[None, :])
    assert [name for name, count in state.defect_counts().items() if count] == ([kind] if kind else [])
    assert np.isfinite(state.outer).all() and int(state.n) == (kind is None)


def test_only_defects_are_not_empty_but_say_nothing():
    state = ZERO.update(np.full((3, 20), np.nan))
    assert not state.empty and int(state.n) == 0
    assert all(estimate.value is None for estimate in state.estimates().values())
    assert np.isnan(state.mean()).all() and np.isnan(state.covariance()).all() and np.isnan(state.features()).all()


# ------------------------------------------------------------------------------------------------------- repeats
def test_repeats_estimate_the_chance_of_a_pair():
    rng = np.random.default_rng(5)
    rows = world(rng, 4000)
    assert ZERO.update(rows).repeat_share().value < 5 * ZERO.update(rows).repeat_share().se
    rows[:400] = rows[0]  # one default vector makes up a tenth: 1 % of pairs
    pairs = 400 * 399 / (4000 * 3999)
    found = ZERO.update(rows).repeat_share()
    assert found.value == pytest.approx(pairs, abs=4 * found.se)
    assert found.se < 0.1 * pairs
    parts = [ZERO.update(part) for part in np.array_split(rows[rng.permutation(4000)], 7)]
    assert Vectors.total(parts).repeat_share() == found


def test_a_copy_is_a_copy_in_every_coordinate():
    base = ROWS[0].copy()
    nearly = np.stack([base] * 21)
    for i in range(20):
        nearly[i, i] += np.float32(1e-4)
    assert (ZERO.update(nearly).repeats > 0).sum() >= 19  # 21 rows over 4,096 cells
    assert (ZERO.update([base] * 21).repeats > 0).sum() == 1
