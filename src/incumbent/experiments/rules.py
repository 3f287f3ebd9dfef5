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
from incumbent.stats.estimate import Estimate

#: the checks without which nothing is known to be served as planned
CHECKS = ("coin_audit", "sample_ratio")


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

    1. a void check: nothing is concluded; HOLD, or ROLL BACK where harm is proven or a sequential check alarms
    2. a hard limit is passed, or a guardrail proves harm beyond its margin: ROLL BACK
    3. held by a person: HOLD
    4. net preference below 0, or below ``delta_min`` among the units of ramp_50 (futility): DISCARD; ROLL BACK once
       promoted
    5. net preference above 0 at ramp_50, every required guardrail shown to be no worse than its margin, ``min_days``,
       ``min_units``: PROMOTE
    6. ``max_days`` are over: INCONCLUSIVE, the champion stays
    7. the stage's gate is met: ADVANCE, but with identical lists never past the canary
    8. else HOLD, with what is waited for

    "Above" and "below" are ends of confidence sequences, which hold at every look at once. Futility reads only units
    first exposed at ramp_50: a small share makes all of a unit's pairs rare, and its net preference small with them.
    Missing is never ok: a required guardrail without an estimate blocks a promotion. Source: Airbnb KDD 2025,
    GrowthBook Safe Rollouts (whose inconclusive end ships; ours keeps the champion).

    >>> Sequential().hash == Sequential().hash, len(Sequential().hash)
    (True, 16)
    """

    name: ClassVar[str] = "sequential"
    version: ClassVar[int] = 1
    alarm_e: ClassVar[float] = 1000.0

    @property
    def hash(self) -> str:
        """16 hex digits of BLAKE2b over name, version and parameters."""
        body = msgspec.json.encode([self.name, self.version, self.alarm_e, CHECKS, sorted(CAUTIOUS), DECISIVE])
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
    verdict: Verdict = "roll_back" if evidence.stage == "promoted" else "discard"
    everyone, decisive = evidence.preference.preference, evidence.decisive.preference
    if _below(everyone, 0.0):
        return _say(verdict, "worse", f"shoppers prefer the champion: net preference {_show(everyone)}")
    if evidence.stage == DECISIVE and _below(decisive, config.delta_min):
        return _say(verdict, "futile", f"net preference {_show(decisive)} at {DECISIVE}: it cannot be worth "
                                       f"delta_min = {config.delta_min:.2%}")
    return None


def _promote(evidence: Evidence, config: ExperimentConfig, now: datetime) -> Judgement | None:
    everyone = evidence.preference.preference
    if evidence.stage != DECISIVE or not _above(everyone, 0.0) or _blockers(evidence, config, now):
        return None
    return _say("promote", "better", f"shoppers prefer the candidate: net preference {_show(everyone)}; required "
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
        found.append(f"{evidence.preference.units} of {config.min_units} compared units")
    found += [f"{name}: {why}" for name, why in _unclean(evidence, config)]
    found += [f"{reading.metric} is not shown to be safe: {reading.reason}" for reading in _unsafe(evidence, config)]
    return found


def _unclean(evidence: Evidence, config: ExperimentConfig) -> list[tuple[str, str]]:
    """Needed checks that are not ok; in shadow there is nothing to check yet."""
    if share_of(config, evidence.stage) == 0:
        return []
    known = {check.name: check for check in evidence.checks}
    out = []
    for name in CHECKS:
        check = known.get(name)
        if check is None or check.status != "ok":
            out.append((name, check.reason if check else "was not made"))
    return out


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
    if above is None or _gate(evidence, config, now):
        return None
    return _say("advance", "gate", f"the gate of {evidence.stage} is met with {evidence.matured} matured units and "
                                   f"clean checks: on to {above}")


def _gate(evidence: Evidence, config: ExperimentConfig, now: datetime) -> list[tuple[str, str]]:
    """What still keeps an experiment on its rung, as (cause, reason)."""
    rung = next((rung for rung in config.stages if rung.stage == evidence.stage), None)
    if rung is None:
        return []
    above, found = next_stage(config, evidence.stage), []
    if above is not None and above not in CAUTIOUS and evidence.overlap is not None and evidence.overlap >= 1.0:
        found.append(("identical", "overlap = 1.0: both models give identical lists, so there is nothing to compare "
                                   f"and no step past {evidence.stage}"))
    if evidence.matured < rung.min_units:
        found.append(("units", f"{evidence.matured} of {rung.min_units} matured units for the gate of {rung.stage}"))
    until = evidence.since + timedelta(days=rung.min_days)
    if now < until:
        found.append(("days", f"{rung.stage} lasts at least until {until:%Y-%m-%d %H:%M} UTC"))
    found += [("unchecked", f"{name}: {why}") for name, why in _unclean(evidence, config)]
    if above is not None and above not in CAUTIOUS and share_of(config, evidence.stage) > 0 \
            and evidence.overlap is None:
        found.append(("unchecked", "overlap of the two lists is not known yet"))
    return found


def _wait(evidence: Evidence, config: ExperimentConfig, now: datetime) -> Judgement:
    if evidence.stage == "promoted":
        share = share_of(config, "promoted")
        return _say("hold", "back_test", f"promoted with {share:.0%} of the contested slots; the old champion is still "
                                         f"compared on the rest: {_show(evidence.preference.preference)}")
    if next_stage(config, evidence.stage) is not None:
        gate = _gate(evidence, config, now)
        return _say("hold", gate[0][0], "; ".join(reason for _, reason in gate))
    everyone = evidence.preference.preference
    if evidence.overlap is not None and evidence.overlap >= 1.0:
        return _say("hold", "identical", "overlap = 1.0: both models give identical lists, so there is nothing to "
                                         "compare")
    if evidence.stage != DECISIVE:
        return _say("hold", "no_decisive_stage", f"a rule promotes at {DECISIVE} only, and this ramp ends at "
                                                 f"{evidence.stage}")
    if _above(everyone, 0.0):
        return _say("hold", "blocked", "shoppers prefer the candidate, but a promotion waits: "
                                       + "; ".join(_blockers(evidence, config, now)))
    return _say("hold", "undecided", f"net preference {_show(everyone)}: no verdict yet")


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
