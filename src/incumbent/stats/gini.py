"""The Gini coefficient of counts: how unequally a total is spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def gini(counts: NDArray[np.float64]) -> float:
    """``sum (2 i - n - 1) x_(i) / (n sum x)`` over n counts in ascending order, i from 1: 0 equal, 1 - 1/n all in one.

    `counts` are none negative, in any order, zeros included; NaN where all are 0 or there are none.
    Source: C. Gini (1912); the form by order statistics, Damgaard and Weiner (2000), Ecology 81, 1139.

    >>> gini(np.array([0.0, 0.0, 1.0, 3.0])), gini(np.ones(5))
    (0.625, 0.0)
    """
    n, total = len(counts), float(counts.sum())
    if not total > 0:
        return float("nan")
    return float(((2 * np.arange(1, n + 1) - n - 1) * np.sort(counts)).sum() / (n * total))
