"""The sequential rule: its order, its edges, its words; and the contract suite over every registered rule."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from incumbent.config import ExperimentConfig, GuardrailConfig, StageConfig
from incumbent.experiments.evidence import Answers, Judgement
from incumbent.experiments.rules import Sequential
from incumbent.stats.estimate import Estimate
from incumbent.testing.checks import rules as made
from incumbent.testing.checks.rules import CONFIG, NOW, START, SUITE, evidence, preference, reading, void

RULE = Sequential()


def decide(case, now=NOW):
    return RULE.decide(case, now)


@pytest.mark.parametrize("case", SUITE.cases(), ids=str)
def test_contract(case):
    case.check()


class Eager:
    """A rule that breaks what can be broken: it promotes whatever it sees, and says nothing."""

    name, hash = "eager", "0" * 16

    def decide(self, evidence, now):
        return Judgement(verdict="promote", cause="better", reason=" ")


def test_the_suite_finds_a_rule_that_promotes_everything():
    broken = {case.law.name for case in SUITE.cases_of("eager", Eager) if not case.run().ok}
    assert broken == {"says_why", "void_concludes_nothing", "unmeasured_is_not_safe", "harm_rolls_back",
                      "teams_are_alike", "held_is_held", "identical_lists_stay", "end_keeps_the_champion",
                      "only_at_the_top"}


def with_config(case, **changes):
    definition = CONFIG.model_copy(update=changes).model_dump(mode="json")
    return msgspec.structs.replace(case, definition=definition)


def test_a_better_candidate_is_promoted():
    said = decide(evidence(0.05))
    assert (said.verdict, said.cause) == ("promote", "better")
    assert "+5.00%" in said.reason


@pytest.mark.parametrize(("value", "half", "verdict", "cause"), [
    (0.05, 0.0501, "hold", "undecided"),  # lower end just below 0
    (0.05, 0.0499, "promote", "better"),
    (-0.05, 0.0499, "discard", "worse"),
    (-0.05, 0.0501, "discard", "futile"),  # upper end of the win margin 0.0002 is below delta_min 0.01
    (0.0, 0.0049, "discard", "futile"),  # half of the units decided: the margin ends at 0.0098
    (0.0, 0.0051, "hold", "undecided"),
])
def test_the_ends_decide(value, half, verdict, cause):
    said = decide(evidence(preference=preference(value, half), pooled=preference(value, half)))
    assert (said.verdict, said.cause) == (verdict, cause)


def test_futility_and_promotion_read_the_units_of_the_decisive_stage():
    """On the ramp all effects are small because the share is: that is not futility, and they carry no promotion."""
    early = evidence(0.0, "ramp_10", preference=preference(0.001, 0.003), pooled=preference(0.001, 0.003))
    assert decide(early).verdict == "advance"
    late = evidence(preference=preference(0.04, 0.05), pooled=preference(0.001, 0.003))
    assert (decide(late).verdict, decide(late).cause) == ("hold", "undecided")
    carried = evidence(preference=preference(0.01, 0.05), pooled=preference(0.05, 0.01))
    assert (decide(carried).verdict, decide(carried).cause) == ("hold", "undecided")
    promoted = evidence(preference=preference(0.05, 0.01), pooled=preference(0.0, 0.5))
    assert decide(promoted).verdict == "promote"


def test_futility_is_asked_of_those_who_decided():
    """Two in a hundred decide, three of four for the candidate: net preference is +1 %, and anything but futile."""
    few = msgspec.structs.replace(
        preference(0.01, 0.009), win_margin=Estimate(0.5, 0.2, 0.8, se=0.1, n=200))
    assert few.preference.high < 0.02
    said = decide(with_config(evidence(preference=few), delta_min=0.02))
    assert said.verdict == "promote"
    even = msgspec.structs.replace(few, win_margin=Estimate(0.0, -0.015, 0.015, se=0.005, n=90_000))
    assert decide(with_config(evidence(preference=even), delta_min=0.02)).cause == "futile"


def test_worse_is_discarded_on_any_rung():
    for stage in ("canary", "ramp_5", "ramp_25"):
        assert decide(evidence(-0.05, stage)).verdict == "discard"


def test_worse_after_promotion_is_rolled_back():
    since = {"preference": preference(-0.05), "pooled": preference(0.05)}
    said = decide(evidence(stage="promoted", **since))
    assert (said.verdict, said.cause) == ("roll_back", "worse") and "since the promotion" in said.reason
    assert decide(evidence(0.05, "promoted", pooled=preference(-0.05))).cause == "back_test"


def test_a_void_experiment_ends_with_max_days_and_concludes_nothing():
    over = NOW + timedelta(days=CONFIG.max_days + 1)
    late = decide(void(evidence(0.05)), over)
    assert (late.verdict, late.cause) == ("inconclusive", "max_days")
    assert "the champion stays; the verdict is void" in late.reason
    assert decide(msgspec.structs.replace(void(evidence(0.05)), held=True), over).verdict == "hold"
    assert decide(void(evidence(0.05), "sample_ratio", e_value=1001.0), over).verdict == "roll_back"


def test_void_comes_first_and_overwhelming_evidence_rolls_back():
    assert (decide(void(evidence(0.05))).verdict, decide(void(evidence(0.05))).cause) == ("hold", "void")
    alarm = decide(void(evidence(0.05), "sample_ratio", e_value=1001.0))
    assert (alarm.verdict, alarm.cause) == ("roll_back", "void_alarm")
    assert decide(void(evidence(0.05), "sample_ratio", e_value=999.0)).verdict == "hold"
    harmed = msgspec.structs.replace(void(evidence(0.05)), guardrails=(reading("latency_ms", "harm"),))
    assert decide(harmed).verdict == "roll_back"


def test_hard_limit_is_named_before_a_guardrail():
    over = reading("error_rate", "harm", over_limit=True, level=Estimate(0.4, n=500), hard_limit=0.2)
    said = decide(evidence(0.05, guardrails=(reading("revenue_per_user_day", "harm"), over)))
    assert said.cause == "hard_limit" and "0.4" in said.reason and "0.2" in said.reason


def test_a_promotion_waits_and_says_for_what():
    week = decide(evidence(0.05, since=START), START + timedelta(days=6.99))
    assert (week.verdict, week.cause) == ("hold", "blocked") and "min_days" in week.reason
    few = decide(evidence(preference=preference(0.05, units=499)))
    assert few.cause == "blocked" and "499 of 500" in few.reason
    unread = decide(evidence(guardrails=(reading("error_rate", "ok"), reading("latency_ms", "ok"))))
    assert unread.cause == "blocked" and "revenue_per_user_day" in unread.reason
    fresh = decide(evidence(since=NOW - timedelta(hours=23)))
    assert fresh.cause == "blocked"


def test_a_guardrail_that_is_not_required_does_not_block():
    free = tuple(part.model_copy(update={"required": False}) for part in CONFIG.guardrails)
    assert decide(with_config(evidence(guardrails=()), guardrails=free)).verdict == "promote"


def test_guardrails_of_an_earlier_stage_do_not_count():
    old = tuple(reading(part.metric, "ok", "ramp_25") for part in CONFIG.guardrails)
    assert decide(evidence(guardrails=old)).cause == "blocked"


def test_gates():
    assert decide(evidence(0.0, "canary")).verdict == "advance"
    few = decide(evidence(0.0, "canary", matured_here=99))  # 5,000 in all
    assert (few.verdict, few.cause) == ("hold", "units") and "99 of 100" in few.reason
    early = decide(evidence(0.0, "canary", since=NOW - timedelta(hours=5)))
    assert (early.verdict, early.cause) == ("hold", "days")
    unchecked = decide(evidence(0.0, "canary", checks=()))
    assert (unchecked.verdict, unchecked.cause) == ("hold", "unchecked")
    assert decide(evidence(0.0, "canary", overlap=None)).cause == "unchecked"


def in_shadow(answers=Answers(asked=500, failed=2, champion_asked=500), **changes):
    case = evidence(0.0, "shadow", matured=0, matured_here=0, checks=(), overlap=None, preference=made._unknown(),
                    pooled=made._unknown(), guardrails=(), answers=answers)
    return with_config(case, **changes)


def test_shadow_advances_without_checks_and_units():
    assert decide(in_shadow()).verdict == "advance"


@pytest.mark.parametrize(("answers", "cause"), [
    (Answers(), "answers"),  # nobody asked: missing is not ok
    (Answers(asked=10_000, failed=10_000, champion_asked=10_000), "answers"),  # all in vain
    (Answers(asked=99, champion_asked=99), "answers"),
    (Answers(asked=500, failed=6, champion_asked=500), "failing"),  # 1.2 %, the margin on errors is 1 %
    (Answers(asked=500, failed=6, champion_asked=500, champion_failed=2), "gate"),  # the champion's own rate is 0.4 %
    (Answers(asked=500, failed=130, champion_asked=500, champion_failed=130), "failing"),  # over the hard limit of 20 %
])
def test_nobody_leaves_shadow_who_does_not_answer(answers, cause):
    assert decide(in_shadow(answers)).cause == cause


def test_shadow_holds_a_failing_candidate_whatever_guardrails_there_are():
    slow = tuple(part for part in CONFIG.guardrails if part.metric == "latency_ms")
    failing = Answers(asked=500, failed=101, champion_asked=500, champion_failed=101)
    assert decide(in_shadow(failing, guardrails=slow)).cause == "failing"
    late = (GuardrailConfig(metric="timeout_rate", margin=0.02),)
    timed_out = Answers(asked=500, failed=20, timed_out=20, champion_asked=500)
    assert decide(in_shadow(timed_out, guardrails=late)).cause == "failing"
    eager = tuple(stage.model_copy(update={"min_answers": 600}) for stage in CONFIG.stages)
    assert "498 of the 600" in decide(in_shadow(stages=eager)).reason


@pytest.mark.parametrize(("failed", "recent", "cause", "words"), [
    (600, Answers(asked=400), "gate", ""),  # the bad first day is over
    (20, Answers(asked=400, failed=100), "failing", "25.00% of 400 requests of the last day"),
    (600, Answers(asked=99), "failing", "of 2000 requests of the stage"),  # too few to tell: the whole stage counts
    (600, Answers(), "failing", "of the stage"),
])
def test_a_hard_limit_in_shadow_looks_at_the_last_day(failed, recent, cause, words):
    hard = (GuardrailConfig(metric="error_rate", margin=0.9, hard_limit=0.2),)
    slow = tuple(part for part in CONFIG.guardrails if part.metric == "latency_ms")  # then 20 % is the limit
    for guardrails in (hard, slow):
        case = in_shadow(Answers(asked=2_000, failed=failed, champion_asked=2_000), guardrails=guardrails)
        said = decide(msgspec.structs.replace(case, recent=recent))
        assert said.cause == cause and words in said.reason


def test_identical_lists_are_refused_past_the_canary_with_the_reason():
    said = decide(evidence(0.0, "canary", overlap=1.0, preference=preference(0.0, 0.5)))
    assert (said.verdict, said.cause) == ("hold", "identical")
    assert "overlap = 1.0" in said.reason


def test_time_is_over():
    late = START + timedelta(days=90)
    open_ = preference(0.0, 0.5)
    case = evidence(preference=open_, pooled=open_)
    assert decide(case, late).verdict == "inconclusive"
    assert decide(case, late - timedelta(seconds=1)).verdict == "hold"
    assert decide(evidence(0.0, "promoted"), late).verdict == "hold"


def test_a_ramp_without_a_decisive_stage_says_so():
    short = (StageConfig(stage="canary", share=0.01), StageConfig(stage="ramp_25", share=0.25))
    said = decide(with_config(evidence(0.05, "ramp_25"), stages=short))
    assert said.cause == "no_decisive_stage"


def test_the_hash_names_the_rule():
    class Other(Sequential):
        version = Sequential.version + 1

    assert Other().hash != RULE.hash


def test_evidence_is_embedded_whole_and_hashed():
    case = evidence(0.05)
    plain = case.to_dict()
    assert plain["preference"]["preference"]["value"] == pytest.approx(0.05)
    assert plain["definition"] == ExperimentConfig(surface="home", candidate="new").model_dump(mode="json")
    assert case.hash == evidence(0.05).hash != evidence(0.06).hash
    assert msgspec.json.encode(plain)
