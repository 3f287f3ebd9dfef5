"""Every story in process, small: the study of benchmarks/demo_stories.py on fewer households."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import pytest

from incumbent.config import load
from incumbent.demo import toml
from incumbent.demo.lists import Lists
from incumbent.demo.settings import STAGES, Size, configuration, experiment

SIZE = Size(shoppers=600, enrol_days=42, days=56)


@pytest.fixture(scope="module")
def journey(journey):
    """A third of the households: a third of the training time."""
    return dataclasses.replace(journey, lines=journey.lines.where(journey.lines.household % 3 == 0))


@pytest.fixture(scope="module")
def study():
    file = Path(__file__).parents[2] / "benchmarks" / "demo_stories.py"
    spec = importlib.util.spec_from_file_location("demo_stories", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo_stories"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["demo_stories"]


def test_a_better_candidate_is_preferred(study, journey):
    result = study.World("cf", 11, SIZE, journey).run()
    assert result.stage == "ramp_50"
    assert result.preference.low > 0, result


def test_a_worse_candidate_is_not_promoted(study, journey):
    result = study.World("worse", 11, SIZE, journey).run()
    assert result.judgement.verdict in ("discard", "roll_back"), result
    assert result.preference.high < 0


def test_twins_are_not_promoted(study, journey):
    result = study.World("twin", 11, SIZE, journey).run()
    assert result.judgement.verdict != "promote", result
    low = result.preference.low
    assert low is None or low < 0 < result.preference.high


def test_identical_lists_stay_in_the_canary(study, journey):
    world = study.World("identical", 11, SIZE, journey)
    result = world.run()
    assert result.stage == "canary"
    assert (result.judgement.verdict, result.judgement.cause) == ("hold", "identical")
    assert "overlap = 1.0" in result.judgement.reason
    assert world.agreed == world.slots > 0
    assert all(unit.x == unit.y == unit.n == 0 for unit in world.units.values())


def test_equal_seeds_tell_equal_stories(study, journey):
    small = Size(shoppers=200, enrol_days=20, days=28)
    assert study.World("cf", 5, small, journey).run() == study.World("cf", 5, small, journey).run()


def test_the_table_counts_outcomes(study, journey):
    small = Size(shoppers=100, enrol_days=5, days=10)
    result = study.World("worse", 5, small, journey).run()
    head, _, line = study.table([result, result]).splitlines()
    cells = dict(zip(head.split("|"), line.split("|"), strict=True))
    assert cells[" seeds "].strip() == "2"
    assert sum(int(cells[f" {name.replace('_', ' ').upper()} "]) for name in study.OUTCOMES) == 2


def test_the_configuration_is_whole_and_reads_back(tmp_path):
    lists = (Lists("popular", [[]], {}), Lists("cf", [["user"]], {}))
    config = configuration("cf", 3, *lists, Size(), directory=str(tmp_path / "data"), port=8005)
    file = tmp_path / "incumbent.toml"
    file.write_text(toml.dumps(config.model_dump(mode="json", exclude_defaults=True, exclude_none=True)))
    assert load(file) == config
    assert config.experiments["cf"] == experiment("cf", 3, "cf", Size())
    assert [stage.share for stage in STAGES] == [0.0, 0.01, 0.1, 0.5]
