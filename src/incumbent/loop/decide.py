"""decide: look at every running experiment, let its rule judge, and make facts of what changed.

A look always replaces the *evaluation* (cursor ``evaluation/NAME``, for the page). A Decision is stored only where
something changed: the verdict, the stage, or the status of a check or guardrail. A steady HOLD is one Decision. The
Findings of what changed, and the memory of them, are stored in the Decision's own transaction: a crash leaves all of
it or nothing, and after nothing the next look finds the same news again.

Why a running experiment could not be judged stands in the cursor ``unjudged`` until a look succeeds.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from incumbent import logs, registry
from incumbent.clock import Clock
from incumbent.errors import ConflictError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Decision, Finding
from incumbent.experiments.evidence import Evidence, Judgement
from incumbent.experiments.rules import Rule
from incumbent.loop.enact import enact
from incumbent.loop.gather import Gathered, gather
from incumbent.loop.leases import Held
from incumbent.stores.store import Control, ExperimentRow, Lake

LEASE = "decide"
UNJUDGED = "unjudged"  # the cursor of what failed: experiment -> reason
_GUARDRAIL = {"ok": "ok", "harm": "breach", "unclear": "no_data", "missing": "no_data"}
_log = logs.get(__name__)


class Evaluation(Struct, frozen=True):
    """The latest look at an experiment: what the page shows."""

    time: datetime
    verdict: str
    cause: str
    reason: str
    rule: str
    rule_hash: str
    evidence: dict[str, Any]  # `Evidence.to_dict`
    series: list[dict[str, Any]]  # day, units, preference, delta: after each maturity day
    as_now: dict[str, Any] | None  # the comparison with late events let in
    led: dict[str, Any] | None = None  # after a promotion the series and the preference that led to it


class Decided(Struct, frozen=True):
    """What a run did: the judgement per experiment, and the Decisions that were stored."""

    judged: dict[str, Judgement] = {}
    stored: tuple[Decision, ...] = ()
    failed: dict[str, str] = {}
    overtaken: dict[str, str] = {}  # a person was faster: the next look sees what they did
    stopped: str | None = None


class Decider:
    """Judges every running experiment; one process at a time, under the lease `decide`.

    An experiment that cannot be judged (its rule is gone, its data do not read) is reported in `failed`, and by
    `unjudgeable` until a look succeeds, and does not keep the others from being judged.
    """

    def __init__(self, lake: Lake, control: Control, clock: Clock, ids: EventIds, *, holder: str = "loop",
                 lease_s: float = 30.0) -> None:
        self._lake, self._control, self._clock, self._ids = lake, control, clock, ids
        self._holder, self._lease_s = holder, lease_s

    def run_once(self) -> Decided:
        """One look at everything that runs."""
        judged: dict[str, Judgement] = {}
        stored: list[Decision] = []
        failed: dict[str, str] = {}
        overtaken: dict[str, str] = {}
        with Held(self._control, self._clock, LEASE, self._holder, self._lease_s) as lease:
            for row in self._control.experiments():
                if row.stage == "ended":
                    continue
                if not lease.renew():
                    return Decided(judged, tuple(stored), failed, overtaken, "another process holds the lease")
                try:
                    judged[row.name], decision = self._one(row)
                except ConflictError as error:
                    overtaken[row.name] = str(error)
                except Exception as error:
                    failed[row.name] = f"{type(error).__name__}: {error}"
                    _log.error("an experiment could not be judged", experiment=row.name, exc_info=error)
                else:
                    stored += [decision] if decision else []
            self._tell(failed)
        return Decided(judged, tuple(stored), failed, overtaken)

    def _tell(self, failed: dict[str, str]) -> None:
        told = msgspec.json.encode(failed, order="deterministic").decode()
        if told != (self._control.cursor(UNJUDGED) or "{}"):
            self._control.set_cursor(UNJUDGED, told)

    def _one(self, row: ExperimentRow) -> tuple[Judgement, Decision | None]:
        now = self._clock.now()
        gathered = gather(self._lake, self._control, row, now)
        rule: Rule = registry.load("rules", str(row.definition.get("rule", "sequential")))()
        judgement = rule.decide(gathered.evidence, now)
        self._control.set_cursor(evaluation_key(row.name), _evaluation(gathered, judgement, rule, now))
        news, memory = self._find(row, gathered.evidence, now)
        last = last_decision(self._control, row.name)
        if not news and last is not None and last.verdict == judgement.verdict and last.stage_to == row.stage \
                and judgement.verdict == "hold":
            return judgement, None
        return judgement, enact(
            self._control, self._ids, row, judgement, now, by="rule", rule=(rule.name, rule.hash),
            evidence=gathered.evidence, extra={"evidence_hash": gathered.evidence.hash}, findings=news,
            memory=memory if news else None)

    def _find(
        self, row: ExperimentRow, evidence: Evidence, now: datetime,
    ) -> tuple[list[Finding], tuple[str, bytes]]:
        """A Finding for every check and guardrail whose status changed, and what is known then; unknown is no_data."""
        name = f"findings/{row.name}"
        kept = self._control.memory(name)
        known: dict[str, str] = {} if kept is None else msgspec.json.decode(kept)
        changed = []
        for finding in self._findings(row, evidence, now):
            status = f"{finding.status}/{finding.severity}"
            if known.get(finding.check, "no_data/info") == status:
                continue
            known[finding.check] = status
            changed.append(finding)
        return changed, (name, msgspec.json.encode(known))

    def _findings(self, row: ExperimentRow, evidence: Evidence, now: datetime) -> list[Finding]:
        subject = f"experiment:{row.name}"
        out = []
        for check in evidence.checks:
            severity = "page" if check.status == "void" else "ticket" if check.warning else "info"
            out.append(Finding(event_id=self._ids.new(), time=now, subject=subject, check=check.name,
                               status=check.status, severity=severity,  # type: ignore[arg-type]
                               reason=check.reason, evidence=_finite(check)))
        for reading in evidence.guardrails:
            breach = reading.status == "harm" or reading.over_limit
            status = "breach" if breach else _GUARDRAIL[reading.status]
            out.append(Finding(event_id=self._ids.new(), time=now, subject=subject,
                               check=f"guardrail:{reading.metric}", status=status,  # type: ignore[arg-type]
                               severity="page" if breach else "info", reason=reading.reason,
                               evidence=_finite(reading)))
        return out


def evaluation_key(experiment: str) -> str:
    """The cursor under which the latest evaluation stands."""
    return f"evaluation/{experiment}"


def latest(control: Control, experiment: str) -> Evaluation | None:
    """The latest look at an experiment, None before the first."""
    kept = control.cursor(evaluation_key(experiment))
    return None if kept is None else msgspec.json.decode(kept, type=Evaluation)


def unjudgeable(control: Control, experiments: Iterable[ExperimentRow]) -> dict[str, str]:
    """Why running experiments could not be judged at the last look, by name: their evidence stands still."""
    kept = control.cursor(UNJUDGED)
    failed: dict[str, str] = {} if kept is None else msgspec.json.decode(kept)
    running = {row.name for row in experiments if row.stage != "ended"}
    return {name: reason for name, reason in failed.items() if name in running}


def last_decision(control: Control, experiment: str) -> Decision | None:
    """The newest Decision on an experiment, by whomever."""
    found = control.conclusions("decision", experiment, 1)
    return found[0] if found and isinstance(found[0], Decision) else None


def _evaluation(gathered: Gathered, judgement: Judgement, rule: Rule, now: datetime) -> str:
    return msgspec.json.encode(Evaluation(
        now, judgement.verdict, judgement.cause, judgement.reason, rule.name, rule.hash, gathered.evidence.to_dict(),
        [_finite(point) for point in gathered.series],
        _finite(gathered.as_now) if gathered.as_now else None, _led(gathered))).decode()


def _led(gathered: Gathered) -> dict[str, Any] | None:
    if gathered.led is None:
        return None
    series, preference = gathered.led
    return {"series": [_finite(point) for point in series], "preference": _finite(preference)}


def _finite(value: Struct) -> dict[str, Any]:
    """Plain JSON values: JSON has no infinity, so an infinite end becomes None on the way through it."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return plain
