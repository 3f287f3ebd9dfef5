from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.config import Config, frozen_definition
from incumbent.loop.plan import build_plan, share_of, unservable
from incumbent.stores.store import ExperimentRow

T0 = datetime(2026, 3, 1, tzinfo=UTC)
TREE = {
    "models": {"old": {"target": "m:old", "options": {"a": 1}}, "new": {"target": "m:new"}, "newer": {"target": "m:n"}},
    "surfaces": {"home": {"champion": "old", "pinned": [{"position": 2, "item_id": "ad"}], "fallback": ["f"]},
                 "cart": {"champion": "old"}},
    "experiments": {"e1": {"surface": "home", "candidate": "new", "segment": {"country": ["SE"]}},
                    "e2": {"surface": "home", "candidate": "newer"}},
    "delisted": ["gone"],
    "groups": {"a-red": "a"},
}


def row(name="e1", stage="ramp_10", config=None, **changes):
    config = config or Config(**TREE)
    fields = {"since": T0, "started_at": T0, "held": False, "verdict": None, "version": 1,
              "definition": frozen_definition(config, name)}
    return ExperimentRow(name=name, stage=stage, **{**fields, **changes})


@pytest.mark.parametrize(("stage", "share"), [
    ("shadow", 0.0), ("canary", 0.01), ("ramp_5", 0.05), ("ramp_10", 0.1), ("ramp_25", 0.25), ("ramp_50", 0.5),
    ("promoted", 0.95), ("ended", None),
])
def test_share_follows_the_stage(stage, share):
    assert share_of(row(stage=stage)) == share
    experiment = build_plan(Config(**TREE), [row(stage=stage)]).surfaces["home"].experiment
    assert (None if experiment is None else experiment.share) == share


@pytest.mark.parametrize(("stage", "default", "capped"), [
    ("shadow", 0.05, 0.05), ("canary", 0.05, 0.05), ("ramp_5", 0.1, 0.1), ("ramp_10", 0.2, 0.2), ("ramp_25", 0.5, 0.4),
    ("ramp_50", 1.0, 0.4), ("promoted", 1.0, 0.4)])
def test_lane_share_follows_the_stage_up_to_the_experiments(stage, default, capped):
    def served(config):
        return build_plan(config, [row(stage=stage, config=config)]).surfaces["home"].experiment.lane_share

    assert served(Config(**TREE)) == default
    first = {**TREE["experiments"]["e1"], "lane_share": 0.4}
    assert served(Config(**{**TREE, "experiments": {"e1": first}})) == capped


def test_a_stage_without_a_lane_share_has_the_experiments():
    stages = [{"stage": "canary", "share": 0.01, "lane_share": 0.1}, {"stage": "ramp_50", "share": 0.5}]
    first = {**TREE["experiments"]["e1"], "lane_share": 0.6, "stages": stages}
    config = Config(**{**TREE, "experiments": {"e1": first}})
    plans = [build_plan(config, [row(stage=stage, config=config)]) for stage in ("canary", "ramp_50", "promoted")]
    assert [plan.surfaces["home"].experiment.lane_share for plan in plans] == [0.1, 0.6, 0.6]


@pytest.mark.parametrize("verdict", ["discard", "roll_back", "inconclusive"])
def test_a_lost_experiment_leaves_the_champion_alone(verdict):
    assert build_plan(Config(**TREE), [row(verdict=verdict)]).surfaces["home"].experiment is None


def test_a_promoted_and_ended_candidate_is_the_champion_until_the_configuration_says_so():
    won = row(stage="ended", verdict="promote", ended_at=T0 + timedelta(days=30))
    home = build_plan(Config(**TREE), [won]).surfaces["home"]
    assert (home.champion, home.experiment) == ("new", None)
    later = row("e2", started_at=T0 + timedelta(days=40))
    home = build_plan(Config(**TREE), [won, later]).surfaces["home"]
    assert (home.champion, home.experiment.candidate) == ("new", "newer")
    settled = Config(**{**TREE, "surfaces": {"home": {"champion": "old"}}, "experiments": {}})
    assert build_plan(settled, [won]).surfaces["home"].champion == "old"


def test_a_held_experiment_keeps_its_share():
    experiment = build_plan(Config(**TREE), [row(held=True)]).surfaces["home"].experiment
    assert experiment is not None and experiment.share == 0.1


def test_the_frozen_definition_is_served_and_not_todays_configuration():
    started = row()
    tree = {**TREE, "experiments": {"e1": {"surface": "home", "candidate": "newer", "salt": "other", "holdout": 0.4}}}
    experiment = build_plan(Config(**tree), [started]).surfaces["home"].experiment
    assert (experiment.candidate, experiment.salt, experiment.holdout) == ("new", "e1", 0.1)
    assert experiment.segment == {"country": ["SE"]}


def test_the_first_started_experiment_has_the_surface():
    second = row("e2", started_at=T0 + timedelta(days=1))
    plan = build_plan(Config(**TREE), [second, row()])
    assert plan.surfaces["home"].experiment.name == "e1"
    assert unservable(Config(**TREE), [second, row()]) == {"e2": "surface 'home' is taken by experiment 'e1'"}
    ended = build_plan(Config(**TREE), [second, row(stage="ended")])
    assert ended.surfaces["home"].experiment.name == "e2"


def test_what_is_no_longer_configured_is_left_out_with_the_reason():
    tree = {**TREE, "models": {"old": {"target": "m:old"}}, "experiments": {}}
    config = Config(**tree)
    assert build_plan(config, [row()]).surfaces["home"].experiment is None
    assert unservable(config, [row()]) == {"e1": "candidate 'new' is no longer configured"}
    swapped = Config(**{**TREE, "surfaces": {"home": {"champion": "new"}}, "experiments": {}})
    assert unservable(swapped, [row()]) == {"e1": "candidate 'new' is now the champion of surface 'home'"}


def test_a_policy_that_nobody_registers_any_more_leaves_the_champion_alone_and_the_service_able_to_start():
    gone = row(definition={**frozen_definition(Config(**TREE), "e1"), "policy": "their_own"})
    plan = build_plan(Config(**TREE), [gone])
    assert plan.surfaces["home"].experiment is None and plan.surfaces["home"].champion == "old"
    assert unservable(Config(**TREE), [gone]) == {"e1": "no policy 'their_own' is registered"}


def test_everything_configured_arrives():
    plan = build_plan(Config(**TREE), [], delisted=["late"], groups={"b-red": "b"})
    assert plan.delisted == ["gone", "late"]
    assert plan.groups == {"a-red": "a", "b-red": "b"}
    assert plan.models["old"].options == {"a": 1} and plan.models["old"].name == "old"
    home = plan.surfaces["home"]
    assert (home.pinned[0].position, home.pinned[0].item_id, home.fallback) == (2, "ad", ["f"])
    assert plan.version == 0 and plan.time is None


@settings(deadline=None, max_examples=25)
@given(st.permutations([("e1", 0), ("e2", 1), ("e1b", 2)]))
def test_order_of_rows_does_not_matter(order):
    tree = {**TREE, "experiments": {**TREE["experiments"], "e1b": {"surface": "cart", "candidate": "new"}}}
    config = Config(**tree)
    rows = [row(name, config=config, started_at=T0 + timedelta(days=day)) for name, day in order]
    assert build_plan(config, rows).hash == build_plan(config, sorted(rows, key=lambda r: r.name)).hash
