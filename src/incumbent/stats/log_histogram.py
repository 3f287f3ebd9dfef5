"""LogHistogram: quantiles within a stated relative error from log-spaced integer buckets (DDSketch), bit-reproducible.

Bucket i of a magnitude x in [low, high] holds ``low g^i < x <= low g^(i+1)`` with ``g = (1 + a) / (1 - a)``; it is read
as its midpoint ``2 low g^(i+1) / (g + 1)``, which is within a of every x in it. The edges are products, never
logarithms, so that every machine puts a value into the same bucket.
Source: Masson, Rim, Lee, PVLDB 12 (2019).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from incumbent.errors import DataError, StateError
from incumbent.stats.array_state import ArrayState
from incumbent.stats.estimate import Estimate
from incumbent.stats.fixed import check_alpha


class LogHistogram(ArrayState):
    """Sparse log-bucket counts of positive and negative numbers, with quantiles of relative error `accuracy`.

    Magnitudes below `low` count as zero; above `high`, and infinite ones, as beyond: a quantile that falls there is
    missing, with the reason. NaN counts as `missing`. At most ``2 ln(high / low) / ln g + 5`` cells (4,841 by default).

    >>> h = LogHistogram.zero(accuracy=0.01).update([10.0, 20.0, 30.0, 40.0, 1000.0])
    >>> e = h.quantile(0.5)
    >>> abs(e.value - 30) <= 0.01 * 30, int(e.n)
    (True, 5)
    """

    name = "log_histogram"
    version = 1
    tags = frozenset({"subtract", "exact"})
    arrays: ClassVar[dict[str, str]] = {"cells": "<i4", "counts": "<i8", "missing": "<i8"}
    example_configs = ({}, {"accuracy": 0.1}, {"low": 0.1, "high": 10.0})
    cells: NDArray[np.int32]  # sign * (bucket + 1), rising; 0 is zero, the outermost are beyond
    counts: NDArray[np.int64]
    missing: NDArray[np.int64]

    @classmethod
    def zero(cls, *, accuracy: float = 0.01, low: float = 1e-9, high: float = 1e12, **unknown: Any) -> Self:
        """Nothing seen yet; `accuracy` in [0.001, 0.5], 0 < low < high."""
        if unknown:
            raise DataError("unknown setting of a state", got=sorted(unknown), expected="accuracy, low, high")
        if not 1e-3 <= accuracy <= 0.5:
            raise DataError("accuracy must be in [0.001, 0.5]", got=accuracy, field="accuracy", hint="1 % is 0.01")
        if not 1e-300 <= low < high <= 1e300:
            raise DataError("low and high must be 0 < low < high", got=(low, high), expected="1e-300 to 1e300")
        config = {"accuracy": float(accuracy), "low": float(low), "high": float(high)}
        return cls(config, cells=[], counts=[], missing=0)

    @property
    def total(self) -> int:
        """Values counted, missing not."""
        return int(self.counts.sum())

    @property
    def beyond(self) -> int:
        """Values above `high`; those below ``-high`` are not among them.

        >>> LogHistogram.zero(low=1.0, high=10.0).update([-20.0, 5.0, 10.0, 11.0, 1e9]).beyond
        2
        """
        return int(self.counts[self.cells == len(_edges(**self._config))].sum())

    @property
    def empty(self) -> bool:
        """True where no value was seen, not even a missing one."""
        return self.total == 0 and int(self.missing) == 0

    def update(self, values: ArrayLike) -> Self:
        """Count values of any shape."""
        flat = np.asarray(values, dtype=np.float64).ravel()
        seen = flat[~np.isnan(flat)]
        cells = _cells(np.abs(seen), **self._config)
        most = len(_edges(**self._config))
        counts = np.bincount(np.where(seen < 0, most - cells, most + cells), minlength=2 * most + 1)
        found = np.flatnonzero(counts)
        return self._combine(self._with(cells=found - most, counts=counts[found], missing=len(flat) - len(seen)), 1)

    def _combine(self, other: Self, sign: int) -> Self:
        cells, where = np.unique(np.concatenate([self.cells, other.cells]), return_inverse=True)
        counts = np.zeros(len(cells), np.int64)
        np.add.at(counts, where, np.concatenate([self.counts, sign * other.counts]))
        missing = self.missing + sign * other.missing
        if counts.min(initial=0) < 0 or missing < 0:
            raise StateError("what is subtracted is no part of this", got=other, expected="a state merged before")
        return self._with(cells=cells[counts > 0], counts=counts[counts > 0], missing=missing)

    def _checked(self, empty: Self) -> Self:
        if self.cells.shape != self.counts.shape or (np.diff(self.cells) <= 0).any() or (self.counts <= 0).any():
            raise StateError("cells and counts do not fit together", got=self.cells.shape, expected="rising cells")
        return self

    def estimates(self) -> dict[str, Estimate]:
        """The quartiles and the 99th percentile."""
        return {f"q{q:g}": self.quantile(q) for q in (0.25, 0.5, 0.75, 0.99)}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Heavy-tailed values of both signs and zeros."""
        return (rng.lognormal(sigma=2.0, size=rows) * rng.integers(-1, 2, rows),)

    def quantile(self, q: float, *, alpha: float = 0.05, unit: str = "") -> Estimate:
        """The value of rank ``floor(q (n - 1))`` within `accuracy`, with the order-statistics interval of n values.

        The ends are the outer edges of the buckets that hold the ranks ``Binomial(n, q)`` quantiles alpha/2 and
        1 - alpha/2, so that they cover sampling and bucketing both; they hold for independent values (not for many
        values of one user). An end beyond `high` is infinite. Missing without values or where the value is beyond.
        """
        check_alpha(alpha)
        if not 0 <= q <= 1:
            raise DataError("q must be in [0, 1]", got=q, field="q")
        n, missing = self.total, int(self.missing)
        method = f"order statistics, buckets of {self._config['accuracy']:.3g}"
        if n == 0:
            why = f"all {missing} values are missing" if missing else "no values"
            return Estimate.missing(why, method=method, unit=unit)
        method = f"{method}, {missing} missing values left out" if missing else method
        low, value, high = self._bucket(math.floor(q * (n - 1)))
        if not math.isfinite(value):
            return Estimate.missing(f"the quantile lies beyond {self._config['high']:g}", n=n, method=method, unit=unit)
        if 0 < q < 1:
            first, last = stats.binom.ppf([alpha / 2, 1 - alpha / 2], n, q)
            low = min(low, self._bucket(max(int(first) - 1, 0))[0])
            high = max(high, self._bucket(min(int(last), n - 1))[2])
        return Estimate(value, low, high, None, n, method, unit=unit)

    def _bucket(self, rank: int) -> tuple[float, float, float]:
        """Lower edge, reading and upper edge of the bucket that holds the value of a rank, from 0."""
        cell = int(self.cells[np.searchsorted(np.cumsum(self.counts), rank, side="right")])
        edges = _edges(**self._config)
        if cell == 0:
            return -float(edges[0]), 0.0, float(edges[0])
        i = abs(cell)
        inner = float(edges[i - 1])
        outer = float(edges[i]) if i < len(edges) else math.inf
        middle = math.inf if i == len(edges) else 2 * outer / (1 + outer / inner)
        return (inner, middle, outer) if cell > 0 else (-outer, -middle, -inner)


def _cells(sizes: NDArray[np.float64], accuracy: float, low: float, high: float) -> NDArray[np.int64]:
    """The cell of each magnitude: 0 below `low`, i where ``edges[i - 1] < x <= edges[i]``, len(edges) beyond.

    The logarithm only guesses, as its last bit differs between machines; comparing with the edges decides.
    """
    edges = _edges(accuracy, low, high)
    last = len(edges)
    with np.errstate(divide="ignore"):
        guess = (np.log(sizes) - math.log(low)) * (1 / math.log((1 + accuracy) / (1 - accuracy)))
    cells = np.clip(np.ceil(guess), 1, last - 1).astype(np.int64)
    cells += sizes > edges[cells]
    cells -= sizes <= edges[cells - 1]
    return np.where(sizes < low, 0, np.maximum(cells, 1))


@lru_cache(maxsize=64)
def _edges(accuracy: float, low: float, high: float) -> NDArray[np.float64]:
    """``low, low g, low g^2, ...`` up to the first edge at or above `high`."""
    growth = (1 + accuracy) / (1 - accuracy)
    steps = math.ceil((math.log(high) - math.log(low)) / math.log(growth) - 1e-9)
    edges = np.full(max(steps, 1) + 1, growth)
    edges[0] = low
    edges = np.cumprod(edges)
    edges.flags.writeable = False
    return edges
