"""The hash of a plan: the same for equal content, another for any change, and stable over releases."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import msgspec
import pytest

from incumbent.events.plan import ExperimentPlan, ModelPlan, PinnedSlot, ServingPlan, SurfacePlan

EXPERIMENT = ExperimentPlan(name="first", candidate="similar", salt="s", stage="canary", share=0.01)
SURFACE = SurfacePlan(name="home", champion="popular", experiment=EXPERIMENT, pinned=[PinnedSlot(1, "i9")])
MODELS = {name: ModelPlan(name=name, adapter="callable", target="m:f", version="1") for name in ("popular", "similar")}
PLAN = ServingPlan(version=3, time=datetime(2026, 1, 1, tzinfo=UTC), surfaces={"home": SURFACE}, models=MODELS)


def with_experiment(**changes):
    return msgspec.structs.replace(SURFACE, experiment=msgspec.structs.replace(EXPERIMENT, **changes))


def test_version_time_and_the_order_of_keys_do_not_count():
    other = ServingPlan(version=9, time=None, surfaces={"home": SURFACE}, models=dict(reversed(MODELS.items())))
    assert other.hash == PLAN.hash and len(PLAN.hash) == 16


@pytest.mark.parametrize("changed", [
    {"delisted": ["i1"]}, {"groups": {"a": "g"}}, {"models": {"popular": MODELS["popular"]}},
    {"surfaces": {"home": msgspec.structs.replace(SURFACE, depth=100)}},
    {"surfaces": {"home": msgspec.structs.replace(SURFACE, pinned=[PinnedSlot(2, "i9")])}},
    {"surfaces": {"home": with_experiment(share=0.05)}}, {"surfaces": {"home": with_experiment(salt="t")}},
])
def test_any_change_is_another_plan(changed):
    assert msgspec.structs.replace(PLAN, **changed).hash != PLAN.hash


def test_it_survives_json_and_messagepack():
    for codec in (msgspec.json, msgspec.msgpack):
        again = codec.decode(codec.encode(PLAN), type=ServingPlan)
        assert again == PLAN and again.hash == PLAN.hash


def test_it_is_the_same_in_every_process_and_release():
    code = ("from incumbent.events.plan import *\n"
            "print(ServingPlan(version=1, time=None, surfaces={}, models={}).hash)")
    runs = {subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True,
                           check=True).stdout.strip() for seed in ("1", "2")}
    assert runs == {"b38da5f83cddd4bb"}  # a new default must not change it: old impressions name plans by hash
