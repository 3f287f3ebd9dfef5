"""Intra-list diversity: how unlike the items of one list are, by vectors in O(k d) per list, and by category."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array

from incumbent.errors import DataError
from incumbent.metrics.frames import Codes, numbers
from incumbent.metrics.item_facts import categories_of, facts_of
from incumbent.metrics.lists import Lists, lists_of
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.per_list import PerList, check_k

_ROWS = 1 << 15
_LEAST = 1e-280  # of a square that keeps its digits


def diversity(*, k: int = 10, **policy: Any) -> PerList:
    """The mean ``1 - cosine`` of all pairs of the first k: ``1 - (|sum v|^2 - m) / (m (m - 1))`` with unit vectors v.

    m counts the items that have a vector; those without one (or of length 0) are left out, and a list with fewer than
    two is missing. `DataError` for vectors of different lengths or with a value that is not finite. Source: Ziegler et
    al., WWW 2005, with the pairs summed by the square of the sum.

    >>> batch = Batch({"user_id": ["u"] * 3, "item_id": ["a", "b", "c"], "rank": [1, 2, 3]})
    >>> side = Side(vectors={"item_id": ["a", "b", "c"], "vector": [[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]]})
    >>> round(float(diversity().values(batch, side)[0]), 4)  # cosines 0, -1, 0
    1.3333
    """
    name = f"diversity@{check_k(k)}"

    def values(batch: Batch, side: Side) -> NDArray[np.float64]:
        side.need("vectors", name)
        return _by_square(batch.once(lists_of), k, *batch.once(_scaled, side))

    return PerList(name, values, unit="1 - cosine", direction="none", **policy)


def category_diversity(*, k: int = 10, **policy: Any) -> PerList:
    """The share of pairs of the first k that are of different categories: ``1 - (sum m_c^2 - m) / (m (m - 1))``.

    Items without a category, or outside the catalogue, are left out; a list with fewer than two others is missing.
    Source: E. H. Simpson, Nature 163 (1949).

    >>> batch = Batch({"user_id": ["u"] * 3, "item_id": ["a", "b", "c"], "rank": [1, 2, 3]})
    >>> side = Side(catalogue={"item_id": ["a", "b", "c"], "category": ["x", "x", "y"]})
    >>> round(float(category_diversity().values(batch, side)[0]), 4)
    0.6667
    """
    name = f"category_diversity@{check_k(k)}"

    def values(batch: Batch, side: Side) -> NDArray[np.float64]:
        side.need("catalogue", name)
        lists, (facts, kinds, size) = batch.once(lists_of), batch.once(categories_of, side)
        kind = np.append(kinds, -1)[facts.place]
        there = lists.head(k) & (kind >= 0)
        owner = lists.owners()[there]
        cells, counts = np.unique(owner * max(size, 1) + kind[there], return_counts=True)
        same = np.bincount(cells // max(size, 1), weights=np.square(counts, dtype=np.float64), minlength=lists.n)
        return _share(np.asarray(same, np.float64), np.bincount(owner, minlength=lists.n))

    return PerList(name, values, unit="share of pairs", direction="none", bounded=True, **policy)


def _share(same: NDArray[np.float64], m: NDArray[Any]) -> NDArray[np.float64]:
    pairs = m * (m - 1.0)
    shares: NDArray[np.float64] = np.full(len(m), np.nan)
    np.divide(same - m, pairs, out=shares, where=pairs > 0)
    return 1 - shares


def _scaled(batch: Batch, side: Side) -> tuple[Codes, NDArray[np.float64], NDArray[np.float64]]:
    """The place of each row's vector, -1 without one, the vectors as they are, and one over the length of each."""
    facts = facts_of(batch, side, "vectors", ("vector",))
    column = facts.columns["vector"]
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise DataError("vectors must be lists of numbers", got=str(kind), field="vectors.vector")
    lengths = set(pc.unique(pc.list_value_length(column)).to_pylist())
    if len(lengths) != 1 or column.null_count:
        raise DataError("vectors must be there and of one length", got=lengths, field="vectors.vector")
    flat = numbers(column.flatten(), "vectors.vector")
    vectors = flat.reshape(len(column), lengths.pop())
    squares = np.einsum("ij,ij->i", vectors, vectors)
    if len(vectors) and not (squares.min() > _LEAST and squares.max() < np.inf):
        if not np.isfinite(vectors).all():
            raise DataError("a vector holds a value that is not finite", field="vectors.vector")
        most = np.abs(vectors).max(axis=1, initial=0.0, keepdims=True)
        vectors = vectors / np.where(most > 0, most, 1.0)  # whose squares a float cannot hold
        squares = np.einsum("ij,ij->i", vectors, vectors)
    norms = np.sqrt(squares)
    there = norms > 0
    place = facts.place if there.all() else np.where(np.append(there, False)[facts.place], facts.place, -1)
    return place, vectors, 1 / np.where(there, norms, 1.0)


def _by_square(lists: Lists, k: int, place: Codes, vectors: NDArray[np.float64],
               scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """By blocks of lists, a sparse matrix of 1 / length at (list, vector) times the vectors: the sums, one per list."""
    m: Codes = np.zeros(lists.n, np.int64)
    squares: NDArray[np.float64] = np.zeros(lists.n)
    for begin, end in lists.blocks(_ROWS):
        found = place[lists.starts[begin]:lists.starts[end]]
        lengths, keep = lists.lengths[begin:end], found >= 0
        if lists.longest > k:
            keep &= lists.positions(begin, end) < k
        if not keep.all():
            lengths = np.bincount(np.repeat(np.arange(end - begin), lengths)[keep], minlength=end - begin)
            found = found[keep]
        ends = np.concatenate([[0], np.cumsum(lengths)])
        sums = csr_array((scale[found], found, ends), shape=(end - begin, len(vectors))) @ vectors
        squares[begin:end], m[begin:end] = np.einsum("ij,ij->i", sums, sums), lengths
    return _share(squares, m)
