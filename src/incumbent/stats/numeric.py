"""Numeric: the additive state of a numeric column, in cells that a baseline sample has frozen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError, StateError
from incumbent.stats import fixed
from incumbent.stats.array_state import ArrayState
from incumbent.stats.binomial import proportion
from incumbent.stats.estimate import Estimate
from incumbent.stats.numeric_fit import fit_edges
from incumbent.stats.numeric_read import column


class Numeric(ArrayState):
    """Counts in frozen cells, with n, sum and sum of squares, and what is missing, not a number or infinite.

    The E edges e cut the line into E + 1 cells: under e_0, ``[e_k, e_k+1)``, from the last edge on. `cells` counts them
    all; `coarse` says which of the edges are the quantiles of the baseline, for divergences. `sums` are those of
    ``x - center`` and of its square; `excess` is how far the rows under and over lie beyond the first and last edge,
    in sum, so that a tail that moved is measured and not only counted. `absent` counts rows without a value, NaN,
    +inf and -inf; they enter nothing else. Counts are equal to the bit however the rows were dealt, sums within 1e-9 of
    the sum of magnitudes.

    >>> zero = Numeric.fit(np.arange(1000.0))
    >>> s = zero.update([10, 20, 30, None, float("nan"), float("inf"), 5000])
    >>> int(s.n), s.absences(), s.mean().value, int(s.cells[-1])
    (4, {'missing': 1, 'nan': 1, 'inf': 1, '-inf': 0}, 1265.0, 1)
    """

    name = "numeric"
    version = 1
    tags = frozenset({"subtract"})
    arrays: ClassVar[dict[str, str]] = {
        "n": "<i8", "absent": "<i8", "cells": "<i8", "sums": "<f8", "excess": "<f8"}
    example_configs = ({"edges": [-1.0, 0.0, 0.5, 1.0], "coarse": [1, 3], "center": 0.25, "scale": 2.0},
                       {"edges": [-1.0, 0.0, 0.5, 1.0], "coarse": [1, 2], "center": 0.25, "scale": 2.0},
                       {"edges": [0.0]})
    n: NDArray[np.int64]
    absent: NDArray[np.int64]
    cells: NDArray[np.int64]
    sums: NDArray[np.float64]
    excess: NDArray[np.float64]

    @classmethod
    def fit(cls, sample: Any, *, grid: int = 256, quantiles: int = 20) -> Self:
        """The empty state in cells fitted on a baseline sample (100 sound values or more); see `numeric_fit`."""
        return cls.zero(**fit_edges(sample, grid=grid, quantiles=quantiles))

    @classmethod
    def zero(cls, *, edges: Sequence[float] = (), coarse: Sequence[int] | None = None, center: float = 0.0,
             scale: float = 1.0, **unknown: Any) -> Self:
        """Nothing seen yet between these edges; `coarse` indexes those of the divergences (default all of them).

        `center` is subtracted before squaring, `scale` is the unit of the normalised distances: both the baseline's.
        """
        points = np.asarray(edges, dtype=np.float64)
        if unknown:
            raise DataError("unknown setting of a state", got=sorted(unknown), expected="edges, coarse, center, scale")
        if points.ndim != 1 or not len(points) or not np.isfinite(points).all() or (np.diff(points) <= 0).any():
            raise DataError("edges must be finite and rising", got=edges, field="edges")
        kept = list(range(len(points))) if coarse is None else [int(k) for k in coarse]
        if not kept or kept != sorted(set(kept)) or not 0 <= kept[0] <= kept[-1] < len(points):
            raise DataError("coarse edges are rising indices of edges", got=coarse, field="coarse")
        if not (math.isfinite(center) and math.isfinite(scale) and scale > 0):
            raise DataError("center and scale must be finite, scale positive", got=(center, scale))
        config = {"edges": (points + 0.0).tolist(), "coarse": kept, "center": float(center), "scale": float(scale)}
        return cls(config, n=0, absent=np.zeros(4), cells=np.zeros(len(points) + 1), sums=np.zeros(2),
                   excess=np.zeros(2))

    @property
    def edges(self) -> NDArray[np.float64]:
        """The frozen edges, rising."""
        return np.array(self._config["edges"])

    @property
    def scale(self) -> float:
        """The baseline's spread, the unit of normalised distances."""
        return float(self._config["scale"])

    @property
    def coarse(self) -> NDArray[np.int64]:
        """Counts between the coarse edges, under and over included."""
        return np.add.reduceat(self.cells, [0, *(k + 1 for k in self._config["coarse"])])

    @property
    def empty(self) -> bool:
        """True where no row was seen, not even one without a value."""
        return int(self.n) == 0 and not self.absent.any()

    def absences(self) -> dict[str, int]:
        """Rows without a sound value, by kind."""
        return dict(zip(("missing", "nan", "inf", "-inf"), self.absent.tolist(), strict=True))

    def absent_share(self, kind: str | None = None) -> Estimate:
        """The share of all rows that hold no sound value, or that are absent in one way; missing without rows."""
        counts = self.absences()
        count = sum(counts.values()) if kind is None else counts[kind]
        return proportion(count, int(self.n) + sum(counts.values()))

    def outside_share(self) -> Estimate:
        """The share of the sound values outside the first and last edge; missing without sound values."""
        return proportion(int(self.cells[0] + self.cells[-1]), int(self.n))

    def update(self, values: Any) -> Self:
        """Add a column (m,): numbers, None, masked or Arrow nulls (`numeric_read.column`)."""
        flat, missing = column(values)
        sound, edges = flat[np.isfinite(flat)], self.edges
        y = sound - self._config["center"]
        with np.errstate(over="ignore"):
            squares = float((y * y).sum())
        if not math.isfinite(squares):
            raise DataError("values too large to square", got=float(np.abs(sound).max()), expected="below 1e150",
                            field="values")
        cells = np.bincount(np.searchsorted(edges, sound, side="right"), minlength=len(edges) + 1)
        beyond = [np.maximum(edges[0] - sound, 0.0).sum(), np.maximum(sound - edges[-1], 0.0).sum()]
        absent = [missing, np.isnan(flat).sum(), (flat == np.inf).sum(), (flat == -np.inf).sum()]
        return self._with(n=self.n + len(sound), absent=self.absent + np.array(absent, np.int64),
                          cells=self.cells + cells, sums=self.sums + np.array([y.sum(), squares]),
                          excess=self.excess + beyond)

    def _combine(self, other: Self, sign: int) -> Self:
        made = super()._combine(other, sign)
        if min(int(made.n), made.absent.min(), made.cells.min()) < 0:
            raise StateError("what is subtracted is no part of this", got=other, expected="a state merged before")
        ends = made.cells[[0, -1]] > 0  # no rounding is left where no row is
        sums = made.sums if int(made.n) else np.zeros(2)
        return made._with(sums=sums, excess=np.where(ends, np.maximum(made.excess, 0.0), 0.0))

    def mean(self, *, alpha: float = 0.05, unit: str = "") -> Estimate:
        """The mean of the sound values with Student's interval of independent rows; missing without any."""
        n = int(self.n)
        if n == 0:
            return Estimate.missing(self._why(), method="t", unit=unit)
        value = self._config["center"] + float(self.sums[0]) / n
        se = math.sqrt(self.variance() / n) if n > 1 else None
        return fixed.interval(value, se, n, df=n - 1, alpha=alpha, unit=unit)

    def variance(self) -> float:
        """The sample variance, divisor n - 1; NaN with fewer than two sound values."""
        n = int(self.n)
        return max(float(self.sums[1] - self.sums[0] ** 2 / n), 0.0) / (n - 1) if n > 1 else math.nan

    def estimates(self) -> dict[str, Estimate]:
        """The mean, the share outside the edges and the share of every coarse cell."""
        shares = {f"cell:{k}": proportion(int(count), int(self.n)) for k, count in enumerate(self.coarse)}
        return {"mean": self.mean(), "outside": self.outside_share(), **shares}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Normal values, rounded so that some lie on an edge."""
        return (rng.normal(size=rows).round(1),)

    def _why(self) -> str:
        return f"none of {int(self.absent.sum())} values is sound" if self.absent.any() else "no values"
