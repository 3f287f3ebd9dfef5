"""expectations: the gate of a release, asked again of what runs: every whole day, from the states of measured metrics.

A break is told once, as a Finding of the surface, and its end too; a day that cannot tell changes nothing. Checked are
means of lists and answers, and latencies: of every model that answered, or of the surface where no model has them;
against the champion while a candidate answers beside it. Numbers of all lists together and behavioural checks are not
asked of traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from incumbent.clock import Clock
from incumbent.config import MetricsConfig
from incumbent.events.ids import EventIds
from incumbent.events.schema import Alert, Finding
from incumbent.events.window import day_of
from incumbent.loop.enact import told
from incumbent.loop.leases import Held
from incumbent.loop.metrics.keys import Cell, States
from incumbent.loop.metrics.read import Reader
from incumbent.metrics.expectation import Expectation, breached, say
from incumbent.metrics.expectation_file import read_gate
from incumbent.metrics.measures import Measure, resolve
from incumbent.metrics.paired import Paired, Parts, Which
from incumbent.stats.buckets import Buckets
from incumbent.stats.estimate import Estimate
from incumbent.stats.log_histogram import LogHistogram
from incumbent.stores.store import Control

CURSOR = "expectations"
Judged = tuple[str, Expectation, Estimate]  # of what, what is expected, and the number


class Standing(Struct, frozen=True):
    """The last day that was judged, and what is broken: ``SURFACE/OF WHAT/EXPECTATION``."""

    day: date | None = None
    broken: list[str] = []


class Looked(Struct, frozen=True):
    """What a run did."""

    judged: int = 0
    findings: int = 0
    stopped: str | None = None


class Expectations:
    """Judges the gates of ``[metrics] gates`` on every day, once, under the lease `expectations`.

    A day is judged when its wishes are complete, ``metrics.relevant_days`` after it, and measured. `ConfigError` for a
    gate file with mistakes: the job fails, says so, and no other does.
    """

    def __init__(self, control: Control, clock: Clock, ids: EventIds, config: Callable[[], MetricsConfig], *,
                 holder: str = "loop", lease_s: float = 30.0) -> None:
        self._control, self._clock, self._ids, self._config = control, clock, ids, config
        self._holder, self._lease_s = holder, lease_s

    def run_once(self, until: datetime | None) -> Looked:
        """Judge every complete day that was not judged; of a deployment that is new to this, the last one.

        `until` is the watermark that the states have reached: what was acknowledged before it is in them.
        """
        config = self._config()
        if not config.gates or not config.enabled:
            return Looked(stopped="no gates under [metrics]")
        if until is None:
            return Looked(stopped="nothing was measured yet")
        last = day_of(min(until, self._clock.now())) - timedelta(days=1 + config.relevant_days)
        with Held(self._control, self._clock, CURSOR, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return Looked(stopped="another process holds the lease")
            standing, done = standing_of(self._control), Looked()
            day = last if standing.day is None else standing.day + timedelta(days=1)
            while day <= last:
                standing, count, findings = self._judge_day(config, day, standing)
                done = Looked(done.judged + count, done.findings + findings)
                if not lease.renew():
                    return msgspec.structs.replace(done, stopped="the lease went to another process")
                day += timedelta(days=1)
            return done

    def _judge_day(self, config: MetricsConfig, day: date, standing: Standing) -> tuple[Standing, int, int]:
        """Judge one day; what is known moves with each finding, the day at its end."""
        count = findings = 0
        for surface, path in sorted(config.gates.items()):
            for what, expectation, estimate in judged(self._control, surface, path, day, config.least_rows):
                count += 1
                key = f"{surface}/{what}/{expectation.title}: {expectation.bounds}"
                broken = breached(expectation, estimate)
                if broken is None or broken == (key in standing.broken):
                    continue
                kept = [one for one in standing.broken if one != key] + ([key] if broken else [])
                standing = msgspec.structs.replace(standing, broken=sorted(kept))
                self._tell(surface, what, expectation, estimate, day, standing, broken)
                findings += 1
        standing = msgspec.structs.replace(standing, day=day)
        self._control.set_cursor(CURSOR, _text(standing))
        return standing, count, findings

    def _tell(self, surface: str, what: str, expectation: Expectation, estimate: Estimate, day: date,
              standing: Standing, broken: bool) -> None:
        reason = (f"{expectation.title} of {what} on {day}: expected {expectation.bounds}; got {say(estimate)}"
                  + ("" if broken else ": it holds again"))
        finding = Finding(
            event_id=self._ids.new(), time=self._clock.now(), subject=f"surface:{surface}",
            check=f"expectation:{expectation.title}", status="breach" if broken else "ok",
            severity="ticket" if broken else "info", reason=reason,
            evidence={"of": what, "day": day.isoformat(), "metric": expectation.metric, "compare": expectation.compare,
                      "at_least": expectation.at_least, "at_most": expectation.at_most, "estimate": estimate.to_dict()})
        alert = Alert(event_id=self._ids.new(), time=finding.time, subject=finding.subject, severity="ticket",
                      title=f"{finding.subject}: {finding.check} is broken", body=reason,
                      refers_to=finding.event_id) if broken else None
        told(self._control, finding, alert=alert, cursor=(CURSOR, _text(standing)))


def judged(control: Control, surface: str, gate_file: Path, day: date, least_rows: int) -> Iterator[Judged]:
    """Every number of the day that an expectation of the gate is about; nothing for what the loop does not measure."""
    gate = read_gate(gate_file)
    cells = {cell: days[day] for cell, days in Reader(control).cells(surface, day, day).items() if day in days}
    for expectation in gate.expectations():
        measure = resolve(expectation.metric)
        if measure.kind in ("whole", "probe"):
            continue
        for what, one, pair in _pairs(cells, surface, expectation, measure):
            yield what, one, _estimate(pair, one, measure, gate.alpha, least_rows)


def _pairs(cells: Mapping[Cell, States], surface: str, expectation: Expectation,
           measure: Measure) -> Iterator[tuple[str, Expectation, tuple[Any, Any]]]:
    """(of what, the expectation of one slice, the states of champion and of what is judged)."""
    models = {cell: state for cell, states in cells.items() if cell.model is not None and cell.by is None
              and (state := _state(states, measure)) is not None}
    if expectation.slice:
        [(key, value), *more] = expectation.slice
        for cell, states in cells.items():
            named = not more and cell.model is None and cell.by == key and value in ("*", cell.value)
            if named and expectation.compare == "value" and (found := _state(states, measure)) is not None:
                yield surface, replace(expectation, slice=((key, cell.value or ""),)), (found, found)
    elif expectation.compare != "value":
        champions = [state for cell, state in models.items() if cell.role == "champion"]
        for cell, state in models.items():
            if cell.role == "candidate" and len(champions) == 1:
                yield f"candidate {cell.model}", expectation, (champions[0], state)
    elif models:
        for cell, state in models.items():
            yield f"{cell.role} {cell.model}", expectation, (state, state)
    elif (own := _state(cells.get(Cell(surface), {}), measure)) is not None:
        yield surface, expectation, (own, own)


def _state(states: States, measure: Measure) -> Any:
    """The state that a measure is read from; every quantile of the latency is in one histogram."""
    if measure.kind == "quantile":
        return next((state for name, state in sorted(states.items()) if name.startswith("latency_p")
                     and isinstance(state, LogHistogram)), None)
    found = states.get(measure.name)
    return found if isinstance(found, Buckets) else None


def _estimate(pair: tuple[Any, Any], one: Expectation, measure: Measure, alpha: float, least_rows: int) -> Estimate:
    champion, own = pair
    if isinstance(own, LogHistogram):
        if one.compare != "value":
            return Estimate.missing("latencies of traffic are not compared between models", unit=measure.unit)
        found = own.quantile(measure.q, alpha=alpha, unit=measure.unit)
        rows = found.n
    else:
        which: Which = "candidate" if one.compare == "value" else one.compare
        found = Paired(np.arange(len(own.rows)), _parts(champion), _parts(own), measure.bounded).estimate(
            which, alpha=alpha, unit=measure.unit)
        rows = int(min(own.rows.sum(), champion.rows.sum()))
        found = replace(found, n=rows)
    if rows < least_rows:
        return Estimate.missing(f"{rows} rows, fewer than {least_rows}", n=rows, unit=measure.unit)
    return found


def _parts(state: Buckets) -> Parts:
    """Numerator and denominator of each bucket of users; a bucket without rows has no number."""
    bottom = state.sums[:, 1] if len(state.variables) > 1 else state.rows.astype(np.float64)
    parts = np.stack([state.sums[:, 0], bottom], axis=1)
    parts[state.rows == 0] = np.nan
    return parts


def standing_of(control: Control) -> Standing:
    """What is known to be broken."""
    text = control.cursor(CURSOR)
    return Standing() if text is None else msgspec.json.decode(text, type=Standing)


def _text(standing: Standing) -> str:
    return msgspec.json.encode(standing).decode()
