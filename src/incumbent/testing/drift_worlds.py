"""Seeded worlds of embeddings whose truth is known: windows with and without day effects, and the faults to find.

A world is a mixture of clusters with unit normal noise in every dimension. With `day` above 0 every window has an
effect of its own that belongs to no drift: its mean is moved, its mix is perturbed, its spread is stretched. A null of
rows knows nothing of that; a null of windows does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EmbeddingWorld:
    """Clusters (K, d) with their weights (K,), and how strong the effect of a day is: 0 none, 1 clearly felt.

    At 1 a day moves the mean of every dimension by a normal of 0.03, the logarithm of every cluster's weight by one of
    0.1, and the spread by 1 %: with windows of 2,000 rows about what the rows' own noise amounts to.

    >>> world = EmbeddingWorld.seeded(5, dimension=8, clusters=3)
    >>> rng = np.random.default_rng(1)
    >>> world.window(rng, 4).shape, world.window(rng, 4, "zeros_2").shape
    ((4, 8), (4, 8))
    """

    centers: Array
    weights: Array
    day: float = 0.0

    @classmethod
    def seeded(cls, *seed: int, dimension: int = 64, clusters: int = 20, day: float = 0.0) -> EmbeddingWorld:
        """A world drawn from its seed."""
        rng = np.random.default_rng(seed)
        return cls(rng.normal(size=(clusters, dimension)), rng.dirichlet(np.full(clusters, 5.0)), day)

    @property
    def dimension(self) -> int:
        """Dimensions of a vector."""
        return int(self.centers.shape[1])

    def rows(self, rng: np.random.Generator, n: int) -> Array:
        """n vectors (n, d) of one window, with the effect of its day."""
        weights = self.weights * np.exp(0.1 * self.day * rng.normal(size=len(self.weights)))
        labels = rng.choice(len(weights), n, p=weights / weights.sum())
        made = self.centers[labels] + rng.normal(size=(n, self.dimension))
        moved = 0.03 * self.day * rng.normal(size=self.dimension)
        rows: Array = made * np.exp(0.01 * self.day * rng.normal()) + moved
        return rows

    def window(self, rng: np.random.Generator, n: int, fault: str | None = None) -> Array:
        """One window of n vectors, with a fault of `FAULTS` in it or none."""
        rows = self.rows(rng, n)
        if fault is None:
            return rows
        if fault not in FAULTS:
            raise DataError("no such fault", got=fault, expected=", ".join(FAULTS))
        return FAULTS[fault](self, rng, rows)

    @property
    def spread(self) -> Array:
        """The standard deviation of every dimension, shape (d,)."""
        middle = self.weights @ self.centers
        spread: Array = np.sqrt(1 + self.weights @ (self.centers - middle) ** 2)
        return spread


Fault = Callable[[EmbeddingWorld, np.random.Generator, Array], Array]


def _mean_one(world: EmbeddingWorld, rng: np.random.Generator, rows: Array) -> Array:
    rows[:, rng.integers(world.dimension)] += 0.25
    return rows


def _mean_tenth(world: EmbeddingWorld, rng: np.random.Generator, rows: Array) -> Array:
    some = rng.choice(world.dimension, max(round(world.dimension / 10), 1), replace=False)
    rows[:, some] += 0.1 * world.spread[some]
    return rows


def _scale(world: EmbeddingWorld, rng: np.random.Generator, rows: Array) -> Array:
    some = rng.choice(world.dimension, max(world.dimension // 2, 1), replace=False)
    middle = (world.weights @ world.centers)[some]
    rows[:, some] = middle + 1.06 * (rows[:, some] - middle)
    return rows


def _cluster(share: float, known: bool) -> Fault:
    """Replace a share of the rows by those of one cluster: the world's first, or one that it never had."""

    def change(world: EmbeddingWorld, rng: np.random.Generator, rows: Array) -> Array:
        center = world.centers[0] if known else rng.normal(size=world.dimension)
        some = rng.choice(len(rows), round(share * len(rows)), replace=False)
        rows[some] = center + rng.normal(size=(len(some), world.dimension))
        return rows

    return change


def _zeros(world: EmbeddingWorld, rng: np.random.Generator, rows: Array) -> Array:
    rows[rng.choice(len(rows), round(0.02 * len(rows)), replace=False)] = 0
    return rows


def _rotated(world: EmbeddingWorld, rng: np.random.Generator, rows: Array) -> Array:
    turned: Array = rows @ np.linalg.qr(rng.normal(size=(world.dimension, world.dimension)))[0]
    return turned


#: name -> what it does to the rows of a window
FAULTS: Mapping[str, Fault] = MappingProxyType({
    "mean_one_dim": _mean_one, "mean_tenth": _mean_tenth, "scale_6": _scale, "cluster_2": _cluster(0.02, False),
    "cluster_5": _cluster(0.05, False), "mix_4": _cluster(0.04, True),
    "norms_3": lambda world, rng, rows: rows * 1.03, "zeros_2": _zeros, "rotation": _rotated})
