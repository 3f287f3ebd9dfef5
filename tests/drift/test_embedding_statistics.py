"""Statistics of Fourier sums, cells and counts against plain computations over the rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from incumbent.drift.centroid import largest_shift
from incumbent.drift.clusters import cluster_changes, clusters_js, clusters_kl, clusters_psi
from incumbent.drift.defects import defect_scores, defects, repeats, zeroed
from incumbent.drift.embedding import STATISTICS, scores
from incumbent.drift.mmd import mmd2, mmd2_by_bandwidth
from incumbent.drift.norms import norms_js
from incumbent.drift.projections import (
    projections_js,
    projections_kl,
    projections_psi,
    sliced_wasserstein,
    wasserstein_by_projection,
)
from incumbent.errors import DataError
from incumbent.stats.vectors import Vectors

RNG = np.random.default_rng(12)
BASE = RNG.normal(size=(3000, 8)).astype(np.float32)
MOVED = (RNG.normal(size=(1000, 8)) * 1.1 + [0.4, 0, 0, 0, 0, 0, 0, -0.2]).astype(np.float32)
ZERO = Vectors.fit(BASE, seed=2, centroids=12, frequencies=2048, octaves=3)
CURRENT, REFERENCE = ZERO.update(MOVED), ZERO.update(BASE)


# ------------------------------------------------------------------------------------------------------------ MMD
def kernel_mmd2(a: np.ndarray, b: np.ndarray, bandwidth: float) -> float:
    """The unbiased squared discrepancy by its definition, over all pairs of rows."""
    within = []
    for rows in (a, b):
        kernel = np.exp(-cdist(rows, rows, "sqeuclidean") / (2 * bandwidth**2))
        within.append((kernel.sum() - len(rows)) / (len(rows) * (len(rows) - 1)))
    return sum(within) - 2 * np.exp(-cdist(a, b, "sqeuclidean") / (2 * bandwidth**2)).mean()


def test_mmd_is_that_of_the_kernel():
    found = mmd2_by_bandwidth(CURRENT, REFERENCE)
    for bandwidth, value in zip(ZERO.frame.bandwidths, found, strict=True):
        want = kernel_mmd2(MOVED.astype(float), BASE.astype(float), bandwidth)
        assert value == pytest.approx(want, rel=0.15, abs=2e-4), bandwidth
    assert mmd2(CURRENT, REFERENCE) == pytest.approx(found.mean())


def test_mmd_is_exact_for_the_kernel_of_its_frequencies():
    a, b = MOVED[:40].astype(np.float64), BASE[:60].astype(np.float64)
    frequencies = ZERO.frame.frequencies.astype(np.float64)

    def kernel(x, y):
        return np.cos((x[:, None] - y) @ frequencies.T).mean(axis=2)
    own = [(kernel(x, x).sum() - len(x)) / (len(x) * (len(x) - 1)) for x in (a, b)]
    want = sum(own) - 2 * kernel(a, b).mean()
    assert mmd2_by_bandwidth(ZERO.update(MOVED[:40]), ZERO.update(BASE[:60]))[0] == pytest.approx(want, abs=2e-6)


def test_mmd_without_drift_is_0_on_average_whatever_the_sizes():
    rng = np.random.default_rng(3)
    zero = Vectors.fit(BASE, seed=2, centroids=4, frequencies=64)
    for n, m in ((50, 1000), (400, 100)):
        values = [mmd2(zero.update(rng.normal(size=(n, 8))), zero.update(rng.normal(size=(m, 8)))) for _ in range(40)]
        assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(40)


# ---------------------------------------------------------------------------------------------------- projections
def test_wasserstein_is_that_of_the_rows():
    frame = ZERO.frame
    directions = frame.directions.astype(np.float64)
    found = wasserstein_by_projection(CURRENT, REFERENCE)
    for p, direction in enumerate(directions):
        a, b = MOVED @ direction, BASE @ direction
        span = frame.edge_values[p, -2] - frame.edge_values[p, 1]
        want = stats.wasserstein_distance(a, b) / span
        assert found[p] == pytest.approx(want, abs=0.004), p
    assert sliced_wasserstein(CURRENT, REFERENCE) == pytest.approx(found.mean())
    assert sliced_wasserstein(CURRENT, REFERENCE, which="principal") == pytest.approx(found[:8].mean())
    assert sliced_wasserstein(CURRENT, REFERENCE, which="random") == pytest.approx(found[8:].mean())


def test_wasserstein_of_binned_rows_by_integration():
    """The same integral by brute force on a fine grid of the interpolated distribution functions."""
    frame = ZERO.frame
    for p in (0, 5, 12):
        edges = frame.edge_values[p]
        grid = np.linspace(edges[0], edges[-1], 400_001)
        curves = [np.interp(grid, edges, np.r_[0, np.cumsum(state.bins[p])] / int(state.n))
                  for state in (CURRENT, REFERENCE)]
        want = np.trapezoid(np.abs(curves[0] - curves[1]), grid) / (edges[-2] - edges[1])
        assert wasserstein_by_projection(CURRENT, REFERENCE)[p] == pytest.approx(want, rel=1e-4, abs=1e-4)


def divergences(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """KL, JS and PSI of two tables of counts, cell by cell."""
    p, q = [(x + 0.5) / (x + 0.5).sum() for x in (a, b)]
    kl = sum(x * np.log(x / y) for x, y in zip(p, q, strict=True))
    psi = sum((x - y) * np.log(x / y) for x, y in zip(p, q, strict=True))
    r, s = a / a.sum(), b / b.sum()
    js = stats.entropy((r + s) / 2) - (stats.entropy(r) + stats.entropy(s)) / 2
    return kl, js, psi


def test_divergences_of_projections_and_clusters():
    values = [(rows.astype(np.float64) - ZERO.frame.center) @ ZERO.frame.directions.astype(np.float64).T
              for rows in (MOVED, BASE)]
    tables = []
    for p, edges in enumerate(ZERO.frame.edge_values):
        inner = [-np.inf, *edges[1:-1], np.inf]
        tables.append(divergences(*(np.histogram(v[:, p], inner)[0] for v in values)))
    for statistic, want in zip((projections_kl, projections_js, projections_psi), np.mean(tables, axis=0), strict=True):
        assert statistic(CURRENT, REFERENCE, corrected=False) == pytest.approx(want, rel=2e-2)
    centroids = ZERO.frame.centroids + ZERO.frame.center
    counts = [np.bincount(cdist(rows, centroids).argmin(axis=1), minlength=12) for rows in (MOVED, BASE)]
    for statistic, want in zip((clusters_kl, clusters_js, clusters_psi), divergences(*counts), strict=True):
        assert statistic(CURRENT, REFERENCE, corrected=False) == pytest.approx(want, rel=1e-9)


def test_the_clusters_that_moved_are_named():
    rng = np.random.default_rng(4)
    extra = ZERO.frame.centroids[7] + ZERO.frame.center + rng.normal(size=(300, 8)) / 100
    changes = cluster_changes(REFERENCE.merge(ZERO.update(extra)), REFERENCE)
    assert changes[0].cluster == 7 and changes[0].part > 0.8
    assert sum(change.part for change in changes) == pytest.approx(1)
    assert sum(change.current for change in changes) == pytest.approx(1)
    assert changes[0].current - changes[0].reference == pytest.approx(300 / 3300 * (1 - changes[0].reference), abs=1e-9)
    assert [change.part for change in cluster_changes(REFERENCE, REFERENCE)] == [0.0] * 12


# ------------------------------------------------------------------------------------------------ norms and defects
def test_norms_see_scale_alone():
    scaled = ZERO.update(BASE * np.float32(1.05))
    assert norms_js(scaled, REFERENCE) > 10 * abs(norms_js(ZERO.update(RNG.normal(size=(3000, 8))), REFERENCE))
    assert norms_js(REFERENCE, REFERENCE, corrected=False) == 0


def test_defect_scores_are_those_of_two_shares():
    rows = np.array(MOVED)
    rows[:30], rows[30:35, 2] = 0, np.nan
    current, reference = ZERO.update(rows), ZERO.update(np.vstack([BASE, np.zeros((20, 8))]))
    found = defect_scores(current, reference)
    table = np.array([[30, 970], [20, 3000]])
    assert found["zero"] == pytest.approx(np.sqrt(stats.chi2_contingency(table, correction=False).statistic))
    assert found["infinite"] == found["constant"] == 0.0
    assert defects(current, reference) == max(found.values())
    assert defects(ZERO.update(BASE), reference) == 0.0, "fewer defects are no alarm"
    with pytest.raises(DataError, match="without vectors"):
        defects(ZERO, reference)
    assert defects(ZERO.update(np.zeros((5, 8))), reference) > 10


def test_repeats_see_a_default_vector():
    rows = np.array(BASE)
    rows[:60] = rows[0]  # 2 %
    assert repeats(ZERO.update(rows), REFERENCE) == pytest.approx(60 * 59 / (3000 * 2999), rel=0.2)
    assert repeats(ZERO, REFERENCE) <= 0


def test_the_largest_shift_is_the_largest_t_of_a_coordinate():
    a, b = (np.random.default_rng(i).normal(1, 3, size=(n, 8)).astype(np.float32) for i, n in ((5, 200), (6, 900)))
    for more in (0, 2):
        a[:, 3] += more
        t = np.abs(stats.ttest_ind(a.astype(float), b.astype(float)).statistic)
        assert largest_shift(ZERO.update(a), ZERO.update(b)) == pytest.approx(t.max(), rel=1e-6)
    a[:, 5], b[:, 5] = 0.0, 0.0  # what never varies is no infinity
    assert largest_shift(ZERO.update(a[:1]), ZERO.update(b)) < 10


def test_a_lost_feature_is_seen_in_one_row_of_a_hundred():
    rows = np.random.default_rng(9).normal(size=(1000, 8)).astype(np.float32)
    assert zeroed(ZERO.update(rows), REFERENCE) == 0
    rows[:10, 5] = 0
    both = 10 / (8 * (1000 + int(REFERENCE.n)))
    z = 10 / 8000 / np.sqrt(both * (1 - both) * (1 / 8000 + 1 / (8 * int(REFERENCE.n))))
    assert zeroed(ZERO.update(rows), REFERENCE) == pytest.approx(z) and z > 4
    with pytest.raises(DataError):
        zeroed(ZERO, REFERENCE)


# ------------------------------------------------------------------------------------------------------- together
def test_every_statistic_is_finite_and_least_where_nothing_changed():
    still, moved = scores(REFERENCE, REFERENCE), scores(CURRENT, REFERENCE)
    assert list(still) == list(STATISTICS) and all(isinstance(value, float) for value in moved.values())
    assert all(np.isfinite(value) for value in moved.values())
    assert [name for name in still if moved[name] < still[name]] == []


FAULTS = {
    "mean": (lambda rows, rng: rows + np.float32(0.1), {"hotelling", "gaussian_kl", "mmd2", "sliced_wasserstein"}),
    "spread": (lambda rows, rng: rows * rng.choice([0.7, 1.22], size=(len(rows), 1)), {"norms_js"}),
    "cluster": (lambda rows, rng: np.where(rng.random((len(rows), 1)) < 0.02, rng.normal(size=(1, 8)) * 0.1 + 3, rows),
                {"frechet", "gaussian_kl"}),
    "zeros": (lambda rows, rng: np.where(rng.random((len(rows), 1)) < 0.02, 0.0, rows), {"defects"}),
    "default": (lambda rows, rng: np.where(rng.random((len(rows), 1)) < 0.05, rows[:1], rows), {"repeats"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_seen_beyond_all_windows_without_it(fault):
    make, by = FAULTS[fault]
    rng = np.random.default_rng(21)
    zero = Vectors.fit(BASE, seed=2, centroids=32)
    reference = zero.update(rng.normal(size=(10_000, 8)))
    null = [scores(zero.update(rng.normal(size=(1000, 8))), reference) for _ in range(20)]
    seen = scores(zero.update(make(rng.normal(size=(1000, 8)), rng)), reference)
    for name in by:
        values = [row[name] for row in null]
        assert seen[name] > np.mean(values) + 4 * np.std(values) + 1e-12, name
