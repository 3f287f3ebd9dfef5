"""Moments: n, mean vector and scatter matrix of d variables. One additive class behind means, ratios and CUPED.

Merge (Chan, Golub, LeVeque 1979): ``S = Sa + Sb + na nb / n * (mb - ma)(mb - ma)'``, which is what makes the variance
survive a shift by 1e9; sums of squares do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from incumbent.errors import DataError, StateError
from incumbent.stats import fixed
from incumbent.stats.array_state import ArrayState
from incumbent.stats.estimate import Estimate

_ROWS = 1 << 13  # rows at a time: a pass after the first finds them in the cache
_Sums = tuple[int, NDArray[np.float64], NDArray[np.float64]]  # rows, their means (d,) and scatter (d, d)
_EMPTY: _Sums = (0, np.zeros(0), np.zeros(0))


class Moments(ArrayState):
    """Count, means and scatter of named variables over units (one row per unit: the user, as a rule).

    A row with a value that is not finite (NaN, inf) is left out whole and counted in `missing`; the method of every
    estimate says how many were. Estimates with fewer
    than two units have a value and an unbounded interval; with none they are missing. In `ratio` and `paired` a
    variable named None is the constant 1, so that a mean is the ratio to None and a net preference is a pair without N.

    >>> m = Moments.zero(variables=["x"]).update([1.0, 2.0, 4.0, float("nan")])
    >>> int(m.n), int(m.missing), round(m.mean("x").value, 4), round(m.variance("x"), 4)
    (3, 1, 2.3333, 2.3333)
    """

    name = "moments"
    version = 1
    tags = frozenset({"subtract", "shift"})
    arrays: ClassVar[dict[str, str]] = {"n": "<i8", "missing": "<i8", "means": "<f8", "scatter": "<f8"}
    example_configs = ({"variables": ["a", "b"]}, {"variables": ["a", "c"]})
    n: NDArray[np.int64]
    missing: NDArray[np.int64]
    means: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @classmethod
    def zero(cls, *, variables: Sequence[str] = ("x",), **unknown: Any) -> Self:
        """Nothing seen yet of these variables (distinct names, at least one)."""
        names = variable_names(variables, unknown)
        d = len(names)
        return cls({"variables": names}, n=0, missing=0, means=np.zeros(d), scatter=np.zeros((d, d)))

    @property
    def variables(self) -> list[str]:
        """The names of the columns."""
        return list(self._config["variables"])

    @property
    def empty(self) -> bool:
        """True where no row was seen, not even a missing one."""
        return int(self.n) == 0 and int(self.missing) == 0

    def update(self, values: ArrayLike) -> Self:
        """Add rows: shape (m, d), or (m,) where d is 1."""
        columns = as_rows(values, len(self.means)).T
        added, origin = _EMPTY, None
        for begin in range(0, columns.shape[1], _ROWS):
            block = _finite(np.ascontiguousarray(columns[:, begin:begin + _ROWS]))
            if block.size:
                origin = block[:, :1] if origin is None else origin
                added = _pooled(added, _sums(block - origin), 1)
        n, means, scatter = added
        here = (n, means if origin is None else origin[:, 0] + means, scatter)
        return self._added(here, columns.shape[1] - n, 1)

    def _combine(self, other: Self, sign: int) -> Self:
        return self._added((int(other.n), other.means, other.scatter), int(other.missing), sign)

    def _added(self, other: _Sums, other_missing: int, sign: int) -> Self:
        n, missing = int(self.n) + sign * other[0], int(self.missing) + sign * other_missing
        if n < 0 or missing < 0:
            raise StateError("what is subtracted is no part of this", got=f"{other[0]} of {int(self.n)} rows")
        if n == 0:
            return type(self).zero(**self._config)._with(missing=missing)
        _, means, scatter = _pooled((int(self.n), self.means, self.scatter), other, sign)
        return self._with(n=n, missing=missing, means=means, scatter=scatter)

    def estimates(self) -> dict[str, Estimate]:
        """The mean of every variable."""
        return {name: self.mean(name) for name in self.variables}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Correlated normal rows."""
        return (rng.normal(size=(rows, 2)) @ np.array([[1.0, 0.5], [0.0, 2.0]]) + [3.0, -10.0],)

    def covariance(self) -> NDArray[np.float64]:
        """The sample covariance matrix (divisor n - 1), shape (d, d); NaN with fewer than two units."""
        n = int(self.n)
        return self.scatter / (n - 1) if n > 1 else np.full_like(self.scatter, np.nan)

    def variance(self, name: str) -> float:
        """The sample variance of one variable; NaN with fewer than two units."""
        column = self._column(name)
        return float(self.covariance()[column, column])

    def mean(self, name: str = "x", *, alpha: float = 0.05, unit: str = "") -> Estimate:
        """The mean of one variable, with Student's interval (n - 1 degrees of freedom)."""
        return self._linear(lambda: (self._mean(name), {name: 1.0}), "mean", alpha, unit)

    def ratio(self, numerator: str, denominator: str | None = None, *, alpha: float = 0.05, unit: str = "") -> Estimate:
        """``mean(numerator) / mean(denominator)`` by the delta method: variance ``(Va + r^2 Vb - 2 r Cab) / (mb^2 n)``.

        Missing where the denominator's mean is 0. Source: Deng, Knoblich, Lu, KDD 2018, section 3.

        >>> m = Moments.zero(variables=["a", "b"]).update([[3, 2], [1, 1], [4, 3], [1, 1], [5, 2]])
        >>> e = m.ratio("a", "b")
        >>> round(e.value, 8), round(e.se, 8)
        (1.55555556, 0.26764794)
        """
        def terms() -> tuple[float, dict[str | None, float]]:
            bottom = self._mean(denominator)
            value = self._mean(numerator) / bottom
            return value, _sum_up([(numerator, 1 / bottom), (denominator, -value / bottom)])

        return self._linear(terms, "ratio", alpha, unit)

    def paired(self, x: str, y: str, n: str | None = None, *, alpha: float = 0.05, unit: str = "") -> Estimate:
        """The paired delta ``(mean(x) - mean(y)) / mean(n)`` by the delta method; n None is 1, a plain mean difference.

        Variance ``[(Vx + Vy - 2 Cxy) / mn^2 - 2 (mx - my)(Cxn - Cyn) / mn^3 + (mx - my)^2 Vn / mn^4] / n``.

        >>> rows = [[1, 0, 2], [0, 1, 1], [2, 1, 3], [0, 0, 1], [1, 0, 2]]
        >>> e = Moments.zero(variables=["x", "y", "n"]).update(rows).paired("x", "y", "n")
        >>> round(e.value, 8), round(e.se, 8)
        (0.22222222, 0.18723149)
        """
        def terms() -> tuple[float, dict[str | None, float]]:
            bottom = self._mean(n)
            value = (self._mean(x) - self._mean(y)) / bottom
            return value, _sum_up([(x, 1 / bottom), (y, -1 / bottom), (n, -value / bottom)])

        return self._linear(terms, "paired delta", alpha, unit)

    def cuped(self, outcome: str, covariate: str, *, covariate_mean: float | None = None, theta: float | None = None,
              alpha: float = 0.05, unit: str = "") -> Estimate:
        """The mean of the outcome adjusted by a pre-period covariate: ``my - theta (mc - M)``, variance ``Vy + theta^2 Vc - 2 theta Cyc``.

        theta is ``Cyc / Vc`` of this state unless given; comparing groups, give both the theta and the covariate mean M
        of the merged state (`regression`, `mean`), so that all groups are moved towards the same point. Where the
        covariate does not vary nothing is adjusted. Source: Deng, Xu, Kohavi, Walker, WSDM 2013.

        >>> m = Moments.zero(variables=["pre", "post"]).update([[1, 2], [2, 3], [3, 5], [4, 4], [5, 6], [6, 9]])
        >>> round(m.regression("post", "pre"), 8), round(6 * m.cuped("post", "pre").se ** 2, 6)
        (1.22857143, 0.88381)
        """  # noqa: E501
        def terms() -> tuple[float, dict[str | None, float]]:
            slope = self.regression(outcome, covariate) if theta is None else theta
            here = self._mean(covariate)
            shift = slope * (here - (here if covariate_mean is None else covariate_mean))
            return self._mean(outcome) - shift, _sum_up([(outcome, 1.0), (covariate, -slope)])

        return self._linear(terms, "CUPED mean", alpha, unit)

    def regression(self, outcome: str, covariate: str) -> float:
        """The slope ``Cov(outcome, covariate) / Var(covariate)``; 0 where the covariate does not vary."""
        a, b = self._column(outcome), self._column(covariate)
        return float(self.scatter[a, b] / self.scatter[b, b]) if self.scatter[b, b] > 0 else 0.0

    def _linear(self, terms: Any, method: str, alpha: float, unit: str) -> Estimate:
        """An estimate whose influence is linear in the variables: `terms` gives value and weight per variable."""
        fixed.check_alpha(alpha)
        n = int(self.n)
        if n == 0:
            why = f"all {int(self.missing)} units are missing" if int(self.missing) else "no units"
            return Estimate.missing(why, method=method, unit=unit)
        try:
            value, gradient = terms()
        except ZeroDivisionError:
            return Estimate.missing("the denominator is 0", n=n, method=method, unit=unit)
        weights = np.zeros(len(self.means))
        for name, weight in gradient.items():
            if name is not None:
                weights[self._column(name)] = weight
        variance = max(float(weights @ self.covariance() @ weights), 0.0) if n > 1 else None
        se = None if variance is None else math.sqrt(variance / n)
        method = f"{method}, {int(self.missing)} missing units left out" if int(self.missing) else method
        return fixed.interval(value, se, n, df=n - 1, alpha=alpha, method=method, unit=unit)

    def _mean(self, name: str | None) -> float:
        return 1.0 if name is None else float(self.means[self._column(name)])

    def _column(self, name: str) -> int:
        try:
            return self.variables.index(name)
        except ValueError:
            raise DataError("no such variable", got=name, expected="one of " + ", ".join(self.variables)) from None


def _finite(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows of a block, (d, m), without those that hold a value that is not finite."""
    finite = np.isfinite(columns)
    return columns if finite.all() else columns.compress(finite.all(axis=0), axis=1)


def _sums(columns: NDArray[np.float64]) -> _Sums:
    """The sums of a block of rows, (d, m), about a point of the data: two passes, and no cancellation in either."""
    n, means = columns.shape[1], columns.mean(axis=1, keepdims=True)
    rest = columns - means
    drift = rest.mean(axis=1)
    return n, means[:, 0] + drift, rest @ rest.T - n * np.outer(drift, drift)


def _pooled(one: _Sums, other: _Sums, sign: int) -> _Sums:
    """The sums of both, or of what is left of one without the other."""
    (na, ma, sa), (nb, mb, sb) = one, other
    if na == 0 or nb == 0:
        return other if na == 0 else one
    n, delta = na + sign * nb, mb - ma
    scatter = sa + sign * (sb + (na * nb / n) * np.outer(delta, delta))
    if sign < 0:
        np.fill_diagonal(scatter, np.maximum(scatter.diagonal(), 0.0))
    return n, (na * ma + sign * nb * mb) / n, scatter


def variable_names(variables: Sequence[str], unknown: dict[str, Any]) -> list[str]:
    """The names of a state's variables, checked: text, distinct, at least one; `unknown` settings are refused."""
    if unknown:
        raise DataError("unknown setting of a state", got=sorted(unknown), expected="variables")
    names = [variables] if isinstance(variables, str) else list(variables)
    if not names or len(set(names)) < len(names) or not all(isinstance(name, str) and name for name in names):
        raise DataError("variables must be distinct names", got=names, field="variables")
    return names


def as_rows(values: ArrayLike, d: int) -> NDArray[np.float64]:
    """Values as an (m, d) float matrix; a vector is a column where d is 1. `DataError` for any other shape."""
    rows = np.asarray(values, dtype=np.float64)
    if rows.size == 0:
        return rows.reshape(0, d)
    if rows.ndim == 1 and d == 1:
        return rows[:, None]
    if rows.ndim != 2 or rows.shape[1] != d:
        raise DataError("rows have the wrong shape", got=rows.shape, expected=f"(m, {d})", field="values")
    return rows


def _sum_up(terms: list[tuple[str | None, float]]) -> dict[str | None, float]:
    """Weights per variable; a variable named twice gets the sum."""
    out: dict[str | None, float] = {}
    for name, weight in terms:
        out[name] = out.get(name, 0.0) + weight
    return out
