"""Drift of a numeric column, from two states: Wasserstein-1, Kolmogorov-Smirnov, and divergences of quantile cells.

What the rows would have given lies within a bound that the states themselves state: `wasserstein_bounds`, `ks_bounds`.
Values that are missing, NaN or infinite enter none of these; `absences` compares their shares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from incumbent.drift import divergence
from incumbent.drift.divergence import Array
from incumbent.errors import DataError, StateError
from incumbent.stats.numeric import Numeric


def wasserstein(current: Numeric, reference: Numeric, *, corrected: bool = False) -> float:
    """The 1-Wasserstein distance ``integral |F - G|`` in units of the baseline's spread (`Numeric.scale`).

    F and G are linear within a cell. Beyond the first and last edge the distance is the difference of the mean excess,
    exact where one tail lies outside the other. `corrected` subtracts what two samples of one distribution are apart on
    average, ``sqrt(2 (1/n + 1/N) / pi) integral sqrt(H (1 - H))``, H that of both together, the tails taken as
    exponential beyond the edges; it may go below 0.
    `StateError` for different cells, `DataError` for a state without sound values. Sources: S. S. Vallender, Theory
    Probab. Appl. 18 (1974); E. del Barrio, E. Gine, C. Matran, Ann. Probab. 27 (1999), for the expectation.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=4000)
    >>> zero = Numeric.fit(rows)
    >>> round(wasserstein(zero.update(rows + 0.25), zero.update(rows)), 2)
    0.25
    """
    left, right, widths = _gaps(current, reference)
    size, crossing = np.abs(left) + np.abs(right), left * right < 0
    mean = np.where(crossing, (left**2 + right**2) / np.where(size > 0, 2 * size, 1.0), size / 2)
    ours, theirs = _tails(current, reference)
    total = float(mean @ widths + np.abs(ours - theirs).sum())
    return (total - (_null(current, reference) if corrected else 0.0)) / current.scale


def wasserstein_bounds(current: Numeric, reference: Numeric) -> tuple[float, float]:
    """Between what the distance of the rows themselves must lie, in the same unit.

    Around the linear value: half a cell's width per share in the cell, ``sum w_k (p_k + q_k) / 2``, and in a tail
    twice the smaller mean excess upwards, nothing downwards.

    >>> zero = Numeric.zero(edges=[0.0, 1.0, 2.0])
    >>> wasserstein_bounds(zero.update([0.0, 1.0]), zero.update([0.9, 1.9]))  # of rows: 0.9
    (0.0, 1.0)
    """
    widths = _gaps(current, reference)[2]
    p, q = current.cells / int(current.n), reference.cells / int(reference.n)
    half = float(widths @ (p + q)[1:-1]) / 2 / current.scale
    ours, theirs = _tails(current, reference)
    value = wasserstein(current, reference)
    return max(value - half, 0.0), value + half + 2 * float(np.minimum(ours, theirs).sum()) / current.scale


def ks(current: Numeric, reference: Numeric, *, corrected: bool = False) -> float:
    """The Kolmogorov-Smirnov distance ``max |F - G|`` over the edges, in [0, 1]; never above that of the rows.

    `corrected` subtracts its mean without drift, ``sqrt(pi / 2) ln 2 sqrt(1/n + 1/N)``. Source: N. Smirnov, Ann. Math.
    Stat. 19 (1948).

    >>> zero = Numeric.zero(edges=[1.0, 2.0, 3.0])
    >>> ks(zero.update([1, 1, 2, 3]), zero.update([3, 3]))
    0.75
    """
    value = float(np.abs(_cumulated(current, reference)).max())
    return value - (math.sqrt(math.pi / 2) * math.log(2) * math.sqrt(_noise(current, reference)) if corrected else 0.0)


def ks_bounds(current: Numeric, reference: Numeric) -> tuple[float, float]:
    """Between what the distance of the rows themselves must lie: up to one side's share of a cell over the edges'.

    Within a cell with D on its edges and the shares p and q, ``F - G`` is at most ``min(D_left + p, D_right + q)`` and
    ``G - F`` at most ``min(q - D_left, p - D_right)``.
    """
    gap = np.concatenate([[0.0], _cumulated(current, reference), [0.0]])
    p, q = current.cells / int(current.n), reference.cells / int(reference.n)
    left, right = gap[:-1], gap[1:]
    above = np.minimum(left + p, right + q).max()
    below = np.minimum(q - left, p - right).max()
    return ks(current, reference), min(float(max(above, below)), 1.0)


def numeric_js(current: Numeric, reference: Numeric, *, corrected: bool = True) -> float:
    """`divergence.js` of the quantile cells, corrected for ``1/n + 1/N`` unless told otherwise."""
    return divergence.js(*_tables(current, reference), corrected=corrected)


def numeric_kl(current: Numeric, reference: Numeric, *, corrected: bool = True) -> float:
    """`divergence.kl` of the quantile cells."""
    return divergence.kl(*_tables(current, reference), corrected=corrected)


def numeric_psi(current: Numeric, reference: Numeric, *, corrected: bool = True) -> float:
    """`divergence.psi` of the quantile cells."""
    return divergence.psi(*_tables(current, reference), corrected=corrected)


def mean_shift(current: Numeric, reference: Numeric) -> float:
    """The difference of the means in units of the baseline's spread, current minus reference, with its sign."""
    _same(current, reference)
    ours, theirs = (float(state.sums[0]) / int(state.n) for state in (current, reference))
    return (ours - theirs) / current.scale


def absences(current: Numeric, reference: Numeric) -> dict[str, float]:
    """By how much the share of rows without a sound value rose, by kind (missing, nan, inf, -inf) and `outside`.

    A column that is wholly missing is no drift of its values: it is this. `outside` is of the sound values, 0 where a
    side has none. `DataError` where a side has no rows at all.
    """
    rows = [int(state.n + state.absent.sum()) for state in (current, reference)]
    if min(rows) == 0:
        raise DataError("a state without rows has no shares", got=tuple(rows), expected="at least one on each side")
    theirs = reference.absences()
    out = {kind: count / rows[0] - theirs[kind] / rows[1] for kind, count in current.absences().items()}
    ends = [(state.outside_share().value or 0.0) for state in (current, reference)]
    return {**out, "outside": ends[0] - ends[1]}


#: name -> statistic, corrected for the sizes; larger is further apart
STATISTICS: Mapping[str, Callable[[Numeric, Numeric], float]] = MappingProxyType({
    "wasserstein": lambda a, b: wasserstein(a, b, corrected=True), "ks": lambda a, b: ks(a, b, corrected=True),
    "numeric_js": numeric_js, "numeric_kl": numeric_kl, "numeric_psi": numeric_psi,
    "mean_shift": lambda a, b: abs(mean_shift(a, b)),
    "absent": lambda a, b: max(absences(a, b).values()),
})


def scores(current: Numeric, reference: Numeric) -> dict[str, float]:
    """All of `STATISTICS` for one pair of states: the row that a null of windows standardises.

    >>> zero = Numeric.zero(edges=[0.0, 1.0])
    >>> max(scores(zero.update([0.0, 1.0] * 50), zero.update([0.0, 1.0] * 50)).values()) <= 0
    True
    """
    return {name: statistic(current, reference) for name, statistic in STATISTICS.items()}


def _same(current: Numeric, reference: Numeric) -> None:
    if current._config is not reference._config and current.config_hash != reference.config_hash:
        raise StateError("states of different cells do not compare", got=current.config_hash,
                         expected=reference.config_hash, hint="both must come from one baseline's Numeric.fit")
    if not int(current.n) or not int(reference.n):
        raise DataError("a state without sound values does not compare", got=(int(current.n), int(reference.n)),
                        expected="at least one on each side", hint="compare `absences` instead")


def _tables(current: Numeric, reference: Numeric) -> tuple[Array, Array]:
    """The quantile cells that either side has: the gaps between values that repeat are empty on both."""
    _same(current, reference)
    used = current.coarse + reference.coarse > 0
    return current.coarse[used].astype(np.float64), reference.coarse[used].astype(np.float64)


def _noise(current: Numeric, reference: Numeric) -> float:
    return 1 / int(current.n) + 1 / int(reference.n)


def _cumulated(current: Numeric, reference: Numeric) -> Array:
    """``F - G`` just below every edge."""
    _same(current, reference)
    gap: Array = np.cumsum(current.cells / int(current.n) - reference.cells / int(reference.n))[:-1]
    return gap


def _gaps(current: Numeric, reference: Numeric) -> tuple[Array, Array, Array]:
    """``F - G`` at the left and right edge of every inner cell, and the widths."""
    gap = _cumulated(current, reference)
    return gap[:-1], gap[1:], np.diff(current.edges)


def _tails(current: Numeric, reference: Numeric) -> tuple[Array, Array]:
    """The mean excess per row under and over the edges of both sides."""
    return current.excess / int(current.n), reference.excess / int(reference.n)


def _null(current: Numeric, reference: Numeric) -> float:
    """The mean distance of two samples of the distribution of both together, in the column's unit."""
    both = np.cumsum(current.cells + reference.cells)[:-1] / (int(current.n) + int(reference.n))
    root = np.sqrt(np.maximum(both * (1 - both), 0.0))
    inner = float((root[:-1] + root[1:]) @ np.diff(current.edges)) / 2
    rows = int(current.n) + int(reference.n)
    beyond = (current.excess + reference.excess) / rows  # per row; exponential tails: E x^2 = 2 (E x)^2
    share = np.maximum((current.cells + reference.cells)[[0, -1]], 1) / rows
    spread = math.sqrt(2 * _noise(current, reference) / math.pi)
    tails = np.minimum(spread * beyond * np.sqrt(np.maximum(2 / share - 1, 0.0)), 2 * beyond)
    return spread * inner + float(tails.sum())
