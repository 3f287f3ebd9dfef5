"""Novelty, surprisal, popularity and the share of unseen items: how far a list is from what everybody already has.

All take the frozen counts of ``side.popularity``: p = count / total. An item that the baseline has not seen has no p;
what becomes of it stands in the name, and `unseen_share` shows how many there are.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.item_facts import mean_of_head, popularity_of
from incumbent.metrics.lists import lists_of
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.per_list import PerList, check_k

Unseen = Literal["ceiling", "left_out"]


def novelty(*, k: int = 10, unseen: Unseen = "ceiling", **policy: Any) -> PerList:
    """The mean of ``-log2 p`` over the first k, in bits.

    Unseen items: ``ceiling`` takes them as seen once, ``log2(total)`` (RecTools' MIUF); ``left_out`` averages over the
    seen ones, and a list of unseen items alone is missing (Evidently). Source: Zhou et al., PNAS 107 (2010).

    >>> batch = Batch({"user_id": ["u", "u"], "item_id": ["a", "x"], "rank": [1, 2]})
    >>> side = Side(popularity={"item_id": ["a", "b"], "count": [4, 12]})
    >>> [novelty(unseen=way).values(batch, side).tolist() for way in ("ceiling", "left_out")]
    [[3.0], [2.0]]
    """
    if unseen not in ("ceiling", "left_out"):
        raise DataError("no such policy for unseen items", got=unseen, expected="ceiling or left_out", field="unseen")
    name = f"novelty_{unseen}@{check_k(k)}"

    def values(batch: Batch, side: Side) -> NDArray[np.float64]:
        side.need("popularity", name)
        return mean_of_head(batch, _information(batch, side, unseen), k)

    return PerList(name, values, unit="bits", direction="none", **policy)


def surprisal(*, k: int = 10, **policy: Any) -> PerList:
    """Novelty with the ceiling over ``log2(total)``: 0 where one item has all, 1 where none was seen twice.

    Source: RePlay, Surprisal.
    """
    name = f"surprisal@{check_k(k)}"

    def values(batch: Batch, side: Side) -> NDArray[np.float64]:
        side.need("popularity", name)
        most = np.log2(batch.once(popularity_of, side).total)
        return mean_of_head(batch, _information(batch, side, "ceiling") / most, k) if most > 0 else np.full(
            batch.once(lists_of).n, np.nan)

    return PerList(name, values, unit="of the most", direction="none", bounded=True, **policy)


def popularity(*, k: int = 10, **policy: Any) -> PerList:
    """The mean share ``p`` of the first k in the baseline's interactions; unseen items have 0. High is popularity bias.

    Source: Abdollahpouri, Burke, Mobasher, FLAIRS 2019 (average recommendation popularity).
    """
    name = f"popularity@{check_k(k)}"

    def values(batch: Batch, side: Side) -> NDArray[np.float64]:
        side.need("popularity", name)
        known = batch.once(popularity_of, side)
        return mean_of_head(batch, known.count / known.total, k)

    return PerList(name, values, unit="share of interactions", direction="none", bounded=True, **policy)


def unseen_share(*, k: int = 10, **policy: Any) -> PerList:
    """The share of the first k that the baseline has not seen: the bucket for which the others need a convention."""
    name = f"unseen_share@{check_k(k)}"

    def values(batch: Batch, side: Side) -> NDArray[np.float64]:
        side.need("popularity", name)
        return mean_of_head(batch, (batch.once(popularity_of, side).count == 0).astype(np.float64), k)

    return PerList(name, values, unit="share of slots", direction="none", bounded=True, **policy)


def _information(batch: Batch, side: Side, unseen: Unseen) -> NDArray[np.float64]:
    """The bits of each id of ``Lists.coded``."""
    known = batch.once(popularity_of, side)
    seen = known.count > 0
    bits = np.log2(known.total) - np.log2(np.where(seen, known.count, 1.0))
    return bits if unseen == "ceiling" else np.where(seen, bits, np.nan)
