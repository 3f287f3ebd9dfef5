"""Rules: what to do with an experiment, as a pure function of its evidence.

A rule is registered under ``incumbent.rules`` by a factory without arguments, and passes `incumbent check rules`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import ClassVar, Protocol

import msgspec

from incumbent.config import ExperimentConfig
from incumbent.events.schema import Verdict
from incumbent.experiments.evidence import Check, Evidence, Judgement, Reading
from incumbent.experiments.experiment import CAUTIOUS, DECISIVE, definition_of, next_stage, share_of
from incumbent.experiments.gates import CHECKS, MAX_FAILED, gate, unclean
from incumbent.stats.estimate import Estimate


class Rule(Protocol):
    """Decides. Pure: equal evidence and time give an equal judgement, on any machine, a year later."""

    name: str

    @property
    def hash(self) -> str:
        """16 hex digits over name, version and parameters."""
        ...

    def decide(self, evidence: Evidence, now: datetime) -> Judgement:
        """The verdict, with its reason."""
        ...


class Sequential:
    """The rule of this project: sequential preference, non-inferior guardrails, clean checks, in this order.

    1. a void check: nothing is concluded; HOLD, or ROLL BACK where harm is proven or a sequential check alarms, or
       INCONCLUSIVE once ``max_days`` are over and nobody holds it
    2. a hard limit is passed, or a guardrail proves harm beyond its margin: ROLL BACK
    3. held by a person: HOLD
    4. net preference of all units below 0 (worse): DISCARD; once promoted, of the units first exposed since: ROLL BACK
    5. at ramp_50, win margin of the decisive units below ``delta_min`` (futile): DISCARD
    6. at ramp_50, net preference of the decisive units above 0, every required guardrail shown to be no worse than its
       margin, ``min_days``, ``min_units`` of them: PROMOTE
    7. ``max_days`` are over: INCONCLUSIVE, the champion stays
    8. the stage's gate is met (`gates`): ADVANCE, but with identical lists never past the canary
    9. else HOLD, with what is waited for

    "Above" and "below" are ends of confidence sequences, which hold at every look at once.

    *Which units.* 5 and 6 read the same ones: the decisive units, first exposed at ramp_50. A small share makes a
    unit's pairs rare and its net preference small with them, so earlier ones can show neither what the candidate is
    worth nor how much. Whether a unit is decisive is fixed at its first exposure, before it has any outcome, and the
    moment at which ramp_50 begins is known then too: the decisive units are a sequence that starts at a stopping time
    and is never chosen by what it shows, so its confidence sequence holds at every look as if nothing had gone before.
    The same holds for the units first exposed after a promotion. 4 reads all units before a promotion, another
    sequence: the sign is right at any share, and harm should be seen early.

    *Error rates.* Each sequence is two-sided at alpha. A candidate that is no better is promoted with probability at
    most alpha / 2. One that is worth ``delta_min`` or more is discarded as futile with at most alpha / 2, and as worse
    with at most alpha / 2. Net preference is the win margin times the part of units that decided, so 5 and 6 ask of one
    sign; where both speak, the candidate is better by too little to be worth it, and 5 comes first.

    Missing is never ok: a required guardrail without an estimate blocks a promotion. Source: Airbnb KDD 2025,
    GrowthBook Safe Rollouts (whose inconclusive end ships; ours keeps the champion).

    >>> Sequential().hash == Sequential().hash, len(Sequential().hash)
    (True, 16)
    """

    name: ClassVar[str] = "sequential"
    version: ClassVar[int] = 3
    alarm_e: ClassVar[float] = 1000.0

    @property
    def hash(self) -> str:
        """16 hex digits of BLAKE2b over name, version and parameters."""
        body = msgspec.json.encode([self.name, self.version, self.alarm_e, CHECKS, MAX_FAILED, sorted(CAUTIOUS),
                                    DECISIVE])
        return hashlib.blake2b(body, digest_size=8).hexdigest()

    def decide(self, evidence: Evidence, now: datetime) -> Judgement:
        """The first step of the order above that speaks."""
        config = definition_of(evidence.definition)
        for step in _STEPS:
            judgement = step(evidence, config, now)
            if judgement is not None:
                return judgement
        return _wait(evidence, config, now)


Step = Callable[[Evidence, ExperimentConfig, datetime], Judgement | None]


def _say(verdict: Verdict, cause: str, reason: str) -> Judgement:
    return Judgement(verdict=verdict, cause=cause, reason=reason)


def _ended(evidence: Evidence, config: ExperimentConfig, now: datetime) -> Judgement | None:
    return _say("hold", "ended", "the experiment has ended") if evidence.stage == "ended" else None


def _void(evidence: Evidence, config: ExperimentConfig, now: datetime) -> Judgement | None:
    void = [check for check in evidence.checks if check.status == "void"]
    if not void:
        return None
    told = "; ".join(f"{check.name}: {check.reason}" for check in void)
    harm = _harm(evidence, config, now)
    if harm is not None:
        return _say("roll_back", harm.cause, f"{harm.reason}; besides, the verdict is void ({told})")
    if any(_alarms(check) for check in void):
        return _say("roll_back", "void_alarm", f"the verdict is void and the evidence overwhelming: {told}")
    late = None if evidence.held else _too_long(evidence, config, now)
    if late is not None:
        return _say(late.verdict, late.cause, f"{late.reason}; the verdict is void: {told}")
    return _say("hold", "void", f"the verdict is void: {told}")


def _alarms(check: Check) -> bool:
    return check.e_value is not None and check.e_value > Sequential.alarm_e


def _harm(evidence: Evidence, config: ExperimentConfig, now: datetime) -> Judgement | None:
    for reading in evidence.guardrails:
        if reading.over_limit:
            return _say("roll_back", "hard_limit", f"{reading.metric} of the candidate is {reading.level.value:.4g}, "
                                                   f"over its hard limit {reading.hard_limit:g}")
    for reading in evidence.guardrails:
        if reading.status == "harm":
            return _say("roll_back", "guardrail", f"{reading.metric} in {reading.stage}: {reading.reason}")
    return None


def _held(evidence: Evidence, config: ExperimentConfig, now: datetime) -> Judgement | None:
    return _say("hold", "held", "held by hand: it resumes when somebody says so") if evidence.held else None


def _discard(evidence: Evidence, config: ExperimentConfig, now: datetime) -> Judgement | None:
    if evidence.stage == "promoted":
        since = evidence.preference.preference
        return _say("roll_back", "worse", "shoppers first seen since the promotion prefer the old champion: net "
                                          f"preference {_show(since)}") if _below(since, 0.0) else None
    everyone, margin = evidence.pooled.preference, evidence.preference.win_margin
    if _below(everyone, 0.0):
        return _say("discard", "worse", f"shoppers prefer the champion: net preference {_show(everyone)}")
    if evidence.stage == DECISIVE and _below(margin, config.delta_min):
        return _say("discard", "futile", f"of the shoppers who decided at {DECISIVE}, the candidate won {_show(margin)}"
                                         f" more than it lost: it cannot be worth delta_min = {config.delta_min:.2%}")
    return None


def _promote(evidence: Evidence, config: ExperimentConfig, now: datetime) -> Judgement | None:
    decisive = evidence.preference.preference
    if evidence.stage != DECISIVE or not _above(decisive, 0.0) or _blockers(evidence, config, now):
        return None
    return _say("promote", "better", f"shoppers prefer the candidate: net preference {_show(decisive)}; required "
                                     "guardrails are no worse than their margins")


def _blockers(evidence: Evidence, config: ExperimentConfig, now: datetime) -> list[str]:
    """What stands between a better candidate and its promotion."""
    rung = next((rung for rung in config.stages if rung.stage == evidence.stage), None)
    since = max(evidence.started_at + timedelta(days=config.min_days),
                evidence.since + timedelta(days=rung.min_days if rung else 0.0))
    found = []
    if now < since:
        found.append(f"until {since:%Y-%m-%d %H:%M} UTC (min_days)")
    if evidence.preference.units < config.min_units:
        found.append(f"{evidence.preference.units} of {config.min_units} compared units of {DECISIVE}")
    found += [f"{name}: {why}" for name, why in unclean(evidence, config)]
    found += [f"{reading.metric} is not shown to be safe: {reading.reason}" for reading in _unsafe(evidence, config)]
    return found


def _unsafe(evidence: Evidence, config: ExperimentConfig) -> list[Reading]:
    """Required guardrails that do not stand at ok in this stage; one that nobody read counts as missing."""
    known = {reading.metric: reading for reading in evidence.guardrails if reading.stage == evidence.stage}
    absent = Estimate.missing("nobody read it")
    out = []
    for wanted in config.guardrails:
        reading = known.get(wanted.metric) or Reading(
            metric=wanted.metric, stage=evidence.stage, share=0.0, margin=wanted.margin, required=wanted.required,
            worse="lower", effect=absent, lane_effect=absent, status="missing", reason="nobody read it")
        if wanted.required and (reading.status != "ok" or reading.effect.value is None):
            out.append(reading)
    return out


def _too_long(evidence: Evidence, config: ExperimentConfig, now: datetime) -> Judgement | None:
    if evidence.stage == "promoted" or now < evidence.started_at + timedelta(days=config.max_days):
        return None
    return _say("inconclusive", "max_days", f"{config.max_days:g} days are over without a verdict, net preference "
                                            f"{_show(evidence.preference.preference)}: the champion stays")


def _advance(evidence: Evidence, config: ExperimentConfig, now: datetime) -> Judgement | None:
    above = next_stage(config, evidence.stage)
    if above is None or gate(evidence, config, now):
        return None
    met = f"{evidence.matured_here} matured units and clean checks" if share_of(config, evidence.stage) else \
        f"{evidence.answers.answered} requests that the candidate answered"
    return _say("advance", "gate", f"the gate of {evidence.stage} is met with {met}: on to {above}")


def _wait(evidence: Evidence, config: ExperimentConfig, now: datetime) -> Judgement:
    if evidence.stage == "promoted":
        share = share_of(config, "promoted")
        return _say("hold", "back_test", f"promoted with {share:.0%} of the contested slots; the old champion is still "
                                         "compared on the rest, by shoppers first seen since: "
                                         f"{_show(evidence.preference.preference)}")
    if next_stage(config, evidence.stage) is not None:
        waits = gate(evidence, config, now)
        return _say("hold", waits[0][0], "; ".join(reason for _, reason in waits))
    decisive = evidence.preference.preference
    if evidence.overlap is not None and evidence.overlap >= 1.0:
        return _say("hold", "identical", "overlap = 1.0: both models give identical lists, so there is nothing to "
                                         "compare")
    if evidence.stage != DECISIVE:
        return _say("hold", "no_decisive_stage", f"a rule promotes at {DECISIVE} only, and this ramp ends at "
                                                 f"{evidence.stage}")
    if _above(decisive, 0.0):
        return _say("hold", "blocked", "shoppers prefer the candidate, but a promotion waits: "
                                       + "; ".join(_blockers(evidence, config, now)))
    return _say("hold", "undecided", f"net preference {_show(decisive)}: no verdict yet")


def _above(estimate: Estimate, bar: float) -> bool:
    return estimate.value is not None and estimate.low is not None and estimate.low > bar


def _below(estimate: Estimate, bar: float) -> bool:
    return estimate.value is not None and estimate.high is not None and estimate.high < bar


def _show(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"missing ({estimate.reason})"
    low, high = (f"{end:+.2%}" if end is not None else "?" for end in (estimate.low, estimate.high))
    return f"{estimate.value:+.2%} [{low}, {high}], n = {estimate.n}"


_STEPS: tuple[Step, ...] = (_ended, _void, _harm, _held, _discard, _promote, _too_long, _advance)
