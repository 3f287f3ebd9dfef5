"""Anchors: the entities that have a vector on both of two sides, and both vectors as rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ANCHORS = 100_000  # by which two sides are compared


def dimension_of(rows: pa.Table) -> int:
    """The dimension of most of the vectors."""
    found = pc.value_counts(pc.list_value_length(rows["vector"])).to_pylist()
    return int(max(found, key=lambda one: one["counts"])["values"])


def anchors(before: pa.Table, after: pa.Table, old: int, new: int) -> tuple[list[str], Any, Any]:
    """Entities with a vector in both versions, `ANCHORS` at most, evenly over them, and both vectors."""
    sides = [rows.filter(pc.equal(pc.list_value_length(rows["vector"]), size))
             for rows, size in ((before, old), (after, new))]
    where = pc.index_in(sides[1]["entity_id"], value_set=sides[0]["entity_id"].combine_chunks())
    both = pc.is_valid(where)
    x = sides[0]["vector"].take(where.filter(both))
    z = sides[1].filter(both)
    every = slice(None, None, max(1, -(-z.num_rows // ANCHORS)))
    at = pa.array(np.arange(z.num_rows)[every])
    return z["entity_id"].take(at).to_pylist(), _matrix(x.take(at), old), _matrix(z["vector"].take(at), new)


def _matrix(vectors: pa.ChunkedArray, dimension: int) -> NDArray[np.float32]:
    """Lists of one length as rows."""
    flat = pc.list_flatten(vectors).combine_chunks()
    found: NDArray[np.float32] = np.asarray(flat, dtype=np.float32).reshape(-1, dimension)
    return found
