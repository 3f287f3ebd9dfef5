"""Unexpectedness and serendipity: items that neither the user's history nor plain popularity would have given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.metrics.item_facts import mean_of_rows, popularity_of
from incumbent.metrics.judged import among, judged_of
from incumbent.metrics.lists import lists_of
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.per_list import PerList, check_k


def unexpectedness(*, k: int = 10, **policy: Any) -> PerList:
    """The share of the first k that is neither among the k most popular items nor in the user's history.

    Equal counts at the k-th place are all popular. A user without history has only the popular items to expect. Source:
    Ge, Delgado-Battenfeld, Jannach, RecSys 2010, with popularity as the primitive recommender.

    >>> batch = Batch({"user_id": ["u"] * 3, "item_id": ["a", "b", "c"], "rank": [1, 2, 3]})
    >>> side = Side(popularity={"item_id": list("pqra"), "count": [9, 8, 7, 1]}, relevant={"user_id": ["u"],
    ...             "item_id": ["c"]}, history={"user_id": ["u"], "item_id": ["b"]})
    >>> [metric(k=3).values(batch, side).round(4).tolist() for metric in (unexpectedness, serendipity)]
    [[0.6667], [0.3333]]
    """
    name = f"unexpectedness@{check_k(k)}"

    def values(batch: Batch, side: Side) -> NDArray[np.float64]:
        side.need("history", name)
        side.need("popularity", name)
        return mean_of_rows(batch, batch.once(_unexpected, side, k).astype(np.float64), k)

    return PerList(name, values, unit="share of slots", direction="none", bounded=True, **policy)


def serendipity(*, k: int = 10, **policy: Any) -> PerList:
    """``unexpected relevant items in the first k / k``, missing for users without relevant items.

    Source: Ge, Delgado-Battenfeld, Jannach, RecSys 2010: unexpectedness times usefulness.
    """
    name = f"serendipity@{check_k(k)}"

    def values(batch: Batch, side: Side) -> NDArray[np.float64]:
        for part in ("relevant", "history", "popularity"):
            side.need(part, name)
        judged, lists = batch.once(judged_of, side), batch.once(lists_of)
        rows = lists.starts[judged.where] + judged.position - 1
        odd = np.flatnonzero((judged.position <= k) & batch.once(_unpopular, side, k)[lists.coded[0][rows]])
        odd = odd[~among(lists, side.history, "history", rows[odd])]
        value = np.bincount(judged.where[odd], minlength=judged.n) / k
        return np.where(judged.relevant > 0, value, np.nan)

    return PerList(name, values, unit="per slot", bounded=True, **policy)


def _unexpected(batch: Batch, side: Side, k: int) -> NDArray[np.bool_]:
    lists = batch.once(lists_of)
    had = among(lists, side.history, "history")
    return np.asarray(batch.once(_unpopular, side, k)[lists.coded[0]] & ~had, np.bool_)


def _unpopular(batch: Batch, side: Side, k: int) -> NDArray[np.bool_]:
    """Which of the ids of ``Lists.coded`` are not among the k most popular."""
    known = batch.once(popularity_of, side)
    counts = known.counts
    bar = np.partition(counts, -k)[-k] if len(counts) > k else 0.0
    return np.asarray((known.count < bar) | (known.count == 0), np.bool_)
