"""Drift of the lengths of vectors: what nothing that normalises can see."""

from __future__ import annotations

from incumbent.drift import divergence
from incumbent.drift.comparable import frame_of
from incumbent.stats.vectors import Vectors


def norms_js(current: Vectors, reference: Vectors, *, corrected: bool = True) -> float:
    """`divergence.js` of the histograms of |x|, corrected for ``1/n + 1/N`` unless told otherwise.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(4000, 64))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> norms_js(zero.update(rows * 1.03), zero.update(rows)) > 0.01
    True
    """
    frame_of(current, reference)
    return divergence.js(current.norms, reference.norms, corrected=corrected)
