"""Version skew: how often a query's vector met item vectors of another version, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from incumbent.errors import DataError
from incumbent.stats import fixed
from incumbent.stats.buckets import Buckets
from incumbent.stats.estimate import Estimate

#: rows of known versions and those that differ; rows without a version; and, where a metric is known, its rows and sums
VARIABLES = ("known", "mismatched", "unknown", "same_rows", "same_sum", "other_rows", "other_sum")


def skew_zero(*, k: int = 128) -> Buckets:
    """No pairs seen, in k buckets of users: a `Buckets` of `VARIABLES`, so that it adds, subtracts and is stored."""
    return Buckets.zero(k=k, variables=list(VARIABLES))


def skew_update(
    state: Buckets, bucket: ArrayLike, query_versions: ArrayLike | Sequence[str | None],
    item_versions: ArrayLike | Sequence[str | None], metric: ArrayLike | None = None,
) -> Buckets:
    """Add (query, item) pairs: the bucket of the user (`buckets.bucket_of`), both versions, and a metric (a click).

    A version that is None or empty is unknown: counted, and neither matched nor mismatched. A metric that is not finite
    is left out of the means alone. `DataError` for columns of unequal length.

    >>> state = skew_update(skew_zero(k=4), [0, 1, 2, 3], ["a", "a", "a", None], ["a", "b", "a", "a"], [1, 0, 0, 1])
    >>> skew_share(state).value, metric_gap(state).value
    (0.3333333333333333, -0.5)
    """
    query, item = (np.asarray(side, dtype=object) for side in (query_versions, item_versions))
    m = len(query)
    values = np.full(m, np.nan) if metric is None else np.asarray(metric, dtype=np.float64)
    where = np.asarray(bucket, dtype=np.int64 if m == 0 else None)
    if len(item) != m or values.shape != (m,) or where.shape != (m,):
        raise DataError("columns of unequal length", got=(where.shape, m, len(item), values.shape),
                        expected="one bucket, two versions and one metric per row")
    known = query.astype(bool) & item.astype(bool)  # neither None nor empty
    other = known & (query != item).astype(bool)
    told = np.isfinite(values)
    values = np.where(told, values, 0.0)
    same, differ = known & ~other & told, other & told
    return state.update(where, np.column_stack([
        known, other, ~known, same, same * values, differ, differ * values]).astype(np.float64))


def skew_share(state: Buckets, *, alpha: float = 0.05) -> Estimate:
    """The share of pairs of known versions whose versions differ, clustered by user; missing where none is known."""
    return state.ratio("mismatched", "known", alpha=alpha)


def metric_gap(state: Buckets, *, alpha: float = 0.05, unit: str = "") -> Estimate:
    """The metric's mean over mismatched pairs minus that over matched ones, clustered by user.

    ``R1 - R0`` with ``R = sum S / sum N`` per side; with k buckets j of users, ``e_j = (S1_j - R1 N1_j) / sum N1 -
    (S0_j - R0 N0_j) / sum N0`` and ``se^2 = k / (k - 1) sum_j e_j^2``, Student's t with one degree less than buckets
    with rows. A user on both sides is no problem. An association and not an effect: traffic decides which version
    a request meets. Missing where either side has no metric. Source: Deng, Knoblich, Lu, KDD 2018.
    """
    method = "difference of ratios over user buckets"
    columns = {name: state.sums[:, state.variables.index(name)] for name in VARIABLES}
    n0, n1 = float(columns["same_rows"].sum()), float(columns["other_rows"].sum())
    if not n0 or not n1:
        side = "mismatched" if n0 else "matched"
        return Estimate.missing(f"no {side} pair with a metric", n=int(n0 + n1), method=method, unit=unit)
    r0, r1 = float(columns["same_sum"].sum()) / n0, float(columns["other_sum"].sum()) / n1
    rest = (columns["other_sum"] - r1 * columns["other_rows"]) / n1
    rest = rest - (columns["same_sum"] - r0 * columns["same_rows"]) / n0
    used = int(((columns["same_rows"] + columns["other_rows"]) > 0).sum())
    k = len(rest)
    se = math.sqrt(k / (k - 1) * float(rest @ rest)) if used > 1 else None
    return fixed.interval(r1 - r0, se, int(n0 + n1), df=used - 1, alpha=alpha, method=method, unit=unit)
