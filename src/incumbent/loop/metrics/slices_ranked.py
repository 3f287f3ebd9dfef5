"""The worst cells: where a metric has become worse than it was in the same cell, by harm times size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import compress
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy import stats

from incumbent.config import MetricsConfig
from incumbent.loop.metrics.cohorts import cohorts, counts_of
from incumbent.loop.metrics.keys import Cell, States
from incumbent.loop.metrics.read import Days, noisy, summed
from incumbent.loop.metrics.slices import OTHER
from incumbent.metrics.metric import Metric
from incumbent.metrics.within_days import USERS, WithinDays
from incumbent.stats.buckets import Buckets
from incumbent.stats.log_histogram import LogHistogram
from incumbent.stats.multiplicity import benjamini_hochberg

WORST = 40  # cells that are listed
ROUNDING = 1e-12  # a relative spread below it is that of sums of floats
ALPHA = 0.05  # false discoveries among the losses that lead the list
Change = tuple[float, float, float | None]  # the ends of the interval of a relative change, and its p-value


@dataclass(frozen=True, eq=False)
class Seen:
    """A metric in a cell: its rows, its value, and the influence of user buckets on it or the ends of its interval."""

    n: int = 0
    value: float | None = None
    influence: NDArray[np.float64] | None = None
    low: float | None = None
    high: float | None = None


class Slice(Struct, frozen=True):
    """One metric in one cell, now against the days before: `harm` is the relative loss in the metric's own direction
    (above 0 is worse), `share` the cell's part of the rows, `worst` their product where the loss is a discovery."""

    by: str
    value: str
    metric: str
    unit: str
    now: float | None
    before: float | None
    low: float | None  # of the relative change now / before - 1, 95 % for this pair alone
    high: float | None
    n: int
    share: float
    harm: float | None
    worst: float
    reason: str | None = None
    model: str | None = None  # of which model, where it is not of the surface
    role: str | None = None


def ranked(cells: Mapping[Cell, Days], metrics: Mapping[str, Metric], since: date, day: date,
           config: MetricsConfig) -> list[Slice]:
    """Every metric of every cell, the greatest harm x size first; those of too few rows hold no number.

    Now is the period, before are the `baseline_days` that precede it; of cohorts both are so many days earlier that all
    are old enough. A loss counts towards the order only where its change is a discovery of Benjamini and Hochberg at
    5 % over all pairs of cell and metric that have a p-value; the others follow by size. Changes of ratios are judged
    over buckets of users. Those of latencies have an interval by their order statistics, which take requests for
    independent: no p-value, and never among the discoveries.
    """
    found: list[tuple[Slice, float | None]] = []
    whole = {cell: dict(_pairs(days, metrics, since, day, config))
             for cell, days in cells.items() if cell.by is None}
    for cell, days in cells.items():
        if cell.by in (None, "lane"):
            continue
        total = whole.get(Cell(cell.surface, cell.model, cell.role), {})
        for name, (now, before) in _pairs(days, metrics, since, day, config):
            metric = metrics[name]
            rows = _read(metric, total[name][0]).n if name in total else 0
            found.append(_slice(cell, metric, _read(metric, now), _read(metric, before), rows, config.least_rows))
    tested = {at: p for at, (_, p) in enumerate(found) if p is not None}
    told = set(compress(tested, benjamini_hochberg(list(tested.values()), ALPHA).rejected))
    out = [one if at in told else replace(one, worst=0.0) for at, (one, _) in enumerate(found)]
    out.sort(key=lambda one: (-one.worst, one.harm is None, one.value == OTHER, -one.share, one.by, one.value,
                              one.metric))
    return out[:WORST]


def _pairs(days: Days, metrics: Mapping[str, Metric], since: date, day: date,
           config: MetricsConfig) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """(metric, its states now and before) of a cell, of those whose change can be judged."""
    back, a_day = timedelta(days=config.baseline_days), timedelta(days=1)
    now, before = summed(days, since, day), summed(days, since - back, since - a_day)
    for name, state in now.items():
        if name in metrics and metrics[name].direction != "none" and (
                isinstance(state, Buckets | LogHistogram)):
            yield name, (state, before.get(name))
    told: States = {name: None for states in days.values() for name in states}
    for name, metric in metrics.items():
        if isinstance(metric, WithinDays) and counts_of(metric) in told:
            old = timedelta(days=metric.days)
            yield name, (cohorts(metric, days, since - old, day - old, day),
                         cohorts(metric, days, since - back - old, since - a_day - old, day))


def _read(metric: Metric, state: Any) -> Seen:
    """What a state says: by its user buckets where it has them, which is quick, else by its estimate."""
    if state is None:
        return Seen()
    ratio = state.part(USERS) if isinstance(metric, WithinDays) else state
    if isinstance(ratio, Buckets):
        n = int(ratio.rows.sum() if ratio is state else ratio.sums[:, 1].sum())
        found = noisy(ratio)
        return Seen(n) if found is None else Seen(n, found.value, found.influence)
    made = metric.estimate(state)
    return Seen(made.n, made.value, None, made.low, made.high)


def _slice(cell: Cell, metric: Metric, now: Seen, before: Seen, total: int, least: int) -> tuple[Slice, float | None]:
    """The pair, and the two-sided p-value of its change; None where none can be had."""
    base = Slice(cell.by or "", cell.value or "", metric.name, metric.unit, None, None, None, None, now.n,
                 min(now.n / total, 1.0) if total else 0.0, None, 0.0, None, cell.model, cell.role)
    if now.n < least:
        return replace(base, reason=f"{now.n} rows, fewer than {least}"), None
    base = replace(base, now=now.value)
    if now.value is None or before.value is None or before.n < least:
        return replace(base, reason="too few rows in the days before"), None
    if before.value == 0:
        return replace(base, before=0.0, reason="it was 0 before"), None
    made = _over_buckets(now, before) or _over_order(now, before)
    if made is None:
        return replace(base, before=before.value, reason="its change has no interval"), None
    low, high, p = made
    change = now.value / before.value - 1
    harm = (-change if metric.direction == "up" else change) * math.copysign(1.0, before.value)
    return replace(base, before=before.value, low=low, high=high, harm=harm, worst=max(harm, 0.0) * base.share), p


def _over_buckets(now: Seen, before: Seen) -> Change | None:
    """The delta method over buckets of users; None where neither side varies: nothing tells how far luck goes."""
    if now.influence is None or before.influence is None or len(now.influence) != len(before.influence):
        return None
    assert now.value is not None and before.value
    change = now.value / before.value - 1
    influence = now.influence / before.value - now.value / before.value**2 * before.influence
    k = len(influence)
    se = math.sqrt(k / (k - 1) * float(influence @ influence))
    if not now.influence.any():  # what is all the same has no spread of its own: that of before, of as many rows
        spread = k / (k - 1) * float(before.influence @ before.influence) / before.value**2
        se = math.sqrt(spread * (1 + before.n / now.n))
    if se <= ROUNDING * (1 + abs(now.value / before.value)):
        return None
    half, p = float(stats.t.ppf(1 - ALPHA / 2, k - 1)) * se, 2 * float(stats.t.sf(abs(change) / se, k - 1))
    return max(change - half, -1.0) if now.value == 0 else change - half, change + half, p


def _over_order(now: Seen, before: Seen) -> Change | None:
    """Of two quantiles: their intervals put together on the scale of logarithms. No p-value: a user's requests hang
    together, and the intervals take them for independent."""
    ends = [end for end in (now.value, now.low, now.high, before.value, before.low, before.high) if end is not None]
    if now.influence is not None or len(ends) < 6 or not all(0 < end < math.inf for end in ends):
        return None
    one, low, high, other, first, last = ends
    moved, half = math.log(one / other), math.hypot(math.log(high / low), math.log(last / first)) / 2
    return math.exp(moved - half) - 1, math.exp(moved + half) - 1, None
