"""Average precision: the precision at every hit, over a divisor that peers choose differently."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from incumbent.errors import DataError
from incumbent.metrics.accuracy import PerList
from incumbent.metrics.judged import Judged

Divisor = Literal["relevant", "min_k_relevant", "hits"]
DIVISORS: tuple[Divisor, ...] = get_args(Divisor)


def average_precision(judged: Judged, k: int | None = None, divisor: Divisor = "relevant") -> PerList:
    """``sum over hits of (hits so far / position) / divisor``; its mean is MAP.

    Divisor ``relevant``: the user's relevant items (trec_eval, RecTools, ranx); ``min_k_relevant``: no more than k of
    them (RePlay, recommenders), so that a perfect list has 1; ``hits``: the hits (torchmetrics), 0 without one.
    `DataError` for another divisor. Source: trec_eval, map and map_cut.

    >>> from incumbent.metrics.judged import judge
    >>> from incumbent.metrics.lists import read_lists
    >>> lists = read_lists({"user_id": ["u"] * 2, "item_id": list("ab"), "rank": [1, 2]})
    >>> j = judge(lists, {"user_id": ["u"] * 3, "item_id": ["b", "x", "y"]})
    >>> [round(float(average_precision(j, 2, divisor)[0]), 4) for divisor in DIVISORS]
    [0.1667, 0.25, 0.5]
    """
    if divisor not in DIVISORS:
        raise DataError("no such divisor of MAP", got=divisor, expected="one of " + ", ".join(DIVISORS))
    total = judged.sums(judged.index / judged.position, k)
    if divisor == "hits":
        bottom = judged.hits(k)
    elif divisor == "relevant" or k is None:
        bottom = judged.relevant.astype(np.float64)
    else:
        bottom = np.minimum(judged.relevant, k).astype(np.float64)
    return total / np.maximum(bottom, 1)
