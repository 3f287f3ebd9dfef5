"""The Fréchet distance of two Gaussians, the square of the 2-Wasserstein distance between them."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from incumbent.drift.comparable import frame_of
from incumbent.drift.gaussian import gaussian, shift
from incumbent.stats.vectors import Vectors


def frechet(current: Vectors, reference: Vectors, *, prior: float | None = None) -> float:
    """``|D|^2 + tr(A + B - 2 (B^1/2 A B^1/2)^1/2)``, D the difference of the means, A and B the shrunk covariances.

    In squared units of the embedding. The trace of the root is the sum of the square roots of the eigenvalues of
    ``L' A L``, B = L L'. Without drift it grows with ``1/n + 1/N``: judge it against windows of the same size.
    Sources: D. C. Dowson, B. V. Landau, J. Multivar. Anal. 12 (1982); Heusel et al., NeurIPS 2017 (FID).

    >>> rows = np.random.default_rng(0).normal(size=(4000, 3))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> round(frechet(zero.update(2 * rows), zero.update(rows)), 1)  # (2 - 1)^2 in each of three directions
    3.0
    """
    frame_of(current, reference)
    a, b, moved = gaussian(current, prior=prior), gaussian(reference, prior=prior), shift(current, reference)
    middle = b.factor.T @ a.inside @ b.factor
    roots = np.sqrt(np.maximum(linalg.eigvalsh(middle, check_finite=False), 0.0))
    inside = float(a.inside.trace() + b.inside.trace() - 2 * roots.sum())
    outside = a.rest * float(np.sqrt(a.tail) - np.sqrt(b.tail)) ** 2
    return float(moved.whole @ moved.whole) + max(inside, 0.0) + outside
