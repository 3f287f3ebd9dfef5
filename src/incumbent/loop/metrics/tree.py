"""The tree of metrics: business, what should predict it, the quality of the lists, the response, the service.

Each node has its value over the period with n and interval, its days with the band of the days before, how the last
whole day lies to that band, and, where it is a proxy, how well it has predicted its parent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from incumbent.config import MetricsConfig
from incumbent.drift.delay import final_rate
from incumbent.events.window import day_of
from incumbent.loop.metrics.bands import Band, band
from incumbent.loop.metrics.cohorts import cohorts
from incumbent.loop.metrics.keys import Cell, States
from incumbent.loop.metrics.proxies import Prediction, Predictions
from incumbent.loop.metrics.read import Days, Reader, enough, listed, number, summed
from incumbent.loop.metrics.set import RETURNS, Measured, measured, stem
from incumbent.loop.metrics.slices_ranked import Slice, ranked
from incumbent.metrics.metric import Metric
from incumbent.metrics.within_days import DELAY, WithinDays
from incumbent.stats.estimate import Estimate
from incumbent.stats.winsorised import Winsorised

LEVELS = ("business", "proxy", "quality", "response", "health")
ROOT = "revenue_per_user"
#: metric -> the one that it should predict; a name without a line stands under the parent of its level
PARENTS = {"orders_per_request": "conversion", "dwell": "time_spent", "completion_0.9": "time_spent",
           "timeout_rate": "error_rate", "latency_p50": "latency_p99"}


class Node(Struct, frozen=True):
    """One metric of the tree."""

    name: str
    level: str
    parent: str | None
    direction: str
    unit: str
    value: dict[str, Any]  # Estimate over the period
    band: Band
    status: str  # ok, good, bad, changed, no_data: the last whole day against its band, by the metric's direction
    series: list[tuple[date, float | None]]
    corrected: dict[str, Any] | None = None  # of young cohorts, what they will reach
    cap: float | None = None
    predicts: list[Prediction] = []
    histogram: list[int] = []


class Model(Struct, frozen=True):
    """The nodes of one model in one role."""

    name: str
    role: str
    nodes: list[Node]


class Tree(Struct, frozen=True):
    """All of one surface, over [since, until] with `day` the last whole one."""

    surface: str
    since: date
    until: date
    day: date
    currency: str
    nodes: list[Node]
    models: list[Model]
    slices: list[Slice]
    notes: list[str]
    quiet_since: date | None = None  # the last day with anything, where the last whole day had nothing


class View(Struct, frozen=True):
    """What a tree is asked with: its period of whole days, and the days that make bands."""

    config: MetricsConfig
    since: date
    day: date
    catalogue: frozenset[str] = frozenset()

    @property
    def band_from(self) -> date:
        return self.day - timedelta(days=self.config.baseline_days)


def parents(metrics: Mapping[str, Metric], config: MetricsConfig) -> dict[str, str | None]:
    """Metric -> its parent, None for the root; a parent that is not measured gives way to the root.

    >>> from incumbent.config import MetricsConfig
    >>> made = parents(measured(MetricsConfig()).all(), MetricsConfig())
    >>> made["click_through"], made["ndcg_achievable@10"], made["revenue_per_user"]
    ('conversion', 'click_through', None)
    """
    quality = f"ndcg_achievable@{config.k}"
    of_level = {"business": ROOT, "proxy": "conversion", "quality": "click_through", "response": quality,
                "health": "empty_share"}
    out: dict[str, str | None] = {}
    for name, metric in metrics.items():
        asked = config.parents.get(name, PARENTS.get(name, of_level[metric.level]))
        out[name] = None if name == ROOT else asked if asked in metrics and asked != name else ROOT
    for name in out:  # configured circles are cut where they close
        seen, at = {name}, out[name]
        while at is not None and at not in seen:
            seen.add(at)
            at = out[at]
        if at is not None:
            out[name] = None if name == ROOT else ROOT
    return out


def tree(reader: Reader, surface: str, config: MetricsConfig, now: datetime, *, currency: str = "", days: int = 7,
         catalogue: frozenset[str] = frozenset()) -> Tree:
    """The tree of a surface over the last `days` whole days; the day that still runs is in no number."""
    day = day_of(now) - timedelta(days=1)
    view = View(config, day - timedelta(days=days - 1), day, catalogue)
    first = min(view.band_from, view.since) - timedelta(days=29)  # cohorts of 28 days, and differences over weeks
    cells = reader.cells(surface, min(first, view.since - timedelta(days=config.baseline_days + max(RETURNS))), day)
    metrics, whole = measured(config, currency), cells.get(Cell(surface), {})
    known = metrics.all()
    above = parents(known, config)
    model_only = {metric.name for metric in (*metrics.model, *metrics.both)} - {
        metric.name for metric in metrics.answers}
    total = summed(whole, view.since, view.day)
    nodes = [_node(metric, whole, total, view, above[name]) for name, metric in known.items()
             if name not in model_only or any(name in states for states in whole.values())]
    told = Predictions(cells, surface, first, day, judged_cohorts(known, above))
    nodes = [msgspec.structs.replace(node, predicts=told.of(node.name, node.parent))
             if node.level in ("proxy", "quality") and node.parent else node for node in nodes]
    models = [Model(cell.model or "", cell.role or "", _model(metrics, found, view, above))
              for cell, found in cells.items() if cell.model is not None and cell.by is None]
    notes = [] if whole else ["nothing was measured yet: a day counts once it is over, the present one at "
                              f"{day + timedelta(days=2)} 00:00 UTC"]
    last = max(whole, default=day)
    return Tree(surface, view.since, day, day, currency, sorted(nodes, key=lambda one: LEVELS.index(one.level)), models,
                ranked(cells, known, view.since, day, config), notes, last if last < day else None)


def judged_cohorts(metrics: Mapping[str, Metric], above: Mapping[str, str | None]) -> list[WithinDays]:
    """The metrics of cohorts that are proxies or are predicted by one."""
    edges = {name: parent for name, parent in above.items() if metrics[name].level in ("proxy", "quality")}
    return [metric for name, metric in metrics.items()
            if isinstance(metric, WithinDays) and (name in edges or name in edges.values())]


def _model(metrics: Measured, days: Days, view: View, above: Mapping[str, str | None]) -> list[Node]:
    total = summed(days, view.since, view.day)
    return [_node(metric, days, total, view, above[metric.name])
            for metric in (*metrics.lists, *metrics.model, *metrics.both)
            if any(metric.name in states for states in days.values())]


def _node(metric: Metric, days: Days, total: States, view: View, parent: str | None) -> Node:
    """One metric; `total` are the days of the period added up, once for all metrics."""
    if isinstance(metric, WithinDays):
        return _cohort_node(metric, days, view, parent)
    state = total.get(metric.name)
    made = metric.estimate(metric.state() if state is None else listed(state, view.catalogue))
    series = []
    day = view.band_from
    while day <= view.day:
        found = days.get(day, {}).get(metric.name)
        series.append((day, None if found is None else number(metric, listed(found, view.catalogue))))
        day += timedelta(days=1)
    counts = getattr(state, "counts", None)
    return _made(metric, enough(made, view.config.least_rows), series, parent,
                 cap=state.config["cap"] if isinstance(state, Winsorised) else None,
                 histogram=[] if stem(metric.name) != "click_rank" or counts is None else counts.tolist())


def _cohort_node(metric: WithinDays, days: Days, view: View, parent: str | None) -> Node:
    """Mature cohorts of the days at hand; beside it what the cohorts of the period will reach."""
    first = view.band_from
    whole = cohorts(metric, days, first, view.day, view.day)
    young = cohorts(metric, days, view.since, view.day, view.day)
    corrected = final_rate(young.part(DELAY), whole.part(DELAY)) if not young.empty else Estimate.missing("no rows")
    series = []
    day = first
    while day <= view.day:
        old = day + timedelta(days=metric.days) <= view.day
        one = cohorts(metric, days, day, day, view.day) if old else metric.state()
        series.append((day, metric.estimate(one).value))
        day += timedelta(days=1)
    return _made(metric, enough(metric.estimate(whole), view.config.least_rows), series, parent,
                 corrected={**enough(corrected, view.config.least_rows).to_dict(), "unit": metric.unit})


def _made(metric: Metric, value: Estimate, series: list[tuple[date, float | None]], parent: str | None,
          **more: Any) -> Node:
    known = [at for at, (_, one) in enumerate(series) if one is not None]
    last = len(series) - 1 if not isinstance(metric, WithinDays) else (known[-1] if known else len(series) - 1)
    share = isinstance(metric, WithinDays) or getattr(metric, "bounded", False)
    made = band([one for _, one in series[:last]], series[last][1], 1.0 if share else math.inf)
    return Node(metric.name, metric.level, parent, metric.direction, metric.unit, value.to_dict(), made,
                _status(made.status, metric.direction), series, **more)


def _status(status: str, direction: str) -> str:
    """How a day outside its band is to be taken.

    >>> _status("above", "down"), _status("above", "up"), _status("below", "none")
    ('bad', 'good', 'changed')
    """
    if status in ("ok", "no_data"):
        return status
    if direction == "none":
        return "changed"
    return "good" if (status == "above") is (direction == "up") else "bad"
