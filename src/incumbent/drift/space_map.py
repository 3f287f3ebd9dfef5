"""A picture of an embedding space as data: its clusters along the baseline's two leading principal directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from incumbent.drift.clusters import cluster_changes
from incumbent.stats.vectors import Vectors


@dataclass(frozen=True)
class MapPoint:
    """One centroid: its place, its share of both windows, its part of the change of mix, and its words."""

    cluster: int
    x: float
    y: float
    reference: float
    current: float
    part: float
    words: str


@dataclass(frozen=True)
class SpaceMap:
    """The points, and which share of the baseline's variance each of the two axes carries."""

    points: tuple[MapPoint, ...]
    x_variance: float
    y_variance: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: what the chart takes."""
        return asdict(self)


def space_map(
    current: Vectors, reference: Vectors, words: Mapping[int, Sequence[str]] | None = None
) -> SpaceMap:
    """Every centroid at ``(m . v1, m . v2)``, v the principal directions of the baseline, about its center.

    A frozen, linear picture: the same in every window, and what lies together in it may lie apart in other directions
    (the axes say how much they carry). `DataError` where a side has no vectors, `StateError` for different frames.

    >>> rows = np.random.default_rng(0).normal(size=(1000, 4)) * [9, 3, 1, 1]
    >>> state = Vectors.fit(rows, seed=1, centroids=4).update(rows)
    >>> made = space_map(state, state, {0: ["hat", "scarf"]})
    >>> len(made.points), 0.8 < made.x_variance < 0.95, sorted({point.words for point in made.points})
    (4, True, ['', 'hat, scarf'])
    """
    changes = cluster_changes(current, reference)
    frame = current.frame
    axes = frame.basis[:2].astype(np.float64)
    places = np.zeros((len(frame.centroids), 2))
    places[:, :len(axes)] = frame.centroids.astype(np.float64) @ axes.T
    total = float(frame.variances.sum()) + frame.tail_variance * (frame.dimension - len(frame.basis))
    shares = [float(frame.variances[i] / total) if i < len(axes) else 0.0 for i in (0, 1)]
    points = tuple(MapPoint(change.cluster, float(places[change.cluster, 0]), float(places[change.cluster, 1]),
                            change.reference, change.current, change.part,
                            ", ".join((words or {}).get(change.cluster, ()))) for change in changes)
    return SpaceMap(points, *shares)
