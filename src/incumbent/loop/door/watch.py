"""door_watch: each day that is over is judged against its own past; an abrupt change is a Finding, told once.

A check that is unusual stays *open*: its later days are compared with the days before the change, and nothing more is
told until it is ordinary again, or has stood at its new level for `settle_days` days, which are then what is ordinary.
A day on which nothing of any kind came in was no day; on every other, a kind of event that stayed away has a volume
of 0, and its shares are missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from incumbent import registry
from incumbent.clock import Clock
from incumbent.config.door import DoorConfig
from incumbent.events.ids import EventIds
from incumbent.events.schema import Alert, Finding
from incumbent.events.window import Window, day_of
from incumbent.loop.door.checks import Check, check_of
from incumbent.loop.door.states import PREFIX, key_of, named
from incumbent.loop.enact import told
from incumbent.loop.leases import Held
from incumbent.metrics.data_quality_baseline import Judged, Terms, judge
from incumbent.metrics.data_quality_values import outside, range_of, unseen_categories
from incumbent.stats.estimate import Estimate
from incumbent.stores.store import Control

CURSOR = "door_watch"
LEASE = "door_watch"
DAYS_PER_MONTH = 30.4375
Days = dict[date, Any]  # day -> the sum of its shards
Read = dict[tuple[str, date, int], tuple[bytes, Any]]  # (check, day, bucket) -> a shard's state, as bytes and as it is


class Standing(Struct, frozen=True):
    """How a check stands after the last day that was judged."""

    status: str  # ok, drift, no_data
    day: date
    reason: str
    value: float | None = None
    low: float | None = None  # the band of ordinary values
    high: float | None = None
    n: int = 0
    unit: str = ""
    days: int = 0  # past days that it was compared with
    since: date | None = None  # of a drift that is open: its first day
    baseline: date | None = None  # what is before this day is no past of it


class Watched(Struct, frozen=True):
    """What is known of all checks, by key, after `day`."""

    day: date | None = None
    checks: dict[str, Standing] = {}


class Run(Struct, frozen=True):
    """What a run did."""

    days: int = 0
    checks: int = 0
    findings: int = 0
    stopped: str | None = None


def standing(control: Control) -> Watched:
    """What is known of all checks."""
    kept = control.cursor(CURSOR)
    return Watched() if kept is None else msgspec.json.decode(kept, type=Watched)


class DoorWatch:
    """Judges the days that are over, one process at a time (lease `door_watch`)."""

    def __init__(self, control: Control, clock: Clock, ids: EventIds, config: DoorConfig = DoorConfig(), *,
                 holder: str = "loop", lease_s: float = 30.0) -> None:
        self._control, self._clock, self._ids, self._config = control, clock, ids, config
        self._holder, self._lease_s = holder, lease_s
        self._read: Read = {}

    def run_once(self, until: datetime | None) -> Run:
        """Judge every day that is over and was not judged; of a deployment that is new to this, the last one.

        `until` is the watermark that the states have reached: a day is over once it has passed the day's end, and
        `settle_s` are gone since.
        """
        if until is None:
            return Run(stopped="nothing was measured yet")
        with Held(self._control, self._clock, LEASE, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return Run(stopped="another process holds the lease")
            known = standing(self._control)
            settled = self._clock.now() - timedelta(seconds=self._config.settle_s)
            last = day_of(min(until, settled)) - timedelta(days=1)
            first = last if known.day is None else known.day + timedelta(days=1)
            if first > last:
                return Run()
            done = Run()
            held = gathered(self._control, first, last, self._config.baseline_days, self._read)
            for at in range((last - first).days + 1):
                known, checks, findings = self._judge_day(first + timedelta(days=at), known, held)
                done = Run(done.days + 1, checks, done.findings + findings)
                if not lease.renew():
                    return msgspec.structs.replace(done, stopped="the lease went to another process")
            return done

    def _judge_day(self, day: date, known: Watched, held: dict[str, Days]) -> tuple[Watched, int, int]:
        """Judge one day; findings and what is known move together, one check at a time."""
        series = until(held, day, self._config.baseline_days)
        covered = days_of(series)
        checks = dict(known.checks)
        if day not in covered:
            known = Watched(day, checks)
            self._keep(known)
            return known, 0, 0
        alpha = self._config.false_findings_per_month / DAYS_PER_MONTH / max(len(series), 1)
        findings = 0
        for key in sorted(series):
            table, name = named(key)
            check = check_of(table, name, self._config.late_s)
            before = checks.get(key)
            if check is None or (before is not None and before.day >= day):
                continue  # judged already, by a run that did not come to the day's end
            found = self._judged(check, day, series[key], covered, before, alpha)
            after = self._after(found[1], found[0], day, before)
            checks[key] = after
            finding = self._finding(key, before, after)
            if finding is not None:
                findings += 1
                self._tell(finding, Watched(known.day, checks))
        known = Watched(day, checks)
        self._keep(known)
        return known, len(series), findings

    def _judged(self, check: Check, day: date, states: Days, covered: set[date], before: Standing | None,
                alpha: float) -> tuple[Estimate, Judged]:
        """Today's number, and what the days of its past say of it."""
        first = before.baseline if before is not None and before.baseline else date.min
        until = before.since if before is not None and before.since else day
        past = {when: states.get(when) for when in covered if first <= when < until}
        today, values = estimates(check, states.get(day), past)
        terms = Terms(alpha=alpha, min_days=self._config.min_days, min_weekdays=self._config.min_weekdays,
                      least_share=self._config.least_share, least_factor=self._config.least_factor)
        return today, judge(today, day, values, "log" if check.kind == "log" else "share", terms)

    def _after(self, judged: Judged, today: Estimate, day: date, before: Standing | None) -> Standing:
        since, baseline = None, before.baseline if before is not None else None
        status: str = judged.status
        if status == "drift":
            since = before.since if before is not None and before.since else day
            if (day - since).days + 1 >= self._config.settle_days:
                status, since, baseline = "ok", None, since
        elif status == "no_data" and before is not None and before.since:
            status, since = "drift", before.since  # a day that says nothing ends nothing
        return Standing(status, day, judged.reason, today.value, judged.low, judged.high, today.n, today.unit,
                        judged.days, since, baseline)

    def _finding(self, key: str, before: Standing | None, after: Standing) -> Finding | None:
        was, table, name = before.status if before is not None else "ok", *named(key)
        if after.status == was or ("no_data" in (after.status, was) and after.status != "drift"):
            return None
        settled = before is not None and after.baseline != before.baseline
        reason = after.reason if not settled else f"at its new level for {self._config.settle_days} days: ordinary now"
        return Finding(
            event_id=self._ids.new(), time=self._clock.now(), subject=f"door:{table}", check=name,
            status="drift" if after.status == "drift" else "ok", reason=f"{after.day}: {reason}",
            severity="ticket" if after.status == "drift" else "info",
            evidence={**msgspec.to_builtins(after), "key": key})

    def _tell(self, finding: Finding, known: Watched) -> None:
        alert = None
        if finding.severity == "ticket":
            alert = Alert(event_id=self._ids.new(), time=finding.time, subject=finding.subject, severity="ticket",
                          title=f"{finding.subject}: {finding.check} changed abruptly", body=finding.reason,
                          refers_to=finding.event_id)
        told(self._control, finding, alert=alert, cursor=(CURSOR, msgspec.json.encode(known).decode()))

    def _keep(self, known: Watched) -> None:
        self._control.set_cursor(CURSOR, msgspec.json.encode(known).decode())


def gathered(control: Control, first: date, last: date, days: int, read: Read | None = None) -> dict[str, Days]:
    """Of every check the sums of its shards by day, from `days` days before `first` to `last`. `read` keeps the states
    of those days from one call to the next."""
    series: dict[str, Days] = {}
    before, read = ({}, {}) if read is None else (dict(read), read)
    read.clear()
    for row in control.range(PREFIX, Window.of_days(first - timedelta(days=days), last)):
        place = (row.key, row.day, row.bucket)
        kept = before.get(place)
        read[place] = kept if kept is not None and kept[0] == row.data else (
            row.data, registry.load("states", row.state).from_bytes(row.data))
        state = read[place][1]
        sums = series.setdefault(row.key, {})
        sums[row.day] = sums[row.day].merge(state) if row.day in sums else state
    return series


def until(series: Mapping[str, Days], day: date, days: int) -> dict[str, Days]:
    """The part that a look at `day` may see: it and the `days` before it."""
    first = day - timedelta(days=days)
    seen = {key: {when: state for when, state in sums.items() if first <= when <= day} for key, sums in series.items()}
    return {key: sums for key, sums in seen.items() if sums}


def days_of(series: Mapping[str, Days]) -> set[date]:
    """The days on which anything but refused messages came in."""
    refused = key_of("quarantine", "volume")
    return {when for key, sums in series.items() if key.endswith("/metric=volume") and key != refused for when in sums}


def estimates(check: Check, today: Any, past: Mapping[date, Any]) -> tuple[Estimate, dict[date, Estimate]]:
    """Today's estimate and those of the past days; ranges and vocabularies are those of the other past days."""
    if check.kind in ("range", "unseen"):
        there = {when: state for when, state in past.items() if state is not None}
        read = _against(check, there)
        return (read(today, None) if today is not None else Estimate.missing("no events")), {
            when: read(state, when) for when, state in there.items()}

    def one(state: Any) -> Estimate:
        if state is not None and not state.empty:
            found: Estimate = check.metric.estimate(state)
            return found
        if check.name.startswith("volume"):
            return Estimate(0.0, n=0, method="count", unit=check.metric.unit)  # the day was there, and it stayed away
        return Estimate.missing("no events", unit=check.metric.unit)

    return one(today), {when: one(state) for when, state in past.items()}


def _against(check: Check, there: Mapping[date, Any]) -> Any:
    """The estimate of one day's state by what all past days but itself hold."""

    def read(state: Any, when: date | None) -> Estimate:
        others = [other for day, other in there.items() if day != when]
        if not others:
            return Estimate.missing("no past days")
        if check.kind == "range":
            span = range_of(others)
            return Estimate.missing("no past values") if span is None else outside(state, *span)
        if any(int(other.other) for other in others):
            return Estimate.missing("too many categories to know them")
        known = {key for other in others for key in other.counts}
        found: Estimate = unseen_categories(column=check.metric.column, known=known).estimate(state)
        return found

    return read

