"""Winsorised: user-clustered sums whose first variable is cut at a cap of the baseline, and what was cut off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from incumbent.errors import DataError
from incumbent.stats.buckets import Buckets
from incumbent.stats.estimate import Estimate
from incumbent.stats.moments import as_rows


class Winsorised(Buckets):
    """`Buckets` of which the first variable of every row enters as ``max(-cap, min(x, cap))``; rows over it are counted.

    A mean of heavy tails is moved by a handful of rows, and its interval does not hold; a capped one is lower by what is
    stated in `cut`. The cap belongs to the baseline and is part of the configuration, so that states of two caps do not
    add; None is no cap. `over` counts the rows that were cut, `cut` the sum of what was cut off. Source: W. J. Dixon,
    Annals of Mathematical Statistics 31 (1960).

    >>> s = Winsorised.zero(k=4, variables=["value"], cap=10.0).update([0, 1, 2, 3], [1.0, 2.0, 6.0, 1000.0])
    >>> s.ratio("value").value, int(s.over), float(s.cut)
    (4.75, 1, 990.0)
    """  # noqa: E501

    name = "winsorised"
    version = 1
    tags = frozenset({"subtract"})
    arrays: ClassVar[dict[str, str]] = {**Buckets.arrays, "over": "<i8", "cut": "<f8"}
    example_configs = ({"k": 8, "variables": ["a"], "cap": 2.0}, {"k": 8, "variables": ["a"], "cap": None},
                       {"k": 8, "variables": ["b"], "cap": 2.0})
    golden: ClassVar[dict[int, tuple[str, dict[str, float]]]] = {1: (
        "495301b90000007b22617272617973223a5b5b22726f7773222c223c6938222c5b385d5d2c5b226d697373696e67222c223c"
        "6938222c5b5d5d2c5b2273756d73222c223c6638222c5b382c315d5d2c5b226f766572222c223c6938222c5b5d5d2c5b2263"
        "7574222c223c6638222c5b5d5d5d2c22636f6e666967223a7b22636170223a322e302c226b223a382c227661726961626c65"
        "73223a5b2261225d7d2c226e616d65223a2277696e736f7269736564222c2276657273696f6e223a317d0100000000000000"
        "0100000000000000000000000000000001000000000000000000000000000000010000000000000001000000000000000000"
        "00000000000000000000000000004111b77eaf59e63fef6bb59dcfe6da3f000000000000000005c2ddf08533d03f00000000"
        "00000000587e4bc852feed3f000000000000004000000000000000000100000000000000507921c8436ed43f",
        {"a": 0.861845117173144})}
    over: NDArray[np.int64]
    cut: NDArray[np.float64]

    @classmethod
    def zero(cls, *, k: int = 128, variables: Sequence[str] = ("x",), cap: float | None = None, **unknown: Any) -> Self:
        """Nothing seen yet; `cap` is above 0 and finite, or None."""
        if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int | float) or not 0 < cap < math.inf):
            raise DataError("cap must be above 0", got=cap, field="cap")
        plain = Buckets.zero(k=k, variables=variables, **unknown)
        config = {**plain.config, "cap": None if cap is None else float(cap)}
        return cls(config, rows=plain.rows, missing=0, sums=plain.sums, over=0, cut=0.0)

    def update(self, bucket: ArrayLike, values: ArrayLike) -> Self:
        """Add rows, as `Buckets.update`, the first column cut at the cap."""
        cap = self._config["cap"]
        rows = as_rows(values, self.sums.shape[1])
        if cap is None:
            return super().update(bucket, rows)
        kept = rows.copy()
        kept[:, 0] = np.clip(rows[:, 0], -cap, cap)
        good = np.isfinite(rows).all(axis=1)  # a value that is not finite is missing, not cut
        kept[~good, 0] = np.nan
        made = super().update(bucket, kept)
        off = np.abs(rows[good, 0] - kept[good, 0])
        return made._with(over=self.over + int((off > 0).sum()), cut=self.cut + float(off.sum()))

    def _combine(self, other: Self, sign: int) -> Self:
        made = super()._combine(other, sign)
        over = self.over + sign * other.over
        return made._with(over=over, cut=max(float(self.cut + sign * other.cut), 0.0) if over else 0.0)

    @classmethod
    def _sums(cls, states: Sequence[Self]) -> dict[str, ArrayLike]:
        return {**super()._sums(states), "over": sum(int(state.over) for state in states),
                "cut": sum(float(state.cut) for state in states)}

    def ratio(self, numerator: str, denominator: str | None = None, *, alpha: float = 0.05, unit: str = "") -> Estimate:
        """The ratio of `Buckets`; the method says the cap, how many rows lay over it, and which part was cut off."""
        made, cap = super().ratio(numerator, denominator, alpha=alpha, unit=unit), self._config["cap"]
        if cap is None:
            return replace(made, method=f"{made.method}, no cap yet")
        total = abs(float(self.sums[:, 0].sum())) + float(self.cut)
        part = f"{float(self.cut) / total:.1%}" if total else "nothing"
        return replace(made, method=f"{made.method}, winsorised at {cap:g}: {int(self.over)} over it, {part} cut off")
