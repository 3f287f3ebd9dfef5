"""What each experiment was defined as: Control's frozen definition once it has started, the configuration before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from incumbent.config import Config, ExperimentConfig
from incumbent.events.window import Window
from incumbent.experiments.credit import MONEYLESS, CreditTerms

if TYPE_CHECKING:
    from incumbent.loop.credited import TermsOf
    from incumbent.stores.store import Control, Lake

#: the guardrails that have a `slow_ms`, in the order of `keys.SLOW`
SLOW_METRICS = ("latency_p95", "latency_p99")

Definitions = Mapping[str, ExperimentConfig]


def definitions(control: Control, config: Config | None = None) -> dict[str, ExperimentConfig]:
    """Experiment -> its definition, of all that run or ran and all that are configured."""
    known = dict(config.experiments) if config is not None else {}
    return known | {row.name: ExperimentConfig.model_validate(row.definition) for row in control.experiments()}


def terms_of(known: Definitions) -> TermsOf:
    """The credit terms of a group: its experiment's, or last touch within 7 days where there is none.

    >>> terms_of({})("home", None).attribution
    'last_touch'
    """
    own = {name: CreditTerms(part.attribution, part.attribution_window_days, part.skip_neutral)
           for name, part in known.items()}
    default = CreditTerms()
    return lambda surface, experiment: default if experiment is None else own.get(experiment, default)


def reach_days(known: Definitions) -> int:
    """How many whole UTC days before its own a feedback may look back: the longest window, and one day more.

    The day more tells ``outside_window`` from ``no_exposure``.

    >>> reach_days({})
    8
    """
    windows = [part.attribution_window_days for part in known.values()]
    return math.ceil(max([*windows, CreditTerms().window_days])) + 1


def slow_limits(known: Definitions) -> dict[str, tuple[float, ...]]:
    """Experiment -> the `slow_ms` of its guardrails latency_p95 and latency_p99, infinite where it has none of them.

    Experiments that have neither, or have not frozen what is slow yet, are left out.

    >>> slow_limits({})
    {}
    """
    found = {}
    for name, definition in known.items():
        frozen: dict[str, float] = {
            part.metric: part.slow_ms for part in definition.guardrails if part.slow_ms is not None}
        if frozen:
            found[name] = tuple(frozen.get(metric, math.inf) for metric in SLOW_METRICS)
    return found


def currency_of(control: Control, name: str, definition: ExperimentConfig, lake: Lake) -> str:
    """The one currency in which an experiment's values are summed; empty while none is known.

    The configured one; where there is none, that of the earliest purchase known when it is first asked for since the
    experiment began, which is then kept for good under the cursor ``currency/NAME``: values of others are left out.
    """
    if definition.currency is not None:
        return definition.currency
    kept = control.cursor(f"currency/{name}")
    if kept is not None:
        return kept
    row = control.experiment(name)
    if row is None:
        return ""
    seen = int(control.cursor(f"currency/{name}/seen") or -1)
    version, changed = lake.changes("outcome", seen)
    found = _earliest_currency(lake, row.started_at, sorted({partition.day for partition in changed}))
    if found is not None:
        control.set_cursor(f"currency/{name}", found)
    elif version != seen:
        control.set_cursor(f"currency/{name}/seen", str(version))  # what was looked at need not be looked at again
    return found or ""


def _earliest_currency(lake: Lake, since: datetime, days: list[date]) -> str | None:
    for day in days:
        if Window.of_day(day).end <= since:
            continue
        rows = lake.scan("outcome", Window.of_day(day), columns=["time", "event_id", "action", "currency", "reason"])
        bought = [row for row in rows.filter(pc.equal(rows["action"], "purchase")).to_pylist()
                  if row["currency"] is not None and row["reason"] not in MONEYLESS and row["time"] >= since]
        if bought:
            return str(min(bought, key=lambda row: (row["time"], row["event_id"]))["currency"])
    return None
