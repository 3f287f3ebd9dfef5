"""Names of ranking metrics: every setting that changes the value stands in the name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from incumbent.errors import DataError
from incumbent.metrics import accuracy
from incumbent.metrics.accuracy import PerList
from incumbent.metrics.average_precision import DIVISORS, average_precision
from incumbent.metrics.discounted_gain import IDEALS, ndcg
from incumbent.metrics.judged import Judged
from incumbent.metrics.pair_order import auc
from incumbent.metrics.per_list import check_k
from incumbent.metrics.rank_biased_precision import rank_biased_precision
from incumbent.metrics.reciprocal_rank import reciprocal_rank

_NEEDS_K: dict[str, Callable[..., PerList]] = {
    "precision": accuracy.precision, "recall": accuracy.recall, "hit_rate": accuracy.hit_rate}
_MAY_HAVE_K: dict[str, Callable[..., PerList]] = {
    "mrr": reciprocal_rank, "auc": auc,
    **{f"map_{divisor}": partial(average_precision, divisor=divisor) for divisor in DIVISORS},
    **{f"ndcg_{ideal}": partial(ndcg, ideal=ideal) for ideal in IDEALS}}
_NUMBER = r"(\d+(?:\.\d+)?)"

#: the names as they are shown; B is any beta above 0, P any persistence in (0, 1)
NAMES = (*(f"{name}@k" for name in _NEEDS_K), "fB@k", "r_precision", "rbp_P@k", "rbp_P",
         *(name + end for name in _MAY_HAVE_K for end in ("@k", "") if name + end != "ndcg_full"))


#: a name without its variant, and the variant that is the default of the registry
DEFAULTS = {"ndcg": "ndcg_achievable", "map": "map_relevant", "rbp": "rbp_0.8", "f": "f1", "f_beta": "f1"}


@dataclass(frozen=True)
class Named:
    """A ranking metric of a name: one number per ranking."""

    name: str
    measure: Callable[[Judged], PerList]


def parse(name: str) -> Named:
    """The metric of a name such as ``ndcg_achievable@10``, ``map_relevant``, ``f0.5@10``, ``rbp_0.8@10``.

    `DataError` for any other name, with the nearest one: a variant is never taken for granted.

    >>> parse("ndcg@10")
    Traceback (most recent call last):
    ...
    incumbent.errors.DataError: no such ranking metric. Got 'ndcg@10'. Expected ... Hint: did you mean 'ndcg_achievable@10'?
    """  # noqa: E501
    if not isinstance(name, str):
        raise DataError("a metric is named by text", got=name, expected="such as 'ndcg_achievable@10'", field="metrics")
    stem, at, cut = name.partition("@")
    if not at or re.fullmatch(r"[1-9]\d*", cut):
        k = check_k(int(cut[:20])) if at else None
        f, rbp = re.fullmatch("f" + _NUMBER, stem), re.fullmatch("rbp_" + _NUMBER, stem)
        if k is not None and stem in _NEEDS_K:
            return Named(name, partial(_NEEDS_K[stem], k=k))
        if k is not None and f and float(f[1]) > 0:
            return Named(name, partial(accuracy.f_beta, k=k, beta=float(f[1])))
        if stem in _MAY_HAVE_K and (k is not None or stem != "ndcg_full"):
            return Named(name, partial(_MAY_HAVE_K[stem], k=k))
        if rbp and 0 < float(rbp[1]) < 1:
            return Named(name, partial(rank_biased_precision, k=k, persistence=float(rbp[1])))
        if stem == "r_precision" and k is None:
            return Named(name, accuracy.r_precision)
    stems = [*DEFAULTS, *(known.partition("@")[0] for known in NAMES)]
    near = [DEFAULTS.get(one, one) for one in difflib.get_close_matches(stem.lower(), stems, n=1, cutoff=0.4)]
    if not at and near and near[0] in {*_NEEDS_K, "f1", "ndcg_full"}:
        at, cut = "@", "10"
    raise DataError("no such ranking metric", got=name, expected="one of " + ", ".join(NAMES),
                    hint=f"did you mean '{near[0]}{at}{cut}'?" if near else None, field="metrics")
