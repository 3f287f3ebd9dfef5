"""CUSUM and Page-Hinkley: change detection on scalars of windows that are merged already, as pure steps.

Both take standardised values for granted to keep their stated run lengths; without that assumption use the e-detectors
of `drift.sequential`. Memory is a list of floats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.optimize import brentq

from incumbent.errors import DataError


def cusum_step(memory: Sequence[float] | None, z: float, drift: float = 0.5) -> tuple[list[float], float]:
    """Two-sided CUSUM of a standardised value: ``S+ = max(S+ + z - k, 0)``, ``S- = max(S- - z - k, 0)``; the larger.

    Alarm where it passes a threshold h; k, here `drift`, is half the shift that it is tuned to, in standard deviations.
    Source: E. S. Page, Biometrika 41 (1954).

    >>> memory, level = cusum_step(None, 2.0)
    >>> cusum_step(memory, 1.0)
    ([2.0, 0.0], 2.0)
    """
    up, down = memory or (0.0, 0.0)
    moved = [max(up + _finite(z) - drift, 0.0), max(down - z - drift, 0.0)]
    return moved, max(moved)


def cusum_run_length(threshold: float, drift: float = 0.5, shift: float = 0.0) -> float:
    """Mean number of normal values to an alarm of the two-sided CUSUM, by Siegmund's approximation.

    One side: ``(exp(-2 D b) + 2 D b - 1) / (2 D^2)`` with ``b = h + 1.166`` and D = shift - k (b^2 at D = 0); two
    sides: ``1 / (1 / up + 1 / down)``. Source: D. Siegmund, Sequential Analysis (1985), as in Montgomery, Introduction
    to Statistical Quality Control, section 9.1.

    >>> round(cusum_run_length(5.0)), round(cusum_run_length(5.0, shift=1.0), 1)
    (469, 10.3)
    """
    b = threshold + 1.166

    def side(delta: float) -> float:
        return b * b if delta == 0 else (math.exp(-2 * delta * b) + 2 * delta * b - 1) / (2 * delta * delta)

    return 1 / (1 / side(shift - drift) + 1 / side(-shift - drift))


def cusum_threshold(run_length: float, drift: float = 0.5) -> float:
    """The threshold h whose `cusum_run_length` without a shift is the one asked for.

    >>> round(cusum_threshold(469), 2)
    5.0
    """
    if not cusum_run_length(0.0, drift) < run_length < math.inf:
        raise DataError("no threshold has that run length", got=run_length, field="run_length",
                        expected=f"above {cusum_run_length(0.0, drift):.1f}")
    return float(brentq(lambda h: math.log(cusum_run_length(h, drift) / run_length), 0.0, 100.0 / drift))


def page_hinkley_step(
    memory: Sequence[float] | None, x: float, tolerance: float = 0.005
) -> tuple[list[float], float]:
    """Page-Hinkley: how far ``sum (x_t - mean_t - tolerance)`` stands above its least value; for a rise of the mean.

    mean_t is that of all values so far; alarm where the result passes a threshold, and then start again with None.
    For a fall give -x. Memory: values seen, their mean, the sum, its least. Source: D. V. Hinkley, Biometrika 58
    (1971).

    >>> memory = None
    >>> for x in [0, 0, 0, 1, 1]:
    ...     memory, level = page_hinkley_step(memory, x, tolerance=0)
    >>> round(level, 6)  # 3/4 and 3/5 above the running mean
    1.35
    """
    n, mean, total, least = memory or (0.0, 0.0, 0.0, 0.0)
    n += 1
    mean += (_finite(x) - mean) / n
    total += x - mean - tolerance
    least = min(least, total)
    return [n, mean, total, least], total - least


def _finite(x: float) -> float:
    if not math.isfinite(x):
        raise DataError("a detector takes finite numbers", got=x, hint="a missing window is a status: take no step")
    return x
