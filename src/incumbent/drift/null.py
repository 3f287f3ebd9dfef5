"""The null is windows, not rows: what the statistics are when a baseline's window meets the rest of its baseline.

Every window is taken out of the total by exact subtraction and compared with what is left; the current window is
compared with the total. Each statistic is standardised by the other windows (`drift.robust`), the largest of them is
the score, and the score is ranked: ``p = (1 + #{null >= observed}) / (m + 1)``, never below 1 / (m + 1). The current
window goes through the very same standardisation as every other, so that where windows are exchangeable the rank is
exact up to the one window by which the references differ. Permuting rows, or drawing windows from the baseline and
leaving them in it, is not this: under day effects the one alarms always, and the other at .18 to .57 for .05.

Beyond 1 / (m + 1) there is only extrapolation, on request and labelled: ``student`` and ``pareto`` fit a tail
(`tail_p`); ``rows`` makes windows that never were, unions of random windows of the baseline, and so assumes that a row
does not know its window: no day effects (`unions`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from inspect import ismethod
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy import stats

from incumbent.drift.robust import standardised
from incumbent.errors import DataError

Array = NDArray[np.float64]
Measure = Callable[[Any, Any], Mapping[str, float]]
Tail = Literal["student", "pareto", "rows"]
TAILS: tuple[Tail, ...] = ("student", "pareto", "rows")
LEAST = 8  # windows below which no scale is worth its name
PARETO_LEAST = 50  # a Pareto tail is fitted to a fifth of them
ROUNDING = 1e-12  # of a statistic between states that are the same
_RANKED = 0.25  # a rank above this needs no help from a tail


class Null(Struct, frozen=True):
    """Leave-one-window-out statistics of a baseline: m windows by k statistics, as plain values.

    `scores[i][j]` is statistic j of window i against the rest; `noises[i]` is ``1/n_i + 1/(N - n_i)``. A "window" may
    be a union of `group` windows of the baseline; `disjoint` says how many of the m share none, where not all.
    """

    names: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]
    noises: tuple[float, ...]
    group: int = 1
    disjoint: int | None = None

    @property
    def windows(self) -> int:
        """m."""
        return len(self.scores)

    @property
    def resolution(self) -> float:
        """The least p-value that m windows can give, ``1 / (m + 1)``; those count that share no rows."""
        return 1 / ((self.windows if self.disjoint is None else self.disjoint) + 1)


class Judged(Struct, frozen=True):
    """One window against a null: p-value, its resolution, the largest standardised score, and all of them."""

    p_value: float
    resolution: float
    score: float
    standardised: tuple[float, ...]
    null: tuple[float, ...]
    extrapolated: Tail | None = None


def size_of(state: Any) -> int:
    """The rows of a state: its `n`."""
    return int(state.n)


def merged(states: Sequence[Any]) -> Any:
    """All states merged; in one go where the class knows how."""
    total = getattr(type(states[0]), "total", None)
    return total(states) if ismethod(total) else reduce(lambda a, b: a.merge(b), states)  # a method of the class


def leave_one_out(states: Sequence[Any], total: Any, measure: Measure) -> Null:
    """The null of a baseline: every state against the total without it.

    `total` holds the states and may hold more (windows that fitted the frame). `DataError` where fewer than two are
    given, one is the whole total, or a statistic is not finite.

    >>> from incumbent.stats.moments import Moments
    >>> days = [Moments.zero().update([day, day + 2.0]) for day in (0.0, 1.0, 5.0)]
    >>> gap = lambda a, b: {"gap": abs(a.mean().value - b.mean().value)}
    >>> leave_one_out(days, merged(days), gap).scores
    ((3.0,), (1.5,), (4.5,))
    """
    if len(states) < 2:
        raise DataError("a null needs windows to leave out", got=len(states), expected="two or more")
    names: tuple[str, ...] = ()
    rows, noises = [], []
    for state in states:
        rest = total.subtract(state)
        if not size_of(state) or not size_of(rest):
            raise DataError("a window is empty, or is all there is", got=(size_of(state), size_of(rest)))
        found = measure(state, rest)
        names = names or tuple(found)
        rows.append(tuple(_finite(name, found[name]) for name in names))
        noises.append(1 / size_of(state) + 1 / size_of(rest))
    return Null(names, tuple(rows), tuple(noises))


def unions(
    states: Sequence[Any], total: Any, measure: Measure, group: int, count: int, rng: np.random.Generator
) -> Null:
    """The null of `count` unions of `group` random windows each, without repetition, each against the total without it.

    Many values from few windows, at a price: all windows must be alike. Its resolution stays that of the k unions that
    share no window, and since the location of the null is known no better than from k values, `judge` holds a new
    window to an interval of prediction: its standardised scores are divided by ``sqrt(1 + 1/k)``. `DataError` where
    there are fewer windows than two unions need.
    """
    if group < 1 or len(states) < 2 * group:
        raise DataError("too few windows to unite", got=len(states), expected=f"{2 * group} or more")
    made = leave_one_out([merged([states[i] for i in rng.choice(len(states), group, replace=False)])
                          for _ in range(count)], total, measure)
    return Null(made.names, made.scores, made.noises, group, len(states) // group)


def judge(
    null: Null, found: Mapping[str, float], noise: float, *, growth: Mapping[str, tuple[float, float]] | None = None,
    floors: Mapping[str, float] | None = None, tail: Tail | None = None,
) -> Judged:
    """The p-value of the current window's statistics `found`, whose ``1/n + 1/N`` is `noise`.

    Unequal sizes: `growth[name] = (a, b)` says that without drift a statistic grows as ``noise^a`` where rows are the
    only noise, and as ``noise^b`` where days are; the null is scaled to the current size by whichever of the two makes
    it larger, so that a size that differs costs power and not false alarms. `floors` are the least standard units.
    A statistic that is the same in every window of the null (an index that is sent anew every night, unchanged) is off
    where it differs by more than a tenth: less is the sizes of the two sides.
    A p-value below the resolution is given only for a `tail`, and then labelled.

    >>> null = Null(("gap",), tuple((float(x),) for x in range(19)), (0.1,) * 19)
    >>> judged = judge(null, {"gap": 50.0}, 0.1)
    >>> judged.p_value, judged.extrapolated
    (0.05, None)
    >>> extrapolated = judge(null, {"gap": 50.0}, 0.1, tail="student")
    >>> extrapolated.p_value < 0.001, extrapolated.extrapolated
    (True, 'student')
    """
    if null.windows < 3:
        raise DataError("a null of so few windows has no scale", got=null.windows, expected=f"{LEAST} or more")
    ratio = noise / np.asarray(null.noises)[:, None]
    powers = np.array([(growth or {}).get(name, (0.0, 0.0)) for name in null.names])
    scaled = np.asarray(null.scores) * np.maximum(ratio ** powers[:, 0], ratio ** powers[:, 1])
    row = np.array([_finite(name, found[name]) for name in null.names])
    scaled, row = _settled(scaled, row)
    least = np.array([(floors or {}).get(name, 0.0) for name in null.names])
    units = standardised(np.vstack([scaled, row]), least)[0]
    if null.disjoint is not None:  # the unions have their baseline's luck in common: a new window does not
        units[-1] /= math.sqrt(1 + 1 / null.disjoint)
    largest = units.max(axis=1)
    score, others = float(largest[-1]), largest[:-1]
    resolution = null.resolution
    p = float(1 + (others >= score).sum()) / (null.windows + 1)
    if tail != "rows":
        p = max(p, resolution)
    used: Tail | None = None
    if tail in ("student", "pareto") and p <= _RANKED:
        p, used = tail_p(others, score, tail), tail
    elif tail == "rows" and p < resolution:
        used = tail
    return Judged(p, resolution, score, tuple(units[-1].tolist()), tuple(others.tolist()), used)


def _settled(scaled: Array, row: Array) -> tuple[Array, Array]:
    """Null (m, k) and current (k,) with statistics that never varied, but for rounding, made equal."""
    middle = np.median(scaled, axis=0)
    still = (np.abs(scaled - middle) <= 1e-6 * np.abs(middle) + ROUNDING).all(axis=0)
    alike = still & (np.abs(row - middle) <= 0.1 * np.abs(middle) + ROUNDING)
    return np.where(still, middle, scaled), np.where(alike, middle, row)


def tail_p(null: Array, score: float, tail: Tail) -> float:
    """The chance of a score this large beyond the resolution of its null, from a fitted tail: an extrapolation.

    ``student``: ``P(T_(m-1) >= (x - mean) / (s sqrt(1 + 1/m)))``, the predictive distribution of one more normal value.
    ``pareto``: a fifth of the null above u, ``p = (k / m) (1 + c (x - u) / b)^(-1/c)``, c and b by probability-weighted
    moments (c at least 0: no end is assumed), 50 values or more. Source: Hosking, Wallis, Technometrics 29 (1987).
    """
    part, start, tail_of = _tail(null, tail)
    return max(part * float(tail_of.sf(score if tail == "student" else max(score, start))), 1e-300)


def tail_threshold(null: Array, alpha: float, tail: Tail) -> float:
    """The score that `tail_p` gives the p-value alpha.

    >>> null = np.arange(19.0)
    >>> round(tail_p(null, tail_threshold(null, 0.01, "student"), "student"), 9)
    0.01
    """
    part, _, tail_of = _tail(null, tail)
    return float(tail_of.isf(min(alpha / part, 1.0)))


def _tail(null: Array, tail: Tail) -> tuple[float, float, Any]:
    """The part of the null in its tail, where that begins, and the tail's distribution."""
    values = np.sort(np.asarray(null, dtype=np.float64))
    m = len(values)
    if tail == "student":
        spread = max(float(values.std(ddof=1)) * math.sqrt(1 + 1 / m), 1e-300)
        return 1.0, -math.inf, stats.t(m - 1, float(values.mean()), spread)
    count = m // 5
    if m < PARETO_LEAST:
        raise DataError("too few windows for a Pareto tail", got=m, expected=f"{PARETO_LEAST} or more",
                        hint="tail='student' needs fewer and assumes more")
    start = (values[-count - 1] + values[-count]) / 2
    over = values[-count:] - start
    weights = 1 - (np.arange(1, count + 1) - 0.35) / count
    mean, first = float(over.mean()), float((weights * over).mean())
    shape = min(max(2 - mean / max(mean - 2 * first, 1e-300), 0.0), 0.9)
    scale = max(mean * (1 - shape), 1e-300)
    return count / m, float(start), stats.genpareto(shape, start, scale)


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise DataError("a statistic is not finite", got=value, field=name)
    return float(value)
