"""Delayed conversions: the rate that a cohort will reach, so that one which is young does not read as a collapse."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from incumbent.errors import StateError
from incumbent.stats import fixed
from incumbent.stats.binomial import proportion
from incumbent.stats.delay import Delay
from incumbent.stats.estimate import Estimate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Development:
    """Which part of the conversions within the window has come by each age, with the variance of its logarithm.

    `share` (A + 1,) rises to 1 at age A; `variance` (A + 1, A + 1) is the covariance of ``log share`` between ages.
    `least` is the youngest age of which anything can be said: below it no conversion was seen by that age.
    """

    share: Array
    variance: Array
    least: int


def development(reference: Delay) -> Development | None:
    """The distribution of the delay from a triangle whose ages are cut off at different points, or None without conversions.

    Reversed hazard: of the conversions with a delay of at most k, in impressions at least k old, ``h_k = d_k / R_k`` came
    at k exactly; ``F(a) = product of (1 - h_k) over k > a``, which is the chain ladder's. Greenwood's
    ``Var log F(a) = sum h_k / (R_k (1 - h_k))``. Sources: Lagakos, Barraj, De Gruttola, Biometrika 75 (1988); T. Mack,
    ASTIN Bulletin 23 (1993); O. Chapelle, KDD 2014, for the problem.

    >>> d = Delay.zero(ages=2).update([2] * 10, [0] * 4 + [1] * 3 + [2] * 1 + [None] * 2)
    >>> development(d).share.tolist()
    [0.5, 0.875, 1.0]
    """  # noqa: E501
    size = reference.ages + 1
    late, at_risk = np.zeros(size), np.zeros(size)
    for k in range(size):
        rows = reference.converted[k:]
        late[k], at_risk[k] = rows[:, k].sum(), rows[:, :k + 1].sum()
    if not at_risk[-1]:
        return None
    hazard = np.divide(late, at_risk, out=np.zeros(size), where=at_risk > 0)
    share, spread, least = np.ones(size), np.zeros(size), 0
    for a in range(size - 2, -1, -1):
        if hazard[a + 1] >= 1 or at_risk[a + 1] == 0:
            least = a + 1
            share[:least], spread[:least] = 0.0, np.inf
            break
        share[a] = share[a + 1] * (1 - hazard[a + 1])
        spread[a] = spread[a + 1] + hazard[a + 1] / (at_risk[a + 1] * (1 - hazard[a + 1]))
    return Development(share, np.minimum.outer(spread, spread), least)


def final_rate(cohort: Delay, reference: Delay, *, alpha: float = 0.05) -> Estimate:
    """The share of a cohort that will have converted by the end of the window, from what it did so far and a triangle.

    ``c / sum n_a F(a)``: the conversions over the impressions, each counted by the part of its conversions that should
    have come. Interval on the log scale from ``(1 - p) / c`` and the covariance of F, cut at 1; Clopper and Pearson's
    upper end for no conversions, and their lower one where the ratio is above 1: the share is 1 then, and the method
    says so. The cohort may hold any mix of ages and may be part of the reference. That delays are what they were in the
    reference is an assumption: a rate that differs, with it, is a change of quality or of delay. Missing without
    impressions, where the reference has no mature conversions, and for a cohort too young to say anything.
    `StateError` for different windows.

    >>> past = Delay.zero(ages=2).update([2] * 1000, [0] * 40 + [1] * 30 + [2] * 10 + [None] * 920)
    >>> young = Delay.zero(ages=2).update([0] * 1000, [0] * 40 + [None] * 960)
    >>> now = final_rate(young, past)
    >>> round(now.value, 3), now.low < 0.08 < now.high, young.estimates()["so_far"].value
    (0.08, True, 0.04)
    """
    fixed.check_alpha(alpha)
    if cohort.config_hash != reference.config_hash:
        raise StateError("triangles of different windows do not compare", got=cohort.ages, expected=str(reference.ages))
    n, c, method = cohort.n, cohort.conversions, "reversed hazard"
    grown = development(reference)
    if n == 0 or grown is None:
        return Estimate.missing("no impressions" if n == 0 else "the reference has no mature conversions", n=n,
                                method=method)
    weights = cohort.shown * grown.share
    effective = float(weights.sum())
    if effective <= 0:
        return Estimate.missing(f"too young: nothing is known below an age of {grown.least}", n=n, method=method)
    part = weights / effective
    used = part > 0
    spread = float(part[used] @ grown.variance[np.ix_(used, used)] @ part[used])
    z = float(stats.norm.ppf(1 - alpha / 2))
    if c == 0:
        high = proportion(0, max(math.floor(effective), 1), alpha=alpha).high or 1.0
        return Estimate(0.0, 0.0, min(high * math.exp(z * math.sqrt(spread)), 1.0), None, n, method)
    value = c / effective
    se = math.sqrt(max(1 - value, 0.0) / c + spread)
    low, high = value * math.exp(-z * se), min(value * math.exp(z * se), 1.0)
    if value <= 1:
        return Estimate(value, low, high, value * se, n, method)
    least = proportion(*[max(math.floor(effective), 1)] * 2, alpha=alpha).low or 0.0
    return Estimate(1.0, min(low, least * math.exp(-z * math.sqrt(spread))), 1.0, None, n,
                    f"{method}, cut at 1: more than the delays of before allow")


def maturity(cohort: Delay, reference: Delay) -> Estimate:
    """The part of a cohort's conversions that should have come by now, in [0, 1]: show it beside any rate so far."""
    grown = development(reference)
    if not cohort.n or grown is None:
        return Estimate.missing("no impressions" if not cohort.n else "the reference has no mature conversions",
                                n=cohort.n, method="reversed hazard")
    return Estimate(float(cohort.shown @ grown.share) / cohort.n, n=cohort.n, method="reversed hazard")
