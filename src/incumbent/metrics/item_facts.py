"""Item facts: where each recommended item stands in a table of the side, found once for all metrics that ask."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from incumbent.errors import DataError
from incumbent.metrics.frames import Codes, as_ids, code_together, columns, numbers
from incumbent.metrics.lists import WHAT, lists_of
from incumbent.metrics.metric import Batch, Side


@dataclass(frozen=True, eq=False)
class Facts:
    """A table of the side by item: `line` (d,) is that of each id of ``Lists.coded``, -1 where it has none.

    `codes` (m,): the id of each recommended row.
    """

    codes: Codes
    line: Codes
    ids: pa.Array
    columns: dict[str, pa.Array]

    @cached_property
    def place(self) -> Codes:
        """The line of each recommended row's item, (m,), -1 where there is none."""
        return self.line[self.codes]

    def take(self, values: NDArray[Any], absent: float = np.nan) -> NDArray[np.float64]:
        """The value of each id, (d,), and `absent` where the table lacks it."""
        padded = np.append(np.asarray(values, np.float64), absent)
        return np.asarray(padded[self.line], np.float64)


def facts_of(batch: Batch, side: Side, part: str, names: tuple[str, ...]) -> Facts:
    """The named columns of a part of the side, by item_id; `DataError` for an item that stands there twice.

    >>> batch = Batch({"user_id": ["u", "u"], "item_id": ["a", "x"], "rank": [1, 2]})
    >>> facts_of(batch, Side(popularity={"item_id": ["b", "a"], "count": [1, 2]}), "popularity", ("count",)).place.tolist()
    [1, -1]
    """  # noqa: E501
    lists = batch.once(lists_of)
    table = columns(side.need(part, "a metric"), part, ("item_id", *names))
    ids = as_ids(table.pop("item_id"), f"{part}.item_id")
    codes, own = lists.coded
    (items, known), size = code_together({f"{WHAT}.item_id": own, f"{part}.item_id": ids})
    good = np.flatnonzero(known >= 0)
    line = np.full(size, -1)
    line[known[good]] = good
    if np.count_nonzero(line >= 0) < len(good):
        raise DataError("an item stands there twice", got=len(good) - int(np.count_nonzero(line >= 0)),
                        field=f"{part}.item_id")
    return Facts(codes, line[items], ids, table)


@dataclass(frozen=True, eq=False)
class Popularity:
    """The frozen count of each id of ``Lists.coded``, (d,), 0 for one that it has not seen; and their total."""

    count: NDArray[np.float64]
    total: float
    facts: Facts
    counts: NDArray[np.float64]


def popularity_of(batch: Batch, side: Side) -> Popularity:
    """``side.popularity``: `DataError` for a count that is negative or not finite, or where nothing was counted."""
    facts = facts_of(batch, side, "popularity", ("count",))
    counts = numbers(facts.columns["count"], "popularity.count")
    with np.errstate(over="ignore"):
        total = float(counts.sum())
    if not (counts >= 0).all() or not 0 < total < np.inf:
        raise DataError("popularity needs finite counts of 0 or more, and one above 0", got=counts[:8].tolist(),
                        field="popularity.count")
    return Popularity(facts.take(counts, 0.0), total, facts, counts)


def categories_of(batch: Batch, side: Side) -> tuple[Facts, Codes, int]:
    """``side.catalogue`` by item, the category code of each of its lines (-1: none), and the number of categories."""
    facts = facts_of(batch, side, "catalogue", ("category",))
    column = facts.columns["category"]
    if pa.types.is_nested(column.type):
        raise DataError("an item has one category", got=str(column.type), expected="text or a number per item",
                        field="catalogue.category")
    coded = column.dictionary_encode()
    return facts, coded.indices.fill_null(-1).to_numpy().astype(np.int64), len(coded.dictionary)


def heads_of(batch: Batch, side: Side | None, k: int) -> csr_array:
    """`Lists.heads`, made once for all metrics of a k."""
    return batch.once(lists_of).heads(k)


def mean_of_head(batch: Batch, values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """The mean of the values (d,) of the ids of ``Lists.coded`` over the first k of each list, (n,).

    Without rows whose value is NaN; NaN where none is left.
    """
    lists = batch.once(lists_of)
    heads, gaps = batch.once(heads_of, None, k), np.isnan(values)
    if not len(values):
        return np.full(lists.n, np.nan)
    if not gaps.any():
        return np.asarray((heads @ values) / np.minimum(lists.lengths, k))
    return _over(heads @ np.where(gaps, 0.0, values), heads @ (~gaps).astype(np.float64))


def mean_of_rows(batch: Batch, values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """The same of one value per row, (m,)."""
    lists = batch.once(lists_of)
    there, first = lists.head(k) & ~np.isnan(values), lists.starts[:-1]
    return _over(np.add.reduceat(np.where(there, values, 0.0), first), np.add.reduceat(there, first, dtype=np.int64))


def _over(total: NDArray[np.float64], number: NDArray[Any]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = np.full(len(total), np.nan)
    np.divide(total, number, out=means, where=number > 0)
    return means
