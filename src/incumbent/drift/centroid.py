"""Distances of two mean vectors: cosine, Euclidean, Mahalanobis, Hotelling's T2, the largest shift of a coordinate."""

from __future__ import annotations

import math

import numpy as np

from incumbent.drift.comparable import frame_of, noise
from incumbent.drift.gaussian import Array, gaussian, pooled, shift
from incumbent.stats.vectors import Vectors


def cosine(current: Vectors, reference: Vectors) -> float:
    """One minus the cosine of the two means, ``1 - a . b / (|a| |b|)``, in [0, 2]; 1 where a mean is 0.

    Blind to spread, to clusters and to shifts that cancel: for display beside the others, and not an alarm by itself.

    >>> zero = Vectors.fit(np.random.default_rng(0).normal(size=(500, 4)) + 1, seed=1, centroids=4)
    >>> a, b = zero.update([[1.0, 0, 0, 0]] * 9), zero.update([[0, 2.0, 0, 0]] * 9)
    >>> round(cosine(a, b), 6), round(cosine(a, a), 6)
    (1.0, 0.0)
    """
    frame_of(current, reference)
    a, b = current.mean(), reference.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return max(1 - float(a @ b) / size, 0.0) if size > 0 else 1.0


def euclidean(current: Vectors, reference: Vectors) -> float:
    """How far the mean went, ``|D|``, in the unit of the vectors; without drift about ``sqrt(tr B (1/n + 1/N))``.

    >>> zero = Vectors.fit(np.random.default_rng(0).normal(size=(500, 4)), seed=1, centroids=4)
    >>> euclidean(zero.update([[1.0, 0, 0, 0]] * 9), zero.update([[0, 0, 0, 1.0], [0, 0, 0, -1.0]]))
    1.0
    """
    frame_of(current, reference)
    return float(np.linalg.norm(current.mean() - reference.mean()))


def mahalanobis(current: Vectors, reference: Vectors, *, prior: float | None = None) -> float:
    """How far the mean went in standard deviations of the reference, ``sqrt(D' B^-1 D)``.

    D is the difference of the means, B the reference's covariance, shrunk (`drift.gaussian`). Without drift its square
    is about ``d (1/n + 1/N)``, so compare windows of equal size, or take `hotelling`.

    >>> rows = np.random.default_rng(0).normal(size=(2000, 4))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> round(mahalanobis(zero.update(rows + [0.5, 0, 0, 0]), zero.update(rows)), 2)
    0.5
    """
    frame_of(current, reference)
    return math.sqrt(gaussian(reference, prior=prior).distance2(shift(current, reference)))


def hotelling(current: Vectors, reference: Vectors, *, prior: float | None = None) -> float:
    """Hotelling's two-sample ``T2 = D' S^-1 D / (1/n + 1/N)``, S the covariance within both, shrunk.

    The sizes of both sides are in it: without drift it is about d whatever they are (chi-squared with d degrees of
    freedom as both grow). Source: H. Hotelling, Ann. Math. Stat. 2 (1931).

    >>> rng = np.random.default_rng(0)
    >>> zero = Vectors.fit(rng.normal(size=(2000, 4)), seed=1, centroids=4)
    >>> base = zero.update(rng.normal(size=(5000, 4)))
    >>> hotelling(zero.update(rng.normal(size=(500, 4))), base) < 15 < hotelling(zero.update(rng.normal(size=(500, 4)) + .2), base)
    True
    """  # noqa: E501
    frame_of(current, reference)
    return pooled(current, reference, prior=prior).distance2(shift(current, reference)) / noise(current, reference)


def largest_shift(current: Vectors, reference: Vectors) -> float:
    """The largest shift of one coordinate in its standard errors, ``max |D_i| / sqrt(s_i^2 (1/n + 1/N))``.

    D is the difference of the means, s_i^2 the variance of coordinate i within both. `hotelling` spreads its power over
    all d directions and misses what moves one of them; this sees nothing else. A coordinate that never varies is taken
    to vary by a millionth of the one that varies most.

    >>> rows = np.random.default_rng(0).normal(size=(2000, 4))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> round(largest_shift(zero.update(rows + [0, 0, 0.5, 0]), zero.update(rows)))  # 0.5 / sqrt(2 / 2000)
    16
    """
    frame_of(current, reference)
    n, m = int(current.n), int(reference.n)
    within = (current.squares() + reference.squares()) / max(n + m - 2, 1)
    spread = np.sqrt(np.maximum(within, max(1e-12 * float(within.max()), 1e-300)) * noise(current, reference))
    return float(np.max(np.abs(current.mean() - reference.mean()) / spread))


def along_directions(current: Vectors, reference: Vectors, *, prior: float | None = None) -> Array:
    """The shift along each leading direction in its standard errors, shape (k,): what `hotelling` is made of."""
    frame_of(current, reference)
    spread = np.sqrt(pooled(current, reference, prior=prior).inside.diagonal() * noise(current, reference))
    moved: Array = shift(current, reference).inside / spread
    return moved
