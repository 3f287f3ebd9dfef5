"""Steps by hand: what is allowed, what is written down, and that the rule's word is kept beside an override."""

from __future__ import annotations

import pytest

from incumbent import registry
from incumbent.errors import ConflictError, DataError, NotFoundError
from incumbent.testing.judge import Shop

WHO = {"actor": "ada", "reason": "because"}


def test_start_freezes_the_configuration_and_publishes():
    shop = Shop()
    decision = shop.operator.start("e1", **WHO)
    row = shop.row()
    assert (row.stage, row.version, row.held, row.verdict) == ("canary", 1, False, None)
    assert row.definition["candidate"] == "new" and row.started_at == shop.clock.now()
    assert (decision.verdict, decision.by, decision.stage_from, decision.stage_to) == ("start", "ada", None, "canary")
    assert shop.control.plan() is None
    shop.actor.run_once()
    assert shop.control.plan().surfaces["home"].experiment.stage == "canary"
    audit = shop.control.conclusions("audit")[0]
    assert (audit.actor, audit.action, audit.reason) == ("ada", "experiment.start", "because")


@pytest.mark.parametrize(("kind", "key", "name"), [
    ("policies", "policy", "pair_draft"), ("rules", "rule", "sequential"), ("credits", "attribution", "last_touch")])
def test_what_cannot_be_loaded_is_not_started_and_nothing_is_frozen(monkeypatch, kind, key, name):
    shop, real = Shop(), registry.load

    def broken(asked, called):
        if asked == kind:
            raise ImportError("no module named 'their_plugin'")
        return real(asked, called)

    monkeypatch.setattr(registry, "load", broken)
    with pytest.raises(ConflictError, match=f"its {key} cannot be loaded. Got '{name}'. Hint: ImportError: no module"):
        shop.operator.start("e1", **WHO)
    assert shop.control.experiments() == [] == shop.control.conclusions("audit")
    monkeypatch.undo()
    assert shop.operator.start("e1", **WHO).stage_to == "canary"


def test_a_policy_that_does_not_know_the_coin_is_not_started(monkeypatch):
    shop, real = Shop(), registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: (lambda: None) if kind == "policies" else real(kind, name))
    with pytest.raises(ConflictError, match=r"TypeError: .*unexpected keyword argument 'coin'"):
        shop.operator.start("e1", **WHO)


def test_hold_and_resume():
    shop = Shop()
    shop.run()
    shop.operator.hold("e1", **WHO)
    assert shop.row().held and shop.row().stage == "canary"
    assert shop.decider.run_once().judged["e1"].cause == "held"
    shop.operator.resume("e1", **WHO)
    assert not shop.row().held
    assert shop.decider.run_once().judged["e1"].cause != "held"
    shop.actor.run_once()
    actions = [audit.action for audit in shop.control.conclusions("audit")]
    assert sorted(actions) == ["experiment.hold", "experiment.resume", "experiment.start"]


def test_a_held_experiment_is_still_rolled_back_on_harm():
    shop = Shop()
    shop.run()
    shop.operator.hold("e1", **WHO)
    shop.serve(20)
    shop.measure(extra_ms=200.0)
    assert shop.decider.run_once().judged["e1"].verdict == "roll_back"


def test_a_promotion_by_hand_records_that_the_rule_had_not_said_so():
    shop = Shop()
    shop.run()
    shop.serve(20)
    shop.decider.run_once()
    decision = shop.operator.promote("e1", **WHO)
    assert (shop.row().stage, shop.row().verdict) == ("promoted", "promote")
    assert decision.evidence["override"] is True
    assert decision.evidence["rule_said"]["verdict"] == "hold"
    assert decision.evidence["rule_said"]["reason"]
    shop.actor.run_once()
    assert shop.control.plan().surfaces["home"].experiment.share == 0.95


def test_promoting_twice_ends_the_back_test():
    shop = Shop()
    shop.run()
    shop.operator.promote("e1", **WHO)
    shop.operator.promote("e1", **WHO)
    assert (shop.row().stage, shop.row().verdict) == ("ended", "promote")
    shop.actor.run_once()
    home = shop.control.plan().surfaces["home"]
    assert (home.champion, home.experiment) == ("new", None)


@pytest.mark.parametrize("step", ["discard", "roll_back"])
def test_an_end_by_hand_leaves_the_champion(step):
    shop = Shop()
    shop.run()
    getattr(shop.operator, step)("e1", **WHO)
    assert (shop.row().stage, shop.row().verdict) == ("ended", step)
    shop.actor.run_once()
    home = shop.control.plan().surfaces["home"]
    assert (home.champion, home.experiment) == ("old", None)


def test_a_promoted_one_can_be_rolled_back():
    shop = Shop()
    shop.run()
    shop.operator.promote("e1", **WHO)
    shop.operator.roll_back("e1", **WHO)
    shop.actor.run_once()
    assert shop.control.plan().surfaces["home"].champion == "old"
    assert shop.row().verdict == "roll_back"


@pytest.mark.parametrize(("before", "step"), [
    ([], "hold"), ([], "promote"), (["start"], "start"), (["start"], "resume"), (["start", "hold"], "hold"),
    (["start", "discard"], "promote"), (["start", "promote"], "discard"), (["start", "discard"], "start"),
])
def test_steps_that_the_stage_does_not_allow(before, step):
    shop = Shop()
    for each in before:
        getattr(shop.operator, each)("e1", **WHO)
    version = shop.row().version if shop.row() else None
    with pytest.raises(ConflictError) as error:
        getattr(shop.operator, step)("e1", **WHO)
    assert error.value.expected
    assert (shop.row().version if shop.row() else None) == version


def test_one_experiment_per_surface():
    shop = Shop()
    shop.run("e1")
    with pytest.raises(ConflictError, match="already runs"):
        shop.operator.start("e2", **WHO)
    shop.operator.discard("e1", **WHO)
    shop.operator.start("e2", **WHO)
    assert shop.row("e2").stage == "shadow"


@pytest.mark.parametrize("who", [{"actor": "ada", "reason": " "}, {"actor": "", "reason": "because"}])
def test_nobody_and_nothing_are_no_reasons(who):
    shop = Shop()
    with pytest.raises(DataError):
        shop.operator.start("e1", **who)
    assert shop.row() is None and shop.control.outbox() == []


def test_unknown_experiments():
    with pytest.raises(NotFoundError, match="e1, e2"):
        Shop().operator.start("e9", **WHO)
    with pytest.raises(NotFoundError):
        Shop().operator.hold("e9", **WHO)
