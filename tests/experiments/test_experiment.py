"""The stages of an experiment and the steps between them."""

from __future__ import annotations

import pytest

from incumbent.config import ExperimentConfig, StageConfig
from incumbent.errors import ConflictError, DataError
from incumbent.experiments import experiment as life

CONFIG = ExperimentConfig(surface="home", candidate="cf")


def test_the_whole_climb():
    stage, seen = life.first_stage(CONFIG), []
    while life.next_stage(CONFIG, stage):
        seen.append((stage, life.share_of(CONFIG, stage)))
        stage = life.after(CONFIG, stage, "advance")
    assert seen == [("shadow", 0.0), ("canary", 0.01), ("ramp_5", 0.05), ("ramp_10", 0.1), ("ramp_25", 0.25)]
    assert stage == "ramp_50"
    assert life.after(CONFIG, stage, "promote") == "promoted"
    assert life.share_of(CONFIG, "promoted") == 0.95
    assert life.after(CONFIG, "promoted", "promote") == "ended"


def test_a_shorter_ramp_skips_rungs():
    config = ExperimentConfig(surface="home", candidate="cf", stages=(
        StageConfig(stage="canary", share=0.02), StageConfig(stage="ramp_50", share=0.4)))
    assert life.first_stage(config) == "canary"
    assert life.next_stage(config, "canary") == "ramp_50"
    assert life.share_of(config, "ramp_50") == 0.4
    assert life.next_stage(config, "ramp_10") is None


@pytest.mark.parametrize("verdict", ["discard", "roll_back", "inconclusive"])
@pytest.mark.parametrize("stage", ["canary", "ramp_50", "promoted"])
def test_what_ends_an_experiment(stage, verdict):
    assert life.after(CONFIG, stage, verdict) == "ended"


@pytest.mark.parametrize("verdict", ["hold", "start"])
def test_what_leaves_it_where_it_is(verdict):
    assert life.after(CONFIG, "ramp_10", verdict) == "ramp_10"


def test_no_rung_above_the_top():
    with pytest.raises(DataError, match="no rung above"):
        life.after(CONFIG, "ramp_50", "advance")


@pytest.mark.parametrize(("stage", "held", "step"), [
    (None, False, "hold"), ("canary", False, "start"), ("canary", False, "resume"), ("canary", True, "hold"),
    ("shadow", False, "promote"), ("promoted", False, "discard"), ("ended", False, "promote"),
])
def test_refused_steps_name_what_is_allowed(stage, held, step):
    with pytest.raises(ConflictError) as error:
        life.require(step, "ranker", stage, held=held)
    for allowed in life.steps(stage, held=held):
        assert allowed in error.value.expected


def test_every_allowed_step_passes():
    for stage in (None, *life.RAMP, "promoted", "ended"):
        for held in (False, True):
            for step in life.steps(stage, held=held):
                life.require(step, "ranker", stage, held=held)
