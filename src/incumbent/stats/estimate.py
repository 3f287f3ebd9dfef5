"""Estimate: a number with its uncertainty, or the reason why there is none. The only numeric result of incumbent."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from incumbent.errors import DataError


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval and standard error, or the reason why it is missing.

    `value` is None exactly when `reason` is set, and then `low`, `high` and `se` are None too. `low` and `high` may be
    infinite (a one-sided bound); an end that nobody computed is None. `n` counts what the method counts (users, rows);
    `method` names how the interval was made. Raises `DataError` for a value and a reason, for neither, for a value that
    is not finite, a negative `se`, or ends in the wrong order.

    >>> Estimate(0.3, 0.1, 0.5, se=0.1, n=40, method="t", unit="purchases/user")
    Estimate(value=0.3, low=0.1, high=0.5, se=0.1, n=40, method='t', reason=None, unit='purchases/user')
    >>> Estimate.missing("no users yet").value is None
    True
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    se: float | None = None
    n: int = 0
    method: str = ""
    reason: str | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high", "se"):
            number = getattr(self, name)
            if number is not None:
                object.__setattr__(self, name, float(number))
        object.__setattr__(self, "n", int(self.n))
        problem = self._problem()
        if problem:
            raise DataError(f"estimate is not sound: {problem}", got=self,
                            hint="use Estimate.missing(reason) where there is no value")

    def _problem(self) -> str | None:
        numbers = (self.low, self.high, self.se)
        if self.value is None:
            if not self.reason:
                return "neither value nor reason"
            return "an interval without a value" if any(part is not None for part in numbers) else None
        if self.reason is not None:
            return "a value and a reason why it is missing"
        if not math.isfinite(self.value) or any(part is not None and math.isnan(part) for part in numbers):
            return "a number that is not finite"
        if self.se is not None and not 0 <= self.se < math.inf:
            return "a standard error that is not in [0, inf)"
        if self.low is not None and self.high is not None and self.low > self.high:
            return "low is above high"
        return "n is negative" if self.n < 0 else None

    @classmethod
    def missing(cls, reason: str, *, n: int = 0, method: str = "", unit: str = "") -> Estimate:
        """The estimate that does not exist, with the reason that is shown in its place."""
        return cls(None, n=n, method=method, reason=reason, unit=unit)

    def noting(self, *notes: str | int) -> Estimate:
        """The estimate whose method tells what it left out; an empty note is none.

        >>> Estimate(0.5, n=3, method="mean").noting("2 rows missing", "").method
        'mean; 2 rows missing'
        """
        told = [str(note) for note in notes if note]
        return replace(self, method="; ".join(part for part in (self.method, *told) if part)) if told else self

    def scaled(self, factor: float, unit: str | None = None) -> Estimate:
        """The estimate times a constant (a change of unit, effect / share); a negative factor swaps the ends.

        >>> Estimate(2.0, 1.0, 4.0, se=0.5, n=9).scaled(-2)
        Estimate(value=-4.0, low=-8.0, high=-2.0, se=1.0, n=9, method='', reason=None, unit='')
        """
        unit = self.unit if unit is None else unit
        if self.value is None:
            return replace(self, unit=unit)
        if not math.isfinite(factor):
            raise DataError("scale factor is not finite", got=factor, hint="a share of 0 has no effect per share")
        if factor == 0:
            return replace(self, value=0.0, low=0.0, high=0.0, se=0.0, unit=unit)
        ends = [None if end is None else end * factor for end in (self.low, self.high)]
        low, high = ends if factor > 0 else ends[::-1]
        se = None if self.se is None else self.se * abs(factor)
        return replace(self, value=self.value * factor, low=low, high=high, se=se, unit=unit)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as decisions keep them as evidence; an infinite end is None, since JSON has no infinity.

        >>> Estimate(1.0, 0.5, math.inf, n=3).to_dict()["high"] is None
        True
        """
        ends = {name: end if end is not None and math.isfinite(end) else None
                for name, end in (("low", self.low), ("high", self.high))}
        return {"value": self.value, **ends, "se": self.se, "n": self.n, "method": self.method,
                "reason": self.reason, "unit": self.unit}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Estimate:
        """The estimate that `to_dict` wrote."""
        return cls(**data)
