"""Statistics of means and covariances against SciPy over the rows; the oracle sees no state."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, stats

from incumbent.drift.centroid import along_directions, cosine, hotelling, mahalanobis
from incumbent.drift.discriminant import discriminant_direction, separability
from incumbent.drift.frechet import frechet
from incumbent.drift.gaussian import gaussian
from incumbent.drift.gaussian_kl import gaussian_kl
from incumbent.drift.reconstruction import reconstruction
from incumbent.errors import DataError, StateError
from incumbent.stats.vectors import Vectors

RNG = np.random.default_rng(5)
D, K = 10, 4
MIX = RNG.normal(size=(D, D)) * np.linspace(3, 0.3, D)
BASE = (RNG.normal(size=(2500, D)) @ MIX + 1).astype(np.float32)
MOVED = (RNG.normal(size=(800, D)) @ (MIX + 0.1 * RNG.normal(size=(D, D))) + 1.2).astype(np.float32)


def states(directions: int, a: np.ndarray = MOVED, b: np.ndarray = BASE, **settings) -> tuple[Vectors, Vectors]:
    zero = Vectors.fit(BASE, seed=1, centroids=8, directions=directions, principal=3, **settings)
    return zero.update(a), zero.update(b)


def moments(rows: np.ndarray, frame, prior: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and the covariance as documented, in full: spiked along the basis, one variance outside, shrunk."""
    wide, n = rows.astype(np.float64), len(rows)
    covariance = np.atleast_2d(np.cov(wide.T)) if n > 1 else np.zeros((D, D))
    basis = frame.basis.astype(np.float64)
    inside = basis @ covariance @ basis.T
    rest = D - len(basis)
    tail = (np.trace(covariance) - np.trace(inside)) / rest if rest else 0.0
    weight = prior / (n - 1 + prior) if n > 1 else 1.0
    inside = (1 - weight) * inside + weight * np.diag(frame.variances)
    tail = (1 - weight) * tail + weight * frame.tail_variance
    full = basis.T @ inside @ basis + tail * (np.eye(D) - basis.T @ basis)
    return wide.mean(axis=0), full


@pytest.fixture(params=[(D, 0.0), (D, 10.0), (K, 0.0), (K, 4.0)], scope="module",
                ids=["full", "full shrunk", "spiked", "spiked shrunk"])
def case(request):
    directions, prior = request.param
    current, reference = states(directions)
    (ma, a), (mb, b) = (moments(rows, current.frame, prior) for rows in (MOVED, BASE))
    return current, reference, prior, ma, a, mb, b


def test_frechet_is_that_of_the_full_matrices(case):
    current, reference, prior, ma, a, mb, b = case
    root = linalg.sqrtm(linalg.sqrtm(b) @ a @ linalg.sqrtm(b)).real
    want = ((ma - mb) ** 2).sum() + np.trace(a + b - 2 * root)
    assert frechet(current, reference, prior=prior) == pytest.approx(want, rel=1e-5)
    assert frechet(current, reference, prior=prior) == pytest.approx(frechet(reference, current, prior=prior), rel=1e-8)
    assert frechet(reference, reference, prior=prior) == pytest.approx(0, abs=1e-9)


def test_kl_is_that_of_the_full_matrices(case):
    current, reference, prior, ma, a, mb, b = case
    inverse = np.linalg.inv(b)
    want = 0.5 * (np.trace(inverse @ a) - D + (mb - ma) @ inverse @ (mb - ma)
                  + np.linalg.slogdet(b)[1] - np.linalg.slogdet(a)[1])
    assert gaussian_kl(current, reference, prior=prior) == pytest.approx(want, rel=1e-5)
    assert gaussian_kl(reference, reference, prior=prior) == pytest.approx(0, abs=1e-9)


def test_kl_is_the_mean_log_ratio_of_the_densities():
    """Against draws: the definition rather than the formula."""
    current, reference = states(D)
    (ma, a), (mb, b) = (moments(rows, current.frame, 0.0) for rows in (MOVED, BASE))
    rows = stats.multivariate_normal(ma, a).rvs(40_000, random_state=1)
    ratio = stats.multivariate_normal(ma, a).logpdf(rows) - stats.multivariate_normal(mb, b).logpdf(rows)
    assert gaussian_kl(current, reference, prior=0) == pytest.approx(ratio.mean(), abs=4 * ratio.std() / 200)


def test_distances_of_means(case):
    current, reference, prior, ma, a, mb, b = case
    shift = ma - mb
    assert mahalanobis(current, reference, prior=prior) == pytest.approx(
        np.sqrt(shift @ np.linalg.inv(b) @ shift), rel=1e-5)
    within = (799 * a + 2499 * b) / 3298
    want = shift @ np.linalg.inv(within) @ shift * (800 * 2500 / 3300)
    assert hotelling(current, reference, prior=prior) == pytest.approx(want, rel=1e-5)
    assert cosine(current, reference) == pytest.approx(1 - ma @ mb / np.sqrt((ma @ ma) * (mb @ mb)), rel=1e-6)
    basis = current.frame.basis
    spread = np.sqrt((basis @ within @ basis.T).diagonal() * (1 / 800 + 1 / 2500))
    assert np.allclose(along_directions(current, reference, prior=prior), basis @ shift / spread, rtol=1e-4)


def test_the_discriminant_is_fishers(case):
    current, reference, prior, ma, a, mb, b = case
    direction = np.linalg.solve((799 * a + 2499 * b) / 3298, ma - mb)
    found = discriminant_direction(current, reference, prior=prior)
    assert np.allclose(found, direction / np.linalg.norm(direction), atol=1e-5)


def test_separability_is_the_area_that_the_discriminant_reaches():
    """On Gaussian rows of one covariance, scored along the direction, by counting pairs."""
    rng = np.random.default_rng(8)
    shift = np.zeros(D)
    shift[2] = 1.5
    a, b = (rng.normal(size=(4000, D)) @ MIX + shift, rng.normal(size=(4000, D)) @ MIX)
    current, reference = states(D, a.astype(np.float32), b.astype(np.float32))
    scores = np.concatenate([a, b]) @ discriminant_direction(current, reference)
    ranks = stats.rankdata(scores)[:4000]
    area = (ranks.sum() - 4000 * 4001 / 2) / 4000**2
    assert separability(current, reference, corrected=False) == pytest.approx(area, abs=0.015)


def test_hotelling_has_its_distribution_whatever_the_sizes():
    """The mean of T2 over windows without drift is d: (1/n + 1/N) stands in it."""
    rng = np.random.default_rng(9)
    zero = Vectors.fit(BASE, seed=1, centroids=4)
    for n, m in ((200, 2000), (1000, 300)):
        values = [hotelling(*(zero.update(rng.normal(size=(k, D)) @ MIX) for k in (n, m)), prior=0) for _ in range(40)]
        assert np.mean(values) == pytest.approx(D, abs=4 * np.sqrt(2 * D / 40))


def test_separability_without_drift_is_a_half():
    rng = np.random.default_rng(10)
    zero = Vectors.fit(BASE, seed=1, centroids=4)
    base = zero.update(BASE)
    found = [separability(zero.update(rng.normal(size=(100, D)) @ MIX + 1), base) for _ in range(20)]
    raw = [separability(zero.update(rng.normal(size=(100, D)) @ MIX + 1), base, corrected=False) for _ in range(20)]
    assert np.mean(found) < 0.54 < 0.57 < np.mean(raw)


def test_reconstruction_is_the_error_of_rebuilt_rows():
    for directions in (3, K, D):
        current, reference = states(directions)
        basis = current.frame.basis[:3].astype(np.float64)
        middle = BASE.astype(np.float64).mean(axis=0)
        errors = []
        for rows in (MOVED, BASE):
            z = rows.astype(np.float64) - middle
            errors.append(((z - z @ basis.T @ basis) ** 2).sum(axis=1).mean())
        assert reconstruction(current, reference) == pytest.approx(np.log(errors[0] / errors[1]), abs=1e-5)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_fewer_rows_than_dimensions_are_shrunk_and_not_refused(n):
    current, reference = states(D, MOVED[:n])
    for statistic in (frechet, gaussian_kl, mahalanobis, hotelling, separability):
        assert np.isfinite(statistic(current, reference)), statistic
    assert np.all(np.linalg.eigvalsh(gaussian(current).inside) > 0)


def test_without_shrinkage_a_singular_covariance_is_said():
    current, reference = states(D, MOVED[:5])
    with pytest.raises(DataError, match="covariance is singular"):
        gaussian_kl(current, reference, prior=0)


def test_states_that_do_not_compare():
    current, reference = states(D)
    other, _ = states(K)
    empty = current.subtract(current)
    with pytest.raises(StateError, match="different configurations do not compare"):
        frechet(other, reference)
    with pytest.raises(DataError, match=r"current state has too few sound vectors to compare\. Got 0"):
        frechet(empty, reference)
    with pytest.raises(DataError, match=r"reference state.*Hint: 2 defective"):
        hotelling(current, empty.update(np.zeros((2, D))))
