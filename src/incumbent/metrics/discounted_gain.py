"""NDCG: discounted gain over that of an ideal list, which peers choose differently."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.accuracy import PerList
from incumbent.metrics.judged import Judged

Ideal = Literal["achievable", "full"]
IDEALS: tuple[Ideal, ...] = get_args(Ideal)


def ndcg(judged: Judged, k: int | None = None, ideal: Ideal = "achievable") -> PerList:
    """``sum over hits of gain / log2(position + 1)`` over that of the ideal list; the mean over users is NDCG.

    Ideal ``achievable``: the user's relevant items, greatest gain first, cut at k (trec_eval and nearly all);
    ``full``: all k slots relevant (RecTools' default), defined for gains of 1 and a k. Gains enter as they are.
    `DataError` for another ideal, and for ``full`` with graded gains or without k. Source: Jarvelin and Kekalainen,
    TOIS 20 (2002); trec_eval, ndcg_cut.

    >>> from incumbent.metrics.judged import judge
    >>> from incumbent.metrics.lists import read_lists
    >>> lists = read_lists({"user_id": ["u"] * 2, "item_id": list("ab"), "rank": [1, 2]})
    >>> j = judge(lists, {"user_id": ["u"], "item_id": ["b"]})
    >>> [round(float(ndcg(j, 2, ideal)[0]), 4) for ideal in IDEALS]
    [0.6309, 0.3869]
    """
    if ideal not in IDEALS:
        raise DataError("no such ideal of NDCG", got=ideal, expected="one of " + ", ".join(IDEALS))
    top = judged.sums(judged.gain / np.log2(judged.position + 1.0), k)
    if ideal == "achievable":
        bottom = _achievable(judged, k)
        return np.divide(top, bottom, out=np.zeros(judged.n), where=bottom > 0)
    if k is None or not judged.binary:
        raise DataError("the full ideal needs a k and gains of 1", got=("k", k), field="ideal",
                        hint="take ideal='achievable'")
    return np.asarray(top / _discounts(k).sum(), np.float64)


def _discounts(k: int) -> NDArray[np.float64]:
    return np.asarray(1.0 / np.log2(np.arange(2.0, k + 2.0)), np.float64)


def _achievable(judged: Judged, k: int | None) -> PerList:
    most = int(judged.relevant.max(initial=0))
    cut = most if k is None else min(k, most)
    if judged.binary:
        ideals = np.concatenate([[0.0], np.cumsum(_discounts(cut))])
        found: PerList = ideals[np.minimum(judged.relevant, cut)]
        return found
    order = np.lexsort((-judged.ideal_gain, judged.ideal_user))
    user, gain = judged.ideal_user[order], judged.ideal_gain[order]
    starts = np.flatnonzero(np.diff(user, prepend=-1))
    place = np.arange(len(user)) - np.repeat(starts, np.diff(starts, append=len(user)))
    there = place < cut
    size = int(max(judged.user.max(initial=-1), user.max(initial=-1))) + 1
    weights = gain[there] / np.log2(place[there] + 2.0)
    return np.asarray(np.bincount(user[there], weights=weights, minlength=size)[judged.user], np.float64)
