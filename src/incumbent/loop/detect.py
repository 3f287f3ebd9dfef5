"""detect: judge every closed window of every stream against the baseline in force, and make facts of what changed.

All windows of one period are one tick: references from matched windows, a step of every detector, the tick's alarms
judged together, and then one transaction of Control: findings, their way to log and alerts, and the ledger with every
detector's memory. A crash leaves a tick whole or not begun; a window is judged once, whatever arrives later.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from incumbent import logs, registry
from incumbent.clock import Clock
from incumbent.config.sections import DriftConfig
from incumbent.drift.budget import Budget, within_tick
from incumbent.drift.detector import Result, invalid
from incumbent.errors import DataError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Finding
from incumbent.events.window import Window
from incumbent.loop import watermark
from incumbent.loop.drift import names, replaced
from incumbent.loop.drift.baselines import AGAIN, Baseline, active, changed
from incumbent.loop.drift.due import next_look
from incumbent.loop.drift.explain import Explainer
from incumbent.loop.drift.findings import event_id, named, of_all, of_stream
from incumbent.loop.drift.judges import GROUPS
from incumbent.loop.drift.ledger import Ledger, News, Standing, after, left, read, written
from incumbent.loop.drift.standstill import together
from incumbent.loop.drift.watch import Watch, alphas, watches
from incumbent.loop.enact import news as outbox_of
from incumbent.loop.leases import Held
from incumbent.stores.store import Control, Lake

LEASE = "drift/detect"
_log = logs.get(__name__)


class Detected(Struct, frozen=True):
    """What a run did: windows judged (of all groups), results, and the findings that were stored."""

    ticks: int = 0
    judged: int = 0
    findings: tuple[Finding, ...] = ()
    stopped: str | None = None


class Detector:
    """Judges what is closed; one process at a time, under the lease `drift/detect`."""

    def __init__(self, lake: Lake, control: Control, clock: Clock, config: DriftConfig, *, holder: str = "loop",
                 lease_s: float = 30.0) -> None:
        self._lake, self._control, self._clock, self._config = lake, control, clock, config
        self._holder, self._lease_s = holder, lease_s
        self._known: tuple[tuple[Any, ...], list[Watch], Budget | None] | None = None

    def run_once(self, until: datetime | None = None) -> Detected:
        """Judge every window that is closed: all that was acknowledged before `until` is in the states; the low
        watermark where it is not given."""
        with Held(self._control, self._clock, LEASE, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return Detected(stopped="another process holds the lease")
            baseline = active(self._control)
            until = watermark.low(self._control).until if until is None else until
            if baseline is None or until is None:
                return Detected()
            if (stale := changed(baseline, self._config)):
                return Detected(findings=tuple(self._stale(baseline, stale)))
            found, ticks, judged = [*self._begin(baseline), *self._outdated(baseline)], 0, 0
            for group in GROUPS:
                while (window := self._next(baseline, group, until)) is not None:
                    if not lease.renew():
                        return Detected(ticks, judged, tuple(found), "the lease went to another process")
                    results, findings = self._tick(baseline, group, window)
                    found, ticks, judged = [*found, *findings, *self._begin(baseline)], ticks + 1, judged + results
        return Detected(ticks, judged, tuple(found))

    def watches(self, baseline: Baseline, ledger: Ledger | None = None) -> tuple[list[Watch], Budget | None]:
        """What is watched, made once for a baseline, its streams and those that the ledger says were replaced."""
        gone = replaced.of(read(self._control) if ledger is None else ledger, baseline)
        key = (baseline.id, baseline.streams_hash, frozenset(gone))
        if self._known is None or self._known[0] != key:
            self._known = (key, *watches(baseline, self._config, gone))
        return self._known[1], self._known[2]

    # ------------------------------------------------------------------------------------------------------- the start
    def _stale(self, baseline: Baseline, stale: str) -> list[Finding]:
        """A baseline of another configuration is judged against by nobody, and that is said once."""
        ledger, told = read(self._control), f"{baseline.id}: {stale}"
        if ledger.stale == told:
            return []
        finding = Finding(
            event_id=event_id(self._clock.now(), told), time=self._clock.now(),
            subject=f"baseline:{baseline.row.name}", check="drift:budget", status="no_data", severity="ticket",
            reason=f"nothing is judged, {stale} since the baseline was built: {AGAIN}",
            evidence={"baseline": named(baseline)})
        self._conclude([finding], msgspec.structs.replace(ledger, stale=told))
        return [finding]

    def _begin(self, baseline: Baseline) -> list[Finding]:
        """A baseline that is new, or another share of the budget: standings begin afresh, and who cannot keep to it is
        said."""
        ledger = read(self._control)
        watched, budget = self.watches(baseline, ledger)
        known = ledger.standings if ledger.baseline == baseline.id else {}
        fresh = {watch.name: _first(watch) for watch in watched if watch.name not in known
                 or (known[watch.name].status == "refused") == watch.part.honoured}
        stale = ledger.stale if ledger.stale == _told(baseline, _untold(watched)) else ""
        if not fresh and ledger.baseline == baseline.id and ledger.stale == stale:
            return []
        standings = {**known, **fresh}
        after_ = msgspec.structs.replace(ledger, standings=standings, stale=stale) if ledger.baseline == baseline.id \
            else Ledger(baseline.id, ledger.until, standings, stale)
        refused = budget.refused if budget is not None else ()
        tails = sum(part.extrapolated for part in budget.parts) if budget is not None else 0
        closed = sorted(name for name, one in ledger.standings.items()
                        if one.open is not None and (name in fresh or ledger.baseline != baseline.id))
        said = (f"{len(refused)} of {len(watched)} monitors cannot honour their part of "
                f"{self._config.false_alarms_per_month:g} false alarms a month" if refused else
                f"all {len(watched)} monitors can honour their part of "
                f"{self._config.false_alarms_per_month:g} false alarms a month")
        said += f"; {tails} of them by a tail that was asked for, extrapolated beyond their windows" if tails else ""
        said += f"; no longer open, since judged anew: {', '.join(closed)}" if closed else ""
        finding = Finding(
            event_id=event_id(self._clock.now(), baseline.id, baseline.streams_hash, *sorted(after_.replaced)),
            time=self._clock.now(), subject=f"baseline:{baseline.row.name}", check="drift:budget",
            status="no_data" if refused else "ok", severity="ticket" if refused else "info", reason=said,
            evidence={"baseline": named(baseline), "closed": closed,
                      "refused": {part.monitor.name: part.reason for part in refused},
                      "soonest": {watch.name: watch.part.soonest for watch in watched if watch.part.soonest}})
        self._conclude([finding], after_)
        return [finding]

    def _outdated(self, baseline: Baseline) -> list[Finding]:
        """Streams that the configuration counts otherwise than the baseline are not judged, and that is said once."""
        ledger, untold = read(self._control), _untold(self.watches(baseline)[0])
        if not untold or ledger.stale == _told(baseline, untold):
            return []
        finding = Finding(
            event_id=event_id(self._clock.now(), _told(baseline, untold)), time=self._clock.now(),
            subject=f"baseline:{baseline.row.name}", check="drift:budget", status="no_data", severity="ticket",
            reason="; ".join(f"{', '.join(names_)} not judged, {why}" for why, names_ in untold.items()),
            evidence={"baseline": named(baseline), "not_judged": untold})
        self._conclude([finding], msgspec.structs.replace(ledger, stale=_told(baseline, untold)))
        return [finding]

    def _next(self, baseline: Baseline, group: str, until: datetime) -> Window | None:
        """The next window that a group has to judge, None where it is not closed yet."""
        ledger, now = read(self._control), self._clock.now()
        looks = (next_look(watch, ledger, self._config, now) for watch in self.watches(baseline)[0]
                 if watch.judge.group == group)
        window, at = min(looks, default=(None, until))
        return window if at <= until else None

    # -------------------------------------------------------------------------------------------------------- one tick
    def _tick(self, baseline: Baseline, group: str, window: Window) -> tuple[int, list[Finding]]:
        """Judge all streams of a group over one window, and store what follows, in one transaction."""
        ledger = read(self._control)
        if group == "prompt":
            ledger = replaced.counted(self._control, ledger, baseline.about, window, self._config.recovery_windows)
        here = [watch for watch in self.watches(baseline, ledger)[0] if watch.judge.group == group
                and watch.part.honoured and (standing := ledger.standings.get(watch.name)) is not None
                and standing.status != "refused" and watch.since <= window.start]
        steps = {watch.name: self._step(baseline, watch, window, ledger.standings[watch.name]) for watch in here}
        method = self._config.multiplicity
        results = within_tick({name: result for name, (result, _, _) in steps.items()}, alphas(here, method), method)
        standings, told = dict(ledger.standings), dict[str, News]()
        for watch in here:
            before, (_, memory, _) = ledger.standings[watch.name], steps[watch.name]
            result = results[watch.name]
            standings[watch.name], news = after(
                before, result, memory, window.start, alarm=watch.judge.status, risk=watch.judge.risk is not None,
                quiet=watch.excluded(window) or bool(watch.outdated) or (
                    result.status == "no_data" and watch.known(window)),
                recovery=self._config.recovery_windows)
            told |= {} if news is None else {watch.name: news}
        one = together(told, still=all(results[name].status == "no_data" and state is None
                                       for name, (_, _, state) in steps.items()))
        findings = [of_all(baseline, self._clock.now(), group, window, word, of) for word, of in one.items()]
        for name, by in replaced.over(ledger, baseline).items():
            standings[name], change = left(standings[name], names.parts_of(by)[3], window.start)
            findings.append(of_stream(baseline, self._clock.now(), "embeddings", name, window, change,
                                      {"replaced_by": by}))
        for watch in here:
            news = told.get(watch.name)
            if news is None or any(watch.name in of for of in one.values()):
                continue
            finding = self._finding(baseline, watch, window, results[watch.name], news, steps[watch.name][2], standings)
            findings.append(finding)
            if news.opens:
                standings[watch.name] = msgspec.structs.replace(standings[watch.name], open=finding.event_id)
        self._conclude(findings, msgspec.structs.replace(
            ledger, until={**ledger.until, group: window.end}, standings=standings))
        return len(results), findings

    def _step(self, baseline: Baseline, watch: Watch, window: Window,
              standing: Standing) -> tuple[Result, dict[str, Any] | None, Any]:
        """One detector's step; while an incident is open every window is held against the baseline alone.

        A window that cannot be judged is `invalid` for this judge, and stops no other.
        """
        memory = None if standing.open is not None else standing.memory
        state = None
        try:
            state, foreign = self._state(baseline, watch, window)
            result, kept = watch.step(state, foreign, window, memory)
        except DataError as error:
            result, kept = invalid(f"cannot be judged: {error}"), memory
        return result, None if standing.open is not None or kept is None else dict(kept), state

    def _state(self, baseline: Baseline, watch: Watch, window: Window) -> tuple[Any, int]:
        """The sum of a window's shards, None without any; and how many of its vectors are of another dimension."""
        hash_ = baseline.frames[watch.judge.stream].zero.config_hash
        merged, foreign = None, 0
        days = Window(window.start, window.end)
        for row in self._control.range(names.key(watch.judge.stream, window.start), days):
            if row.config_hash == hash_:
                state = registry.load("states", row.state).from_bytes(row.data)
                merged = state if merged is None else merged.merge(state)
        for row in self._control.range(names.key(watch.judge.stream + names.UNREAD, window.start), days):
            raise DataError("rows that could not be counted", got=registry.load("states", row.state).from_bytes(
                row.data).counts)
        if watch.about.kind == "vectors":
            for row in self._control.range(names.key(watch.judge.stream + names.FOREIGN, window.start), days):
                foreign += registry.load("states", row.state).from_bytes(row.data).total
        return merged, foreign

    def _finding(self, baseline: Baseline, watch: Watch, window: Window, result: Result, news: News, state: Any,
                 standings: dict[str, Standing]) -> Finding:
        reference = watch.reference(window)
        evidence: dict[str, Any] = {
            "result": result.evidence(),
            "reference": {"key": reference.key, "windows": len(reference.held), "missing": reference.missing,
                          "reason": reference.reason},
            "budget": {"alpha": watch.part.alpha, "false_alarms_per_month": watch.part.false_alarms_per_month,
                       "method": watch.part.monitor.kind, "multiplicity": self._config.multiplicity}}
        if news.opens and state is not None:
            evidence["explanation"] = self._explained(baseline, watch, window, state)
            evidence["also_open"] = sorted(name for name, one in standings.items() if one.open is not None)
        return of_stream(baseline, self._clock.now(), watch.judge.monitor, watch.name, window, news, evidence)

    def _explained(self, baseline: Baseline, watch: Watch, window: Window, state: Any) -> dict[str, Any]:
        """What moved; a finding without an explanation is better than none."""
        try:
            return Explainer(self._lake, baseline, self._config).explain(watch, window, state)
        except Exception as error:  # whatever an explanation stumbles over, the alarm stands
            _log.warning("a drift could not be explained", stream=watch.name, exc_info=error)
            return {"text": f"no explanation: {error}"}

    def _conclude(self, findings: list[Finding], ledger: Ledger) -> None:
        if not findings:
            self._control.set_cursor(*written(ledger))
            return
        first, *rest = findings
        self._control.conclude(first, also=rest, outbox=outbox_of(EventIds(self._clock), findings),
                               cursor=written(ledger))


def _untold(watched: list[Watch]) -> dict[str, list[str]]:
    """Why judges are not judged since the configuration was changed -> which."""
    found: dict[str, list[str]] = {}
    for watch in watched:
        if watch.outdated:
            found.setdefault(watch.outdated, []).append(watch.name)
    return found


def _told(baseline: Baseline, untold: dict[str, list[str]]) -> str:
    return f"{baseline.id}: {'; '.join(untold)}" if untold else ""


def _first(watch: Watch) -> Standing:
    if watch.part.honoured:
        return Standing()
    return Standing(status="refused", reason=watch.part.reason)
