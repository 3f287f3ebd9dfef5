"""report: the latest numbers of every surface and experiment, from the states in Control; nothing is computed twice.

Every line carries its unit, its n and its interval, or the reason why it is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from incumbent import registry
from incumbent.config import Config
from incumbent.events.window import Window
from incumbent.loop import keys, looks
from incumbent.loop.decide import latest
from incumbent.loop.door import report as door_report
from incumbent.loop.door.watch import Standing
from incumbent.loop.generated import report as text_report
from incumbent.stats.buckets import Buckets
from incumbent.stats.counts import Counts
from incumbent.stats.estimate import Estimate
from incumbent.stats.log_histogram import LogHistogram
from incumbent.stores.store import Control, ExperimentRow

DAYS = 7
QUIET_DAYS = 90  # how far back a surface that fell silent is looked for


class Line(Struct, frozen=True):
    """One number: `name` is what it is of, within its section."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    method: str
    reason: str | None = None


class Section(Struct, frozen=True):
    """A surface or an experiment with its lines."""

    subject: str  # surface:NAME, experiment:NAME
    title: str
    lines: list[Line]
    notes: list[str] = []


class Report(Struct, frozen=True):
    """The whole report, over the half-open period [since, until)."""

    since: datetime
    until: datetime
    sections: list[Section]


def report(control: Control, config: Config, now: datetime, *, days: int = DAYS) -> Report:
    """The report over the last `days` UTC days, today included."""
    period = Window(now - timedelta(days=days - 1), now + timedelta(microseconds=1))
    surfaces = [_surface(control, name, period, config, now) for name in sorted(config.surfaces)]
    rows = {row.name: row for row in control.experiments()}
    experiments = [_experiment(control, name, rows.get(name), config, now)
                   for name in sorted({*config.experiments, *rows})]
    return Report(Window.of_day(period.start.date()).start, now, [*surfaces, *experiments, *_door(control),
                                                                    *_texts(control, config, period)])


def _door(control: Control) -> Iterator[Section]:
    """What came in, on the last day that was judged, with what is usual."""
    for subject, title, checks, notes in door_report.lines(control):
        yield Section(subject, title, [Line(
            name, one.value, None, None, one.n, _usual(one), f"against {one.days} past days",
            one.reason if one.value is None else None) for name, one in checks], notes)


def _texts(control: Control, config: Config, period: Window) -> Iterator[Section]:
    """What generating models wrote."""
    for subject, title, estimates in text_report.lines(control, config, period, states):
        yield Section(subject, title, [_line(name, estimate) for name, estimate in estimates])


def _usual(one: Standing) -> str:
    if one.low is None or one.high is None:
        return f"{one.unit}, no past to compare with"
    low, high = ((f"{end:.2%}" if one.unit.startswith("of ") else f"{end:,.4g}") for end in (one.low, one.high))
    return f"{one.unit}, usually {low} to {high}" + (" UNUSUAL" if one.status == "drift" else "")


def states(control: Control, prefix: str, period: Window | None = None) -> dict[str, Any]:
    """Key -> the sum of its shards, for every key under a prefix."""
    out: dict[str, Any] = {}
    for row in control.range(prefix, period):
        state = registry.load("states", row.state).from_bytes(row.data)
        out[row.key] = out[row.key].merge(state) if row.key in out else state
    return out


def _per_request(name: str, state: Buckets, what: str, unit: str) -> Line:
    """A ratio to requests, whose n is the requests: rows of the state are requests and events."""
    said, requests = state.ratio(what, "requests", unit=unit), state.total("requests").value
    return _line(name, replace(said, n=int(requests or 0)))


def _surface(control: Control, name: str, period: Window, config: Config, now: datetime) -> Section:
    def one(measure: str) -> Any:
        return states(control, keys.of_surface(measure, name), period).get(keys.of_surface(measure, name))

    lines: list[Line] = []
    requests, latency, engagement = one("requests"), one("answer_ms"), one("engagement")
    if isinstance(requests, Counts):
        total = requests.total
        lines.append(Line("requests", float(total), None, None, total, "requests", "count"))
        by_mode: dict[str, int] = {}
        for key, count in requests.counts.items():
            mode = key.partition("/")[0]
            by_mode[mode] = by_mode.get(mode, 0) + count
        whole = Counts.zero().update(by_mode, by_mode.values())
        lines += [_line(f"served as {mode}", whole.share(mode, unit="of requests")) for mode in sorted(by_mode)]
    if isinstance(latency, LogHistogram):
        lines += [_line(f"answer p{q * 100:g}", latency.quantile(q, unit="ms")) for q in (0.5, 0.99)]
    if isinstance(engagement, Buckets):
        lines += [_per_request(f"{what} per request", engagement, what, f"{what}/request")
                  for what in ("clicks", "carts", "purchases")]
    for key, state in states(control, f"value/{name}/", period).items():
        if isinstance(engagement, Buckets):
            unit = f"{keys.parts(key)['currency']} minor units/request"
            lines.append(_per_request("value per request", engagement.beside(state), "value_minor", unit))
    lines += _models(control, name, period)
    notes = [] if lines else [_quiet(control, name, now) or looks.unmeasured(control, config, now)]
    return Section(f"surface:{name}", f"surface {name}", lines, notes)


def _quiet(control: Control, surface: str, now: datetime) -> str | None:
    """Since when nothing has come in; None where nothing ever did, or not in a long time."""
    days = [row.day for row in control.range(keys.of_surface("requests", surface),
                                             Window(now - timedelta(days=QUIET_DAYS), now))]
    return f"nothing has come in since {max(days)}" if days else None


def _models(control: Control, surface: str, period: Window) -> Iterator[Line]:
    for key, state in states(control, f"status/{surface}/", period).items():
        parts = keys.parts(key)
        yield _line(f"{parts['model']} ({parts['role']}) answered", state.share("ok", unit="of requests"))
    for key, state in states(control, f"latency_ms/{surface}/", period).items():
        parts = keys.parts(key)
        for q in (0.5, 0.99):
            yield _line(f"{parts['model']} ({parts['role']}) p{q * 100:g}", state.quantile(q, unit="ms"))


def _experiment(control: Control, name: str, row: ExperimentRow | None, config: Config, now: datetime) -> Section:
    if row is None:
        return Section(f"experiment:{name}", f"experiment {name}: not started", [],
                       [f"incumbent experiment start {name} --reason ..."])
    title = f"experiment {name}: {row.stage}" + (", held" if row.held else "")
    looked, waits = latest(control, name), looks.unjudged(control, config, row, now)
    if looked is None or waits is not None:
        return Section(f"experiment:{name}", title, [], [waits or "not judged yet"])
    evidence = looked.evidence
    lines = [_plain("net preference", evidence["preference"]["preference"]),
             _plain("credit per pair", evidence["preference"]["delta"])]
    lines += [_plain(f"guardrail {reading['metric']} ({reading['status']})", reading["effect"])
              for reading in evidence["guardrails"]]
    notes = [f"{looked.verdict}: {looked.reason}", f"matured users: {evidence['matured']}"]
    notes += [due] if (due := looks.next_look(config, row, looked.time, now)) else []
    notes += [f"check {check['name']} is {check['status']}: {check['reason']}" for check in evidence["checks"]]
    return Section(f"experiment:{name}", title, lines, notes)


def _line(name: str, estimate: Estimate) -> Line:
    return Line(name, estimate.value, _finite(estimate.low), _finite(estimate.high), estimate.n, estimate.unit,
                estimate.method, estimate.reason)


def _plain(name: str, estimate: dict[str, Any]) -> Line:
    """An estimate as a Decision's evidence holds it."""
    return Line(name, estimate["value"], estimate["low"], estimate["high"], estimate["n"], estimate["unit"],
                estimate["method"], estimate["reason"])


def _finite(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else number
