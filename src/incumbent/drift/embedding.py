"""Every statistic of embedding drift by name: ``f(current, reference) -> float``, larger means further apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from incumbent.drift.centroid import cosine, hotelling, largest_shift, mahalanobis
from incumbent.drift.clusters import clusters_js, clusters_kl, clusters_psi
from incumbent.drift.defects import defects, repeats, zeroed
from incumbent.drift.discriminant import separability
from incumbent.drift.frechet import frechet
from incumbent.drift.gaussian_kl import gaussian_kl
from incumbent.drift.largest_root import largest_root
from incumbent.drift.mmd import mmd2
from incumbent.drift.norms import norms_js
from incumbent.drift.projections import projections_js, projections_kl, projections_psi, sliced_wasserstein
from incumbent.drift.reconstruction import reconstruction
from incumbent.stats.vectors import Vectors

#: name -> statistic, all pure functions of two states of one frame
STATISTICS: Mapping[str, Callable[[Vectors, Vectors], float]] = MappingProxyType({
    "cosine": cosine, "mahalanobis": mahalanobis, "hotelling": hotelling, "largest_shift": largest_shift,
    "frechet": frechet, "gaussian_kl": gaussian_kl, "largest_root": largest_root, "separability": separability,
    "reconstruction": reconstruction, "mmd2": mmd2, "sliced_wasserstein": sliced_wasserstein,
    "projections_js": projections_js, "projections_kl": projections_kl,
    "projections_psi": projections_psi, "clusters_js": clusters_js, "clusters_kl": clusters_kl,
    "clusters_psi": clusters_psi, "norms_js": norms_js, "defects": defects, "repeats": repeats, "zeroed": zeroed,
})


def scores(current: Vectors, reference: Vectors) -> dict[str, float]:
    """All statistics of one pair of states: the row that a null of windows standardises.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(1000, 4))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> same = scores(zero.update(rows), zero.update(rows))
    >>> len(same), max(same.values()) < 1e-6 or max(same, key=same.get)
    (21, 'separability')
    """
    return {name: statistic(current, reference) for name, statistic in STATISTICS.items()}
