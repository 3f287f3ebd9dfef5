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
WAVES = 4  # of the long-run variance, and its degrees of freedom
MOST = 0.995  # of a correlation on Fisher's scale, which has no place for 1
METHOD = "covariance less sampling noise"
Spread = tuple[NDArray[np.float64], int, str]  # standard errors of slope and correlation, their degrees, and how


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
    `degrees` of freedom that the slope's interval has."""

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
    one kin at a time; the larger standard error holds, with the degrees of the fewer. With a `block` above 1 the points
    are a series in time, whose memory may be longer than a block: another variance is the long-run one of the
    leave-one-out influences u, ``sum_j (psi_j' u)^2 / (4 n)`` with the cosines
    ``psi_j(t) = sqrt(2/n) cos(pi j (t - 1/2) / n)``, j = 1 to 4, and 4 degrees. The wider interval is told, with its
    degrees; the correlation's on Fisher's scale. Missing with fewer than 8 points, 4 blocks or 4 kins, and where the
    variance of proxy or parent is not beyond its noise at level alpha: nothing can be said then, which is not 0.

    Source of the long-run variance: Mueller, Journal of Econometrics 141 (2007); Lazarus, Lewis, Stock, Watson, JBES 36
    (2018).

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
    moves = [_moves(values[:, at], noise[:, at, at], alpha) for at in (0, 1)]
    if not all(moves):
        why = f"{'the parent' if moves[0] else 'the proxy'} moves no more than its sampling noise does"
        return _nothing(why, n, _part(values, noise))
    made = _read(np.cov(values.T) - noise.mean(axis=0))
    spread = np.max([_jackknife(values, noise, one) for one in labels], axis=0)
    spreads: list[Spread] = [(spread, groups - 1, f"jackknife over {groups} blocks")]
    if block > 1:
        spreads.append((_long_run(values, noise), WAVES, f"long-run variance of {WAVES} cosines"))
    slope, correlation = (max((float(stats.t.ppf(1 - alpha / 2, df)) * se[at], se[at], df, how)
                              for se, df, how in spreads) for at in (0, 1))
    half, se, degrees, how = slope
    whole = Estimate(made[0], made[0] - half, made[0] + half, se, n, f"{METHOD}, {how}")
    half, se, _, how = correlation
    value, (low, high) = min(max(float(made[1]), -1.0), 1.0), _on_fishers_scale(float(made[1]), half)
    return Relation(whole, Estimate(value, min(low, value), max(high, value), se, n, f"{METHOD}, {how}"),
                    _part(values, noise), degrees)


def _on_fishers_scale(value: float, half: float) -> tuple[float, float]:
    """``tanh(atanh r -+ half / (1 - r^2))``: ends in [-1, 1], skewed as correlations are."""
    r = min(max(value, -MOST), MOST)
    reach = half / (1 - r * r)
    return math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach)


def _jackknife(values: NDArray[np.float64], noise: NDArray[np.float64], labels: NDArray[np.int64],
               ) -> NDArray[np.float64]:
    """Standard errors of slope and correlation, the points of one label left out at a time."""
    without = _without(values, noise, labels)
    g = len(without)
    return np.asarray(np.sqrt((g - 1) / g * np.square(without - without.mean(axis=0)).sum(axis=0)), np.float64)


def _long_run(values: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same from the slowest waves of the points' influences: what hangs together over many points is in them."""
    n = len(values)
    without = _without(values, noise, np.arange(n))
    influence = (n - 1) * (without.mean(axis=0) - without)
    waves = np.sqrt(2 / n) * np.cos(np.pi * np.outer(np.arange(1, WAVES + 1), np.arange(n) + 0.5) / n)
    return np.asarray(np.sqrt(np.square(waves @ influence).mean(axis=0) / n), np.float64)


def _without(values: NDArray[np.float64], noise: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Slope and correlation without the points of each label, (labels, 2)."""
    out = (labels[None, :] != np.unique(labels)[:, None]).astype(np.float64)
    rest, centred = out.sum(axis=1)[:, None, None], values - values.mean(axis=0)
    sums = (out @ centred)[:, :, None]
    products = np.einsum("gn,ni,nj->gij", out, centred, centred)
    covariance = (products - sums @ sums.transpose(0, 2, 1) / rest) / (rest - 1)
    return _read(covariance - np.einsum("gn,nij->gij", out, noise) / rest)


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


def _read(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slope and correlation, (..., 2), of moments (..., 2, 2); a variance that noise has used up is a thousandth of the
    greatest."""
    least = 1e-3 * np.abs(moments).max(axis=(-2, -1)) + 1e-300
    s, y = (np.where(part > 0, part, least) for part in (moments[..., 0, 0], moments[..., 1, 1]))
    return np.stack([moments[..., 0, 1] / s, moments[..., 0, 1] / np.sqrt(s * y)], axis=-1)


def _part(values: NDArray[np.float64], noise: NDArray[np.float64]) -> float | None:
    total = float(values[:, 0].var(ddof=1))
    return min(float(noise[:, 0, 0].mean()) / total, 1.0) if total > 0 else None
