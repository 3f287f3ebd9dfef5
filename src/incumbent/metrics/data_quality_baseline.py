"""Is a day of data quality unusual? Judged against its own past days, robustly, at a stated chance of a false alarm.

Shares are compared by their angle ``asin sqrt((x + 3/8) / (n + 3/4))``, whose variance ``1 / (4 n + 2)`` does not
depend on the share, so that one which always was 0 is judged too (F. J. Anscombe, Biometrika 35, 1948); counts and
durations as logarithms, so that a change by a factor weighs the same everywhere. Days far out (beyond 3.5 robust
standard deviations, at most a quarter of them) leave the baseline, but before it has two of the day's own weekday:
what is far out of a first week is its weekend. Of the n others mean m and standard deviation s
give ``t = (x - m) / sqrt(s^2 (1 + 1/n) + v)``, with v what a day of this size varies more than the past days by its
size alone, and Student's t of n - 1 degrees of freedom gives p. Where there are enough days of the same weekday, or two
and weekdays plainly differ (F test at 0.01), m and the n beside it are theirs, and s is that of all days about the
means of their weekdays (a one-way analysis of variance): a few days alone know too little of their spread to find
anything.
A day is unusual where p < alpha and the change is large enough to matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from incumbent.stats.estimate import Estimate

Scale = Literal["share", "log"]
Status = Literal["ok", "drift", "no_data"]
Matched = Literal["all", "weekday"]
PLAIN = 0.01  # of an F test: weekdays differ where its p is below
OUTLYING = 3.5  # robust standard deviations
MAD_SD = 1.4826  # of a normal: standard deviations per MAD


@dataclass(frozen=True)
class Terms:
    """How a check is judged: `alpha` is the chance of a false alarm on a day; `least` the smallest change that matters,
    in parts of the whole for shares, as a factor minus 1 for the others."""

    alpha: float = 1e-3
    min_days: int = 7
    min_weekdays: int = 5
    least_share: float = 0.01
    least_factor: float = 0.25


@dataclass(frozen=True)
class Judged:
    """What was found: `low` and `high` are the band of ordinary values, in the units of the estimate."""

    status: Status
    reason: str
    low: float | None = None
    high: float | None = None
    expected: float | None = None
    p: float | None = None
    days: int = 0
    matched: Matched = "all"


class _Ordinary(NamedTuple):
    """What an ordinary day shows, on the scale of comparison: Student's t of `freedom` times `sd` about `middle`."""

    middle: float
    sd: float
    freedom: int
    days: int  # whose mean `middle` is


def judge(today: Estimate, day: date, past: Mapping[date, Estimate], scale: Scale, terms: Terms = Terms()) -> Judged:
    """Compare a day with the past days that have a value; days without one count as missing, never as 0.

    >>> from datetime import timedelta
    >>> share = lambda hits: Estimate(hits / 1000, n=1000, method="m")
    >>> past = {date(2026, 3, 1) + timedelta(days=n): share(20 + n % 3) for n in range(14)}
    >>> judge(share(22), date(2026, 3, 15), past, "share").status
    'ok'
    >>> found = judge(share(200), date(2026, 3, 15), past, "share")
    >>> found.status, found.high < 0.1, found.days
    ('drift', True, 14)
    """
    there = {when: one for when, one in past.items() if one.value is not None}
    weekdays = np.array([when.weekday() for when in there])
    values, noise = _transformed(there.values(), scale)
    matched = _matched(values, weekdays, day.weekday(), terms)
    if len(there) < terms.min_days:
        return Judged("no_data", f"{len(there)} past days, {terms.min_days} are needed", days=len(there))
    if today.value is None:
        return Judged("no_data", today.reason or "missing", days=len(there), matched=matched)
    groups = weekdays if matched == "weekday" else np.zeros_like(weekdays)
    same = groups == (day.weekday() if matched == "weekday" else 0)
    young = (weekdays == day.weekday()).sum() < 2  # days far out may be its weekend
    kept = np.ones_like(same) if young else _kept(values, groups, same)
    ordinary = _ordinary(values, noise, groups, same, kept, today, scale)
    days = f"{ordinary.days} past {day:%A}s" if matched == "weekday" else f"{ordinary.days} past days"
    return _verdict(today, ordinary, days, matched, scale, terms)


def _matched(values: NDArray[np.float64], weekdays: NDArray[np.int64], weekday: int, terms: Terms) -> Matched:
    """Is a day compared with those of its weekday, of which there are enough or which plainly differ, or with all?"""
    own, freedom = int((weekdays == weekday).sum()), len(weekdays) - len(set(weekdays.tolist()))
    known = freedom >= min(terms.min_days, 7) and (
        own >= terms.min_weekdays or (own > 1 and _differ(values, weekdays)))
    return "weekday" if known else "all"


def _ordinary(values: NDArray[np.float64], noise: NDArray[np.float64], groups: NDArray[np.int64],
              same: NDArray[np.bool_], kept: NDArray[np.bool_], today: Estimate, scale: Scale) -> _Ordinary:
    """What the past days, of which those like today are `same`, say of a day of today's size."""
    alike = kept & same
    n, middle, usual = int(alike.sum()), float(values[alike].mean()), float(np.median(noise[kept]))
    off = values[kept] - _of_groups(np.mean, values[kept], groups[kept])
    freedom = len(off) - len(set(groups[kept].tolist()))
    spread = max(float(off @ off) / freedom, usual, 1e-12)
    sd = math.sqrt(spread + max(spread, float(np.median(noise[alike]))) / n
                   + max(_expected_noise(middle, today, scale) - usual, 0.0))
    return _Ordinary(middle, sd, freedom, n)


def _kept(values: NDArray[np.float64], groups: NDArray[np.int64], same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The baseline: all days but those far out, unless that leaves none of those like today."""
    least = min(map(groups.tolist().count, set(groups.tolist())))
    kept = _without_outliers(values - _of_groups(np.median, values, groups), least)
    if not (kept & same).any():  # its days are of two kinds, halfway between which none lies
        kept |= same
    return kept


def _verdict(today: Estimate, ordinary: _Ordinary, days: str, matched: Matched, scale: Scale, terms: Terms) -> Judged:
    """Drift where chance and size of the change both say so; `days` names what today is compared with."""
    assert today.value is not None
    middle, sd, freedom, n = ordinary
    (x,), _ = _transformed([today], scale)
    p = float(2 * stats.t.sf(abs(x - middle) / sd, freedom))
    reach = float(stats.t.isf(terms.alpha / 2, freedom)) * sd
    low, high, expected = (_back(value, scale) for value in (middle - reach, middle + reach, middle))
    if p < terms.alpha and _large(today.value, expected, scale, terms):
        way = "above" if x > middle else "below"
        return Judged("drift", f"{_shown(today.value, scale)} is {way} the {_shown(low, scale)} to "
                               f"{_shown(high, scale)} of {days} (p = {p:.2g})", low, high, expected, p, n, matched)
    return Judged("ok", f"within what {days} had", low, high, expected, p, n, matched)


def _differ(values: NDArray[np.float64], groups: NDArray[np.int64]) -> bool:
    """Does the F test of a one-way analysis of variance tell the groups apart?"""
    level = _of_groups(np.mean, values, groups)
    k, freedom = len(set(groups.tolist())), len(values) - len(set(groups.tolist()))
    within, between = float(((values - level) ** 2).sum()), float(((level - values.mean()) ** 2).sum())
    if k < 2 or between <= 1e-12:
        return False
    return within == 0 or float(stats.f.sf(between / (k - 1) / (within / freedom), k - 1, freedom)) < PLAIN


def _of_groups(of: Callable[[NDArray[np.float64]], Any], values: NDArray[np.float64], groups: NDArray[np.int64],
               ) -> NDArray[np.float64]:
    """For each value the mean or the median of its group."""
    out = np.empty_like(values)
    for one in set(groups.tolist()):
        out[groups == one] = of(values[groups == one])
    return out


def _transformed(estimates: object, scale: Scale) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values on the scale on which they are compared, and the variance of each from its own size."""
    values, noise = [], []
    for one in estimates:  # type: ignore[attr-defined]
        if scale == "share":
            hits = one.value * one.n
            values.append(math.asin(math.sqrt((hits + 0.375) / (one.n + 0.75))))
            noise.append(1 / (4 * one.n + 2))
        else:
            values.append(math.log(one.value + 0.5))
            noise.append(1 / (one.value + 0.5) if one.method == "count" else 0.0)
    return np.array(values), np.array(noise)


def _expected_noise(middle: float, today: Estimate, scale: Scale) -> float:
    """The variance that a day of this size has where nothing changed: from the expected level, not from what it shows,
    or a volume that fell to 0 would be its own excuse."""
    if scale == "share":
        return 1 / (4 * today.n + 2)
    return 1 / (_back(middle, scale) + 0.5) if today.method == "count" else 0.0


def _without_outliers(off: NDArray[np.float64], m: int) -> NDArray[np.bool_]:
    """Which values stay, by how far each lies off the median of its group, the smallest of `m` values.

    The median of a few is one of them, which makes the others look far off: the MAD is widened by ``1 + 1.7 / m``
    (from simulated normal groups of 5 and 6), and of groups under 5 all stay.
    """
    size = np.abs(off)
    mad = float(np.median(size)) * (1 + 1.7 / m)
    far = size > OUTLYING * MAD_SD * mad
    if m < 5 or mad == 0 or not far.any() or far.sum() > len(off) // 4:
        return np.ones(len(off), np.bool_)
    return ~far


def _back(value: float, scale: Scale) -> float:
    if scale == "share":
        return math.sin(min(max(value, 0.0), math.pi / 2)) ** 2
    return max(math.exp(min(value, 700.0)) - 0.5, 0.0)


def _large(value: float, expected: float, scale: Scale, terms: Terms) -> bool:
    if scale == "share":
        return abs(value - expected) >= terms.least_share
    ratio = (value + 0.5) / (expected + 0.5)
    return max(ratio, 1 / ratio) >= 1 + terms.least_factor


def _shown(value: float, scale: Scale) -> str:
    return f"{value:.2%}" if scale == "share" else f"{value:,.4g}"
