"""How alike the lists of champion and candidate are that answered one request: overlap and rank correlation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.agreement import Agreement, agreement
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.per_list import check_k
from incumbent.metrics.rate import WHAT, Rate, column_of, share

COLUMNS = ("user_id", "champion_items", "candidate_items")


def overlap(*, k: int = 10, **policy: Any) -> Rate:
    """The mean ``|A & B| / k'`` of the first k of both lists, k' the longer of the two; a row without both is missing.

    >>> batch = Batch({"user_id": ["u", "v"], "champion_items": [["a", "b"], ["a"]],
    ...                "candidate_items": [["b", "a", "c"], None]})
    >>> three = overlap(), rank_biased_overlap(), kendall_tau()
    >>> [round(m.estimate(m.state().update(*m.observe(batch, Side()))).value, 4) for m in three]
    [0.6667, 0.9, -1.0]
    """
    return _rate(f"overlap@{check_k(k)}", "overlap", k, 0.9, True, policy)


def rank_biased_overlap(*, k: int = 10, persistence: float = 0.9, **policy: Any) -> Rate:
    """The mean rank-biased overlap of the first k. Source: Webber, Moffat, Zobel, TOIS 28 (2010)."""
    name = f"rank_biased_overlap@{check_k(k)}" if persistence == 0.9 else f"rank_biased_overlap_{persistence:g}@{k}"
    return _rate(name, "rank_biased", k, persistence, True, policy)


def kendall_tau(*, k: int = 10, **policy: Any) -> Rate:
    """The mean Kendall's tau over the items that are in the first k of both; missing with fewer than two of them."""
    return _rate(f"kendall_tau@{check_k(k)}", "kendall", k, 0.9, False, policy)


def _rate(name: str, part: str, k: int, persistence: float, bounded: bool, policy: dict[str, Any]) -> Rate:
    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        rows, found = batch.once(_compared, None, k, persistence)
        values = np.full(len(column_of(batch, "user_id")), np.nan)
        values[rows] = getattr(found, part)
        return share(values)

    return Rate(name, parts, "of both lists", "none", "response", "impression", COLUMNS, bounded=bounded, **policy)


def _compared(batch: Batch, side: Side | None, k: int, persistence: float) -> tuple[NDArray[np.int64], Agreement]:
    """The rows that have both lists, and how alike these are."""
    found = agreement(*(_lists(column_of(batch, name), name) for name in COLUMNS[1:]), k=k, persistence=persistence)
    return found.users.cast(pa.int64()).to_numpy(zero_copy_only=False), found


def _lists(column: pa.Array, name: str) -> dict[str, Any]:
    kind = column.type
    if pa.types.is_null(kind):
        column = column.cast(pa.list_(pa.string()))
    elif pa.types.is_fixed_size_list(kind):
        column = column.cast(pa.list_(kind.value_type))
    elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise DataError("lists of two models must be lists of ids per row", got=str(kind), field=f"{WHAT}.{name}")
    owner = pc.list_parent_indices(column).to_numpy().astype(np.int64)
    starts = np.searchsorted(owner, owner)
    return {"user_id": owner, "item_id": column.flatten(), "rank": np.arange(len(owner)) - starts}
