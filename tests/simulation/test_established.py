"""A shop whose shoppers are all known from the first day: a lane that widens leaves some for every rung."""

from __future__ import annotations

import numpy as np
import pytest

from incumbent.config import DEFAULT_STAGES, ExperimentConfig, GuardrailConfig
from incumbent.experiments.rules import Sequential
from incumbent.testing.life import Life, live
from incumbent.testing.world import Shop, World

SEED = 615_203_388
EVERYBODY_AT_ONCE = tuple(stage.model_copy(update={"lane_share": None}) for stage in DEFAULT_STAGES)
#: nobody arrives after the first day; a shopper comes twice in five days
ESTABLISHED = {"users": 6_000, "arrival_days": 1, "heterogeneity": 0.5}


def run(stages, seed: int, days: int = 91, **shop) -> Life:
    config = ExperimentConfig(
        surface="home", candidate="new", max_days=90, stages=stages,
        guardrails=(GuardrailConfig(metric="revenue_per_user_day", margin=0.25, required=False),))
    life = live(World(Shop(**ESTABLISHED, **shop), np.random.default_rng([SEED, seed])), config, Sequential(),
                days=days)
    print(f"{life.verdict.upper()} ({life.cause}) in {life.stage}, day {life.days}, {life.stages}: {life.reason}")
    return life


def decisive(life: Life) -> int:
    return life.evidence.preference.units if life.stage == "ramp_50" else 0


@pytest.mark.parametrize("seed", [1, 2])
def test_the_default_ramp_leaves_enough_shoppers_for_the_rung_that_decides(seed):
    life = run(DEFAULT_STAGES, seed, effect=0.30)
    assert (life.verdict, life.stage) == ("promote", "ramp_50")
    assert decisive(life) >= 500
    assert life.stages["ramp_50"] <= 42


@pytest.mark.parametrize("seed", [1, 2])
def test_with_everybody_in_the_lane_from_the_start_there_are_none(seed):
    life = run(EVERYBODY_AT_ONCE, seed, effect=0.30)
    assert (life.verdict, life.cause) == ("inconclusive", "max_days")
    assert decisive(life) == 0


def test_the_rungs_meet_what_the_lane_shares_say():
    """4.5, 4.5, 9, 27 and 45 % of the shoppers, less those who do not come while a rung lasts."""
    life = run(DEFAULT_STAGES, 3, days=80)
    check = next(check for check in life.evidence.checks if check.name == "sample_ratio")
    assert check.status == "ok"
    met = {stage: found["users"].get("interleave", 0) for stage, found in check.numbers["stages"].items()}
    print(met)
    for stage, part in (("ramp_5", 0.045), ("ramp_10", 0.09), ("ramp_25", 0.27), ("ramp_50", 0.45)):
        assert 0.75 * part * 6_000 < met[stage] <= 1.12 * part * 6_000
    assert sum(met.values()) <= 0.92 * 6_000
