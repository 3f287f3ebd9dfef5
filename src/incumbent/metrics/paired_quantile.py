"""Quantiles of champion and candidate over the same requests, by the bootstrap over users."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.paired import Paired, Which
from incumbent.stats.estimate import Estimate

DRAWS = 400


def quantile(
    paired: Paired, which: Which, q: float, rng: np.random.Generator, *, alpha: float = 0.05, unit: str = "",
) -> Estimate:
    """The q-quantile of the numerators: a model's own, candidate - champion, or candidate / champion - 1.

    The least value that a part q of the requests does not exceed; the interval is the percentile bootstrap's, over
    users, both models drawn together. n counts requests. Missing without requests, and `relative` where the champion's
    is 0. `DataError` unless q is in (0, 1). Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), 13.

    >>> from incumbent.metrics.paired import ones
    >>> took = ones([5.0, 7.0, 9.0, 40.0])
    >>> made = quantile(Paired(np.arange(4), took, 2 * took), "difference", 0.5, np.random.default_rng(1), unit="ms")
    >>> made.value, made.low <= 7.0 <= made.high
    (7.0, True)
    """
    if not 0 < q < 1:
        raise DataError("q must be in (0, 1)", got=q, field="q")
    good = paired.sound(which)
    n, unit = int(good.sum()), "" if which == "relative" else unit
    users, codes = np.unique(paired.users[good], return_inverse=True)
    method, size = f"{which}, bootstrap over {len(users)} users", len(users)
    if not n:
        return Estimate.missing("no request has a number", method=method, unit=unit)
    sides = {}
    for name, parts in (("champion", paired.champion), ("candidate", paired.candidate)):
        if which in (name, "difference", "relative"):
            order = np.argsort(parts[good, 0], kind="stable")
            sides[name] = (parts[good, 0][order], codes[order])

    def read(weights: NDArray[np.float64]) -> float:
        at = {name: _weighted(values, weights[owner], q) for name, (values, owner) in sides.items()}
        if which == "relative":
            return at["candidate"] / at["champion"] - 1 if at["champion"] else math.nan
        return at["candidate"] - at["champion"] if which == "difference" else at[which]

    value = read(np.ones(size))
    if math.isnan(value):
        return Estimate.missing("the champion has 0, so nothing is relative to it", n=n, method=method)
    if size < 2:
        return Estimate(value, -math.inf, math.inf, None, n, method, unit=unit)
    even = np.full(size, 1 / size)
    drawn = np.array([read(rng.multinomial(size, even).astype(np.float64)) for _ in range(DRAWS)])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return Estimate(value, -math.inf, math.inf, None, n, method, unit=unit)
    low, high = np.quantile(drawn, [alpha / 2, 1 - alpha / 2])
    return Estimate(value, min(low, value), max(high, value), float(drawn.std()), n, method, unit=unit)


def _weighted(values: NDArray[np.float64], weights: NDArray[np.float64], q: float) -> float:
    """The least of the rising values at which the weights reach the part q of their sum."""
    reached = np.cumsum(weights)
    return float(values[min(int(np.searchsorted(reached, q * reached[-1])), len(values) - 1)])
