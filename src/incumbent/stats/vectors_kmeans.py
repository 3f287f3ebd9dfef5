"""k-means: Lloyd's iterations from a k-means++ start, for centroids that are then frozen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from incumbent.errors import DataError


def kmeans(rows: NDArray[np.float32], k: int, rng: np.random.Generator, *, iterations: int = 25) -> NDArray[np.float32]:
    """k centroids (k, d) with locally least ``sum_i min_k |x_i - m_k|^2``, of finite rows (n, d), n >= k.

    Stops when no row changes its centroid. A centroid that loses all its rows moves to the row farthest from its own.
    Sources: S. P. Lloyd, IEEE Trans. Inf. Theory 28 (1982); D. Arthur, S. Vassilvitskii, SODA 2007.

    >>> rows = np.array([[0, 0], [0, 2], [10, 0], [10, 2]], dtype=np.float32)
    >>> sorted(kmeans(rows, 2, np.random.default_rng(1)).tolist())
    [[0.0, 1.0], [10.0, 1.0]]
    """
    if not 1 <= k <= len(rows):
        raise DataError("more centroids than rows", got=k, expected=f"1 to {len(rows)}", field="centroids")
    squares = np.einsum("ij,ij->i", rows, rows)
    centroids = _spread(rows, squares, k, rng)
    labels = np.full(len(rows), -1)
    for _ in range(iterations):
        scores = rows @ centroids.T - 0.5 * np.einsum("ij,ij->i", centroids, centroids)
        now = scores.argmax(axis=1)
        if (now == labels).all():
            break
        labels = now
        member = sparse.csr_matrix((np.ones(len(rows)), (labels, np.arange(len(rows)))), shape=(k, len(rows)))
        sizes = np.bincount(labels, minlength=k)
        centroids = ((member @ rows) / np.maximum(sizes, 1)[:, None]).astype(np.float32)
        lost = np.flatnonzero(sizes == 0)
        if len(lost):
            far = np.argsort(squares - 2 * scores.max(axis=1), kind="stable")[::-1][:len(lost)]
            centroids[lost] = rows[far]
    return centroids


def _spread(
    rows: NDArray[np.float32], squares: NDArray[np.float32], k: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """The k-means++ start: each next centroid is a row, drawn in proportion to its squared distance to those chosen."""
    chosen = [int(rng.integers(len(rows)))]
    nearest = np.full(len(rows), np.inf)
    for _ in range(1, k):
        last = rows[chosen[-1]]
        nearest = np.minimum(nearest, np.maximum(squares - 2 * (rows @ last) + last @ last, 0.0).astype(np.float64))
        total = nearest.cumsum()
        draw = rng.random() * total[-1]
        chosen.append(int(min(np.searchsorted(total, draw, side="right"), len(rows) - 1)))
    return rows[chosen]
