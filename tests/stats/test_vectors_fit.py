"""The frozen frame: fitted from a sample, plain, hashed, rotated with its space."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import ortho_group

from incumbent.errors import DataError
from incumbent.stats import vectors_kmeans
from incumbent.stats.vectors import Vectors
from incumbent.stats.vectors_config import GRID, VectorsConfig
from incumbent.stats.vectors_fit import fit
from incumbent.stats.vectors_kmeans import kmeans

RNG = np.random.default_rng(3)
SCALES = np.array([9.0, 5.0, 3.0] + [0.5] * 9)
ROWS = (RNG.normal(size=(3000, 12)) * SCALES + 1).astype(np.float32)
FRAME = fit(ROWS, seed=1, centroids=8, directions=3)


def test_the_frame_knows_the_sample():
    covariance = np.cov(ROWS.T.astype(np.float64))
    assert np.allclose(FRAME.center, ROWS.mean(axis=0, dtype=np.float64), atol=1e-6)
    assert np.allclose(np.abs(FRAME.basis), np.eye(12)[:3], atol=0.1)
    assert np.allclose(FRAME.variances, np.sort(np.linalg.eigvalsh(covariance))[::-1][:3], rtol=1e-5)
    assert FRAME.tail_variance == pytest.approx(0.25, rel=0.05)
    assert np.allclose(np.linalg.norm(FRAME.random, axis=1), 1, atol=1e-6)
    distances = np.linalg.norm(ROWS[:1500].astype(float) - ROWS[1500:], axis=1)
    assert FRAME.bandwidths == [FRAME.bandwidth, FRAME.bandwidth / 2]
    assert FRAME.bandwidth == pytest.approx(np.median(distances), rel=0.05)


def test_cells_hold_equal_shares_of_the_sample():
    state = Vectors.zero(**FRAME.plain).update(ROWS)
    inner = state.bins[:, 2:-2] / 3000
    assert np.abs(inner - 1 / 32).max() < 0.008  # a grid of 1,024 cells is that coarse
    assert (state.bins[:, [0, -1]] <= 8).all(), "beyond the quantiles 0.001 and 0.999"


def test_the_plain_form_is_json_and_makes_the_one_object():
    plain = json.loads(json.dumps(FRAME.plain))
    assert VectorsConfig.of(plain) is VectorsConfig.of(FRAME.plain)
    assert VectorsConfig.of(plain).hash == FRAME.hash
    assert fit(ROWS, seed=1, centroids=8, directions=3).hash == FRAME.hash
    assert fit(ROWS, seed=2, centroids=8, directions=3).hash != FRAME.hash


@pytest.mark.parametrize(("change", "message"), [
    ({"octaves": 0}, "octaves"), ({"dimension": 5}, "reshape"), ({"repeat_cells": 100}, "power of two"),
    ({"center": "AAA"}, "padding"), ({"bandwidth": -1.0}, "above 0"), ({"seed": -1}, "whole number"),
    ({"principal": 9}, "reshape|disagree"), ({"center": "AADAfw=="}, "finite"), ({"edges": ""}, "edges"),
])
def test_a_spoiled_frame_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        VectorsConfig.of({**FRAME.plain, **change})


def test_unknown_and_missing_settings_are_refused():
    with pytest.raises(DataError, match=r"not the configuration.*colour"):
        Vectors.zero(**FRAME.plain, colour="red")
    with pytest.raises(DataError, match="not the configuration"):
        Vectors.zero()


def test_a_baseline_smaller_than_its_state_is_refused():
    with pytest.raises(DataError, match=r"too small for its state\. Got '100 sound vectors'\. Expected 256 or more"):
        Vectors.fit(ROWS[:100], seed=1)
    with pytest.raises(DataError, match="does not vary"):
        Vectors.fit(np.tile(ROWS[:1], (500, 1)), seed=1)
    with pytest.raises(DataError, match=r"does not vary.*more than half"):
        Vectors.fit(np.vstack([np.tile(ROWS[:1], (500, 1)), ROWS[:50]]), seed=1)
    with pytest.raises(DataError, match="2 or more dimensions"):
        Vectors.fit(ROWS[:, :1], seed=1)
    with pytest.raises(DataError, match="2 or more dimensions"):
        Vectors.fit([], seed=1)


def test_defects_of_the_sample_are_left_out():
    bad = [np.full((20, 12), value) for value in (0.0, np.nan, np.inf, 1.0)]
    spoiled = np.vstack([ROWS, *bad])
    frame = fit(spoiled, seed=1, centroids=8, directions=3)
    assert frame.rows == 3000 and np.array_equal(frame.center, FRAME.center)


def test_of_a_long_sample_any_row_may_be_taken():
    rows = np.arange(1, 4001)[:, None] * np.array([1.0, 2.0, -1.0]) + RNG.normal(size=(4000, 3))
    frame = fit(rows, seed=1, centroids=4, max_rows=1000)
    assert frame.rows == 1000
    assert frame.center[0] == pytest.approx(2000, abs=4 * 1155 / np.sqrt(1000))


def test_degenerate_directions_do_no_harm():
    """Fewer rows than dimensions, and dimensions that are always 0."""
    rows = np.zeros((300, 400), dtype=np.float32)
    rows[:, :5] = RNG.normal(size=(300, 5))
    state = Vectors.fit(rows, seed=1)
    whole = state.update(rows)
    assert (whole.bins.sum(axis=1) == 300).all() and np.isfinite(whole.principal[0]).all()


def test_a_rotated_frame_counts_a_rotated_space_alike():
    turn = ortho_group.rvs(12, random_state=4)
    old = Vectors.zero(**FRAME.plain).update(ROWS)
    new = Vectors.zero(**FRAME.rotated(turn).plain).update(ROWS.astype(np.float64) @ turn.T)
    assert np.abs(old.cells - new.cells).sum() <= 4, "float32 rounding moves a row or two over an edge"
    assert np.abs(old.bins - new.bins).sum() <= 2e-3 * old.bins.sum()
    assert np.abs(old.features() - new.features()).max() < 1e-4
    assert old.config_hash != new.config_hash
    with pytest.raises(DataError, match="orthogonal"):
        FRAME.rotated(2 * turn)
    with pytest.raises(DataError, match="orthogonal"):
        FRAME.rotated(np.eye(3))


def test_edges_are_places_on_the_grid():
    assert set(FRAME.edges[:, 0]) == {0} and set(FRAME.edges[:, -1]) == {GRID}
    assert np.allclose(FRAME.edge_values[:, -1] - FRAME.edge_values[:, 0], FRAME.steps * GRID)


# -------------------------------------------------------------------------------------------------------- k-means
def test_kmeans_finds_separate_clusters():
    middles = RNG.normal(size=(6, 4)) * 50
    rows = (middles[RNG.integers(0, 6, 900)] + RNG.normal(size=(900, 4))).astype(np.float32)
    found = kmeans(rows, 6, np.random.default_rng(1))
    gaps = np.linalg.norm(found[:, None] - middles, axis=2)
    assert sorted(gaps.argmin(axis=1).tolist()) == list(range(6)) and gaps.min(axis=1).max() < 0.5


def test_kmeans_is_a_fixed_point_of_lloyd():
    rows = RNG.normal(size=(400, 3)).astype(np.float32)
    found = kmeans(rows, 5, np.random.default_rng(2), iterations=500)
    labels = ((rows[:, None] - found) ** 2).sum(axis=2).argmin(axis=1)
    assert np.allclose([rows[labels == k].mean(axis=0) for k in range(5)], found, atol=1e-5)


def test_few_rounds_of_kmeans_from_a_start_in_a_part_are_as_near_to_rows_not_seen():
    middles = RNG.normal(size=(12, 24)) * 1.5
    rows, fresh = ((middles[RNG.integers(0, 12, 4000)] + RNG.normal(size=(4000, 24))).astype(np.float32)
                   for _ in range(2))

    def apart(centroids: np.ndarray) -> float:
        return float(((fresh[:, None] - centroids) ** 2).sum(axis=2).min(axis=1).mean())

    few, many = (apart(kmeans(rows, 40, np.random.default_rng(3), iterations=rounds)) for rounds in (5, 60))
    alone = apart(middles.astype(np.float32))
    assert few < 1.01 * many and many < alone


def test_kmeans_takes_rows_in_blocks(monkeypatch):
    rows = RNG.normal(size=(500, 6)).astype(np.float32)
    whole = kmeans(rows, 7, np.random.default_rng(2))
    monkeypatch.setattr(vectors_kmeans, "_BLOCK", 7 * 64)
    assert np.allclose(kmeans(rows, 7, np.random.default_rng(2)), whole, atol=1e-5)


def test_kmeans_of_few_distinct_rows_and_of_too_few():
    rows = np.repeat(np.eye(3, dtype=np.float32), 10, axis=0)
    assert np.isfinite(kmeans(rows, 5, np.random.default_rng(1))).all()
    with pytest.raises(DataError, match="more centroids than rows"):
        kmeans(rows, 31, np.random.default_rng(1))
