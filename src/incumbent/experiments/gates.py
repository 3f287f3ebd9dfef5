"""gates: what keeps an experiment on its rung of the ramp.

A rung is left when so many units *first exposed on it* have matured: shoppers who met the candidate at this share, with
their whole outcomes known, and not shoppers of the rungs below, whom every later rung would count again until only its
days were left to pass. So a rung that asks for units lasts at least a maturity window. A stage's ``lane_share`` keeps
shoppers back for the rungs above; where each of them lets in the same, a shop whose shoppers all come in the first
weeks has few new ones for later rungs: it leaves rungs out, or sets their ``min_units`` to 0 and climbs on days,
guardrails and checks. In shadow nobody is exposed; there the candidate must have answered ``min_answers``
requests, and not failed more often than its guardrails on errors allow: than the champion and a margin over the whole
stage, and than any hard limit on the last day, as everywhere (on the whole stage where the last day had too few).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from incumbent.config import ExperimentConfig, StageConfig
from incumbent.experiments.evidence import Answers, Evidence
from incumbent.experiments.experiment import CAUTIOUS, next_stage, share_of
from incumbent.experiments.guardrails import MIN_REQUESTS

#: the checks without which nothing is known to be served as planned
CHECKS = ("coin_audit", "sample_ratio")
#: the part of its answers that may fail in shadow where no guardrail says how many
MAX_FAILED = 0.2

Wait = tuple[str, str]  # cause, reason


def gate(evidence: Evidence, config: ExperimentConfig, now: datetime) -> list[Wait]:
    """What still keeps an experiment on its rung; empty where nothing does, and off the ramp."""
    rung = next((rung for rung in config.stages if rung.stage == evidence.stage), None)
    if rung is None:
        return []
    shows = share_of(config, evidence.stage) > 0
    found = [*_identical(evidence, config),
             *(_units(evidence, rung) if shows else _answers(evidence, config, rung))]
    until = evidence.since + timedelta(days=rung.min_days)
    if now < until:
        found.append(("days", f"{rung.stage} lasts at least until {until:%Y-%m-%d %H:%M} UTC"))
    found += [("unchecked", f"{name}: {why}") for name, why in unclean(evidence, config)]
    if shows and evidence.overlap is None and next_stage(config, evidence.stage) not in (None, *CAUTIOUS):
        found.append(("unchecked", "overlap of the two lists is not known yet"))
    return found


def unclean(evidence: Evidence, config: ExperimentConfig) -> list[tuple[str, str]]:
    """Needed checks that are not ok, with the reason; in shadow there is nothing to check yet."""
    if share_of(config, evidence.stage) == 0:
        return []
    known = {check.name: check for check in evidence.checks}
    out = []
    for name in CHECKS:
        check = known.get(name)
        if check is None or check.status != "ok":
            out.append((name, check.reason if check else "was not made"))
    return out


def _identical(evidence: Evidence, config: ExperimentConfig) -> list[Wait]:
    """Identical lists go no further than the canary."""
    if next_stage(config, evidence.stage) in (None, *CAUTIOUS) or evidence.overlap is None or evidence.overlap < 1.0:
        return []
    return [("identical", "overlap = 1.0: both models give identical lists, so there is nothing to compare and no step "
                          f"past {evidence.stage}")]


def _units(evidence: Evidence, rung: StageConfig) -> list[Wait]:
    if evidence.matured_here >= rung.min_units:
        return []
    return [("units", f"{evidence.matured_here} of {rung.min_units} matured units first exposed at {rung.stage}")]


def _answers(evidence: Evidence, config: ExperimentConfig, rung: StageConfig) -> list[Wait]:
    """Whether the candidate answers at all: numbers that nobody has are not good ones."""
    seen = evidence.answers
    if seen.answered < max(rung.min_answers, 1):
        return [("answers", f"the candidate answered {seen.answered} of the {max(rung.min_answers, 1)} requests that "
                            "it must before anybody sees it")]
    return [("failing", f"{limit.metric} of the candidate is {limit.failed / limit.of:.2%} of {limit.of} requests "
                        f"{limit.period}, over {limit.most:.2%}")
            for limit in _limits(seen, evidence.recent, config) if limit.failed / limit.of > limit.most]


class _Limit(Struct, frozen=True):
    """At most the part `most` of `of` answers may have failed."""

    metric: str
    failed: int
    of: int
    most: float
    period: str


def _limits(seen: Answers, recent: Answers, config: ExperimentConfig) -> list[_Limit]:
    """Of each guardrail on failures the champion's own rate + margin over the stage, and its hard limit of late."""
    late = (recent, "of the last day") if recent.asked >= MIN_REQUESTS else (seen, "of the stage")
    rates = {"error_rate": lambda of: (of.failed, of.champion_failed),
             "timeout_rate": lambda of: (of.timed_out, of.champion_timed_out)}
    found: list[_Limit] = []
    for part in config.guardrails:
        if part.metric in rates:
            ours, theirs = rates[part.metric](seen)
            usual = theirs / seen.champion_asked if seen.champion_asked else 0.0
            found.append(_Limit(part.metric, ours, seen.asked, min(usual + part.margin, 1.0), "of the stage"))
            if part.hard_limit is not None:
                found.append(_Limit(part.metric, rates[part.metric](late[0])[0], late[0].asked, part.hard_limit,
                                    late[1]))
    return found or [_Limit("error_rate", late[0].failed, late[0].asked, MAX_FAILED, late[1])]
