"""enact: a verdict becomes fact: Decision, experiment row, stage change and outbox in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from incumbent.events.ids import EventIds
from incumbent.events.schema import Alert, Audit, Conclusion, Decision, Finding, Stage, Verdict
from incumbent.experiments.evidence import Evidence, Judgement
from incumbent.experiments.experiment import after, definition_of, share_of
from incumbent.stores.store import Control, ExperimentRow, OutboxRow, StageChange

_FINAL = frozenset({"promote", "discard", "roll_back", "inconclusive"})
_SEVERITY: dict[str, Literal["info", "ticket", "page"]] = {
    "roll_back": "page", "promote": "ticket", "discard": "ticket", "inconclusive": "ticket"}


def enact(
    control: Control, ids: EventIds, row: ExperimentRow, judgement: Judgement, now: datetime, *, by: str,
    rule: tuple[str, str] | None = None, evidence: Evidence | None = None, extra: dict[str, Any] | None = None,
    held: bool | None = None, audit: Audit | None = None, findings: Sequence[Finding] = (),
    memory: tuple[str, bytes] | None = None,
) -> Decision:
    """Carry out a verdict on an experiment as it was read; `ConflictError` where somebody changed it meanwhile.

    `row` is the stored row (of a new experiment: version 0, not stored yet). A stage that changes begins at `now`, and
    the new plan is published by way of the outbox. `rule` is (name, hash), `extra` goes into the embedded evidence,
    `held` sets the hold, `audit` is stored with the rest by way of the outbox. `findings` are what the verdict was told:
    stored with it, with their alerts and the `memory` of what is known of them.
    """  # noqa: E501
    config = definition_of(row.definition)
    stage = after(config, row.stage, judgement.verdict)
    moved = stage != row.stage or row.version == 0
    decision = Decision(
        event_id=ids.new(), time=now, experiment=row.name, verdict=judgement.verdict, reason=judgement.reason, by=by,
        stage_from=row.stage if row.version else None, stage_to=stage,  # type: ignore[arg-type]
        rule=rule[0] if rule else None, rule_hash=rule[1] if rule else None,
        evidence={**(evidence.to_dict() if evidence else {}), "cause": judgement.cause, **(extra or {})})
    control.conclude(
        decision, experiment=_row(row, stage, judgement.verdict, now, moved, held),
        change=StageChange(row.name, stage, share_of(config, stage), now, None) if moved else None,
        outbox=[*news(ids, findings), *_outbox(ids, decision, moved, [audit] if audit else [])],
        also=findings, memory=memory)
    return decision


def told(control: Control, conclusion: Conclusion, *, alert: Alert | None = None,
         memory: tuple[str, bytes] | None = None, cursor: tuple[str, str] | None = None) -> None:
    """Store a conclusion that changes no experiment, with its way to the lake and, where given, an alert."""
    rows = [to_log(conclusion)] + ([to_alert(alert)] if alert else [])
    control.conclude(conclusion, outbox=rows, memory=memory, cursor=cursor)


def to_log(conclusion: Conclusion) -> OutboxRow:
    """The outbox row that brings a conclusion to the lake."""
    return OutboxRow(f"{conclusion.event_id}:log", "log", {"event": _plain(conclusion)}, conclusion.time)


def to_alert(alert: Alert) -> OutboxRow:
    """The outbox row that stores an alert and tells it."""
    return OutboxRow(f"{alert.event_id}:alert", "alert", {"event": _plain(alert)}, alert.time)


def _row(row: ExperimentRow, stage: Stage, verdict: Verdict, now: datetime, moved: bool,
         held: bool | None) -> ExperimentRow:
    return msgspec.structs.replace(
        row, stage=stage, since=now if moved else row.since, held=row.held if held is None else held,
        verdict=verdict if verdict in _FINAL else row.verdict, version=row.version + 1,
        ended_at=now if stage == "ended" and row.ended_at is None else row.ended_at)


def news(ids: EventIds, findings: Sequence[Finding]) -> list[OutboxRow]:
    """Each finding's way to the lake, and the alert of those that somebody must hear of."""
    rows = []
    for finding in findings:
        rows.append(to_log(finding))
        if finding.severity != "info":
            rows.append(to_alert(Alert(
                event_id=ids.new(), time=finding.time, subject=finding.subject, severity=finding.severity,
                title=f"{finding.subject}: {finding.check} is {finding.status}", body=finding.reason,
                refers_to=finding.event_id)))
    return rows


def _outbox(ids: EventIds, decision: Decision, moved: bool, audits: Sequence[Audit]) -> list[OutboxRow]:
    rows = [to_log(decision)]
    if moved:
        rows.append(OutboxRow(f"{decision.event_id}:publish", "publish", {"experiment": decision.experiment},
                              decision.time))
    rows += [OutboxRow(f"{audit.event_id}:store", "store", {"event": _plain(audit)}, audit.time) for audit in audits]
    severity = _SEVERITY.get(decision.verdict)
    if severity:
        rows.append(to_alert(Alert(
            event_id=ids.new(), time=decision.time, subject=f"experiment:{decision.experiment}", severity=severity,
            title=f"{decision.experiment}: {decision.verdict.replace('_', ' ').upper()}", body=decision.reason,
            refers_to=decision.event_id)))
    return rows


def _plain(conclusion: Conclusion) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(conclusion)
    return plain
