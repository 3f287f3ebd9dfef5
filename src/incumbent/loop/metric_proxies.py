"""How well a proxy has predicted its parent: over days, over cells of the population, and over past experiments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from msgspec import Struct
from scipy import stats

from incumbent.loop.metric_keys import Cell
from incumbent.loop.metric_read import Days, noisy, summed
from incumbent.loop.metric_slices import OTHER, UNKNOWN
from incumbent.stats.shared_noise import Noisy, Relation, relation

WEEK = 7
BLOCK = 3  # days in a row that the jackknife leaves out together
Pairs = list[tuple[Noisy, Noisy]]


class Prediction(Struct, frozen=True):
    """A proxy against its parent over one kind of points: estimates as plain values."""

    over: str  # days, cells, experiments
    points: int
    slope: dict[str, object]
    correlation: dict[str, object]
    noise: float | None  # the part of the proxy's variance that is sampling noise


def predictions(cells: Mapping[Cell, Days], surface: str, proxy: str, parent: str, first: date,
                last: date) -> list[Prediction]:
    """All three, each with its interval or the reason why nothing can be said."""
    return [_told("days", days_of(cells.get(Cell(surface), {}), proxy, parent, first, last), BLOCK),
            _told("cells", cells_of(cells, proxy, parent, first, last), 1),
            _told("experiments", experiments_of(cells, proxy, parent), 1)]


def days_of(days: Days, proxy: str, parent: str, first: date, last: date) -> Pairs:
    """Each day less the same weekday a week before: neither the week's rhythm nor a slow trend is in it."""
    out: Pairs = []
    day = first + timedelta(days=WEEK)
    while day <= last:
        pair = _difference(days.get(day - timedelta(days=WEEK), {}), days.get(day, {}), proxy, parent)
        out += [pair] if pair is not None else []
        day += timedelta(days=1)
    return out


def cells_of(cells: Mapping[Cell, Days], proxy: str, parent: str, first: date, last: date) -> Pairs:
    """Each cell's second half of the period less its first: cells that gained on the proxy, and on the parent."""
    middle = first + (last - first) // 2
    out: Pairs = []
    for cell, days in cells.items():
        if cell.by in (None, "lane") or cell.value in (OTHER, UNKNOWN):
            continue
        pair = _difference(summed(days, first, middle), summed(days, middle + timedelta(days=1), last), proxy, parent)
        out += [pair] if pair is not None else []
    return out


def experiments_of(cells: Mapping[Cell, Days], proxy: str, parent: str) -> Pairs:
    """Each experiment's interleave lane less its holdout, over all days that are at hand."""
    lanes: dict[str, dict[str, Days]] = {}
    for cell, days in cells.items():
        if cell.by == "lane" and cell.value is not None:
            experiment, _, lane = cell.value.rpartition(":")
            lanes.setdefault(experiment, {})[lane] = days
    out: Pairs = []
    for both in lanes.values():
        if {"interleave", "holdout"} <= both.keys():
            control, treatment = (summed(both[lane], date.min, date.max) for lane in ("holdout", "interleave"))
            pair = _difference(control, treatment, proxy, parent)
            out += [pair] if pair is not None else []
    return out


def _difference(before: Mapping[str, object], after: Mapping[str, object], proxy: str,
                parent: str) -> tuple[Noisy, Noisy] | None:
    made = []
    for name in (proxy, parent):
        one, other = noisy(after.get(name)), noisy(before.get(name))
        if one is None or other is None or len(one.influence) != len(other.influence):
            return None
        made.append(one.minus(other))
    return (made[0], made[1]) if len(made[0].influence) == len(made[1].influence) else None


def _told(over: str, pairs: Pairs, block: int) -> Prediction:
    made = relation(pairs, block=block)
    return Prediction(over, len(pairs), made.slope.to_dict(), made.correlation.to_dict(), made.noise)


def predicts(made: Relation) -> bool:
    """Does the interval of the correlation leave 0 out?"""
    low, high = made.correlation.low, made.correlation.high
    return low is not None and high is not None and not low <= 0 <= high


def stopped(earlier: Relation, recent: Relation, alpha: float) -> str | None:
    """Why a proxy that predicted its parent no longer does, None where it does or where nobody can tell.

    The recent slope is smaller, on the scale of the earlier one's sign, by more than the noise of both at one-sided level
    `alpha` (Student's t with the degrees of the fewer blocks), and the recent correlation's interval does not lie on the
    earlier one's side of 0.
    """  # noqa: E501
    was, now = earlier.correlation, recent.correlation
    if was.value is None or now.value is None or now.low is None or now.high is None or not predicts(earlier):
        return None
    sign = 1.0 if was.value > 0 else -1.0
    if min(sign * now.low, sign * now.high) > 0:
        return None
    before, after = earlier.slope, recent.slope
    if before.value is None or after.value is None or not before.se or after.se is None:
        return None
    drop = sign * (before.value - after.value) / float((before.se**2 + after.se**2) ** 0.5)
    if drop <= float(stats.t.ppf(1 - alpha, max(now.n // BLOCK - 1, 1))):
        return None
    return (f"their correlation was {was.value:+.2f} [{was.low:+.2f}, {was.high:+.2f}] and is {now.value:+.2f} "
            f"[{now.low:+.2f}, {now.high:+.2f}], the slope {drop:.1f} standard errors less")
