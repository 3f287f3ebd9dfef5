"""Vectors: the additive state of embeddings. One pass over float32 rows gives everything that drift is judged by.

What it keeps, in a frozen frame (`vectors_config`) fitted on the baseline: n, sum and sum of outer products, random
Fourier sums, counts of the nearest centroid, histograms on projections and of norms, a hash histogram, defects.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from incumbent.errors import DataError, StateError
from incumbent.stats import fixed, vectors_fit
from incumbent.stats.array_state import ArrayState
from incumbent.stats.binomial import proportion
from incumbent.stats.estimate import Estimate
from incumbent.stats.vectors_config import GRID, VectorsConfig
from incumbent.stats.vectors_pass import DEFECTS, UNIT, Pass
from incumbent.stats.vectors_read import blocks


class Vectors(ArrayState):
    """Sums and counts of vectors x of one space and version, y = x - center: adds and subtracts, constant size.

    Arrays: `n` sound rows; `defects` (nan, infinite, zero, constant); `sums` (d,) of x; `outer` (d (d + 1) / 2,), the
    upper triangle of ``sum x x'``, row by row, or its diagonal (d,) where the frame wants no more; `waves` (octaves, 2,
    F), sums of cos and sin of ``2^o w . y`` in whole numbers of 2^-14, ``w . y`` to 2^-12 of a turn; `cells` (K,) rows
    nearest to each centroid; `bins` (P, cells) on the projections; `norms` over |x|; `repeats` rows per hash of the
    whole y; `zeros` the coordinates that are 0. A frame may leave out any but `n`, `defects`, `sums`, `norms` and
    `zeros`. A defective row is counted under its first defect and enters nothing else; a norm above 1e18 counts as
    infinite. All but `sums` and `outer` (float64) are whole numbers, equal to the bit however the rows were dealt (on
    machines of one kind: a row on the edge of two cells falls as the matrix product rounds).

    Duplicates add because they are counted by hash and not by neighbour: see `repeat_share`. Configurations come from
    `Vectors.fit`; states of different ones refuse to add.

    >>> rng = np.random.default_rng(0)
    >>> zero = Vectors.fit(rng.normal(size=(1000, 8)), seed=1, centroids=8)
    >>> monday, tuesday = zero.update(rng.normal(size=(300, 8))), zero.update([[0.0] * 8, [1.0] + [2.0] * 7])
    >>> week = monday.merge(tuesday)
    >>> int(week.n), week.defect_counts()["zero"], week.subtract(tuesday).bins.tolist() == monday.bins.tolist()
    (301, 1, True)
    """

    name = "vectors"
    version = 2  # 1 did not count `zeros`
    tags = frozenset({"subtract"})
    arrays: ClassVar[dict[str, str]] = {
        "n": "<i8", "defects": "<i8", "sums": "<f8", "outer": "<f8", "waves": "<i8", "cells": "<i8", "bins": "<i8",
        "norms": "<i8", "repeats": "<i8", "zeros": "<i8"}
    n: NDArray[np.int64]
    defects: NDArray[np.int64]
    sums: NDArray[np.float64]
    outer: NDArray[np.float64]
    waves: NDArray[np.int64]
    cells: NDArray[np.int64]
    bins: NDArray[np.int64]
    norms: NDArray[np.int64]
    repeats: NDArray[np.int64]
    zeros: NDArray[np.int64]

    @classmethod
    def fit(cls, sample: Any, *, seed: int, **settings: Any) -> Self:
        """The empty state of a frame fitted on a sample of the baseline; settings are those of `vectors_fit.fit`."""
        return cls.zero(**vectors_fit.fit(sample, seed=seed, **settings).plain)

    @classmethod
    def zero(cls, **config: Any) -> Self:
        """Nothing seen yet in this frame: the plain form of a `VectorsConfig`."""
        frame = VectorsConfig.of(config)
        made = cls(frame.plain, **{key: np.zeros(shape) for key, shape in _shapes(frame).items()})
        made.__dict__["frame"] = frame
        return made

    def _with(self, **arrays: ArrayLike) -> Self:
        made = super()._with(**arrays)
        made.__dict__["frame"] = self.frame
        return made

    def _checked(self, empty: Self) -> Self:
        for key, shape in _shapes(self.frame).items():  # a cheaper look than at another `zero`
            got = getattr(self, key).shape
            if got != shape:
                raise StateError("array has the wrong shape", got=got, expected=str(shape), field=key)
        return self

    @cached_property
    def frame(self) -> VectorsConfig:
        """The frozen frame."""
        return VectorsConfig.of(self._config)

    @property
    def config_hash(self) -> str:
        """16 hex digits over name, version and configuration."""
        return self.frame.hash

    @property
    def empty(self) -> bool:
        """True where no row was seen, not even a defective one."""
        return int(self.n) == 0 and not self.defects.any()

    def update(self, vectors: Any) -> Self:
        """Add vectors (m, d): NumPy, also memory-mapped; Arrow lists; DLPack or ``__array__`` tensors; lists of rows.

        Memory does not grow with m. Numbers are taken as float32. `DataError` for another dimension, mixed dimensions,
        complex numbers, objects and text, and then nothing is added.
        """
        frame = self.frame
        return self._add(Pass(frame).run(blocks(vectors, frame.dimension, frame.block)).totals(), 1)

    @classmethod
    def total(cls, states: Iterable[Self]) -> Self:
        """All states merged, in one array rather than a chain of them; `DataError` of none."""
        sums: dict[str, NDArray[Any]] = {}
        first: Self | None = None
        for state in states:
            if first is None:
                first, sums = state, {key: getattr(state, key).copy() for key in cls.arrays}
                continue
            first._same(state)
            for key, value in sums.items():
                value += getattr(state, key)
        if first is None:
            raise DataError("no states to merge", got=0, expected="one or more")
        return first._with(**sums)

    def _combine(self, other: Self, sign: int) -> Self:
        return self._add({key: getattr(other, key) for key in self.arrays}, sign)

    def _add(self, other: dict[str, Any], sign: int) -> Self:
        sums = {key: getattr(self, key) + sign * other[key] for key in self.arrays}
        counts = ("n", "defects", "cells", "bins", "norms", "repeats", "zeros")
        if sign < 0 and min(np.min(sums[key], initial=0) for key in counts) < 0:
            raise StateError("what is subtracted is no part of this", got=f"{int(other['n'])} of {int(self.n)} vectors",
                             expected="a state merged before")
        if sums["n"] == 0:  # no rounding is left where no row is
            sums |= {key: np.zeros_like(sums[key]) for key in ("sums", "outer", "waves")}
        return self._with(**sums)

    # ------------------------------------------------------------------------------------------------------ reading
    def keeps(self, part: str) -> None:
        """`DataError` where the frame leaves this part out: ``covariance``, ``principal``, or an array's name."""
        if not (getattr(self.frame, part) if part in ("covariance", "principal") else getattr(self, part).size):
            raise DataError("this state was made without what the statistic needs", got=f"no {part}",
                            expected="a frame that keeps it", hint="Vectors.fit(sample, seed=...) keeps all")

    def mean(self) -> NDArray[np.float64]:
        """The mean vector (d,); NaN without rows."""
        n = int(self.n)
        return self.sums / n if n else np.full(len(self.sums), np.nan)

    def covariance(self) -> NDArray[np.float64]:
        """The sample covariance (d, d), divisor n - 1; NaN with fewer than two rows."""
        self.keeps("covariance")
        n, d = int(self.n), len(self.sums)
        if n < 2:
            return np.full((d, d), np.nan)
        upper = self._upper()
        whole = upper + upper.T
        np.fill_diagonal(whole, upper.diagonal())
        whole -= np.outer(self.sums, self.sums / n)
        return whole / (n - 1)

    def squares(self) -> NDArray[np.float64]:
        """The sum of squares about the mean, coordinate by coordinate, shape (d,); 0 without rows."""
        i, d = np.arange(len(self.sums)), len(self.sums)
        each = self.outer[i * d - i * (i - 1) // 2] if self.frame.covariance else self.outer
        about: NDArray[np.float64] = each - self.sums**2 / max(int(self.n), 1)
        return np.maximum(about, 0.0)

    @cached_property
    def principal(self) -> tuple[NDArray[np.float64], float]:
        """The sample covariance (k, k) along the basis, and the mean variance per direction outside; n of 2 or more."""
        self.keeps("covariance")
        n, d, basis = int(self.n), len(self.sums), self.frame.basis.astype(np.float64)
        upper = self._upper()
        half = (basis @ upper) @ basis.T
        along = basis @ self.sums
        inside = half + half.T - (basis * upper.diagonal()) @ basis.T - np.outer(along, along / n)
        total = upper.trace() - self.sums @ self.sums / n
        rest = d - len(basis)
        return inside / (n - 1), max(float(total - inside.trace()), 0.0) / (rest * (n - 1)) if rest else 0.0

    def _upper(self) -> NDArray[np.float64]:
        upper = np.zeros((len(self.sums), len(self.sums)))
        upper[_triangle(len(self.sums))] = self.outer
        return upper

    def features(self) -> NDArray[np.float64]:
        """The mean random Fourier features (octaves, 2, F), cos and sin; NaN without rows."""
        self.keeps("waves")
        n = int(self.n)
        return self.waves / (UNIT * n) if n else np.full(self.waves.shape, np.nan)

    def defect_counts(self) -> dict[str, int]:
        """Rows left out, by their first defect."""
        return dict(zip(DEFECTS, self.defects.tolist(), strict=True))

    def repeat_share(self) -> Estimate:
        """The chance that two different rows hold the same vector: ``(C / T - 1 / H) / (1 - 1 / H)``, not below 0.

        C pairs of rows share one of H hash cells, T = n (n - 1) / 2 pairs in all; unbiased for a random hash, and its
        inverse is the number of vectors there effectively are. The standard error is that of the hash, about
        ``1 / sqrt(H T)`` where no vector stands out. Missing with fewer than two rows. Counts per hash cell add and
        subtract, so this is the same over shards, which "a copy of a row before" would not be.

        >>> zero = Vectors.fit(np.random.default_rng(0).normal(size=(500, 4)), seed=1, centroids=4)
        >>> round(zero.update([[1, 2, 3, 4]] * 6 + [[2, 2, 3, 5]] * 4).repeat_share().value, 3)  # 21 of 45 pairs
        0.467
        """
        n, h = int(self.n), len(self.repeats)
        pairs = n * (n - 1) / 2
        if n < 2 or not h:
            return Estimate.missing("fewer than two vectors" if h else "not counted", n=n, method="hash collisions")
        shared = float((self.repeats * (self.repeats - 1.0)).sum()) / 2
        value = max((shared / pairs - 1 / h) / (1 - 1 / h), 0.0)
        squares = n + 2 * value * pairs  # of how often each vector comes; a cell far above the others holds one vector
        fourths = float((np.maximum(self.repeats - n / h, 0.0) ** 4).sum())
        spread = max(squares**2 - fourths, float(n) ** 2) / (2 * h * (1 - 1 / h))
        return Estimate(value, se=math.sqrt(spread) / pairs, n=n, method="hash collisions")

    def estimates(self) -> dict[str, Estimate]:
        """The mean of every coordinate, the share of every centroid, and the share of repeated vectors."""
        n = int(self.n)
        out = {}
        means = self.sums / max(n, 1)
        spread = np.sqrt(self.squares() / max(n, 1) / max(n - 1, 1))
        for i, (value, se) in enumerate(zip(means, spread, strict=True)):
            out[f"mean:{i}"] = fixed.interval(float(value), float(se) if n > 1 else None, n, df=n - 1) if n else \
                Estimate.missing("no sound vectors", method="t")
        return {**out, **{f"centroid:{k}": proportion(int(count), n) for k, count in enumerate(self.cells)},
                "repeats": self.repeat_share()}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Rows of three dimensions with a mean, in float32."""
        return (rng.normal(loc=[0.5, 0.0, -0.25], size=(rows, 3)).astype(np.float32),)


def _shapes(frame: VectorsConfig) -> dict[str, tuple[int, ...]]:
    d, (projections, edges) = frame.dimension, frame.edges.shape
    return {"n": (), "defects": (len(DEFECTS),), "sums": (d,), "outer": (d * (d + 1) // 2 if frame.covariance else d,),
            "waves": (frame.octaves, 2, len(frame.frequencies)), "cells": (len(frame.centroids),),
            "bins": (projections, edges - 1), "norms": (len(frame.norm_edges) + 1,), "repeats": (frame.repeat_cells,),
            "zeros": ()}


@lru_cache(maxsize=8)
def _triangle(d: int) -> NDArray[np.bool_]:
    return np.triu(np.ones((d, d), dtype=bool))


def _example(seed: int) -> dict[str, Any]:
    """A small frame of plain numbers, the same on every machine."""
    eye, none = np.eye(3, dtype=np.float32), np.zeros((0, 3), dtype=np.float32)
    edges = np.array([[0, GRID // 4, GRID // 2, GRID]] * 2, dtype=np.uint16)
    return VectorsConfig(
        dimension=3, seed=seed, rows=100, bandwidth=2.0, octaves=2, principal=2, tail_variance=1.0, repeat_cells=8,
        center=np.array([0.5, 0.0, 0.0], dtype=np.float32), frequencies=eye[:2] * np.float32(0.5), basis=eye[:2],
        random=none,
        centroids=np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.5]], dtype=np.float32), variances=np.ones(2),
        lows=np.full(2, -4.0), steps=np.full(2, 8 / GRID), edges=edges, norm_edges=np.array([0.5, 1.0, 2.0])).plain


def _means(seed: int) -> dict[str, Any]:
    """The same without all that can be left out."""
    none, whole = np.zeros((0, 3), dtype=np.float32), VectorsConfig.of(_example(seed))
    return replace(whole, frequencies=none, basis=none, random=none, centroids=none, variances=np.empty(0), principal=0,
                   lows=np.empty(0), steps=np.empty(0), edges=np.empty((0, 2), dtype=np.uint16), repeat_cells=0,
                   covariance=False).plain


Vectors.example_configs = (_example(1), _example(2), _means(1))
