"""Drift of the mix: counts of the nearest frozen centroid, and which of them moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from incumbent.drift import divergence
from incumbent.drift.comparable import frame_of
from incumbent.stats.vectors import Vectors


def clusters_js(current: Vectors, reference: Vectors, *, corrected: bool = True) -> float:
    """`divergence.js` of the counts per centroid; corrected for ``1/n + 1/N`` unless told otherwise.

    >>> rng = np.random.default_rng(0)
    >>> zero = Vectors.fit(rng.normal(size=(2000, 4)), seed=1, centroids=8)
    >>> base = zero.update(rng.normal(size=(5000, 4)))
    >>> bool(abs(clusters_js(zero.update(rng.normal(size=(500, 4))), base)) < 0.005 < clusters_js(zero.update(rng.normal(size=(500, 4)) + 1), base))
    True
    """  # noqa: E501
    frame_of(current, reference, part="cells")
    return divergence.js(current.cells, reference.cells, corrected=corrected)


def clusters_kl(current: Vectors, reference: Vectors, *, corrected: bool = True) -> float:
    """`divergence.kl` of the counts per centroid."""
    frame_of(current, reference, part="cells")
    return divergence.kl(current.cells, reference.cells, corrected=corrected)


def clusters_psi(current: Vectors, reference: Vectors, *, corrected: bool = True) -> float:
    """`divergence.psi` of the counts per centroid."""
    frame_of(current, reference, part="cells")
    return divergence.psi(current.cells, reference.cells, corrected=corrected)


@dataclass(frozen=True)
class ClusterChange:
    """One centroid: its share of the reference and of the current vectors, and its part of the divergence (sum 1)."""

    cluster: int
    reference: float
    current: float
    part: float


def cluster_changes(current: Vectors, reference: Vectors) -> list[ClusterChange]:
    """Every centroid by how much of the Jensen-Shannon divergence it explains, most first.

    >>> rng = np.random.default_rng(0)
    >>> zero = Vectors.fit(rng.normal(size=(2000, 4)), seed=1, centroids=8)
    >>> base = zero.update(rng.normal(size=(5000, 4)))
    >>> first = cluster_changes(base.merge(zero.update(zero.frame.centroids[3] + rng.normal(size=(500, 4)) / 50)), base)[0]
    >>> first.cluster, first.current > first.reference, first.part > 0.8
    (3, True, True)
    """  # noqa: E501
    frame_of(current, reference, part="cells")
    parts = divergence.js_parts(current.cells, reference.cells)
    total = float(parts.sum())
    return [ClusterChange(int(k), float(reference.cells[k] / reference.n), float(current.cells[k] / current.n),
                          float(parts[k] / total) if total > 0 else 0.0)
            for k in np.argsort(-parts, kind="stable")]
