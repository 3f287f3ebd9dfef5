"""How two metrics move together beyond the sampling noise that they share where they were measured on the same users.

Naive covariances of estimates mix the two: a proxy and its parent measured on one sample agree by luck alone. With the
influence of every bucket of users on each number, the shared noise is known and comes off. Source: Bibaut, Chou,
Ejdemyr, Kallus, KDD 2024 (arXiv 2309.07893), the covariance adjusted by its sampling part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from incumbent.stats.buckets import Buckets
from incumbent.stats.estimate import Estimate
from incumbent.stats.fixed import check_alpha

LEAST = 8  # points below which nothing is said
METHOD = "covariance less sampling noise"


@dataclass(frozen=True, eq=False)
class Noisy:
    """A number and how much of it hangs on each of k buckets of users: `influence` (k,), which sums to 0."""

    value: float
    influence: NDArray[np.float64]

    def minus(self, other: Noisy) -> Noisy:
        """The difference, whose noise is that of the same users where they are in both."""
        return Noisy(self.value - other.value, self.influence - other.influence)


@dataclass(frozen=True)
class Relation:
    """`slope` of the parent on the proxy, `correlation`, and the part of the proxy's variance that is `noise`;
    `degrees` of freedom that the intervals have."""

    slope: Estimate
    correlation: Estimate
    noise: float | None
    degrees: int = 0


def of_ratio(state: Buckets, numerator: str, denominator: str | None = None) -> Noisy | None:
    """A ratio of sums with ``psi_b = (S_b - R N_b) / sum N``; None where it is missing.

    >>> state = Buckets.zero(k=2, variables=["x"]).update([0, 1], [1.0, 3.0])
    >>> made = of_ratio(state, "x")
    >>> made.value, made.influence.tolist()
    (2.0, [-0.5, 0.5])
    """
    top = state.sums[:, state.variables.index(numerator)]
    bottom = state.rows.astype(np.float64) if denominator is None else state.sums[:, state.variables.index(denominator)]
    total = float(bottom.sum())
    if not state.rows.any() or total == 0:
        return None
    value = float(top.sum()) / total
    return Noisy(value, (top - value * bottom) / total)


def relation(pairs: Sequence[tuple[Noisy, Noisy]], *, block: int = 1, kin: Sequence[int] | None = None,
             alpha: float = 0.05) -> Relation:
    """Slope and correlation of (proxy, parent) over points, less the noise that both share.

    ``C = cov(values) - mean_t k/(k-1) sum_b psi_tb psi_tb'`` (2 x 2); slope ``C_sy / C_ss``, correlation
    ``C_sy / sqrt(C_ss C_yy)``, cut at [-1, 1]. Intervals by the jackknife that leaves out `block` points in a row,
    Student's t with one degree less than the blocks. Where `kin` (n,) says which points hang together though they are
    not neighbours (differences over a week share a day with those of the same weekday), a second jackknife leaves out
    one kin at a time; the larger standard error of the two is told, with the degrees of the fewer. Missing with fewer
    than 8 points, 4 blocks or 4 kins, and where the variance of proxy or parent is not beyond its noise at level alpha:
    nothing can be said then, which is not 0.

    >>> rng = np.random.default_rng(1)
    >>> truth, noise = rng.normal(size=60), rng.normal(size=(60, 2, 50)) / 10
    >>> noise -= noise.mean(axis=2, keepdims=True)
    >>> pairs = [(Noisy(t, n[0]), Noisy(2 * t, n[1])) for t, n in zip(truth, noise)]
    >>> made = relation(pairs)
    >>> made.slope.low < 2 < made.slope.high, made.correlation.value > 0.9
    (True, True)
    """
    check_alpha(alpha)
    n = len(pairs)
    labels = [np.arange(n) // block, *([] if kin is None else [np.asarray(kin)])]
    groups = min(len(np.unique(one)) for one in labels)
    if n < LEAST or groups < 4:
        why = f"{n} points, fewer than {LEAST}" if n < LEAST else f"{groups} blocks of points, fewer than 4"
        return _nothing(why, n, None)
    values = np.array([[proxy.value, parent.value] for proxy, parent in pairs])
    noise = np.stack([_noise(proxy, parent) for proxy, parent in pairs])
    whole = _moments(values, noise)
    moves = [_moves(values[:, at], noise[:, at, at], alpha) for at in (0, 1)]
    if not all(moves):
        why = f"{'the parent' if moves[0] else 'the proxy'} moves no more than its sampling noise does"
        return _nothing(why, n, _part(values, noise))
    made = _read(whole)
    spread = np.max([_jackknife(values, noise, one) for one in labels], axis=0)
    t, method = float(stats.t.ppf(1 - alpha / 2, groups - 1)), f"{METHOD}, jackknife over {groups} blocks"
    slope, correlation = (Estimate(value, value - t * se, value + t * se, se, n, method)
                          for value, se in zip(made.tolist(), spread.tolist(), strict=True))
    cut = Estimate(_clip(correlation.value), _clip(correlation.low), _clip(correlation.high), correlation.se, n,
                   correlation.method)
    return Relation(slope, cut, _part(values, noise), groups - 1)


def _jackknife(values: NDArray[np.float64], noise: NDArray[np.float64], labels: NDArray[np.int64],
               ) -> NDArray[np.float64]:
    """Standard errors of slope and correlation, the points of one label left out at a time."""
    known = np.unique(labels)
    without = np.array([_read(_moments(values[labels != one], noise[labels != one])) for one in known])
    g = len(known)
    return np.asarray(np.sqrt((g - 1) / g * np.square(without - without.mean(axis=0)).sum(axis=0)), np.float64)


def _moves(values: NDArray[np.float64], noise: NDArray[np.float64], alpha: float) -> bool:
    """Is the variance of the points beyond what noise alone would give at level alpha, ``(n - 1) v / noise ~ chi2``?"""
    spread, by_noise = float(values.var(ddof=1)), float(noise.mean())
    n = len(values)
    bar = float(stats.chi2.ppf(1 - alpha, n - 1)) / (n - 1)
    return spread > max(by_noise * bar, 0.0)


def _nothing(why: str, n: int, noise: float | None) -> Relation:
    missing = Estimate.missing(why, n=n, method=METHOD)
    return Relation(missing, missing, noise)


def _noise(proxy: Noisy, parent: Noisy) -> NDArray[np.float64]:
    both = np.stack([proxy.influence, parent.influence])
    k = both.shape[1]
    return np.asarray(both @ both.T * (k / (k - 1)), np.float64)


def _moments(values: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.cov(values.T) - noise.mean(axis=0), np.float64)


def _read(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slope and correlation; a variance that noise has used up is taken as a thousandth of its scale."""
    least = 1e-3 * np.abs(moments).max() + 1e-300
    s, y = max(float(moments[0, 0]), 0.0) or least, max(float(moments[1, 1]), 0.0) or least
    return np.array([moments[0, 1] / s, moments[0, 1] / math.sqrt(s * y)])


def _part(values: NDArray[np.float64], noise: NDArray[np.float64]) -> float | None:
    total = float(values[:, 0].var(ddof=1))
    return min(float(noise[:, 0, 0].mean()) / total, 1.0) if total > 0 else None


def _clip(number: float | None) -> float:
    assert number is not None
    return min(max(number, -1.0), 1.0)
