"""Reciprocal rank: how early the first relevant item stands."""

from __future__ import annotations

import numpy as np

from incumbent.metrics.accuracy import PerList
from incumbent.metrics.judged import Judged


def reciprocal_rank(judged: Judged, k: int | None = None) -> PerList:
    """``1 / position of the first hit``, 0 where the first k hold none; its mean is MRR. Source: trec_eval, recip_rank.

    >>> from incumbent.metrics.judged import judge
    >>> from incumbent.metrics.lists import read_lists
    >>> lists = read_lists({"user_id": ["u"] * 3, "item_id": list("abc"), "rank": [1, 2, 3]})
    >>> reciprocal_rank(judge(lists, {"user_id": ["u", "u"], "item_id": ["b", "c"]}), 10).tolist()
    [0.5]
    """
    return judged.sums(np.where(judged.index == 1, 1.0 / judged.position, 0.0), k)
