"""ItemTable: items with their vectors, words and counts, as an explanation needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from incumbent.errors import DataError
from incumbent.stats.pairs import sound
from incumbent.stats.vectors import Vectors
from incumbent.stats.vectors_config import VectorsConfig
from incumbent.stats.vectors_read import blocks

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ItemTable:
    """m items: titles, latest vectors (m, d), attributes (category, brand: one value or None per item), prices (m,).

    `reference` and `current` (m,) are how often each item came in the two windows; both or neither. A price that is not
    finite and an attribute that is None or empty are missing, which is a value of its own. `DataError` for columns of
    unequal length and counts below 0.
    """

    titles: Sequence[str]
    vectors: Any
    attributes: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    prices: ArrayLike | None = None
    reference: ArrayLike | None = None
    current: ArrayLike | None = None

    def __post_init__(self) -> None:
        m = len(self.titles)
        columns: dict[str, Any] = {**self.attributes, "prices": self.prices, "reference": self.reference,
                                   "current": self.current, "vectors": self.vectors}
        for name, column in columns.items():
            if column is not None and len(column) != m:
                raise DataError("columns of unequal length", got=len(column), expected=f"{m}, as titles", field=name)
        if (self.reference is None) != (self.current is None):
            raise DataError("counts of one window alone", expected="reference and current, or neither")
        for name in ("reference", "current"):
            counts = columns[name]
            if counts is not None and not (np.asarray(counts, dtype=np.float64) >= 0).all():
                raise DataError("counts must not be negative", field=name)

    @property
    def counted(self) -> bool:
        """Whether it is known how often each item came."""
        return self.reference is not None

    def clusters(self, frame: VectorsConfig) -> NDArray[np.int64]:
        """The nearest centroid of every item, -1 where its vector is not sound or all zero."""
        return self._near(frame)[0]

    def distances(self, frame: VectorsConfig) -> Array:
        """Every item's distance from its nearest centroid, infinite where it has none."""
        return self._near(frame)[1]

    def _near(self, frame: VectorsConfig) -> tuple[NDArray[np.int64], Array]:
        if frame.hash not in self._found:
            parts = [_nearest(block, frame) for block in blocks(self.vectors, frame.dimension, frame.block)]
            self._found[frame.hash] = (np.concatenate([part[0] for part in parts] or [np.zeros(0, np.int64)]),
                                       np.concatenate([part[1] for part in parts] or [np.zeros(0)]))
        return self._found[frame.hash]

    @cached_property
    def _found(self) -> dict[str, tuple[NDArray[np.int64], Array]]:
        return {}

    def weights(self, state: Vectors, side: str) -> tuple[Array, float]:
        """How often each item came, and how often vectors came that are of no item here.

        The counts where the table has them (`side` is ``reference`` or ``current``); otherwise implied by the clusters:
        a cluster's vectors dealt evenly over its items, those of clusters without items left over.
        """
        if self.counted:
            return np.asarray(getattr(self, side), dtype=np.float64), 0.0
        clusters = self.clusters(state.frame)
        here = clusters >= 0
        items = np.bincount(clusters[here], minlength=len(state.cells))
        each = np.divide(state.cells, items, out=np.zeros(len(items)), where=items > 0)
        return np.where(here, each[clusters], 0.0), float(state.cells[items == 0].sum())


def _nearest(block: NDArray[np.float32], frame: VectorsConfig) -> tuple[NDArray[np.int64], Array]:
    good = sound(block) & block.any(axis=1)
    y = np.where(good[:, None], block, 0.0).astype(np.float64) - frame.center
    points = frame.centroids.astype(np.float64)
    near = (points**2).sum(axis=1) - 2 * y @ points.T
    clusters = near.argmin(axis=1)
    squares = near[np.arange(len(y)), clusters] + (y**2).sum(axis=1)
    return np.where(good, clusters, -1), np.where(good, np.sqrt(np.maximum(squares, 0.0)), np.inf)
