"""How well a proxy has predicted its parent: over days, over cells of the population, and over past experiments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from scipy import stats

from incumbent.loop.metrics.cohorts import counts_of, mature
from incumbent.loop.metrics.keys import Cell, States
from incumbent.loop.metrics.read import Days, noisy, summed
from incumbent.loop.metrics.slices import OTHER, UNKNOWN
from incumbent.metrics.within_days import WithinDays
from incumbent.stats.shared_noise import Noisy, Relation, relation

WEEK = 7
BLOCK = 3  # days in a row that the jackknife leaves out together
Pairs = list[tuple[Noisy, Noisy]]
Halves = list[tuple[States, States]]  # before and after, or without and with


class Prediction(Struct, frozen=True):
    """A proxy against its parent over one kind of points: estimates as plain values."""

    over: str  # days, cells, experiments
    points: int
    slope: dict[str, object]
    correlation: dict[str, object]
    noise: float | None  # the part of the proxy's variance that is sampling noise
    by: str | None = None  # of cells: the attribute whose cells they are


class Predictions:
    """What proxies of a surface have predicted; the sums that all of them need are made once."""

    def __init__(self, cells: Mapping[Cell, Days], surface: str, first: date, last: date,
                 of_cohorts: Sequence[WithinDays] = ()) -> None:
        cells = {cell: matured(days, of_cohorts, last) for cell, days in cells.items() if cell.model is None}
        self._days, self._first, self._last = cells.get(Cell(surface), {}), first, last
        self._halves, self._lanes = halves(cells, first, last), lanes(cells)

    def of(self, proxy: str, parent: str) -> list[Prediction]:
        """Over days, cells and experiments, each with its interval or the reason why nothing can be said."""
        by, cells = max(((by, _pairs(both, proxy, parent)) for by, both in sorted(self._halves.items())),
                        key=lambda one: len(one[1]), default=(None, []))
        days = related(self._days, proxy, parent, self._first, self._last)
        return [_told("days", days), msgspec.structs.replace(_told("cells", relation(cells)), by=by),
                _told("experiments", relation(_pairs(self._lanes, proxy, parent)))]


def matured(days: Days, of_cohorts: Sequence[WithinDays], last: date) -> Days:
    """The days with these metrics' states over buckets of users, of cohorts that are old enough on the last one."""
    out = {day: dict(states) for day, states in days.items()} if of_cohorts else days
    for metric in of_cohorts:
        for day, states in days.items():
            if counts_of(metric) in states and day + timedelta(days=metric.days) <= last:
                out[day][metric.name] = mature(metric, days, day)
    return out


def related(days: Days, proxy: str, parent: str, first: date, last: date) -> Relation:
    """Over days, each less the same weekday a week before: neither the week's rhythm nor a slow trend is in it.

    Days in a row hang together, and so do those of one weekday: a day is in two differences.
    """
    pairs: Pairs = []
    weekdays: list[int] = []
    day = first + timedelta(days=WEEK)
    while day <= last:
        pair = _difference(days.get(day - timedelta(days=WEEK), {}), days.get(day, {}), proxy, parent)
        if pair is not None:
            pairs.append(pair)
            weekdays.append(day.weekday())
        day += timedelta(days=1)
    return relation(pairs, block=BLOCK, kin=weekdays)


def halves(cells: Mapping[Cell, Days], first: date, last: date) -> dict[str, Halves]:
    """Attribute -> each cell's first and second half of the period: cells that gained on the proxy should gain on the
    parent. Attributes stay apart: each cuts the same users anew."""
    middle, out = first + (last - first) // 2, dict[str, Halves]()
    for cell, days in cells.items():
        if cell.by not in (None, "lane") and cell.value not in (OTHER, UNKNOWN):
            out.setdefault(cell.by, []).append(
                (summed(days, first, middle), summed(days, middle + timedelta(days=1), last)))
    return out


def lanes(cells: Mapping[Cell, Days]) -> Halves:
    """Each experiment's holdout and interleave lane, over all days that are at hand."""
    found: dict[str, dict[str, Days]] = {}
    for cell, days in cells.items():
        if cell.by == "lane" and cell.value is not None:
            experiment, _, lane = cell.value.rpartition(":")
            found.setdefault(experiment, {})[lane] = days
    return [(summed(both["holdout"], date.min, date.max), summed(both["interleave"], date.min, date.max))
            for both in found.values() if {"interleave", "holdout"} <= both.keys()]


def _pairs(states: Halves, proxy: str, parent: str) -> Pairs:
    made = (_difference(before, after, proxy, parent) for before, after in states)
    return [pair for pair in made if pair is not None]


def _difference(before: Mapping[str, object], after: Mapping[str, object], proxy: str,
                parent: str) -> tuple[Noisy, Noisy] | None:
    made = []
    for name in (proxy, parent):
        one, other = noisy(after.get(name)), noisy(before.get(name))
        if one is None or other is None or len(one.influence) != len(other.influence):
            return None
        made.append(one.minus(other))
    return (made[0], made[1]) if len(made[0].influence) == len(made[1].influence) else None


def _told(over: str, made: Relation) -> Prediction:
    return Prediction(over, made.slope.n, made.slope.to_dict(), made.correlation.to_dict(), made.noise)


def named(one: Mapping[str, Any]) -> str:
    """What a prediction, as a plain value, is over.

    >>> named({"over": "cells", "by": "country"}), named({"over": "days", "by": None})
    ('cells of country', 'days')
    """
    return f"{one['over']} of {one['by']}" if one["by"] else str(one["over"])


def unsaid(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of the predictions of nodes, as plain values, how many have no number over each kind of points, and why.

    >>> missing = {"over": "experiments", "correlation": {"value": None, "reason": "0 points, fewer than 8"}}
    >>> unsaid([{"predicts": [missing]}, {"predicts": [missing]}])
    ['over experiments: no number for 2 of 2 (0 points, fewer than 8)']
    """
    every = [one for node in nodes for one in node["predicts"]]
    out = []
    for over in dict.fromkeys(one["over"] for one in every):
        why = Counter(one["correlation"]["reason"] for one in every if one["over"] == over)
        whole, told = why.total(), why.pop(None, 0)
        reasons = "; ".join(reason if len(why) == 1 else f"{count}: {reason}" for reason, count in why.most_common())
        out += [f"over {over}: no number for {whole - told} of {whole} ({reasons})"] if why else []
    return out


def predicts(made: Relation) -> bool:
    """Does the interval of the slope or of the correlation leave 0 out?

    One is 0 where the other is; but near 1 the interval of a correlation is very wide, and that of the slope is not.
    """
    return bool(_sides(made))


def _sides(made: Relation) -> set[float]:
    """The sides of 0 on which the intervals of slope and correlation lie whole."""
    ends = ((one.low, one.high) for one in (made.slope, made.correlation))
    return {1.0 if low > 0 else -1.0 for low, high in ends if low is not None and high is not None
            and not low <= 0 <= high}


def stopped(earlier: Relation, recent: Relation, alpha: float) -> str | None:
    """Why a proxy that predicted its parent no longer does, None where it does or where nobody can tell.

    The recent slope is smaller, on the scale of the earlier one's sign, by more than the noise of both at one-sided level
    `alpha` (Welch's t, each with the degrees of its interval), and neither the recent slope nor the recent correlation
    can be told from 0 on the earlier one's side.
    """  # noqa: E501
    was, now = earlier.correlation, recent.correlation
    if was.value is None or now.value is None or now.low is None or now.high is None or not predicts(earlier):
        return None
    sign = 1.0 if was.value > 0 else -1.0
    if sign in _sides(recent):
        return None
    before, after = earlier.slope, recent.slope
    if before.value is None or after.value is None or not before.se or after.se is None:
        return None
    drop = sign * (before.value - after.value) / float((before.se**2 + after.se**2) ** 0.5)
    share = before.se**2 / (before.se**2 + after.se**2)
    degrees = 1 / (share**2 / earlier.degrees + (1 - share) ** 2 / recent.degrees)
    if drop <= float(stats.t.ppf(1 - alpha, degrees)):
        return None
    return (f"their correlation was {was.value:+.2f} [{was.low:+.2f}, {was.high:+.2f}] and is {now.value:+.2f} "
            f"[{now.low:+.2f}, {now.high:+.2f}], the slope {drop:.1f} standard errors less")
