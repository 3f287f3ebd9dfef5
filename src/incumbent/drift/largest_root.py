"""Roy's largest root: the direction in which the current covariance exceeds the reference's most."""

from __future__ import annotations

import math

from scipy import linalg

from incumbent.drift.comparable import frame_of
from incumbent.drift.gaussian import gaussian
from incumbent.stats.vectors import Vectors


def largest_root(current: Vectors, reference: Vectors, *, prior: float | None = None) -> float:
    """``ln`` of the largest eigenvalue of ``B^-1 A``, A and B the shrunk covariances along the leading directions.

    A few vectors of a new kind stretch one direction, whichever it is: the sharpest of all on a small new cluster.
    Without drift it is about ``2 ln(1 + sqrt(d / n))``. Source: S. N. Roy, Ann. Math. Stat. 24 (1953).

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(4000, 3))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> round(largest_root(zero.update(rows * [1, 2, 1]), zero.update(rows), prior=0), 2)  # ln 4
    1.39
    """
    frame_of(current, reference, least=2 if prior == 0 else 1)
    a, b = gaussian(current, prior=prior), gaussian(reference, prior=prior)
    half = linalg.solve_triangular(b.factor, a.inside, lower=True, check_finite=False)
    whole = linalg.solve_triangular(b.factor, half.T, lower=True, check_finite=False)
    last = len(whole) - 1
    return math.log(float(linalg.eigvalsh(whole, subset_by_index=(last, last), check_finite=False)[0]))
