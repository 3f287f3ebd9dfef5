"""The taste space: products by what they are bought with, and a household by what it bought last. The embedding that
the demo watches.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import eigsh

from incumbent.demo.data import Lines, distinct
from incumbent.demo.item_cf import MIN_HOUSEHOLDS, MIN_TOGETHER, SHRINKAGE
from incumbent.demo.shoppers import Trip

SPACE, VERSION = "taste", "1"
DIMENSIONS = 16


@dataclass(frozen=True)
class Taste:
    """Products and their vectors, (products, dimensions) float32."""

    products: NDArray[np.int64]  # rising
    vectors: NDArray[np.float32]

    def rows(self, product: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each product, -1 where it has none."""
        place = np.searchsorted(self.products, product).clip(max=len(self.products) - 1)
        return np.where(self.products[place] == product, place, -1)

    def of_items(self, items: Iterable[str]) -> dict[str, list[float]]:
        """The vectors of those items that have one."""
        names = sorted(items, key=int)
        rows = self.rows(np.array([int(name) for name in names], np.int64))
        return {name: self.vectors[row].tolist() for name, row in zip(names, rows.tolist(), strict=True) if row >= 0}


def train(lines: Lines, *, dimensions: int = DIMENSIONS) -> Taste:
    """Factor what goes together in the baskets of the training months.

    ``m(i, j) = max(0, log(c_ij N / (c_i c_j))) c_ij / (c_ij + 20)`` over N baskets, the positive pointwise mutual
    information shrunk as the collaborative filter's similarity is, of pairs met in 3 baskets or more; the vectors are
    ``V sqrt(L)`` of its leading `dimensions` eigenvectors, each with its largest entry positive. Products of at least
    20 households take part.

    Source: Levy and Goldberg, Neural Word Embedding as Implicit Matrix Factorization (2014).
    """
    products, item = np.unique(lines.product, return_inverse=True)
    kept = np.flatnonzero(distinct(item, lines.household, len(products)) >= MIN_HOUSEHOLDS)
    baskets, number = np.unique(lines.basket, return_inverse=True)
    held = sparse.csr_matrix((np.ones(len(item), np.float32), (number, item)),
                             shape=(len(baskets), len(products)))[:, kept]
    held.data[:] = 1.0
    together = (held.T @ held).tocoo()
    alone = np.asarray(held.sum(axis=0)).ravel()
    use = (together.data >= MIN_TOGETHER) & (together.row != together.col)
    i, j, c = together.row[use], together.col[use], together.data[use]
    value = np.maximum(np.log(c * len(baskets) / (alone[i] * alone[j])), 0.0) * c / (c + SHRINKAGE)
    matrix = sparse.csr_matrix((value, (i, j)), shape=together.shape)
    found, vectors = eigsh(matrix, k=dimensions, which="LA", v0=np.ones(len(kept)), tol=1e-4)
    vectors = vectors[:, ::-1] * np.sqrt(np.maximum(found[::-1], 0.0))
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(dimensions)])
    return Taste(products[kept], vectors.astype(np.float32))


def of_trips(taste: Taste, lines: Lines, trips: Sequence[Trip]) -> dict[str, list[float]]:
    """Basket of a trip -> where its household stands when it asks: the mean vector of the products of its last basket.

    `lines` are real lines, of before the trips and of them. Only what was paid before the trip asks counts; a trip
    whose household has bought nothing of the space until then is left out.
    """
    row = taste.rows(lines.product)
    known = lines.where((row >= 0) & np.isin(lines.household, np.array(
        sorted({int(trip.household) for trip in trips}), np.int64)))
    row = taste.rows(known.product)
    baskets, first, number = np.unique(known.basket, return_index=True, return_inverse=True)
    sums = sparse.csr_matrix((np.ones(len(row), np.float32), (number, row)),
                             shape=(len(baskets), len(taste.products))) @ taste.vectors
    means = sums / np.maximum(np.bincount(number, minlength=len(baskets)), 1)[:, None]
    past: dict[str, list[tuple[int, int]]] = {}
    for basket in np.lexsort((baskets, known.time_s[first])).tolist():
        at = int(first[basket])
        past.setdefault(str(known.household[at]), []).append((int(known.time_s[at]), basket))
    found = {}
    for trip in trips:
        mine = past.get(trip.household, [])
        before = bisect_left(mine, (int(trip.asks_at.timestamp()), -1))
        if before:
            found[trip.basket] = means[mine[before - 1][1]].astype(np.float32).tolist()
    return found
