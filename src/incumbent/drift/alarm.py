"""The alarm of embeddings: ten statistics, each blind to something that another sees, one calibrated score.

Distances and not their squares (a square of day noise has a heavy tail that would set the threshold for all), and
uncorrected for size, since `null.judge` corrects. Chosen on synthetic worlds; the seeds that evaluate the choice stand
in benchmarks/detectors.py alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from incumbent.drift.centroid import hotelling, largest_shift
from incumbent.drift.clusters import clusters_js
from incumbent.drift.defects import defects, zeroed
from incumbent.drift.gaussian_kl import gaussian_kl
from incumbent.drift.largest_root import largest_root
from incumbent.drift.norms import norms_js
from incumbent.drift.null import Tail
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


def distances(current: Vectors, reference: Vectors) -> dict[str, float]:
    """The statistics of the alarm: square roots where the statistic is a squared distance.

    >>> rows = np.random.default_rng(0).normal(size=(1000, 4))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> found = distances(zero.update(rows * 2), zero.update(rows))
    >>> sorted(found) == sorted(GROWTH), found["gaussian_kl"] > 1
    (True, True)
    """
    return {
        "hotelling": math.sqrt(max(hotelling(current, reference), 0.0)),
        "largest_shift": largest_shift(current, reference),
        "gaussian_kl": math.sqrt(max(gaussian_kl(current, reference), 0.0)),
        "largest_root": largest_root(current, reference),
        "reconstruction": reconstruction(current, reference),
        "sliced_wasserstein": sliced_wasserstein(current, reference),
        "clusters": math.sqrt(max(clusters_js(current, reference, corrected=False), 0.0)),
        "norms": math.sqrt(max(norms_js(current, reference, corrected=False), 0.0)),
        "defects": defects(current, reference), "zeroed": zeroed(current, reference)}


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
