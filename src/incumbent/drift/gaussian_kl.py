"""The Kullback-Leibler divergence of two Gaussians."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from incumbent.drift.comparable import frame_of
from incumbent.drift.gaussian import gaussian, shift
from incumbent.stats.vectors import Vectors


def gaussian_kl(current: Vectors, reference: Vectors, *, prior: float | None = None) -> float:
    """``KL(current || reference) = (tr(B^-1 A) - d + D' B^-1 D + ln det B - ln det A) / 2``, in nats.

    A and B are the shrunk covariances (`drift.gaussian`), D the difference of the means. Sees spread as well as shifts.
    Without drift it is about ``d (d + 3) / 4 (1/n + 1/N)``, d at most the number of leading directions: judge
    it against windows of the same size. Source: S. Kullback, Information Theory and Statistics (1959), chapter 9.

    >>> rows = np.random.default_rng(0).normal(size=(4000, 3))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> round(gaussian_kl(zero.update(2 * rows), zero.update(rows), prior=0), 3)  # 3 (4 - 1 - ln 4) / 2
    2.421
    """
    frame_of(current, reference, least=2 if prior == 0 else 1)
    a, b = gaussian(current, prior=prior), gaussian(reference, prior=prior)
    solved = linalg.solve_triangular(b.factor, a.factor, lower=True, check_finite=False)
    d = a.rest + len(a.inside)
    trace = float(np.einsum("ij,ij->", solved, solved)) + (a.rest * a.tail / b.tail if a.rest else 0.0)
    return 0.5 * (trace - d + b.distance2(shift(current, reference)) + b.log_det() - a.log_det())
