"""The linear discriminant: the best linear classifier of current against reference in closed form; its direction."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from incumbent.drift.comparable import frame_of, noise
from incumbent.drift.gaussian import Array, pooled, shift
from incumbent.stats.vectors import Vectors


def discriminant_direction(current: Vectors, reference: Vectors, *, prior: float | None = None) -> Array:
    """Fisher's direction ``S^-1 D`` at unit length, shape (d,): the side on which it is positive is the current one.

    S is the shrunk covariance within both, D the difference of the means; zeros where the means are equal. Rank items
    by their product with it to say what the drift is towards. Source: R. A. Fisher, Ann. Eugen. 7 (1936).

    >>> rows = np.random.default_rng(0).normal(size=(2000, 3))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> (discriminant_direction(zero.update(rows + [1, 0, 0]), zero.update(rows)).round(1) + 0.0).tolist()
    [1.0, 0.0, 0.0]
    """
    frame = frame_of(current, reference)
    within, moved = pooled(current, reference, prior=prior), shift(current, reference)
    basis = frame.basis.astype(np.float64)
    direction = within.solve(moved) @ basis
    if within.rest:
        direction = direction + (moved.whole - moved.inside @ basis) / within.tail
    size = float(np.linalg.norm(direction))
    found: Array = direction / size if size > 0 else direction
    return found


def separability(
    current: Vectors, reference: Vectors, *, prior: float | None = None, corrected: bool = True
) -> float:
    """The area under the ROC curve that the linear discriminant would reach, ``Phi(M / sqrt 2)``, in [0.5, 1].

    M is the Mahalanobis distance of the means. `corrected` takes away what M2 is without drift, ``d (1/n + 1/N)``: the
    area on rows that were not fitted to, 0.5 when there is no drift, with no training and no rows.
    Source: T. W. Anderson, An Introduction to Multivariate Statistical Analysis (2003), section 6.6.

    >>> rows = np.random.default_rng(0).normal(size=(2000, 3))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> round(separability(zero.update(rows + [1, 0, 0]), zero.update(rows)), 2)
    0.76
    """
    frame = frame_of(current, reference)
    distance2 = pooled(current, reference, prior=prior).distance2(shift(current, reference))
    if corrected:
        distance2 = max(distance2 - frame.dimension * noise(current, reference), 0.0)
    return float(ndtr(math.sqrt(distance2 / 2)))
