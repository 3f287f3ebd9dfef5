"""k-means: Lloyd's iterations from a k-means++ start, for centroids that are then frozen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError

_START = 16  # rows per centroid that the start is chosen among
_BLOCK = 1 << 20  # entries of one block of rows by centroids


def kmeans(rows: NDArray[np.float32], k: int, rng: np.random.Generator, *, iterations: int = 25) -> NDArray[np.float32]:
    """k centroids (k, d) with locally least ``sum_i min_k |x_i - m_k|^2``, of finite rows (n, d), n >= k.

    The start is chosen among 16 k of the rows. Stops when no row changes its centroid. A centroid that loses all its
    rows moves to the row farthest from its own.
    Sources: S. P. Lloyd, IEEE Trans. Inf. Theory 28 (1982); D. Arthur, S. Vassilvitskii, SODA 2007.

    >>> rows = np.array([[0, 0], [0, 2], [10, 0], [10, 2]], dtype=np.float32)
    >>> sorted(kmeans(rows, 2, np.random.default_rng(1)).tolist())
    [[0.0, 1.0], [10.0, 1.0]]
    """
    if not 1 <= k <= len(rows):
        raise DataError("more centroids than rows", got=k, expected=f"1 to {len(rows)}", field="centroids")
    some = rows if len(rows) <= _START * k else rows[np.sort(rng.choice(len(rows), _START * k, replace=False))]
    centroids = _spread(some, k, rng)
    squares = np.vecdot(rows, rows)
    labels = np.full(len(rows), -1)
    for _ in range(iterations):
        now, near, sums = _assign(rows, centroids)
        if (now == labels).all():
            break
        labels = now
        sizes = np.bincount(labels, minlength=k)
        centroids = sums / np.maximum(sizes, 1).astype(np.float32)[:, None]
        lost = np.flatnonzero(sizes == 0)
        if len(lost):
            far = np.argsort(squares - 2 * near, kind="stable")[::-1][:len(lost)]
            centroids[lost] = rows[far]
    return centroids


def _assign(
    rows: NDArray[np.float32], centroids: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
    """Every row's nearest centroid m, its ``x . m - |m|^2 / 2``, and the sum of the rows of every centroid."""
    labels, near, sums = np.empty(len(rows), dtype=np.intp), np.empty(len(rows), np.float32), np.zeros_like(centroids)
    halves = 0.5 * np.vecdot(centroids, centroids)
    size = max(_BLOCK // len(centroids), 1)
    for start in range(0, len(rows), size):
        part = rows[start:start + size]
        scores = part @ centroids.T
        scores -= halves
        now = scores.argmax(axis=1)
        each = np.arange(len(part)), now
        labels[start:start + size], near[start:start + size] = now, scores[each]
        scores[:] = 0  # then the members, so that a product sums them
        scores[each] = 1
        sums += scores.T @ part
    return labels, near, sums


def _spread(rows: NDArray[np.float32], k: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The k-means++ start: each next centroid is a row, drawn in proportion to its squared distance to those chosen."""
    squares = np.vecdot(rows, rows)
    chosen = [int(rng.integers(len(rows)))]
    nearest = np.full(len(rows), np.inf)
    for _ in range(1, k):
        last = rows[chosen[-1]]
        nearest = np.minimum(nearest, np.maximum(squares - 2 * (rows @ last) + last @ last, 0.0).astype(np.float64))
        total = nearest.cumsum()
        draw = rng.random() * total[-1]
        chosen.append(int(min(np.searchsorted(total, draw, side="right"), len(rows) - 1)))
    return rows[chosen]
