"""Fixed-sample inference on estimates: Student's t interval, its p-value, Welch's difference of two groups.

Valid for one look at a sample whose size was fixed beforehand. For repeated looks use `incumbent.stats.anytime`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from numbers import Real

from scipy import stats

from incumbent.errors import DataError
from incumbent.stats.estimate import Estimate


def check_alpha(alpha: float) -> None:
    """Raise `DataError` unless alpha is an error rate in (0, 1)."""
    if not isinstance(alpha, Real) or not 0 < alpha < 1:
        raise DataError("alpha must be in (0, 1)", got=alpha, hint="5 % is 0.05", field="alpha")


def interval(value: float, se: float | None, n: int, *, df: float, alpha: float = 0.05, method: str = "t",
             unit: str = "") -> Estimate:
    """The two-sided Student interval ``value +- t(1 - alpha/2, df) * se``; without se or df the ends are infinite.

    >>> e = interval(0.5, 0.1, 30, df=29)
    >>> round(e.low, 4), round(e.high, 4)
    (0.2955, 0.7045)
    """
    check_alpha(alpha)
    if se is None or not df > 0:
        return Estimate(value, -math.inf, math.inf, None, n, method, unit=unit)
    half = float(stats.t.ppf(1 - alpha / 2, df)) * se
    return Estimate(value, value - half, value + half, se, n, method, unit=unit)


def unless_all_zero(estimate: Estimate) -> Estimate:
    """The estimate, without its interval where it is 0 and nothing varies: only zeros were seen of what has no bound.

    Of values in [0, 1] so many zeros say how large the mean can be (`bounded_share`); of others they say nothing.

    >>> unless_all_zero(interval(0.0, 0.0, 40, df=39)).high, unless_all_zero(interval(2.0, 0.0, 40, df=39)).high
    (None, 2.0)
    """
    if estimate.value != 0 or estimate.se != 0:
        return estimate
    return replace(estimate, low=None, high=None, se=None, method=f"{estimate.method}, no interval: everything is 0")


def p_value(estimate: Estimate, null: float = 0.0, *, df: float | None = None) -> float:
    """The two-sided p-value of ``(value - null) / se`` by Student's t with `df` degrees of freedom (default n - 1).

    1.0 where the estimate is missing or its se is unknown; with se 0, 1.0 at the null and 0.0 elsewhere.

    >>> round(p_value(Estimate(2.0, se=1.0, n=30)), 4)
    0.0549
    """
    if estimate.value is None or estimate.se is None:
        return 1.0
    if estimate.se == 0:
        return 1.0 if estimate.value == null else 0.0
    return float(2 * stats.t.sf(abs(estimate.value - null) / estimate.se, estimate.n - 1 if df is None else df))


def welch_df(a: Estimate, b: Estimate) -> float:
    """Welch and Satterthwaite's degrees of freedom ``(va + vb)^2 / (va^2 / (na-1) + vb^2 / (nb-1))``, v = se^2; 0 where unknown."""  # noqa: E501
    if a.se is None or b.se is None or min(a.n, b.n) < 2:
        return 0.0
    va, vb = a.se**2, b.se**2
    if va + vb == 0:
        return float(a.n + b.n - 2)
    share = va / (va + vb)  # in this form nothing underflows
    return 1 / (share**2 / (a.n - 1) + (1 - share) ** 2 / (b.n - 1))


def difference(control: Estimate, treatment: Estimate, *, relative: bool = False, alpha: float = 0.05) -> Estimate:
    """Treatment minus control of two independent groups, with Welch's interval.

    Absolute: ``b - a``, variance ``sb^2 + sa^2`` (se squared). Relative: ``(b - a) / |a|`` by the delta method,
    variance ``sb^2 / a^2 + sa^2 b^2 / a^4``. n is the sum. Missing where either is missing, or the control is 0 under
    `relative`. Source: B. L. Welch, Biometrika 34 (1947); gbstats.

    >>> a, b = Estimate(10.0, se=1.0, n=50), Estimate(12.0, se=1.0, n=50)
    >>> d = difference(a, b)
    >>> d.value, round(d.se, 4), d.low < 0 < d.high
    (2.0, 1.4142, True)
    """
    check_alpha(alpha)
    n, method = control.n + treatment.n, "welch relative" if relative else "welch"
    unit = "" if relative else treatment.unit
    if control.value is None or treatment.value is None:
        reasons = [f"{side}: {part.reason}" for side, part in (("control", control), ("treatment", treatment))
                   if part.reason]
        return Estimate.missing("; ".join(reasons), n=n, method=method, unit=unit)
    a, b = control.value, treatment.value
    if relative and a == 0:
        return Estimate.missing("the control is 0, so nothing is relative to it", n=n, method=method)
    value, scale_a, scale_b = b - a, 1.0, 1.0
    if relative:
        value, scale_a, scale_b = (b - a) / abs(a), abs(b / a / a), abs(1 / a)
    se = None
    if control.se is not None and treatment.se is not None:
        se = math.hypot(scale_a * control.se, scale_b * treatment.se)
    return interval(value, se, n, df=welch_df(control, treatment), alpha=alpha, method=method, unit=unit)
