"""Clustered: a ratio of sums whose units of inference are clusters (users), by the delta method."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Sums = NDArray[np.float64]


def ratio(top: Sums, bottom: Sums) -> tuple[float, Sums] | None:
    """``R = sum(S) / sum(N)`` of the clusters' sums, and each one's influence ``(S_g - R N_g) / sum(N)``.

    None where the denominator is 0. Influences of ratios over the same clusters add and subtract: a difference of two
    ratios has the difference of their influences. Source: Deng, Knoblich, Lu, KDD 2018.

    >>> value, influence = ratio(np.array([1.0, 2.0]), np.array([2.0, 2.0]))
    >>> value, influence.tolist(), spread(influence)
    (0.75, [-0.125, 0.125], 0.25)
    """
    total = float(bottom.sum())
    if total == 0:
        return None
    value = float(top.sum()) / total
    return value, (top - value * bottom) / total


def spread(influence: Sums, clusters: int | None = None) -> float | None:
    """The standard error ``sqrt(G / (G - 1) sum influence^2)`` over G clusters; None with fewer than two.

    `clusters` is their number where some of the influences are of clusters without rows.
    """
    g = len(influence) if clusters is None else clusters
    return math.sqrt(g / (g - 1) * float(influence @ influence)) if g > 1 else None
