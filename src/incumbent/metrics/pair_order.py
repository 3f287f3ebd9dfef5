"""AUC within the list: how often a relevant item stands above another."""

from __future__ import annotations

import numpy as np

from incumbent.metrics.accuracy import PerList
from incumbent.metrics.judged import Judged


def auc(judged: Judged, k: int | None = None) -> PerList:
    """The share of pairs (relevant, not relevant) of the first k in which the relevant item stands first.

    With c hits among l items and f the others above each hit: ``1 - sum f / (c (l - c))``. By RePlay's convention a
    list of hits alone has 1, and one without a hit, or without items, has 0. What is not in the list is not compared.
    Source: RePlay, RocAuc.

    >>> from incumbent.metrics.judged import judge
    >>> from incumbent.metrics.lists import read_lists
    >>> lists = read_lists({"user_id": ["u"] * 4, "item_id": list("abcd"), "rank": [1, 2, 3, 4]})
    >>> auc(judge(lists, {"user_id": ["u", "u"], "item_id": ["a", "c"]}), 4).tolist()
    [0.75]
    """
    hits = judged.hits(k)
    above = judged.sums((judged.position - judged.index).astype(np.float64), k)
    length = judged.lengths if k is None else np.minimum(judged.lengths, k)
    pairs = hits * (length - hits)
    value = 1 - np.divide(above, pairs, out=np.zeros(judged.n), where=pairs > 0)
    return np.where(hits > 0, value, 0.0)
