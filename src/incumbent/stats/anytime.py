"""Asymptotic confidence sequences: intervals that hold at all sample sizes at once, so that one may look every day.

Normal-mixture boundary with parameter r, for an estimate with standard error se over n units and s = se sqrt(n):
``value +- s sqrt(2 (n r^2 + 1) / (n r)^2 * ln(sqrt(n r^2 + 1) / alpha))``. One-sided: the logarithm becomes
``ln(1 + sqrt(n r^2 + 1) / (2 alpha))``. Source: Waudby-Smith et al., arXiv 2103.06476, equations 9 and 161.

They are asymptotic: look at nothing before about 100 units. A sample without any variance (no error among 500
requests) gives no interval, unless `sd_floor` states the least standard deviation per unit that one is ready to assume.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from scipy import special

from incumbent.errors import DataError
from incumbent.stats.estimate import Estimate
from incumbent.stats.fixed import check_alpha

Side = Literal["two", "greater", "less"]


def tuning(alpha: float, n_star: float, *, one_sided: bool = False) -> float:
    """The mixture parameter r that makes the sequence tightest at `n_star` units: ``sqrt((-2 ln a + ln(1 - 2 ln a)) / n*)``.

    a is alpha, or 2 alpha for a one-sided sequence.

    >>> round(tuning(0.05, 5000), 9), round(tuning(0.05, 5000, one_sided=True), 9)
    (0.039840067, 0.035577689)
    """  # noqa: E501
    check_alpha(alpha)
    if not n_star > 0:
        raise DataError("n_star must be positive", got=n_star, hint="the number of units at which you expect to decide")
    a = 2 * alpha if one_sided else alpha
    if not a < 1:
        raise DataError("alpha of a one-sided sequence must be in (0, 0.5)", got=alpha, field="alpha")
    return math.sqrt((-2 * math.log(a) + math.log1p(-2 * math.log(a))) / n_star)


def two_sided(estimate: Estimate, *, alpha: float = 0.05, n_star: float = 5000, sd_floor: float = 0.0) -> Estimate:
    """The two-sided confidence sequence at this n, from the estimate's value, se and n; missing stays missing.

    >>> e = two_sided(Estimate(0.0, se=1 / 5000 ** 0.5, n=5000))
    >>> round(e.high, 8)
    0.04292434
    """
    half = _half_width(estimate, alpha, n_star, sd_floor, one_sided=False)
    return _with_ends(estimate, half, half, "confidence sequence")


def lower(estimate: Estimate, *, alpha: float = 0.05, n_star: float = 5000, sd_floor: float = 0.0) -> Estimate:
    """The lower confidence sequence: with probability 1 - alpha the truth is never below `low`; `high` is infinite."""
    half = _half_width(estimate, alpha, n_star, sd_floor, one_sided=True)
    return _with_ends(estimate, half, math.inf, "lower confidence sequence")


def upper(estimate: Estimate, *, alpha: float = 0.05, n_star: float = 5000, sd_floor: float = 0.0) -> Estimate:
    """The upper confidence sequence: with probability 1 - alpha the truth is never above `high`; `low` is infinite."""
    half = _half_width(estimate, alpha, n_star, sd_floor, one_sided=True)
    return _with_ends(estimate, math.inf, half, "upper confidence sequence")


def log_e_value(
    estimate: Estimate, null: float = 0.0, *, alpha: float = 0.05, n_star: float = 5000, side: Side = "two",
    sd_floor: float = 0.0,
) -> float:
    """The natural logarithm of `e_value`, for evidence beyond 1e308."""
    r = tuning(alpha, n_star, one_sided=side != "two")
    s = _sd(estimate, sd_floor)
    if estimate.value is None or s is None or not s > 0:
        return 0.0
    spread = estimate.n * r * r + 1
    z = r * estimate.n * (estimate.value - null) / s / math.sqrt(spread)
    log_e = z * z / 2 - math.log(spread) / 2
    if side == "two":
        return log_e
    return log_e + math.log(2) + float(special.log_ndtr(z if side == "greater" else -z))


def e_value(
    estimate: Estimate, null: float = 0.0, *, alpha: float = 0.05, n_star: float = 5000, side: Side = "two",
    sd_floor: float = 0.0,
) -> float:
    """The evidence against ``truth = null``: ``exp(r^2 S^2 / (2 (n r^2 + 1))) / sqrt(n r^2 + 1)``, S = n (value - null) / s.

    It is 1/alpha exactly where `null` is an end of `two_sided`. ``greater`` tests truth <= null, ``less`` truth >= null,
    with the half-normal mixture, which is at least 1/alpha at the ends of `lower` and `upper`. 1.0 (no evidence) where
    the estimate is missing or s is 0 or unknown.

    >>> round(e_value(Estimate(0.05, se=1 / 5000 ** 0.5, n=5000)), 4)
    86.1027
    """  # noqa: E501
    log_e = log_e_value(estimate, null, alpha=alpha, n_star=n_star, side=side, sd_floor=sd_floor)
    return math.exp(log_e) if log_e < 709 else math.inf


def p_value(
    estimate: Estimate, null: float = 0.0, *, alpha: float = 0.05, n_star: float = 5000, side: Side = "two",
    sd_floor: float = 0.0,
) -> float:
    """The anytime-valid p-value ``min(1, 1/e)``: below alpha exactly where `two_sided` leaves `null` out."""
    return math.exp(min(0.0, -log_e_value(estimate, null, alpha=alpha, n_star=n_star, side=side, sd_floor=sd_floor)))


def _sd(estimate: Estimate, floor: float) -> float | None:
    """The standard deviation per unit, not below the floor; None where nobody knows it."""
    if not 0 <= floor < math.inf:
        raise DataError("sd_floor must be finite and not negative", got=floor, field="sd_floor")
    if estimate.se is None or estimate.n < 2:
        return None
    return max(estimate.se * math.sqrt(estimate.n), floor)


def _half_width(estimate: Estimate, alpha: float, n_star: float, floor: float, *, one_sided: bool) -> float:
    r, s, n = tuning(alpha, n_star, one_sided=one_sided), _sd(estimate, floor), estimate.n
    if s is None or s == 0:
        return math.inf
    spread = n * r * r + 1
    root = math.sqrt(spread)
    log = math.log1p(root / (2 * alpha)) if one_sided else math.log(root / alpha)
    return s * math.sqrt(2 * spread * log) / (n * r)


def _with_ends(estimate: Estimate, down: float, up: float, method: str) -> Estimate:
    method = f"{method} of {estimate.method}" if estimate.method else method
    if estimate.value is None:
        return replace(estimate, method=method)
    return replace(estimate, low=estimate.value - down, high=estimate.value + up, method=method)
