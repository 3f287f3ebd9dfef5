"""Item facts: where each recommended item stands in a table of the side, found once for all metrics that ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.frames import Codes, as_ids, code_together, columns, numbers
from incumbent.metrics.lists import WHAT, lists_of
from incumbent.metrics.metric import Batch, Side


@dataclass(frozen=True, eq=False)
class Facts:
    """A table of the side by item: `place` (m,) is the line of each recommended row's item, -1 where there is none."""

    place: Codes
    ids: pa.Array
    columns: dict[str, pa.Array]

    def take(self, values: NDArray[Any], absent: float = np.nan) -> NDArray[np.float64]:
        """The value of each row's item, (m,), and `absent` where the table lacks it."""
        padded = np.append(np.asarray(values, np.float64), absent)
        return np.asarray(padded[self.place], np.float64)


def facts_of(batch: Batch, side: Side, part: str, names: tuple[str, ...]) -> Facts:
    """The named columns of a part of the side, by item_id; `DataError` for an item that stands there twice.

    >>> batch = Batch({"user_id": ["u", "u"], "item_id": ["a", "x"], "rank": [1, 2]})
    >>> facts_of(batch, Side(popularity={"item_id": ["b", "a"], "count": [1, 2]}), "popularity", ("count",)).place.tolist()
    [1, -1]
    """  # noqa: E501
    lists = batch.once(lists_of)
    table = columns(side.need(part, "a metric"), part, ("item_id", *names))
    ids = as_ids(table.pop("item_id"), f"{part}.item_id")
    (items, known), size = code_together({f"{WHAT}.item_id": lists.items, f"{part}.item_id": ids})
    good = known >= 0
    if len(np.unique(known[good])) < good.sum():
        raise DataError("an item stands there twice", got=int(good.sum() - len(np.unique(known[good]))),
                        field=f"{part}.item_id")
    place = np.full(size, -1)
    place[known[good]] = np.flatnonzero(good)
    return Facts(place[items], ids, table)


@dataclass(frozen=True, eq=False)
class Popularity:
    """The frozen count of each recommended row's item, (m,), 0 for one that it has not seen; and their total."""

    count: NDArray[np.float64]
    total: float
    facts: Facts
    counts: NDArray[np.float64]


def popularity_of(batch: Batch, side: Side) -> Popularity:
    """``side.popularity``: `DataError` for a count that is negative or not finite, or where nothing was counted."""
    facts = facts_of(batch, side, "popularity", ("count",))
    counts = numbers(facts.columns["count"], "popularity.count")
    if not (np.isfinite(counts) & (counts >= 0)).all() or counts.sum() <= 0:
        raise DataError("popularity needs counts of 0 or more, and one above 0", got=counts[:8].tolist(),
                        field="popularity.count")
    return Popularity(facts.take(counts, 0.0), float(counts.sum()), facts, counts)


def categories_of(batch: Batch, side: Side) -> tuple[Facts, Codes, int]:
    """``side.catalogue`` by item, the category code of each of its lines (-1: none), and the number of categories."""
    facts = facts_of(batch, side, "catalogue", ("category",))
    coded = facts.columns["category"].dictionary_encode()
    return facts, coded.indices.fill_null(-1).to_numpy().astype(np.int64), len(coded.dictionary)


def mean_of_head(batch: Batch, values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """The mean of row values (m,) over the first k of each list, (n,), without NaN rows; NaN where none is left."""
    lists = batch.once(lists_of)
    there = lists.head(k) & ~np.isnan(values)
    owner = lists.owners()[there]
    number = np.bincount(owner, minlength=lists.n)
    total = np.bincount(owner, weights=values[there], minlength=lists.n)
    means: NDArray[np.float64] = np.full(lists.n, np.nan)
    np.divide(total, number, out=means, where=number > 0)
    return means


