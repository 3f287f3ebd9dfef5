"""WindowDetector: several statistics of one window against its baseline, one calibrated alarm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from incumbent.drift.detector import Component, Memory, Reference, Result, no_data, settings_hash, sound
from incumbent.drift.null import (
    LEAST,
    PARETO_LEAST,
    TAILS,
    Judged,
    Measure,
    Null,
    Tail,
    judge,
    leave_one_out,
    size_of,
    unions,
)
from incumbent.errors import ConfigError, DataError
from incumbent.stats.fixed import check_alpha


class WindowDetector:
    """A two-sample detector: `measure(current, reference)` gives statistics, larger meaning further apart.

    The null is leave-one-window-out (`drift.null`), the alarm ``p <= alpha``. `growth` and `floors` are those of
    `null.judge`; `least_rows` is the smallest window judged. `tail` allows p-values below 1 / (m + 1), labelled:
    ``student``, ``pareto``, or ``rows`` with `count` unions of random windows drawn by `seed`, each as large as the
    current window. Without a tail a baseline of too few windows is no_data, with what would be enough.
    """

    tags = frozenset({"two_sample", "calibrated", "sees"})

    def __init__(
        self, name: str, measure: Measure, *, alpha: float = 0.05, tail: Tail | None = None, least_rows: int = 30,
        growth: Mapping[str, tuple[float, float]] | None = None, floors: Mapping[str, float] | None = None,
        count: int = 200, seed: int = 0, example: Callable[[Any, int, int], list[Any]] | None = None,
    ) -> None:
        check_alpha(alpha)
        if tail is not None and tail not in TAILS:
            raise ConfigError("no such tail", got=tail, expected=", ".join(TAILS), field="tail")
        self.name, self.alpha, self.tail, self.least_rows = name, alpha, tail, least_rows
        self._measure, self._growth, self._floors = measure, dict(growth or {}), dict(floors or {})
        self._count, self._seed, self._example = count, seed, example

    @property
    def hash(self) -> str:
        """16 hex digits over name and settings."""
        return settings_hash(self.name, {
            "alpha": self.alpha, "tail": self.tail, "least_rows": self.least_rows, "growth": self._growth,
            "floors": self._floors, "count": self._count, "seed": self._seed})

    def least_windows(self) -> int:
        """``1 / alpha - 1`` by rank; fewer where a tail was asked for."""
        ranks = int(np.ceil(1 / self.alpha - 1e-9)) - 1
        return max(LEAST, {"pareto": min(ranks, PARETO_LEAST), "student": 0, "rows": 0}.get(self.tail or "", ranks))

    def calibrate(self, reference: Reference, like: int | None = None) -> Reference:
        """The reference with its null, to be kept beside the baseline; `like` is the usual size of a window in rows.

        Only ``rows`` needs `like`. `DataError` with fewer windows than `least_windows`.
        """
        group = self._group(reference, like)
        if len(reference.held) < max(self.least_windows(), 2):
            raise DataError("the baseline has too few windows", got=len(reference.held),
                            expected=f"{self.least_windows()} or more", hint=self._enough())
        return replace(reference, null=self._null(reference, group))

    def step(self, current: Any, reference: Reference, memory: Memory) -> tuple[Result, Memory]:
        """The conclusion about one window; memory comes back as it was."""
        return self.judged(current, reference)[0], memory

    def judged(self, current: Any, reference: Reference) -> tuple[Result, Judged | None]:
        """The same, with the standardised scores of the null beside it where there is one."""
        problem = sound(current, reference, self.least_rows)
        if problem is not None:
            return problem, None
        n, m = size_of(current), len(reference.held)
        if m < self.least_windows():
            return no_data(f"{m} windows of the baseline cannot carry an alarm at {self.alpha:g}: p is never below "
                           f"1/{m + 1}; {self._enough()}", n=n, windows=m, resolution=1 / (m + 1)), None
        group = self._group(reference, n)
        null = reference.null
        if null is None or null.group != group:
            null = self._null(reference, group)
        found = self._measure(current, reference.total)
        said = judge(null, found, 1 / n + 1 / size_of(reference.total), growth=self._growth, floors=self._floors,
                     tail=self.tail)
        parts = sorted((Component(name, float(found[name]), units)
                        for name, units in zip(null.names, said.standardised, strict=True)),
                       key=lambda part: -part.standardised)
        drift = said.p_value <= self.alpha
        label = f", extrapolated ({said.extrapolated})" if said.extrapolated else f" of a least {said.resolution:.3g}"
        reason = (f"{parts[0].name} is {parts[0].said}: p = "
                  f"{said.p_value:.3g}{label}, {m} windows, alpha {self.alpha:g}")
        return Result(status="drift" if drift else "ok", severity="ticket" if drift else "info", reason=reason,
                      statistic=parts[0].name, score=said.score, p_value=said.p_value, resolution=said.resolution,
                      extrapolated=said.extrapolated, windows=m, n=n, components=tuple(parts)), said

    def _group(self, reference: Reference, like: int | None) -> int:
        if self.tail != "rows" or like is None:
            return 1
        usual = float(np.median([size_of(state) for state in reference.held])) if reference.held else 1.0
        return max(1, min(round(like / usual), len(reference.held) // 2))

    def _null(self, reference: Reference, group: int) -> Null:
        held, total = reference.held, reference.total
        if self.tail != "rows":
            return leave_one_out(held, total, self._measure)
        return unions(held, total, self._measure, group, self._count, np.random.default_rng([self._seed, group]))

    def _enough(self) -> str:
        return f"it takes {self.least_windows()}, or a tail asked for by name"

    def example(self, rng: Any, windows: int, drifted: int = 0) -> list[Any]:
        """States of its example, the last `drifted` of them drifted."""
        if self._example is None:
            raise DataError("this detector has no example", got=self.name, hint="example=... gives it one")
        return self._example(rng, windows, drifted)


