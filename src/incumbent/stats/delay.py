"""Delay: the additive triangle of delayed conversions, by how old an impression is and how late it converted."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from incumbent.errors import DataError, StateError
from incumbent.stats.array_state import ArrayState
from incumbent.stats.binomial import proportion
from incumbent.stats.estimate import Estimate


class Delay(ArrayState):
    """Impressions and their conversions: `shown` (A + 1,) per observed age, `converted` (A + 1, A + 1) by delay too.

    Age is how many whole periods (days) an impression has been observed, delay how many it took to convert; a delay
    is at most the age. What is older than `ages` A counts as A and its conversions after A not at all: A is the
    attribution window. As time passes a cohort moves to another age: subtract it as it was, add it as it is, or build
    the triangle anew from the cohorts. Rows without an age count as `missing`; no delay (NaN) means not converted yet.
    Whole numbers, equal to the bit however the rows were dealt.

    >>> d = Delay.zero(ages=2).update([2, 2, 2, 0, 0], [0, 1, None, 0, None])
    >>> d.shown.tolist(), d.converted.tolist()
    ([2, 0, 3], [[1, 0, 0], [0, 0, 0], [1, 1, 0]])
    """

    name = "delay"
    version = 1
    tags = frozenset({"subtract", "exact"})
    arrays: ClassVar[dict[str, str]] = {"shown": "<i8", "converted": "<i8", "missing": "<i8"}
    example_configs = ({"ages": 3}, {"ages": 5})
    shown: NDArray[np.int64]
    converted: NDArray[np.int64]
    missing: NDArray[np.int64]

    @classmethod
    def zero(cls, *, ages: int = 30, **unknown: Any) -> Self:
        """Nothing seen yet, with an attribution window of this many periods (1 to 400)."""
        if unknown or isinstance(ages, bool) or not isinstance(ages, int) or not 1 <= ages <= 400:
            raise DataError("ages must be a whole number in [1, 400]", got=sorted(unknown) or ages, field="ages")
        return cls({"ages": ages}, shown=np.zeros(ages + 1), converted=np.zeros((ages + 1, ages + 1)), missing=0)

    @property
    def ages(self) -> int:
        """The attribution window A, in periods."""
        return int(self._config["ages"])

    @property
    def n(self) -> int:
        """Impressions with an age."""
        return int(self.shown.sum())

    @property
    def conversions(self) -> int:
        """Conversions so far."""
        return int(self.converted.sum())

    @property
    def empty(self) -> bool:
        """True where no impression was seen, not even one without an age."""
        return self.n == 0 and int(self.missing) == 0

    def update(self, age: ArrayLike, delay: ArrayLike, counts: ArrayLike | None = None) -> Self:
        """Add impressions: age (m,) and delay (m,) in periods, each row `counts` times (default once).

        `DataError` for negative or fractional periods, and for a delay above the age. Infinite ages are missing ones.
        """
        a, late = np.asarray(age, dtype=np.float64), np.asarray(delay, dtype=np.float64)
        times = np.ones(a.shape, np.int64) if counts is None else np.asarray(counts)
        if a.ndim != 1 or a.shape != late.shape or a.shape != times.shape:
            raise DataError("one delay and one count per age", got=(a.shape, late.shape, times.shape))
        if len(times) and (times.dtype.kind not in "iu" or times.min() < 0):
            raise DataError("counts must be whole and not negative", got=times.min(), field="counts")
        here, done = np.isfinite(a), np.isfinite(a) & np.isfinite(late)
        if (a[here] < 0).any() or (a[here] % 1).any() or (late[done] < 0).any() or (late[done] % 1).any():
            raise DataError("ages and delays are whole periods, not negative", got=(np.min(a[here], initial=0),
                            np.min(late[done], initial=0)))
        if (late[done] > a[done]).any():
            raise DataError("a delay above the age", got=float((late - a)[done].max()), expected="at most the age",
                            hint="both count from the impression, in the same periods")
        top = self.ages
        done &= late <= top
        at = np.minimum(a, top)
        shown, converted = self.shown.copy(), self.converted.copy()
        np.add.at(shown, at[here].astype(np.int64), times[here])
        np.add.at(converted, (at[done].astype(np.int64), late[done].astype(np.int64)), times[done])
        return self._with(shown=shown, converted=converted, missing=self.missing + times[~here].sum())

    def _combine(self, other: Self, sign: int) -> Self:
        made = super()._combine(other, sign)
        if min(int(getattr(made, key).min()) for key in self.arrays) < 0:
            raise StateError("what is subtracted is no part of this", got=other, expected="a state merged before")
        return made

    def estimates(self) -> dict[str, Estimate]:
        """The share converted so far, of all and of the mature impressions: the first is too low by construction."""
        return {"so_far": proportion(self.conversions, self.n),
                "mature": proportion(int(self.converted[-1].sum()), int(self.shown[-1]))}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Impressions of ages 0 to 6, some converted."""
        age = rng.integers(0, 7, rows).astype(float)
        delay = np.floor(rng.random(rows) * (age + 1))
        return age, np.where(rng.random(rows) < 0.5, delay, np.nan)
