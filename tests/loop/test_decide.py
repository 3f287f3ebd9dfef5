"""Deciding: the path of an experiment through the stores, one transaction per fact, steady holds kept quiet."""

from __future__ import annotations

import contextlib
import json

import msgspec
import pytest

from incumbent.events.schema import Decision, Finding
from incumbent.experiments.audit import Auditor
from incumbent.experiments.guardrails import SOURCES
from incumbent.experiments.rules import Sequential
from incumbent.loop import keys
from incumbent.loop.decide import Decider, latest
from incumbent.stores.store import seal_hash
from incumbent.testing.judge import STAGES, Shop
from incumbent.testing.simulated_stores import Crash, Fuse, Fused


def on_ramp_50(**experiment):
    """A shop whose experiment has come to ramp_50 by itself."""
    shop = Shop(**experiment)
    shop.run()
    shop.serve(200)
    shop.measure()
    shop.advance(8)
    shop.mature(60, 0.2, stage="canary")
    assert shop.decider.run_once().judged["e1"].verdict == "advance"
    shop.actor.run_once()
    assert shop.row().stage == "ramp_50"
    return shop


def test_the_names_of_the_rollup_are_the_names_of_the_guardrails():
    for source in SOURCES.values():
        assert source.numerator in (keys.GUARDRAIL if source.scope == "lane" else (*keys.MODEL, *keys.SLOW))


def test_an_experiment_runs_to_its_promotion():
    shop = on_ramp_50()
    shop.serve(300)
    shop.measure(stage="ramp_50")
    for _ in range(10):
        shop.advance(1)
        shop.mature(120, 0.4)
    said = shop.decider.run_once()
    assert said.judged["e1"].verdict == "promote", said
    row = shop.row()
    assert (row.stage, row.verdict, row.ended_at) == ("promoted", "promote", None)
    shop.actor.run_once()
    experiment = shop.control.plan().surfaces["home"].experiment
    assert (experiment.stage, experiment.share, experiment.candidate) == ("promoted", 0.95, "new")
    assert [(d.verdict, d.stage_from, d.stage_to) for d in shop.decisions()] == [
        ("start", None, "canary"), ("advance", "canary", "ramp_50"), ("promote", "ramp_50", "promoted")]
    stages = [(change.stage, change.share) for change in shop.control.stages("e1")]
    assert stages == [("canary", 0.5), ("ramp_50", 0.5), ("promoted", 0.95)]


def test_a_decision_explains_itself():
    shop = on_ramp_50()
    decision = shop.decisions()[-1]
    assert (decision.by, decision.rule, decision.rule_hash) == ("rule", "sequential", Sequential().hash)
    evidence = decision.evidence
    assert evidence["definition"] == shop.row().definition
    assert evidence["seals"] == [seal_hash(shop.control.matured("e1"))]
    assert evidence["preference"]["units"] == 60
    assert {check["name"]: check["status"] for check in evidence["checks"]} == {
        "coin_audit": "ok", "sample_ratio": "ok", "parity": "ok", "overlap": "ok"}
    assert evidence["guardrails"][0]["status"] == "ok"
    assert len(evidence["evidence_hash"]) == 16
    assert all(unit not in str(evidence) for unit in ("u17", shop.control.matured("e1")[0].unit))


def test_a_steady_hold_is_one_decision_and_always_a_fresh_evaluation():
    shop = on_ramp_50()
    shop.measure(stage="ramp_50")
    for _ in range(5):
        shop.advance(0.1)
        assert shop.decider.run_once().judged["e1"].verdict == "hold"
    assert [d.verdict for d in shop.decisions()] == ["start", "advance", "hold"]
    seen = latest(shop.control, "e1")
    assert seen.time == shop.clock.now() and seen.verdict == "hold"
    assert seen.evidence["stage"] == "ramp_50" and seen.evidence["pooled"]["units"] == 60
    assert seen.evidence["preference"]["units"] == 0 and seen.series == []  # none was first exposed here yet


def test_harm_rolls_back_and_is_told():
    shop = Shop()
    shop.run()
    shop.serve(50)
    shop.measure(extra_ms=200.0)
    shop.advance(1)
    said = shop.decider.run_once()
    assert said.judged["e1"].verdict == "roll_back"
    row = shop.row()
    assert (row.stage, row.verdict, row.ended_at) == ("ended", "roll_back", shop.clock.now())
    shop.actor.run_once()
    assert shop.control.plan().surfaces["home"].experiment is None
    assert {(alert.severity, alert.title) for alert in shop.told} >= {("page", "e1: ROLL BACK")}
    breach = next(f for f in shop.control.conclusions("finding", "experiment:e1") if f.check == "guardrail:latency_ms")
    assert (breach.status, breach.severity) == ("breach", "page")
    shop.advance(1)
    assert shop.decider.run_once().judged == {}


def test_tampered_coins_void_the_verdict():
    shop = on_ramp_50()
    shop.serve(300, change=lambda i: msgspec.structs.replace(i, mode="interleave", coins=[0.5] * 8))
    shop.measure(stage="ramp_50")
    for _ in range(10):
        shop.advance(1)
        shop.mature(120, 0.4)
    said = shop.decider.run_once().judged["e1"]
    assert (said.verdict, said.cause) == ("hold", "void")
    void = next(f for f in shop.control.conclusions("finding", "experiment:e1") if f.check == "coin_audit"
                and f.status == "void")
    assert void.severity == "page" and "1 of" in void.reason
    assert shop.row().stage == "ramp_50"


def test_identical_lists_are_refused_past_the_canary():
    shop = Shop()
    shop.run()
    shop.serve(200, identical=True)
    shop.measure()
    shop.advance(8)
    shop.mature(60, 0.2, stage="canary")
    said = shop.decider.run_once().judged["e1"]
    assert (said.verdict, said.cause) == ("hold", "identical")
    overlap = next(f for f in shop.control.conclusions("finding", "experiment:e1") if f.check == "overlap")
    assert overlap.severity == "ticket"


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_crash_leaves_findings_and_their_decision_together_or_neither(how):
    """The process dies at each step that a look takes in Control; what is there never tells half of it."""
    for step in range(1, 12):
        shop = Shop()
        shop.run()
        shop.serve(200, change=lambda i: msgspec.structs.replace(i, mode="interleave", coins=[0.5] * 8))
        shop.measure()
        shop.actor.run_once()  # what the start left to do
        fuse = Fuse()
        dying = Decider(shop.lake, Fused(shop.control, fuse), shop.clock, shop.ids)
        fuse.arm(step, how)
        with contextlib.suppress(Crash):
            dying.run_once()
        found = shop.control.conclusions("finding", "experiment:e1")
        told = [d for d in shop.decisions() if d.by == "rule"]
        known = shop.control.memory("findings/e1")
        assert bool(found) == bool(told) == (known is not None), (step, how)
        waiting = {row.payload["event"]["event_id"] for row in shop.control.outbox(1_000) if row.kind == "log"}
        assert waiting == {one.event_id for one in (*found, *told)}
        shop.advance(1)  # the dead process's lease is over
        shop.decider.run_once()
        after = shop.control.conclusions("finding", "experiment:e1")
        assert sorted(f.check for f in after) == sorted({f.check for f in after})  # once each
        assert "coin_audit" in {f.check for f in after}
        assert json.loads(shop.control.memory("findings/e1"))["coin_audit"] == "void/page"
        if not fuse.blown:
            return
    raise AssertionError("a look takes more steps than were tried")


def test_findings_are_stored_when_their_status_changes():
    shop = on_ramp_50()
    before = len(shop.control.conclusions("finding", None, 1000))
    shop.measure(stage="ramp_50")
    for _ in range(3):
        shop.advance(0.1)
        shop.decider.run_once()
    assert len(shop.control.conclusions("finding", None, 1000)) == before
    shop.serve(10, change=lambda i: msgspec.structs.replace(i, salt="pepper"))
    shop.decider.run_once()
    fresh = shop.control.conclusions("finding", None, 1000)
    assert len(fresh) == before + 1 and fresh[0].check == "coin_audit"
    assert all(isinstance(f, Finding) and f.subject == "experiment:e1" for f in fresh)


def test_late_events_stand_beside_the_judged_numbers():
    shop = on_ramp_50()
    shop.advance(1)
    shop.mature(120, 0.4)
    first = next(unit for unit in shop.control.matured("e1") if unit.stage == "ramp_50")
    shop.control.restate("e1", [msgspec.structs.replace(first, x=0.0, y=3.0)], shop.clock.now())
    shop.decider.run_once()
    seen = latest(shop.control, "e1")
    assert seen.as_now["losses"] == seen.evidence["preference"]["losses"] + 1
    assert seen.as_now["wins"] == seen.evidence["preference"]["wins"] - 1


def test_somebody_else_was_faster():
    shop = on_ramp_50()
    row = shop.row()
    real = shop.decider._lake.changes

    def changes(table, since):  # while the evidence is gathered a person acts
        shop.decider._lake.changes = real
        shop.operator.roll_back("e1", actor="ada", reason="complaints")
        return real(table, since)

    shop.decider._lake.changes = changes
    for _ in range(10):
        shop.advance(1)
        shop.mature(120, 0.4)
    said = shop.decider.run_once()
    assert "changed by somebody else" in said.overtaken["e1"] and not said.failed
    assert shop.row().verdict == "roll_back" and shop.row().version == row.version + 1


def test_one_experiment_that_cannot_be_judged_does_not_stop_the_others():
    shop = Shop()
    shop.run()
    broken = msgspec.structs.replace(shop.row(), name="a-broken", version=1, definition={"surface": "cart"})
    shop.control.conclude(Decision(event_id=shop.ids.new(), time=shop.clock.now(), experiment="a-broken",
                                   verdict="start", reason="test", by="test"), experiment=broken)
    said = shop.decider.run_once()
    assert list(said.judged) == ["e1"] and "ValidationError" in said.failed["a-broken"]


def test_only_one_decider_at_a_time():
    shop = Shop()
    shop.run()
    assert shop.control.acquire("decide", "another", 30, shop.clock.now())
    assert "another process" in shop.decider.run_once().stopped
    assert shop.decisions()[-1].verdict == "start"


def test_the_audit_recomputes_each_row_once_and_notices_late_ones(monkeypatch):
    shop = Shop()
    shop.run()
    shop.serve(40)
    shop.decider.run_once()
    seen, real = [], Auditor.one
    monkeypatch.setattr(Auditor, "one", lambda self, each, *fresh: (
        seen.append(each.event_id), real(self, each, *fresh))[1])
    shop.decider.run_once()
    assert seen == []  # nothing changed
    shop.clock.advance(seconds=60)
    fresh = shop.serve(30)
    shop.decider.run_once()
    assert sorted(seen) == [each.event_id for each in fresh]
    shop.clock.set(shop.clock.now().replace(minute=0, second=0))  # rows that are older than what was read
    late = shop.serve(20, change=lambda i: msgspec.structs.replace(i, share=0.25))
    shop.decider.run_once()
    check = next(c for c in latest(shop.control, "e1").evidence["checks"] if c["name"] == "coin_audit")
    assert (check["n"], check["status"]) == (90, "void")
    assert check["numbers"]["mismatches"] == 1 and late[0].request_id in check["reason"]


def test_users_per_lane_are_counted_once_each_on_all_buckets():
    shop = Shop()
    shop.run()
    made = shop.serve(120)
    shop.decider.run_once()
    shop.clock.advance(seconds=3600)
    shop.sequence += 1
    again = [msgspec.structs.replace(i, event_id=shop.ids.new(), time=shop.clock.now()) for i in made[:40]]
    shop.lake.commit(again, "tests", shop.sequence)
    made += shop.serve(80)
    for _ in range(5):  # some buckets at each look
        shop.decider.run_once()
    check = next(c for c in latest(shop.control, "e1").evidence["checks"] if c["name"] == "sample_ratio")
    lanes = {lane: len({i.user_id for i in made if i.lane == lane}) for lane in ("interleave", "holdout")}
    assert check["numbers"]["stages"]["canary"]["users"] == lanes and sum(lanes.values()) == 200


def test_a_worse_candidate_is_discarded():
    shop = on_ramp_50()
    shop.serve(300)
    for _ in range(10):
        shop.advance(1)
        shop.mature(120, 0.2, losses=0.5)
    assert shop.decider.run_once().judged["e1"].verdict == "discard"
    assert shop.row().stage == "ended"


def test_a_rung_counts_its_own_shoppers():
    """Three hundred matured shoppers of the canary are no shoppers of the rung above it."""
    stages = [{"stage": "canary", "share": 0.5, "min_units": 10, "min_days": 1},
              {"stage": "ramp_25", "share": 0.5, "min_units": 10, "min_days": 1},
              {"stage": "ramp_50", "share": 0.5, "min_units": 10, "min_days": 1}]
    shop = Shop(stages=stages)
    shop.run()
    shop.serve(200)
    shop.measure()
    shop.advance(8)
    shop.mature(300, 0.2, stage="canary")
    assert shop.decider.run_once().judged["e1"].verdict == "advance"
    shop.advance(5)
    said = shop.decider.run_once().judged["e1"]
    assert (said.verdict, said.cause) == ("hold", "units") and "0 of 10" in said.reason
    shop.mature(9, 0.2, stage="ramp_25")
    assert shop.decider.run_once().judged["e1"].cause == "units"
    shop.advance(1)
    shop.mature(1, 0.2, stage="ramp_25")
    assert shop.decider.run_once().judged["e1"].verdict == "advance"


def test_nobody_sees_a_candidate_that_never_answered():
    stages = [{"stage": "shadow", "share": 0.0, "min_answers": 1_000}, *STAGES]
    shop = Shop(stages=stages)
    shop.run()
    shop.serve(50)
    shop.advance(3)
    said = shop.decider.run_once().judged["e1"]
    assert (said.verdict, said.cause) == ("hold", "answers") and "0 of the 1000" in said.reason
    shop.measure(stage="shadow", failed=0.3)
    said = shop.decider.run_once().judged["e1"]
    assert (said.verdict, said.cause) == ("hold", "failing")
    shop.measure(stage="shadow")
    assert shop.decider.run_once().judged["e1"].verdict == "advance"
    assert latest(shop.control, "e1").evidence["answers"]["asked"] == 4_000


def test_a_candidate_that_was_mended_in_shadow_goes_on():
    """All answers of the first day fail, which is no hard limit of the days after; the stage as a whole is over it."""
    shop = Shop(stages=[{"stage": "shadow", "share": 0.0, "min_answers": 1_000}, *STAGES])
    shop.run()
    shop.measure(stage="shadow", failed=0.45)
    shop.advance(1)
    assert shop.decider.run_once().judged["e1"].cause == "failing"
    shop.advance(2)
    shop.measure(stage="shadow")
    said = shop.decider.run_once().judged["e1"]
    seen = latest(shop.control, "e1").evidence
    assert said.verdict == "advance", said.reason
    assert seen["answers"]["failed"] > 0.2 * seen["answers"]["asked"] > 0 == seen["recent"]["failed"]


def test_guardrails_of_a_model_are_those_of_the_stage():
    """A slow day in the canary is over; at ramp_50 the candidate is as quick as the champion."""
    shop = Shop(guardrails=[{"metric": "latency_ms", "margin": 50.0}])
    shop.run()
    shop.serve(200)
    shop.measure(extra_ms=49.0)
    shop.advance(8)
    shop.mature(60, 0.2, stage="canary")
    assert shop.decider.run_once().judged["e1"].verdict == "advance"
    shop.measure(stage="ramp_50")
    shop.decider.run_once()
    reading = latest(shop.control, "e1").evidence["guardrails"][0]
    assert reading["stage"] == "ramp_50" and abs(reading["effect"]["value"]) < 2


@pytest.mark.parametrize(("bad_day", "verdict"), [(0, "roll_back"), (1, "roll_back"), (2, "hold")])
def test_a_hard_limit_looks_at_the_last_day(bad_day, verdict):
    """Errors of today, and of yesterday where today is too young to tell, are over the limit; older ones were."""
    shop = Shop(guardrails=[{"metric": "error_rate", "margin": 0.9, "hard_limit": 0.2}])
    shop.run()
    shop.serve(50)
    for days_ago in (2, 1, 0):
        shop.measure(failed=0.6 if days_ago == bad_day else 0.0, requests=60 if days_ago == 0 and bad_day else 4_000)
        shop.advance(1 if days_ago else 0.01)
    said = shop.decider.run_once().judged["e1"]
    assert said.verdict == verdict, said.reason
    if verdict == "roll_back":
        assert said.cause == "hard_limit"


def test_after_a_promotion_those_first_seen_since_are_judged():
    """Shoppers loved it before the promotion; those who came since prefer the old champion, and it is rolled back."""
    shop = on_ramp_50()
    for _ in range(5):
        shop.advance(1)
        shop.mature(120, 0.6, losses=0.1)
    shop.operator.promote("e1", actor="ada", reason="the board wants it today")
    shop.actor.run_once()
    shop.advance(1)
    shop.decider.run_once()
    seen = latest(shop.control, "e1")
    assert seen.cause == "back_test" and seen.evidence["preference"]["units"] == 0 and seen.series == []
    assert seen.led["series"][-1]["units"] == seen.led["preference"]["units"] == 600  # what led to it is still shown
    for _ in range(3):
        shop.advance(1)
        shop.mature(90, 0.2, losses=0.5, stage="promoted")
    said = shop.decider.run_once().judged["e1"]
    assert (said.verdict, said.cause) == ("roll_back", "worse")
    seen = latest(shop.control, "e1")
    assert seen.evidence["preference"]["units"] == 270 and seen.evidence["pooled"]["preference"]["value"] > 0
    assert seen.series[-1]["units"] == 270


def test_a_shop_that_repeats_its_ranking_ids_is_sound():
    """One ranking id per user for all days, asked for over and over: coins are thrown once, and nothing is void."""
    shop = Shop()
    shop.run()
    made = shop.serve(60)
    for day in range(8):
        shop.advance(0.5 if day % 2 else 1)
        shop.sequence += 1
        shop.lake.commit([msgspec.structs.replace(i, event_id=shop.ids.new(), request_id=f"q{day}-{n}",
                                                  time=shop.clock.now()) for n, i in enumerate(made * 8)],
                         "tests", shop.sequence)
        shop.decider.run_once()
    parity = next(c for c in latest(shop.control, "e1").evidence["checks"] if c["name"] == "parity")
    pairs = sum(slot.kind == "pair" for i in made for slot in i.slots) / 2
    assert parity["status"] == "ok" and parity["numbers"]["first"]["v"] == pairs == parity["n"]


def test_a_shard_that_is_read_again_counts_its_rankings_again():
    shop = Shop()
    shop.run()
    made = shop.serve(40)
    shop.decider.run_once()
    before = next(c for c in latest(shop.control, "e1").evidence["checks"] if c["name"] == "parity")
    shop.lake.erase([made[0].user_id])
    shop.decider.run_once()
    after = next(c for c in latest(shop.control, "e1").evidence["checks"] if c["name"] == "parity")
    gone = sum(slot.kind == "pair" for slot in made[0].slots) / 2
    assert after["n"] == before["n"] - gone and after["n"] > 0


def test_a_book_of_another_form_is_begun_again():
    shop = Shop()
    shop.run()
    shop.serve(30)
    shop.decider.run_once()
    wanted = shop.control.cursor("audit/e1")
    for kept in ('{"version": 3, "lanes": {"0": {"interleave": 5}}}', '{"version": 3, "form": 1}'):
        shop.control.set_cursor("audit/e1", kept)
        shop.decider.run_once()
        assert json.loads(shop.control.cursor("audit/e1")) == json.loads(wanted)
