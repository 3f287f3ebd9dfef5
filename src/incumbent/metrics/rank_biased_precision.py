"""Rank-biased precision: a reader who goes on to the next item with a fixed chance."""

from __future__ import annotations

from incumbent.errors import DataError
from incumbent.metrics.accuracy import PerList
from incumbent.metrics.judged import Judged


def rank_biased_precision(judged: Judged, k: int | None = None, persistence: float = 0.8) -> PerList:
    """``(1 - p) * sum over hits of p^(position - 1)``: the least value the whole ranking can have; what lies below the list adds at most ``p^k``.

    `persistence` p in (0, 1), else `DataError`. Source: Moffat and Zobel, TOIS 27 (2008).

    >>> from incumbent.metrics.judged import judge
    >>> from incumbent.metrics.lists import read_lists
    >>> lists = read_lists({"user_id": ["u"] * 3, "item_id": list("abc"), "rank": [1, 2, 3]})
    >>> rank_biased_precision(judge(lists, {"user_id": ["u", "u"], "item_id": ["a", "c"]}), 3, 0.5).tolist()
    [0.625]
    """  # noqa: E501
    if not 0 < persistence < 1:
        raise DataError("persistence must be in (0, 1)", got=persistence, field="persistence")
    return judged.sums((1 - persistence) * persistence ** (judged.position - 1.0), k)
