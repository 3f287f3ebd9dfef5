"""The contract suite of rules: `incumbent check rules`. Every registered rule, and any ``module:attribute``.

The laws ask a rule about made-up evidence that leaves no room: whatever a rule weighs, it must not promote on void
checks, or on guardrails that nobody measured, and must say why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from incumbent.config import ExperimentConfig
from incumbent.experiments.evidence import Answers, Check, Evidence, Preference, Reading
from incumbent.experiments.experiment import RAMP, share_of
from incumbent.experiments.rules import Rule
from incumbent.stats.estimate import Estimate
from incumbent.testing.checks.suite import Result, Suite

START = datetime(2026, 1, 5, tzinfo=UTC)
NOW = START + timedelta(days=30)
CONFIG = ExperimentConfig(surface="home", candidate="new")
VERDICTS = frozenset({"promote", "hold", "discard", "roll_back", "inconclusive", "advance"})
STAGES = (*RAMP, "promoted", "ended")


@contextmanager
def _made(factory: Any) -> Iterator[Rule]:
    yield factory()


SUITE = Suite("rules", _made)


# ------------------------------------------------------------------------------------------------ made-up evidence
def preference(value: float, half: float = 0.01, units: int = 5_000) -> Preference:
    """A comparison whose net preference is `value` +- `half`."""
    estimate = Estimate(value, value - half, value + half, se=half / 3, n=units, method="made up")
    decided = units // 2
    wins = round((decided + value * units) / 2)
    margin = replace(estimate.scaled(units / decided), n=decided)
    return Preference(units=units, wins=wins, ties=units - decided, losses=decided - wins, preference=estimate,
                      preference_fixed=estimate, delta=estimate, delta_fixed=estimate, e_value=1.0, p_value=1.0,
                      p_sign=1.0, delta_ab=value / 2, pairs=float(units), win_margin=margin)


def reading(metric: str, status: str, stage: str = "ramp_50", **changes: Any) -> Reading:
    """A guardrail at a status; a missing one has no estimate."""
    part = next(part for part in CONFIG.guardrails if part.metric == metric)
    effect = Estimate.missing("no holdout users") if status == "missing" else Estimate(0.0, -0.01, 0.01, n=1_000)
    return msgspec.structs.replace(Reading(
        metric=metric, stage=stage, share=share_of(CONFIG, stage), margin=part.margin, required=part.required,
        worse="lower", effect=effect, lane_effect=effect, status=status,  # type: ignore[arg-type]
        reason="made up", hard_limit=part.hard_limit), **changes)


def evidence(value: float = 0.05, stage: str = "ramp_50", **changes: Any) -> Evidence:
    """Evidence that leaves nothing to wish for: a better candidate, safe guardrails, clean checks, enough of all."""
    whole = Evidence(
        experiment="made-up", stage=stage, held=False, started_at=START, since=START + timedelta(days=10),
        definition=CONFIG.model_dump(mode="json"), matured=5_000, matured_here=5_000, preference=preference(value),
        pooled=preference(value), answers=Answers(asked=5_000, champion_asked=5_000),
        guardrails=tuple(reading(part.metric, "ok", stage) for part in CONFIG.guardrails),
        checks=tuple(Check(name=name, status="ok", reason="made up", n=5_000)
                     for name in ("coin_audit", "sample_ratio", "parity", "overlap")),
        overlap=0.3, seals=("0" * 32,))
    return msgspec.structs.replace(whole, **changes)


def void(whole: Evidence, name: str = "coin_audit", e_value: float | None = None) -> Evidence:
    """The same with one check void."""
    checks = tuple(Check(name=check.name, status="void", reason="made up", e_value=e_value)
                   if check.name == name else check for check in whole.checks)
    return msgspec.structs.replace(whole, checks=checks)


def many() -> Iterable[Evidence]:
    """Evidence of every stage, for laws that hold of all."""
    for stage in STAGES:
        for value in (-0.05, 0.0, 0.05):
            yield evidence(value, stage)
            yield evidence(value, stage, held=True)
            yield void(evidence(value, stage))
        yield evidence(0.0, stage, overlap=1.0)
        yield evidence(0.05, stage, matured=3, matured_here=3, preference=_unknown(), pooled=_unknown(), guardrails=(),
                       checks=(), answers=Answers())


def _unknown() -> Preference:
    gone = Estimate.missing("3 of the 100 units before the first look", n=3)
    return Preference(units=3, wins=1, ties=2, losses=0, preference=gone, preference_fixed=gone, delta=gone,
                      delta_fixed=gone, e_value=None, p_value=None, p_sign=None, delta_ab=None)


# ------------------------------------------------------------------------------------------------------------ laws
@SUITE.law()
def has_name_and_hash(rule: Rule) -> None:
    """A rule has a name, and a hash of 16 hex digits that stays the same."""
    assert rule.name and len(rule.hash) == 16 and int(rule.hash, 16) >= 0 and rule.hash == rule.hash


@SUITE.law()
def is_pure(rule: Rule) -> None:
    """Equal evidence gives an equal judgement, in any order of asking, also after a round trip through bytes."""
    cases = list(many())
    first = [rule.decide(case, NOW) for case in cases]
    again = [rule.decide(case, NOW) for case in reversed(cases)][::-1]
    copies = [msgspec.msgpack.decode(msgspec.msgpack.encode(case), type=Evidence) for case in cases]
    assert first == again == [rule.decide(copy, NOW) for copy in copies]


@SUITE.law()
def says_why(rule: Rule) -> None:
    """Every judgement has a known verdict, a cause and a reason."""
    for case in many():
        judgement = rule.decide(case, NOW)
        assert judgement.verdict in VERDICTS and judgement.cause.strip() and judgement.reason.strip(), judgement


@SUITE.law()
def void_concludes_nothing(rule: Rule) -> None:
    """On void checks a rule holds or rolls back."""
    for stage in STAGES:
        for value in (-0.05, 0.0, 0.05):
            for name in ("coin_audit", "sample_ratio", "parity"):
                for e_value in (None, 5_000.0):
                    verdict = rule.decide(void(evidence(value, stage), name, e_value), NOW).verdict
                    assert verdict in ("hold", "roll_back"), (stage, value, name, verdict)


@SUITE.law()
def unmeasured_is_not_safe(rule: Rule) -> None:
    """A required guardrail that is missing or not read at all blocks a promotion."""
    for part in CONFIG.guardrails:
        if part.required:
            for status in ("missing", "unclear"):
                read = tuple(reading(other.metric, status if other is part else "ok") for other in CONFIG.guardrails)
                assert rule.decide(evidence(0.05, guardrails=read), NOW).verdict != "promote", (part.metric, status)
            rest = tuple(reading(other.metric, "ok") for other in CONFIG.guardrails if other is not part)
            assert rule.decide(evidence(0.05, guardrails=rest), NOW).verdict != "promote", part.metric


@SUITE.law()
def harm_rolls_back(rule: Rule) -> None:
    """Proven harm, or a hard limit that is passed, rolls back in every stage, whatever shoppers prefer, held or not."""
    for stage in STAGES[:-1]:
        harmful = reading("revenue_per_user_day", "harm", stage)
        over = reading("error_rate", "ok", stage, over_limit=True, level=Estimate(0.5, n=900), hard_limit=0.2)
        for bad in (harmful, over):
            for held in (False, True):
                case = evidence(0.05, stage, guardrails=(bad,), held=held)
                assert rule.decide(case, NOW).verdict == "roll_back", (stage, bad.metric, held)


@SUITE.law()
def teams_are_alike(rule: Rule) -> None:
    """What promotes a candidate does not promote the other team with the names swapped."""
    for value in (0.02, 0.05, 0.5):
        one, other = (rule.decide(evidence(sign * value), NOW).verdict for sign in (1, -1))
        assert not (one == other == "promote")
        assert one != "promote" or other in ("discard", "hold", "roll_back", "inconclusive"), (value, one, other)


@SUITE.law()
def held_is_held(rule: Rule) -> None:
    """While a person holds an experiment, a rule neither advances nor promotes it."""
    for stage in STAGES:
        verdict = rule.decide(evidence(0.05, stage, held=True), NOW).verdict
        assert verdict not in ("advance", "promote"), (stage, verdict)


@SUITE.law()
def identical_lists_stay(rule: Rule) -> None:
    """Identical lists are not taken past the canary, and never promoted."""
    for stage in ("canary", "ramp_5", "ramp_50"):
        case = evidence(0.0, stage, overlap=1.0, preference=preference(0.0, 0.5), pooled=preference(0.0, 0.5))
        assert rule.decide(case, NOW).verdict not in ("advance", "promote"), stage


@SUITE.law()
def end_keeps_the_champion(rule: Rule) -> None:
    """When the time is over without a verdict, the champion stays; an ended experiment is left alone."""
    late = START + timedelta(days=CONFIG.max_days + 1)
    open_ = preference(0.0, 0.5)
    assert rule.decide(evidence(0.0, preference=open_, pooled=open_), late).verdict in ("inconclusive", "discard")
    assert rule.decide(evidence(0.05, "ended"), late).verdict == "hold"


@SUITE.law()
def only_at_the_top(rule: Rule) -> None:
    """A promotion comes from ramp_50 alone: a smaller share dilutes what the guardrails can see."""
    for stage in STAGES:
        if stage != "ramp_50":
            assert rule.decide(evidence(0.5, stage), NOW).verdict != "promote", stage


def run(names: Iterable[str] | None = None) -> list[Result]:
    """The results of all laws for the named rules (None = all registered)."""
    return SUITE.run(names)
