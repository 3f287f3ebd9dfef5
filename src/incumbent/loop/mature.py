"""mature: seal what units were when they matured, once per day; restate beside it what late events make of them.

A maturity day is sealed when it is over, grace included, when every sealer has brought what was acknowledged by then
into the lake (`watermark`), and when attribution has caught up past that. Sealed rows never change: when a later
change of the lake touches a sealed unit, its row as it is now goes to `restated`, which is shown and never fed to a
test.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from incumbent import logs
from incumbent.clock import EPOCH, Clock
from incumbent.config import ExperimentConfig
from incumbent.events.ids import EventIds, user_bucket
from incumbent.events.window import Window, day_of
from incumbent.experiments.maturity import due_days, restatements, seal_days
from incumbent.loop import units, watermark
from incumbent.loop.attribute import read_cursor
from incumbent.loop.definitions import currency_of
from incumbent.loop.leases import Held
from incumbent.loop.readings import Meter, by_buckets
from incumbent.loop.relations import DAY_US, DuckEngine, Engine
from incumbent.loop.units import Scope
from incumbent.stores.store import Control, ExperimentRow, Lake, Matured, Partition

LEASE = "mature"
_log = logs.get(__name__)
LATE_DAYS = 30  # after an experiment's last unit matured, units that became known late are still sealed for this long


class MatureCursor(Struct, frozen=True):
    """Where one experiment stands: days up to `day` are dealt with, of impressions up to version `sealed`; restatements
    know these versions."""

    day: date | None = None
    impression: int = -1
    outcome: int = -1
    sealed: int = -1


class MaturedRun(Struct, frozen=True):
    """What a run did: units sealed and restated per experiment; `stopped` where another process was at it."""

    sealed: dict[str, int] = {}
    restated: dict[str, int] = {}
    stopped: str | None = None
    waits_for: str | None = None  # the source whose sealer is so far behind that a day waits for it


class Maturer:
    """Seals and restates the units of every experiment that Control knows; one at a time, under the lease `mature`.

    `grace_s` is how long after a day's end its events may still be on their way without being late: at least the
    intervals of seal and attribute together. A source that said nothing for `silent_days` while another did is waited
    for no more. Days older than `retention_days` are not restated.
    """

    def __init__(self, lake: Lake, control: Control, clock: Clock, *, grace_s: float = 900.0, holder: str = "loop",
                 lease_s: float = 30.0, retention_days: int | None = None, engine: Engine | None = None,
                 silent_days: float = watermark.SILENT_DAYS, ids: EventIds | None = None) -> None:
        self._silent_days, self._ids = silent_days, ids or EventIds(clock)
        self._lake, self._control, self._clock, self._engine = lake, control, clock, engine
        self._grace, self._firsts = timedelta(seconds=grace_s), units.FirstExposures(lake)
        self._holder, self._lease_s, self._retention_days = holder, lease_s, retention_days

    def run_once(self) -> MaturedRun:
        """Seal the days that are due, and restate what changed since the last run."""
        with Held(self._control, self._clock, LEASE, self._holder, self._lease_s) as lease:
            sealed: dict[str, int] = {}
            restated: dict[str, int] = {}
            rows, today = self._control.experiments(), day_of(self._clock.now())
            self._firsts.keep({(row.name, _since(row)) for row in rows if (_last_day(row) or today) >= today})
            for row in rows:
                if not lease.renew():
                    return MaturedRun(sealed, restated, "another process holds the lease")
                sealed[row.name], restated[row.name] = self._one(row, lease.renew)
            watermark.retire_silent(self._control, self._ids, self._clock.now(), silent_days=self._silent_days)
            return MaturedRun(sealed, restated, waits_for=self._waits_for())

    def forget(self, user_id: str) -> None:
        """Let go of what is remembered of an erased user. Not while `run_once` runs."""
        self._firsts.forget(user_id)

    def _waits_for(self) -> str | None:
        """The source that is furthest behind, where a day that is over and twice past its grace waits for it."""
        low = watermark.low(self._control)
        over = Window.of_day(day_of(self._clock.now() - 2 * self._grace)).start + self._grace
        if low.until is not None and low.until >= over:
            return None
        _log.warning("a maturity day waits for a sealer", source=low.source, sealed_until=low.until)
        return low.source or "a sealer"

    def _one(self, row: ExperimentRow, still: Callable[[], bool]) -> tuple[int, int]:
        attributed = read_cursor(self._control)
        if attributed.at is None:
            return 0, 0
        definition = ExperimentConfig.model_validate(row.definition)
        scope = Scope(row.name, definition, currency_of(self._control, row.name, definition, self._lake),
                      _since(row))
        name = f"{LEASE}/{row.name}"
        text = self._control.cursor(name)
        cursor = MatureCursor() if text is None else msgspec.json.decode(text, type=MatureCursor)
        days = [] if attributed.until is None else due_days(
            scope.since if cursor.day is None else cursor.day + timedelta(days=1),
            min(attributed.at, attributed.until), self._grace)
        shown, seen = self._lake.changes("impression", cursor.impression)
        told, outcomes = self._lake.changes("outcome", cursor.outcome)
        restated = self._restate(scope, seen, outcomes)  # what is sealed below is as new as these changes
        due = self._open(scope, row, days)
        sealed = self._seal(scope, due, self._lake.changes("impression", cursor.sealed)[1], still) if due else 0
        if sealed is None or not still():
            return sealed or 0, restated
        moved = MatureCursor(days[-1] if days else cursor.day, shown, told, shown if due else cursor.sealed)
        self._control.set_cursor(name, msgspec.json.encode(moved).decode())
        return sealed, restated

    def _open(self, scope: Scope, row: ExperimentRow, days: list[date]) -> list[date]:
        """Those of the days that have no seal, and do not lie too long after the experiment's end."""
        before = {seal.day for seal in self._control.seals(scope.name)} if days else set()
        ends = _last_day(row)
        return [day for day in days if day not in before and (not ends or day <= ends)]

    def _seal(self, scope: Scope, open_days: list[date], shown: frozenset[Partition],
              still: Callable[[], bool]) -> int | None:
        """Seal every unit that matured by the end of the last of these days and was not sealed before.

        `shown` are the impressions that changed since the last sealing. Returns the number of units, None where the
        lease was lost and nothing is sealed.
        """
        deadline = (Window.of_day(open_days[-1]).end - EPOCH) // timedelta(microseconds=1)
        until = day_of(Window.of_day(open_days[-1]).end - timedelta(microseconds=scope.period_us))
        found: list[Matured] = []
        meter = Meter()
        for buckets in by_buckets(range(self._lake.buckets), meter):
            first = self._firsts.of(self._start(), scope, buckets, until, meter)
            due = first.filter(pc.less(pc.add(first["t0"], scope.period_us), deadline))
            fresh = self._fresh(scope, due, open_days[0], shown)
            found += units.matured_units(self._lake, self._start(), scope, buckets, fresh, meter)
            if not still():
                return None
        now = self._clock.now()
        sealed = 0
        for day, rows in seal_days(found, open_days).items():
            self._control.seal(scope.name, day, rows, now)
            sealed += len(rows)
        return sealed

    def _fresh(self, scope: Scope, due: pa.Table, first: date, shown: frozenset[Partition]) -> pa.Table:
        """The units that no seal holds: they matured on the day `first` or later, or their first exposure is new."""
        opens = (Window.of_day(first).start - EPOCH) // timedelta(microseconds=1)
        recent = pc.greater_equal(pc.add(due["t0"], scope.period_us), opens)
        new = [(user_bucket(user, self._lake.buckets), us // DAY_US) for user, us in zip(
            due["user_id"].to_pylist(), due["t0"].to_pylist(), strict=True)]
        changed = {(p.bucket, (p.day - EPOCH.date()).days) for p in shown}
        maybe = due.filter(pc.or_(recent, pa.array([place in changed for place in new], pa.bool_())))
        known = [unit.unit for unit in self._control.matured(scope.name, units=maybe["user_id"].to_pylist())]
        return maybe.filter(pc.invert(pc.is_in(maybe["user_id"], pa.array(known, pa.string()))))

    def _restate(self, scope: Scope, shown: frozenset[Partition], told: frozenset[Partition]) -> int:
        """Recompute the sealed units that changed partitions can have touched, and keep those that are different."""
        last = max((seal.day for seal in self._control.seals(scope.name)), default=None)
        if last is None or all(partition.day > last for partition in shown | told):
            return 0  # as on most runs: nothing that is sealed reaches into today
        since = Window.of_day(min(partition.day for partition in shown | told)).start
        restated = {unit.unit: unit for unit in self._control.restated(scope.name)}
        judged = {unit.unit: unit for unit in [
            *self._control.matured(scope.name, since=since),
            *self._control.matured(scope.name, units=[u.unit for u in restated.values() if u.matured_at >= since])]}
        known = judged | {name: unit for name, unit in restated.items() if name in judged}
        oldest = date.min if self._retention_days is None else day_of(self._clock.now()) - timedelta(
            days=self._retention_days)
        touched: dict[int, list[Matured]] = {}
        for unit in judged.values():
            bucket = user_bucket(unit.unit, self._lake.buckets)
            if day_of(known[unit.unit].exposed_at) >= oldest and touches(known[unit.unit], bucket, shown, told):
                touched.setdefault(bucket, []).append(unit)
        changed: list[Matured] = []
        meter = Meter()
        for buckets in by_buckets(sorted(touched), meter):
            members = [unit for bucket in buckets for unit in touched[bucket]]
            until = max(day_of(unit.matured_at) for unit in members)
            first_seen = units.first_exposures(self._lake, self._start(), scope, buckets, until, meter)
            ours = units.only(first_seen, [unit.unit for unit in members])
            now = units.matured_units(self._lake, self._start(), scope, buckets, ours, meter)
            changed += restatements(known, {unit.unit: unit for unit in now})
        if changed:
            self._control.restate(scope.name, changed, self._clock.now())
        return len(changed)

    def _start(self) -> Engine:
        self._engine = self._engine or DuckEngine()
        return self._engine


def expire_units(control: Control, now: datetime, retention_days: int) -> dict[str, int]:
    """Drop the units of experiments that ended before the days that are kept; the rows that went, by experiment.

    While an experiment runs its verdict is read from all of its units, so they stay; and they stay until the last day
    on which a late one may be sealed was dealt with, so that none is sealed twice.
    """
    gone: dict[str, int] = {}
    for row in control.experiments():
        ends, text = _last_day(row), control.cursor(f"{LEASE}/{row.name}")
        if row.ended_at is None or ends is None or text is None or row.ended_at >= now - timedelta(days=retention_days):
            continue
        dealt_with = msgspec.json.decode(text, type=MatureCursor).day
        if dealt_with is not None and dealt_with > ends and (count := control.expire_units(row.name)):
            gone[row.name] = count
    return gone


def _since(row: ExperimentRow) -> date:
    return day_of(row.started_at) - timedelta(days=1)


def _last_day(row: ExperimentRow) -> date | None:
    """The last day that is sealed of an experiment, None while it runs."""
    window = ExperimentConfig.model_validate(row.definition).maturity_window_days
    return None if row.ended_at is None else day_of(row.ended_at) + timedelta(days=window + LATE_DAYS)


def touches(unit: Matured, bucket: int, shown: frozenset[Partition], told: frozenset[Partition]) -> bool:
    """Whether changed impressions or outcomes can change a unit: an impression also from before its first one."""
    first, last = day_of(unit.exposed_at), day_of(unit.matured_at)
    return any(p.bucket == bucket and p.day <= last for p in shown) or any(
        p.bucket == bucket and first <= p.day <= last for p in told)
