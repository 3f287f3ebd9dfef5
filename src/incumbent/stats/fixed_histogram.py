"""FixedHistogram: integer counts between edges that are frozen by configuration, as a baseline gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from incumbent.errors import DataError, StateError
from incumbent.stats.array_state import ArrayState
from incumbent.stats.binomial import proportion
from incumbent.stats.estimate import Estimate


class FixedHistogram(ArrayState):
    """Counts of values in ``[e_0, e_1), [e_1, e_2), ...`` with what lies under and over: bit-exact, subtractable.

    `counts` has one more entry than there are edges: under e_0 (with -inf), the bins, from the last edge on (with
    +inf). NaN counts as `missing`. The edges belong to the baseline, never to the window being judged.

    >>> h = FixedHistogram.zero(edges=[0, 10, 20]).update([-1, 0, 9.9, 10, 20, float("nan")])
    >>> h.counts.tolist(), int(h.missing)
    ([1, 2, 1, 1], 1)
    """

    name = "fixed_histogram"
    version = 1
    tags = frozenset({"subtract", "exact"})
    arrays: ClassVar[dict[str, str]] = {"counts": "<i8", "missing": "<i8"}
    example_configs = ({"edges": [-1.0, 0.0, 1.0]}, {"edges": [0.0]})
    counts: NDArray[np.int64]
    missing: NDArray[np.int64]

    @classmethod
    def zero(cls, *, edges: Sequence[float] = (), **unknown: Any) -> Self:
        """Nothing seen yet between these edges: at least one, finite and rising."""
        points = np.asarray(edges, dtype=np.float64)
        if unknown:
            raise DataError("unknown setting of a state", got=sorted(unknown), expected="edges")
        if points.ndim != 1 or not len(points) or not np.isfinite(points).all() or (np.diff(points) <= 0).any():
            raise DataError("edges must be finite and rising", got=edges, field="edges")
        return cls({"edges": (points + 0.0).tolist()}, counts=np.zeros(len(points) + 1), missing=0)

    @property
    def edges(self) -> NDArray[np.float64]:
        """The frozen edges."""
        return np.array(self._config["edges"])

    @property
    def total(self) -> int:
        """Values counted, under and over included, missing not."""
        return int(self.counts.sum())

    @property
    def empty(self) -> bool:
        """True where no value was seen, not even a missing one."""
        return self.total == 0 and int(self.missing) == 0

    def update(self, values: ArrayLike) -> Self:
        """Count values of any shape."""
        flat = np.asarray(values, dtype=np.float64).ravel()
        seen = flat[~np.isnan(flat)]
        where = np.searchsorted(self.edges, seen, side="right")
        added = np.bincount(where, minlength=len(self.counts))
        return self._with(counts=self.counts + added, missing=self.missing + (len(flat) - len(seen)))

    def _combine(self, other: Self, sign: int) -> Self:
        total = super()._combine(other, sign)
        if total.counts.min() < 0 or total.missing < 0:
            raise StateError("what is subtracted is no part of this", got=other, expected="a state merged before")
        return total

    def estimates(self) -> dict[str, Estimate]:
        """The share of every cell."""
        return {f"cell:{cell}": self.share(cell) for cell in range(len(self.counts))}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Normal values, rounded so that some lie on an edge."""
        return (rng.normal(size=rows).round(1),)

    def share(self, cell: int, *, alpha: float = 0.05, unit: str = "") -> Estimate:
        """The part of the values in one cell of `counts` (0 is under), with the interval of independent values."""
        return proportion(int(self.counts[cell]), self.total, alpha=alpha, unit=unit)

    def quantile(self, q: float, *, unit: str = "") -> Estimate:
        """The q-quantile by linear interpolation within its bin; `low` and `high` are the bin's edges.

        The interval is the histogram's own error and says nothing of the sample's. Missing without values, and where
        the quantile lies under the first edge or over the last.
        """
        if not 0 <= q <= 1:
            raise DataError("q must be in [0, 1]", got=q, field="q")
        n, edges, method = self.total, self.edges, "bin of the quantile"
        if n == 0:
            return Estimate.missing("no values", method=method, unit=unit)
        rank = q * n
        sums = np.cumsum(self.counts)
        cell = int(np.searchsorted(sums, max(rank, 1e-12), side="left"))
        if cell in (0, len(edges)):
            side = f"below {edges[0]:g}" if cell == 0 else f"not below {edges[-1]:g}"
            return Estimate.missing(f"the quantile lies {side}, outside the edges", n=n, method=method, unit=unit)
        low, high = float(edges[cell - 1]), float(edges[cell])
        inside = (rank - (sums[cell] - self.counts[cell])) / self.counts[cell]
        return Estimate(low + (high - low) * float(inside), low, high, None, n, method, unit=unit)
