"""Buckets: sums per bucket of users, so that the user stays the unit of inference while rows are what adds.

A user is in the same bucket every day; buckets are independent, users within them need not be kept apart. The variance
of a mean of rows, or of any ratio of sums, comes from between the buckets: k is the sample size, so take 100 or more.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from incumbent.errors import DataError, StateError
from incumbent.stats import fixed
from incumbent.stats.array_state import ArrayState
from incumbent.stats.estimate import Estimate
from incumbent.stats.moments import as_rows, variable_names


class Buckets(ArrayState):
    """Per bucket of users: the number of rows and the sums of d variables. Days add; a part can be subtracted.

    A row with a value that is not finite is left out whole and counted in `missing`; the method of every estimate says
    how many were. Sums of whole numbers below 2**53
    are exact in any order; of others, within 1e-9 of the sum of magnitudes.

    >>> b = Buckets.zero(k=4, variables=["value"]).update([0, 1, 2, 3], [1.0, 2.0, 3.0, 6.0])
    >>> e = b.ratio("value")
    >>> e.value, round(e.se, 4)
    (3.0, 1.0801)
    """

    name = "buckets"
    version = 1
    tags = frozenset({"subtract"})
    arrays: ClassVar[dict[str, str]] = {"rows": "<i8", "missing": "<i8", "sums": "<f8"}
    example_configs = ({"k": 8, "variables": ["a"]}, {"k": 16, "variables": ["a"]}, {"k": 8, "variables": ["b"]})
    rows: NDArray[np.int64]
    missing: NDArray[np.int64]
    sums: NDArray[np.float64]

    @classmethod
    def zero(cls, *, k: int = 128, variables: Sequence[str] = ("x",), **unknown: Any) -> Self:
        """Nothing seen yet, in k buckets (2 to 65,536), of these variables."""
        if isinstance(k, bool) or not isinstance(k, int) or not 2 <= k <= 65_536:
            raise DataError("k must be a whole number in [2, 65536]", got=k, field="k")
        names = variable_names(variables, unknown)
        return cls({"k": k, "variables": names}, rows=np.zeros(k), missing=0, sums=np.zeros((k, len(names))))

    @property
    def variables(self) -> list[str]:
        """The names of the columns."""
        return list(self._config["variables"])

    @property
    def empty(self) -> bool:
        """True where no row was seen, not even a missing one."""
        return not self.rows.any() and int(self.missing) == 0

    def update(self, bucket: ArrayLike, values: ArrayLike) -> Self:
        """Add rows: `bucket` (m,) in [0, k), from `bucket_of`; `values` (m, d), or (m,) where d is 1."""
        k, d = self.sums.shape
        values, where = as_rows(values, d), np.asarray(bucket)
        if where.shape != (len(values),):
            raise DataError("one bucket per row", got=where.shape, expected=f"({len(values)},)", field="bucket")
        if len(values) and (where.dtype.kind not in "iu" or where.min() < 0 or where.max() >= k):
            raise DataError("bucket out of range", got=(where.min(), where.max()), expected=f"integers in [0, {k})",
                            field="bucket", hint="use bucket_of(user_ids, k)")
        good = np.isfinite(values).all(axis=1)
        where, values = where[good].astype(np.int64), values[good]
        sums = np.stack([np.bincount(where, weights=column, minlength=k) for column in values.T], axis=1)
        rows = np.bincount(where, minlength=k)
        return self._with(rows=self.rows + rows, missing=self.missing + (~good).sum(), sums=self.sums + sums)

    def _combine(self, other: Self, sign: int) -> Self:
        rows, missing = self.rows + sign * other.rows, self.missing + sign * other.missing
        if rows.min() < 0 or missing < 0:
            raise StateError("what is subtracted is no part of this", got=other, expected="a state merged before")
        sums = np.where(rows[:, None] == 0, 0.0, self.sums + sign * other.sums)
        return self._with(rows=rows, missing=missing, sums=sums)

    @classmethod
    def _together(cls, states: Sequence[Self]) -> Self:
        return states[0]._with(**cls._sums(states))

    @classmethod
    def _sums(cls, states: Sequence[Self]) -> dict[str, ArrayLike]:
        return {key: np.array([getattr(state, key) for state in states]).sum(axis=0)
                for key in ("rows", "missing", "sums")}

    def beside(self, other: Buckets) -> Buckets:
        """The same buckets of users with the variables of both, for a ratio across two states; rows are this one's.

        >>> shown = Buckets.zero(k=2, variables=["requests"]).update([0, 1], [4.0, 6.0])
        >>> bought = Buckets.zero(k=2, variables=["value"]).update([0, 0, 1], [10.0, 5.0, 15.0])
        >>> shown.beside(bought).ratio("value", "requests").value
        3.0
        """
        k = self.config["k"]
        if other.config["k"] != k or set(self.variables) & set(other.variables):
            raise StateError("states do not stand side by side", got=other.config,
                             expected=f"k = {k} and other variables")
        return Buckets({"k": k, "variables": [*self.variables, *other.variables]}, rows=self.rows, missing=self.missing,
                       sums=np.hstack([self.sums, other.sums]))

    def estimates(self) -> dict[str, Estimate]:
        """The mean per row of every variable, clustered by user."""
        return {name: self.ratio(name) for name in self.variables}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Heavy-tailed rows of users in eight buckets."""
        return rng.integers(0, 8, rows), rng.lognormal(size=rows)

    def ratio(self, numerator: str, denominator: str | None = None, *, alpha: float = 0.05, unit: str = "") -> Estimate:
        """``sum(numerator) / sum(denominator)`` with its user-clustered interval; denominator None counts rows.

        Delta method with R the ratio, S and N the sums per bucket: ``se^2 = k/(k-1) * sum_j (S_j - R N_j)^2 / (sum N)^2``,
        Student's t with one degree less than the buckets that have rows. n counts rows. Missing without rows or where
        the denominator's sum is 0. Source: Deng, Knoblich, Lu, KDD 2018.
        """  # noqa: E501
        top, bottom, n = self._column(numerator), self._column(denominator), int(self.rows.sum())
        used = int((self.rows > 0).sum())
        method = self._how(f"ratio over {used} user buckets")
        if n == 0:
            return Estimate.missing(self._why(), method=method, unit=unit)
        if bottom.sum() == 0:
            return Estimate.missing("the denominator is 0", n=n, method=method, unit=unit)
        value, k = float(top.sum() / bottom.sum()), len(top)
        rest = top - value * bottom
        se = math.sqrt(k / (k - 1) * float(rest @ rest)) / abs(float(bottom.sum())) if used > 1 else None
        return fixed.interval(value, se, n, df=used - 1, alpha=alpha, method=method, unit=unit)

    def jackknife(
        self, numerator: str, denominator: str | None = None, *, alpha: float = 0.05, unit: str = ""
    ) -> Estimate:
        """The same ratio with the jackknife's standard error: ``(k-1)/k * sum_j (R_-j - mean R_-j)^2`` over buckets.

        Nearer to the truth than the delta method where the denominator varies much. Buckets without rows are left out.
        """
        top, bottom, n = self._column(numerator), self._column(denominator), int(self.rows.sum())
        seen = self.rows > 0
        used = int(seen.sum())
        method = self._how(f"jackknife over {used} user buckets")
        if n == 0:
            return Estimate.missing(self._why(), method=method, unit=unit)
        left = bottom.sum() - bottom[seen]
        if bottom.sum() == 0 or (used > 1 and (left == 0).any()):
            return Estimate.missing("the denominator is 0", n=n, method=method, unit=unit)
        value = float(top.sum() / bottom.sum())
        se = None
        if used > 1:
            without = (top.sum() - top[seen]) / left
            se = math.sqrt((used - 1) / used * float(((without - without.mean()) ** 2).sum()))
        return fixed.interval(value, se, n, df=used - 1, alpha=alpha, method=method, unit=unit)

    def total(self, name: str | None = None, *, alpha: float = 0.05, unit: str = "") -> Estimate:
        """The sum of one variable (None: the number of rows), its variance ``k * Var(bucket sums)``: users as they came."""  # noqa: E501
        column, n, k = self._column(name), int(self.rows.sum()), len(self.rows)
        method = self._how(f"total over {k} user buckets")
        if n == 0:
            return Estimate.missing(self._why(), method=method, unit=unit)
        se = math.sqrt(k * float(column.var(ddof=1)))
        return fixed.interval(float(column.sum()), se, n, df=k - 1, alpha=alpha, method=method, unit=unit)

    def _how(self, method: str) -> str:
        missing = int(self.missing)
        return f"{method}, {missing} missing rows left out" if missing and self.rows.any() else method

    def _why(self) -> str:
        return f"all {int(self.missing)} rows are missing" if int(self.missing) else "no rows"

    def _column(self, name: str | None) -> NDArray[np.float64]:
        if name is None:
            return self.rows.astype(np.float64)
        if name not in self.variables:
            raise DataError("no such variable", got=name, expected="one of " + ", ".join(self.variables))
        column: NDArray[np.float64] = self.sums[:, self.variables.index(name)]
        return column


def bucket_of(user_ids: Iterable[str], k: int) -> NDArray[np.int64]:
    """The bucket of each user in [0, k): the first 8 bytes of BLAKE2b(user_id), big-endian, modulo k.

    The same on every machine, and the lake's own bucket for k = 16, so that k = 16 j splits every lake bucket in j.

    >>> bucket_of(["u42", "u42", "u7"], 16).tolist()
    [15, 15, 0]
    """
    seen: dict[str, int] = {}
    out = []
    for user in user_ids:
        found = seen.get(user)
        if found is None:
            found = int.from_bytes(hashlib.blake2b(user.encode(), digest_size=8).digest(), "big") % k
            seen[user] = found
        out.append(found)
    return np.array(out, dtype=np.int64)
