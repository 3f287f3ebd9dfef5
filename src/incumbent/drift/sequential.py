"""E-detectors: change detection over time, one e-value at a time, as pure steps.

An e-detector multiplies e-values (positive numbers whose mean under the null is at most 1 given the past):
e-SR ``M <- (M + 1) E``, e-CUSUM ``M <- max(M, 1) E``, alarm at ``M >= 1 / alpha``. The mean number of steps to a false
alarm is at least 1 / alpha, whatever the dependence. Source: Shin, Ramdas, Rinaldo, arXiv 2203.03532.

Memory is plain JSON: a float, or a list of them. A step returns the new memory and leaves the old one as it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from incumbent.errors import DataError

Kind = Literal["e_sr", "e_cusum"]
BETS = (0.05, 0.15, 0.4, 0.9)  # of a bounded mean, all at once
NONE = -1e308  # the logarithm of nothing in JSON, which has no infinity


def e_step(log_m: float | None, log_e: float, kind: Kind = "e_sr") -> float:
    """The logarithm of an e-detector after one more e-value, from that before it (None at the start).

    ``log(M + 1) + log E`` for e-SR, ``max(log M, 0) + log E`` for e-CUSUM. E = 0 gives `NONE`, not minus infinity.

    >>> m = None
    >>> for e in (2.0, 2.0, 3.0):
    ...     m = e_step(m, math.log(e))
    >>> round(math.exp(m), 9)  # ((0 + 1) 2 + 1) 2 + 1) 3
    21.0
    """
    if math.isnan(log_e):
        raise DataError("not an e-value", got=log_e, field="log_e")
    if log_m is None:
        log_m = NONE
    before = (max(log_m, 0.0) + math.log1p(math.exp(-abs(log_m)))) if kind == "e_sr" else max(log_m, 0.0)
    return max(before + log_e, NONE)


def mixed_step(
    logs: Sequence[float] | None, log_es: Sequence[float], kind: Kind = "e_sr"
) -> tuple[list[float], float]:
    """One step for several bets at once: the memory of each, and the logarithm of their mean, itself an e-detector.

    >>> logs, m = mixed_step(None, [math.log(2.0), math.log(4.0)])
    >>> round(math.exp(m), 9)
    3.0
    """
    if not log_es or (logs is not None and len(logs) != len(log_es)):
        raise DataError("one memory per bet", got=None if logs is None else len(logs), expected=str(len(log_es)))
    moved = [e_step(None if logs is None else logs[i], log_e, kind) for i, log_e in enumerate(log_es)]
    top = max(moved)
    return moved, max(top + math.log(sum(math.exp(one - top) for one in moved) / len(moved)), NONE)


def bounded_bets(
    x: float, mean: float, low: float = 0.0, high: float = 1.0, *, worse: Literal["higher", "lower"] = "higher",
    bets: Sequence[float] = BETS,
) -> list[float]:
    """Log e-values of one observation in [low, high] against "its mean given the past is at most `mean`".

    ``E = 1 + b (x - mean) / (mean - low)`` for each bet b in (0, 1): not negative, and of mean at most 1 whatever the
    distribution and the dependence within x, which may itself be the mean of a window. With `worse` "lower" the null
    is "at least `mean`". Click-through, error rate, NDCG, share of nulls. Source: Waudby-Smith, Ramdas, J. R. Stat.
    Soc. B 86 (2024), section 4.

    >>> [round(math.exp(one), 2) for one in bounded_bets(0.3, 0.2, bets=(0.5,))]
    [1.25]
    """
    room = mean - low if worse == "higher" else high - mean
    if not low < high or not low <= mean <= high or not room > 0:
        raise DataError("the mean must lie inside the bounds", got=mean, expected=f"in ({low}, {high})", field="mean")
    if not low <= x <= high:
        raise DataError("an observation outside its bounds", got=x, expected=f"in [{low}, {high}]", field="x")
    if not bets or not all(0 < bet < 1 for bet in bets):
        raise DataError("bets must lie in (0, 1)", got=list(bets), field="bets")
    excess = (x - mean if worse == "higher" else mean - x) / room
    return [math.log1p(bet * excess) for bet in bets]


def calibrated(p: float) -> float:
    """The log e-value of a p-value, ``E = (1 - p + p ln p) / (p (ln p)^2)``: ``k p^(k-1)`` averaged over k.

    Falls with p; its mean under a uniform p is 1. Source: V. Vovk, R. Wang, Ann. Stat. 49 (2021).

    >>> round(math.exp(calibrated(0.01)), 3), round(math.exp(calibrated(1.0)), 3)
    (4.451, 0.5)
    """
    if not 0 < p <= 1:
        raise DataError("not a p-value", got=p, expected="in (0, 1]", field="p")
    t = -math.log(p)
    if t < 1e-3:  # E = (e^t - 1 - t) / t^2 by its series
        return math.log(0.5 + t / 6 + t * t / 24)
    return t + math.log1p(-(1 + t) * math.exp(-t)) - 2 * math.log(t)


def shafer(p: float) -> float:
    """The log e-value ``E = 1 / sqrt(p) - 1`` of a p-value; nothing at p = 1. Source: G. Shafer, J. R. Stat. Soc. A 184 (2021).

    >>> round(math.exp(shafer(0.01)), 9)
    9.0
    """  # noqa: E501
    if not 0 < p <= 1:
        raise DataError("not a p-value", got=p, expected="in (0, 1]", field="p")
    return math.log(max(p**-0.5 - 1, 0.0)) if p < 1 else NONE


def ranked(score: float, null: Sequence[float], past: Sequence[float] = ()) -> float:
    """The conformal p-value of a score among the baseline's and those before it, ``(1 + #{>= score}) / (m + 1)``.

    With what was judged before in the pool, the p-values of one stream are independent where the windows are
    exchangeable, so that their e-values multiply. Against the baseline alone they share its luck: nothing is proved.
    The price: windows after a change lie in the pool too, so that evidence of it slows down (`budget.soonest`).
    Source: Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World (2005), section 7.1.

    >>> ranked(3.0, [1.0, 2.0]), ranked(3.0, [1.0, 2.0], [4.0])
    (0.3333333333333333, 0.5)
    """
    above = sum(one >= score for one in null) + sum(one >= score for one in past)
    return (1 + above) / (len(null) + len(past) + 1)
