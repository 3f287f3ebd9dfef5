"""The alarm of a numeric column: four distances, each blind to something that another sees, one calibrated score."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from incumbent.drift.null import Tail
from incumbent.drift.numeric import ks, numeric_js, wasserstein
from incumbent.drift.present import present
from incumbent.drift.windowed import WindowDetector
from incumbent.stats.numeric import Numeric

GROWTH = {"wasserstein": (0.5, 0.0), "ks": (0.5, 0.0), "cells": (0.5, 0.0), "absent": (0.0, -0.5)}
FLOORS = {"absent": 1.0}  # it is in standard errors already, and 0 in every window of a complete column


def distances(current: Numeric, reference: Numeric) -> dict[str, float]:
    """Wasserstein-1 and Kolmogorov-Smirnov distance, root of the Jensen-Shannon divergence of the quantile cells, and
    by how many standard errors the largest share of absent values (missing, NaN, infinite) rose. Uncorrected for size,
    since `null.judge` corrects.

    >>> rows = np.random.default_rng(0).normal(size=2000)
    >>> zero = Numeric.fit(rows)
    >>> found = distances(zero.update([*rows[:900], *[None] * 100]), zero.update(rows))
    >>> sorted(found) == sorted(GROWTH), found["absent"] > 10 > 1 > found["ks"]
    (True, True)
    """
    return {"wasserstein": wasserstein(current, reference), "ks": ks(current, reference),
            "cells": math.sqrt(max(numeric_js(current, reference, corrected=False), 0.0)),
            "absent": max(absent_scores(current, reference).values())}


def absent_scores(current: Numeric, reference: Numeric) -> dict[str, float]:
    """By how many standard errors the share of each kind of absent value rose, as in `defects.defect_scores`."""
    n, m = (int(state.n + state.absent.sum()) for state in (current, reference))
    theirs, found = reference.absences(), {}
    for kind, count in current.absences().items():
        both = (count + theirs[kind]) / (n + m)
        spread = math.sqrt(both * (1 - both) * (1 / n + 1 / m))
        found[kind] = (count / n - theirs[kind] / m) / spread if spread > 0 else 0.0
    return found


def numeric(*, alpha: float = 0.05, tail: Tail | None = None, **settings: Any) -> WindowDetector:
    """The detector of a numeric column on `Numeric` states: settings are those of `WindowDetector`.

    It looks at the values that are there: missing ones are no drift (`numeric.absences` counts them).

    >>> numeric().name, numeric().least_windows()
    ('numeric', 19)
    """
    return WindowDetector("numeric", present(distances), alpha=alpha, tail=tail, **{
        "growth": GROWTH, "floors": FLOORS, "example": _example, **settings})


def _example(rng: np.random.Generator, windows: int, drifted: int) -> list[Numeric]:
    """Windows of 200 values with day effects; drift moves the mean by a standard deviation."""
    zero = Numeric.fit(rng.normal(size=1000), grid=32, quantiles=10)
    return [zero.update(rng.normal(size=200) + 0.05 * rng.normal() + (i >= windows - drifted)) for i in range(windows)]
