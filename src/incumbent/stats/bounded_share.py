"""The interval of a mean of values in [0, 1] over clusters, honest near 0 and 1 where the normal one is not."""

from __future__ import annotations

import math

from scipy import stats

from incumbent.errors import DataError
from incumbent.stats.estimate import Estimate
from incumbent.stats.fixed import check_alpha

_SAME = 1e-12  # what values differ by that differ by rounding
HOW = "Clopper-Pearson at the effective sample size"


def bounded_share(
    value: float, se: float | None, n: int, clusters: int, *, alpha: float = 0.05, method: str = "share",
    unit: str = "",
) -> Estimate:
    """Clopper and Pearson's interval at the effective sample size ``m = p (1 - p) / se^2 (z / t)^2``.

    z is the normal quantile, t Student's with G - 1 degrees: the ends are the Beta quantiles ``B(alpha/2; pm, m - pm + 1)``
    and ``B(1 - alpha/2; pm + 1, m - pm)``. Where all values are 0, or all 1, m is the number of clusters: 0 errors of 400
    users are at most 0.92 %. Values that are all equal in between have no spread, and one cluster says nothing.
    `DataError` for a value outside [0, 1]. Source: Korn and Graubard, Survey Methodology 24 (1998).

    >>> none, one = bounded_share(0.0, 0.0, 400, 400), bounded_share(1 / 400, 0.0025, 400, 400)
    >>> round(none.high, 4), round(one.low, 5), round(one.high, 4)
    (0.0092, 6e-05, 0.0139)
    """  # noqa: E501
    check_alpha(alpha)
    if not 0 <= value <= 1:
        raise DataError("a share must be in [0, 1]", got=value, field="value")
    if se is not None and se < _SAME and min(value, 1 - value) < _SAME:
        value = float(round(value))  # sums of shares may be off by their last bit
    if value in (0.0, 1.0):
        end = (alpha / 2) ** (1 / clusters)
        low, high = (0.0, 1 - end) if value == 0 else (end, 1.0)
    elif se is None or clusters < 2:
        low, high = 0.0, 1.0
    elif se < _SAME:
        low, high = value, value
    else:
        z, t = float(stats.norm.ppf(1 - alpha / 2)), float(stats.t.ppf(1 - alpha / 2, clusters - 1))
        m = value * (1 - value) / se**2 * (z / t) ** 2
        hits = value * m
        low = float(stats.beta.ppf(alpha / 2, hits, m - hits + 1))
        high = float(stats.beta.ppf(1 - alpha / 2, hits + 1, m - hits))
        low, high = (min(low, value), max(high, value)) if math.isfinite(low + high) else (0.0, 1.0)
    return Estimate(value, low, high, se, n, f"{method}, {HOW}", unit=unit)


def within(estimate: Estimate, clusters: int, *, alpha: float = 0.05) -> Estimate:
    """A mean of values in [0, 1] over so many clusters, its interval that of `bounded_share`; a missing one as it is.

    Student's interval leaves [0, 1] with few clusters, and near its ends covers far less than it says.

    >>> few = within(Estimate(0.9, 0.63, 1.17, se=0.1, n=6, method="mean"), 6)
    >>> round(few.low, 2), few.high <= 1
    (0.38, True)
    """
    if estimate.value is None:
        return estimate
    value = min(max(estimate.value, 0.0), 1.0)  # sums of shares may be off by their last bit
    return bounded_share(value, estimate.se, estimate.n, clusters, alpha=alpha, method=estimate.method,
                         unit=estimate.unit)
