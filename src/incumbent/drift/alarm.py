"""The alarm of embeddings: ten statistics, each blind to something that another sees, one calibrated score.

Distances and not their squares (a square of day noise has a heavy tail that would set the threshold for all), and
uncorrected for size, since `null.judge` corrects. Chosen on synthetic worlds; the seeds that evaluate the choice stand
in benchmarks/detectors.py alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from incumbent.drift.centroid import cosine, euclidean, hotelling, largest_shift
from incumbent.drift.clusters import clusters_js
from incumbent.drift.defects import defects, zeroed
from incumbent.drift.gaussian_kl import gaussian_kl
from incumbent.drift.largest_root import largest_root
from incumbent.drift.mmd import mmd
from incumbent.drift.norms import norms_js
from incumbent.drift.null import Measure, Tail
from incumbent.drift.projections import sliced_wasserstein
from incumbent.drift.reconstruction import reconstruction
from incumbent.drift.windowed import WindowDetector
from incumbent.stats.vectors import Vectors

#: statistic -> (a, b): without drift it grows as noise^a where rows are the noise, as noise^b where days are
GROWTH = {"hotelling": (0.0, -0.5), "largest_shift": (0.0, -0.5), "gaussian_kl": (0.5, 0.0),
          "largest_root": (0.5, 0.0), "reconstruction": (0.5, 0.0),
          "sliced_wasserstein": (0.5, 0.0), "clusters": (0.5, 0.0), "norms": (0.5, 0.0), "defects": (0.0, -0.5),
          "zeroed": (0.0, -0.5)}
FLOORS = {"defects": 1.0, "zeroed": 1.0}  # in standard errors already, and 0 in every window of a clean baseline


#: what may be asked for by name: those of the alarm, and three that see less
MEASURES: Mapping[str, Callable[[Vectors, Vectors], float]] = MappingProxyType({
    "hotelling": lambda a, b: math.sqrt(max(hotelling(a, b), 0.0)),
    "largest_shift": largest_shift,
    "gaussian_kl": lambda a, b: math.sqrt(max(gaussian_kl(a, b), 0.0)),
    "largest_root": largest_root,
    "reconstruction": reconstruction,
    "sliced_wasserstein": sliced_wasserstein,
    "clusters": lambda a, b: math.sqrt(max(clusters_js(a, b, corrected=False), 0.0)),
    "norms": lambda a, b: math.sqrt(max(norms_js(a, b, corrected=False), 0.0)),
    "defects": defects, "zeroed": zeroed,
    "euclidean": euclidean, "cosine": lambda a, b: math.sqrt(cosine(a, b)), "mmd": mmd})
MEASURES_GROWTH = MappingProxyType(GROWTH | dict.fromkeys(("euclidean", "cosine", "mmd"), (0.5, 0.0)))
#: what of a frame a statistic needs beside the sums, of those settings of `vectors_fit.fit` that can be left out
_NEEDS = {"hotelling": {"covariance"}, "gaussian_kl": {"covariance"}, "largest_root": {"covariance"},
          "reconstruction": {"covariance", "principal"}, "sliced_wasserstein": {"principal", "random"},
          "clusters": {"centroids"}, "mmd": {"frequencies"}}


def light(statistics: Iterable[str]) -> dict[str, Any]:
    """The settings of `Vectors.fit` for a frame that keeps no more than these statistics need.

    >>> rows = np.random.default_rng(0).normal(size=(1000, 4))
    >>> zero = Vectors.fit(rows, seed=1, **light(["cosine", "largest_shift"]))
    >>> zero.outer.shape, zero.cells.size, zero.waves.size, zero.bins.size
    ((4,), 0, 0, 0)
    """
    needed = {part for name in statistics for part in _NEEDS.get(name, ())}
    return {part: 0 for part in ("frequencies", "centroids", "principal", "random") if part not in needed} | {
        "covariance": "covariance" in needed, "repeat_cells": 0}


def measure(statistics: Iterable[str]) -> Measure:
    """These statistics as what a `WindowDetector` measures."""
    chosen = {name: MEASURES[name] for name in statistics}
    return lambda current, reference: {name: statistic(current, reference) for name, statistic in chosen.items()}


def distances(current: Vectors, reference: Vectors) -> dict[str, float]:
    """The statistics of the alarm: square roots where the statistic is a squared distance.

    >>> rows = np.random.default_rng(0).normal(size=(1000, 4))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> found = distances(zero.update(rows * 2), zero.update(rows))
    >>> sorted(found) == sorted(GROWTH), found["gaussian_kl"] > 1
    (True, True)
    """
    return {name: MEASURES[name](current, reference) for name in GROWTH}


def embedding(*, alpha: float = 0.05, tail: Tail | None = None, **settings: Any) -> WindowDetector:
    """The detector of embedding drift on `Vectors` states: settings are those of `WindowDetector`.

    >>> detector = embedding()
    >>> detector.name, detector.least_windows()
    ('embedding', 19)
    """
    return WindowDetector("embedding", distances, alpha=alpha, tail=tail, growth=GROWTH, floors=FLOORS,
                          example=_example, **settings)


def _example(rng: np.random.Generator, windows: int, drifted: int) -> list[Vectors]:
    """Windows of 200 rows in 6 dimensions with day effects; drift moves the mean by a standard deviation."""
    rows = [rng.normal(size=(200, 6)) + 0.05 * rng.normal(size=6) + (i >= windows - drifted) for i in range(windows)]
    zero = Vectors.fit(rng.normal(size=(400, 6)), seed=1, centroids=8, bins=8, norm_bins=8)
    return [zero.update(some) for some in rows]
