"""Paired: a number of champion and candidate over the same requests, each user one unit of inference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.frames import Codes
from incumbent.stats import fixed
from incumbent.stats.bounded_share import bounded_share
from incumbent.stats.clustered import ratio, spread
from incumbent.stats.estimate import Estimate

Parts = NDArray[np.float64]
Which = Literal["champion", "candidate", "difference", "relative"]


@dataclass(frozen=True, eq=False)
class Paired:
    """Numerator and denominator of both models for each of n requests, (n, 2) each; NaN is missing. `users` (n,).

    A number is ``sum(numerator) / sum(denominator)``. A comparison is over the requests that both models have a number
    for; a model's own number is over all of its own. `bounded` says that every ratio lies in [0, 1].

    >>> both = Paired(np.array([0, 0, 1, 2]), ones([1.0, 0.0, 0.0, 1.0]), ones([1.0, 1.0, 0.0, 1.0]))
    >>> both.estimate("candidate").value, both.estimate("difference").value, both.estimate("relative").value
    (0.75, 0.25, 0.5)
    """

    users: Codes
    champion: Parts
    candidate: Parts
    bounded: bool = False

    def __post_init__(self) -> None:
        if self.champion.shape != self.candidate.shape or self.champion.shape != (len(self.users), 2):
            raise DataError("both models need a numerator and a denominator per request",
                            got=(len(self.users), self.champion.shape, self.candidate.shape))

    def only(self, rows: NDArray[np.bool_]) -> Paired:
        """These requests alone."""
        return Paired(self.users[rows], self.champion[rows], self.candidate[rows], self.bounded)

    def estimate(self, which: Which, *, alpha: float = 0.05, unit: str = "") -> Estimate:
        """A model's own number, candidate - champion, or candidate / champion - 1, by the delta method over users.

        With the ratios R, sums N and a user's S and N_u the influence of a user is ``(S_u - R N_u) / N``; the variance
        ``G / (G - 1) sum_u influence^2`` over G users; the interval is Student's. n counts requests. Missing without
        requests, where a denominator is 0, and `relative` where the champion has 0.

        A model's own bounded number has the interval of `bounded_share`, which is honest near 0 and 1. Source: Deng,
        Knoblich, Lu, KDD 2018.
        """
        good = self.sound(which)
        n, unit = int(good.sum()), "" if which == "relative" else unit
        users, codes = np.unique(self.users[good], return_inverse=True)
        method = f"{which} over {len(users)} users"
        if not n:
            return Estimate.missing("no request has a number", method=method, unit=unit)
        found = {}
        for name, parts in (("champion", self.champion), ("candidate", self.candidate)):
            if which in (name, "difference", "relative"):
                top, bottom = (np.bincount(codes, weights=parts[good, column], minlength=len(users)).astype(np.float64)
                               for column in (0, 1))
                found[name] = ratio(top, bottom)
                if found[name] is None:
                    return Estimate.missing("the denominator is 0", n=n, method=method, unit=unit)
        value, influence = _combined(which, found)
        if influence is None:
            return Estimate.missing("the champion has 0, so nothing is relative to it", n=n, method=method)
        g = len(users)
        if self.bounded and which in ("champion", "candidate"):
            value = min(max(value, 0.0), 1.0)  # sums of shares may be off by their last bit
            return bounded_share(value, spread(influence), n, g, alpha=alpha, method=method, unit=unit)
        made = fixed.interval(value, spread(influence), n, df=g - 1, alpha=alpha, method=method, unit=unit)
        return fixed.unless_all_zero(made) if which in ("champion", "candidate") else made

    def sound(self, which: Which) -> NDArray[np.bool_]:
        """The requests that a number of this kind is over, (n,)."""
        own, other = (np.asarray(np.isfinite(parts).all(axis=1), np.bool_) for parts in (self.champion, self.candidate))
        return own if which == "champion" else other if which == "candidate" else own & other


def ones(values: object) -> Parts:
    """One number per request as numerator and denominator: its mean is the ratio.

    >>> ones([0.5]).tolist()
    [[0.5, 1.0]]
    """
    numerator = np.asarray(values, np.float64)
    return np.stack([numerator, np.ones(len(numerator))], axis=1)


def _combined(which: Which, found: dict[str, tuple[float, NDArray[np.float64]] | None]) -> tuple[
    float, NDArray[np.float64] | None,
]:
    parts = {name: one for name, one in found.items() if one is not None}
    if which in ("champion", "candidate"):
        return parts[which]
    (a, own), (b, other) = parts["candidate"], parts["champion"]
    if which == "difference":
        return a - b, own - other
    return (a / b - 1, own / b - a / b / b * other) if b else (math.nan, None)
