"""The worst cells: where a metric has become worse than it was in the same cell, by harm times size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, timedelta
from itertools import compress
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from scipy import stats

from incumbent.config import MetricsConfig
from incumbent.loop.metrics.keys import Cell
from incumbent.loop.metrics.read import Days, noisy, summed
from incumbent.loop.metrics.slices import OTHER
from incumbent.metrics.metric import Metric
from incumbent.stats.multiplicity import benjamini_hochberg

WORST = 40  # cells that are listed
ALPHA = 0.05  # false discoveries among the losses that lead the list


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


def ranked(cells: Mapping[Cell, Days], metrics: Mapping[str, Metric], since: date, day: date,
           config: MetricsConfig) -> list[Slice]:
    """Every metric of every cell, the greatest harm x size first; those of too few rows hold no number.

    Now is the period, before are the `baseline_days` that precede it. A loss counts towards the order only where its
    change, over buckets of users, is a discovery of Benjamini and Hochberg at 5 % over all pairs of cell and metric
    that have a number; the others follow by size.
    """
    found: list[tuple[Slice, float | None]] = []
    before_from, before_to = since - timedelta(days=config.baseline_days), since - timedelta(days=1)
    whole = {cell.surface: summed(days, since, day) for cell, days in cells.items()
             if cell.by is None and cell.model is None}
    for cell, days in cells.items():
        if cell.by in (None, "lane"):
            continue
        now, before = summed(days, since, day), summed(days, before_from, before_to)
        for name, state in now.items():
            metric = metrics.get(name)
            if metric is not None and noisy(state) is not None and metric.direction != "none":
                total = whole.get(cell.surface, {}).get(name)
                found.append(_slice(cell, metric, state, before.get(name), total, config.least_rows))
    tested = {at: p for at, (_, p) in enumerate(found) if p is not None}
    told = set(compress(tested, benjamini_hochberg(list(tested.values()), ALPHA).rejected))
    out = [one if at in told else replace(one, worst=0.0) for at, (one, _) in enumerate(found)]
    out.sort(key=lambda one: (-one.worst, one.value == OTHER, -one.share, one.by, one.value, one.metric))
    return out[:WORST]


def _slice(cell: Cell, metric: Metric, state: Any, before: Any, total: Any, least: int,
           ) -> tuple[Slice, float | None]:
    """The pair, and the two-sided p-value of its change; None where it has no number."""
    n = int(state.rows.sum())
    share = n / max(int(total.rows.sum()), 1) if total is not None else 0.0
    base = Slice(cell.by or "", cell.value or "", metric.name, metric.unit, None, None, None, None, n, min(share, 1.0),
                 None, 0.0)
    if n < least:
        return replace(base, reason=f"{n} rows, fewer than {least}"), None
    one, other = noisy(state), noisy(before) if before is not None else None
    if one is None or other is None or int(before.rows.sum()) < least or len(one.influence) != len(other.influence):
        return replace(base, now=None if one is None else one.value, reason="too few rows in the days before"), None
    if other.value == 0:
        return replace(base, now=one.value, before=0.0, reason="it was 0 before"), None
    change = one.value / other.value - 1
    influence = one.influence / other.value - one.value / other.value**2 * other.influence
    k = len(influence)
    se = math.sqrt(k / (k - 1) * float(influence @ influence))
    half = float(stats.t.ppf(1 - ALPHA / 2, k - 1)) * se
    p = 2 * float(stats.t.sf(abs(change) / se, k - 1)) if se > 0 else float(change == 0)
    harm = (-change if metric.direction == "up" else change) * math.copysign(1.0, other.value)
    return replace(base, now=one.value, before=other.value, low=change - half, high=change + half, harm=harm,
                   worst=max(harm, 0.0) * base.share), p
