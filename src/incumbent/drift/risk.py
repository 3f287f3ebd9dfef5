"""Harm before page: a bounded risk that got worse than its baseline by more than a tolerance, by a sequential test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy import stats

from incumbent.drift.detector import Component, Memory, Reference, Result, no_data, settings_hash, sound
from incumbent.drift.null import LEAST, size_of
from incumbent.drift.sequential import BETS, bounded_bets, mixed_step
from incumbent.errors import ConfigError
from incumbent.stats.fixed import check_alpha
from incumbent.stats.moments import Moments


class BoundedRisk:
    """A sequential detector on a mean in [low, high] (`Moments`): click-through, conversion, NDCG, error rate.

    The null is "worse than the baseline by no more than `tolerance`", the baseline's mean being the worse end of the
    one-sided Student interval of its windows' means at `baseline_alpha`. Every window's mean is one observation, so
    that nothing is assumed of the rows in it; evidence is the mean of e-SR detectors over `bets`, alarm at
    ``M >= 1 / alpha`` and then a page. What a bet can win is the room between bound and `high`: a share of 2 % may fall
    by .02 of a room of .98, and says nothing for months. So with `worse` "lower" `reach` (above 1) cuts every mean at
    that multiple of the baseline's largest window, and the null is of means so cut: none of the baseline's is, so that
    its interval stays as it was, and a bet on ``min(x, top)`` in [low, top] is fair whatever lies above. `label` is
    what the reason calls the mean.

    Without harm beyond the tolerance a false alarm comes after 1 / alpha windows or more on average, for a baseline
    whose interval holds. Windows that are late change nothing until they are given.
    Sources: Podkopaev, Ramdas, ICLR 2022; Shin, Ramdas, Rinaldo, arXiv 2203.03532.
    """

    tags = frozenset({"sequential", "calibrated", "sees"})

    def __init__(
        self, name: str = "bounded_risk", *, variable: str = "x", low: float = 0.0, high: float = 1.0,
        worse: Literal["higher", "lower"] = "higher", tolerance: float = 0.0, alpha: float = 0.001,
        baseline_alpha: float = 0.05, bets: Sequence[float] = BETS, least_rows: int = 30,
        reach: float | None = None, label: str | None = None,
    ) -> None:
        check_alpha(alpha)
        check_alpha(baseline_alpha)
        if not low < high or not 0 <= tolerance < high - low:
            raise ConfigError("bounds must rise, and the tolerance lie between", got=(low, high, tolerance))
        if reach is not None and (worse != "lower" or not 1 < reach < math.inf):
            raise ConfigError("a reach is of what is worse when lower, in parts of the largest window",
                              got=(worse, reach), expected="above 1", field="reach")
        self.name, self.variable, self.low, self.high, self.worse = name, variable, low, high, worse
        self.tolerance, self.alpha, self.baseline_alpha = tolerance, alpha, baseline_alpha
        self.bets, self.least_rows, self.reach = tuple(bets), least_rows, reach
        self.label = label or variable

    @property
    def hash(self) -> str:
        """16 hex digits over name and settings."""
        return settings_hash(self.name, {
            key: value for key, value in vars(self).items() if key not in ("name", "label")})

    def least_windows(self) -> int:
        """Those that a standard deviation needs."""
        return LEAST

    def calibrate(self, reference: Reference, like: int | None = None) -> Reference:
        """Nothing is worth computing before."""
        return reference

    def step(self, current: Any, reference: Reference, memory: Memory) -> tuple[Result, Memory]:
        """The conclusion after one more window; `e_value` is M, `score` by how much the mean passes the bound."""
        problem = sound(current, reference, self.least_rows)
        if problem is not None:
            return problem, memory
        n, m = size_of(current), len(reference.held)
        if m < LEAST:
            return no_data(f"{m} windows of the baseline are too few for its interval, it takes {LEAST}", n=n,
                           windows=m), memory
        (bound, top), value = self._ends(reference), float(current.mean(self.variable).value)
        if not self.low <= value <= self.high:
            return Result(status="invalid", severity="ticket", n=n, windows=m,
                          reason=f"a mean of {value:g} is outside [{self.low:g}, {self.high:g}]"), memory
        if not self.low < bound < top:
            return no_data(f"nothing within the bounds is worse than {bound:g}", n=n, windows=m), memory
        logs, log_m = mixed_step(memory["logs"] if memory else None, bounded_bets(
            min(value, top), bound, self.low, top, worse=self.worse, bets=self.bets))
        drift, excess = log_m >= math.log(1 / self.alpha), (value - bound) * (1 if self.worse == "higher" else -1)
        reason = (f"{self.label} is {value:.4g}, {'worse' if excess > 0 else 'no worse'} than {bound:.4g} (baseline "
                  f"and tolerance {self.tolerance:g}): evidence {math.exp(min(log_m, 700)):.3g} of "
                  f"{1 / self.alpha:.4g}")
        said = Result(status="drift" if drift else "ok", severity="page" if drift else "info", reason=reason,
                      statistic=self.variable, score=excess, e_value=math.exp(min(log_m, 709.0)), windows=m, n=n,
                      components=(Component(self.variable, value, excess),))
        return said, None if drift else {"logs": logs}

    def bound(self, reference: Reference) -> float:
        """The baseline's mean at the worse end of its interval, and the tolerance."""
        return self._ends(reference)[0]

    def worst(self, reference: Reference) -> float | None:
        """What a bet of 1 wins on a total collapse: how far it lies beyond the bound, in parts of the room; 0 where
        nothing within the bounds is worse, None where the baseline is too small (`budget.soonest_harm`)."""
        if len(reference.held) < LEAST:
            return None
        bound, top = self._ends(reference)
        if not self.low < bound < top:
            return 0.0
        return (bound - self.low) / (top - bound) if self.worse == "lower" else (top - bound) / (bound - self.low)

    def _ends(self, reference: Reference) -> tuple[float, float]:
        """The bound, and the highest value that counts."""
        means = np.array([state.mean(self.variable).value for state in reference.held])
        width = stats.t.ppf(1 - self.baseline_alpha, len(means) - 1) * means.std(ddof=1) / math.sqrt(len(means))
        sign = 1 if self.worse == "higher" else -1
        bound, top = float(means.mean() + sign * (width + self.tolerance)), self.high
        if self.reach is not None:
            top = min(self.low + self.reach * (float(means.max()) - self.low), self.high)
        return bound, top

    def example(self, rng: Any, windows: int, drifted: int = 0) -> list[Any]:
        """Error rates of a tenth in windows of 200 rows with day effects; drift makes them a third."""
        rates = np.clip(0.1 + 0.01 * rng.normal(size=windows), 0.01, 0.3)
        rates[windows - drifted:] = 1 / 3
        zero = Moments.zero(variables=[self.variable])
        return [zero.update((rng.random(200) < rate).astype(float)) for rate in rates]
