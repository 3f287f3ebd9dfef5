"""Precision, recall, hit rate, F-beta and R-precision of each ranking.

All take a `Judged` and give one number per ranking, (n,). A ranking whose user has no relevant item has no value here:
what a function gives for it is left out by `ranking`, or replaced, by one policy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from incumbent.metrics.judged import Judged

PerList = NDArray[np.float64]


def precision(judged: Judged, k: int) -> PerList:
    """``hits in the first k / k``, whatever the length of the list. Source: trec_eval, P_k.

    >>> from incumbent.metrics.judged import judge
    >>> from incumbent.metrics.lists import read_lists
    >>> lists = read_lists({"user_id": ["u"] * 4, "item_id": list("abcd"), "rank": [1, 2, 3, 4]})
    >>> j = judge(lists, {"user_id": ["u"] * 3, "item_id": ["a", "d", "x"]})
    >>> precision(j, 4).tolist(), recall(j, 2).round(3).tolist(), hit_rate(j, 1).tolist(), f_beta(j, 2).tolist()
    ([0.5], [0.333], [1.0], [0.4])
    """
    return judged.hits(k) / k


def recall(judged: Judged, k: int) -> PerList:
    """``hits in the first k / relevant items``. Source: trec_eval, recall_k."""
    return judged.hits(k) / np.maximum(judged.relevant, 1)


def hit_rate(judged: Judged, k: int) -> PerList:
    """1 where a relevant item is in the first k, else 0. Source: trec_eval, success_k."""
    return (judged.hits(k) > 0).astype(np.float64)


def f_beta(judged: Judged, k: int, beta: float = 1.0) -> PerList:
    """``(1 + b^2) P R / (b^2 P + R)`` with precision and recall at k, 0 without a hit.

    As hits h: ``(1 + b^2) h / (b^2 relevant + k)``. Source: C. J. van Rijsbergen, Information Retrieval (1979), ch. 7.
    """
    return (1 + beta**2) * judged.hits(k) / (beta**2 * judged.relevant + k)


def r_precision(judged: Judged) -> PerList:
    """``hits in the first R / R`` with R the user's relevant items, whatever the length of the list. Source: trec_eval, Rprec."""  # noqa: E501
    within = judged.position <= judged.relevant[judged.where]
    return judged.sums(within.astype(np.float64)) / np.maximum(judged.relevant, 1)
