"""The contract suite of detectors: all registered ones hold, and broken ones break the law they should."""

from __future__ import annotations

import msgspec
import pytest

from incumbent.drift.alarm import embedding
from incumbent.drift.detector import Result
from incumbent.drift.risk import BoundedRisk
from incumbent.testing.checks.detectors import SUITE
from incumbent.testing.drift_detectors import Blind


@pytest.mark.parametrize("case", SUITE.cases(), ids=str)
def test_contract(case):
    case.check()


def broken(factory):
    return {case.law.name for case in SUITE.cases_of("broken", factory) if not case.run().ok}


class Tagged(Blind):
    tags = frozenset({"two_sample", "calibrated", "sees"})


def test_who_always_fires_keeps_no_promise_and_who_never_does_sees_nothing():
    always, never = lambda: Tagged("always", True), lambda: Tagged("never", False)
    always.tags = never.tags = Tagged.tags
    assert broken(always) == {"keeps_its_promise"}
    assert broken(never) == {"sees_its_own_drift"}


class Forgetful(BoundedRisk):
    """Changes the memory in place, and says nothing."""

    def step(self, current, reference, memory):
        memory = memory if memory is not None else {"seen": 0}
        memory["seen"] += 1
        return Result(status="drift" if memory["seen"] > 3 else "ok", reason=" ", p_value=0.0), memory


def test_memory_changed_in_place_is_found():
    found = broken(Forgetful)
    assert {"is_pure", "results_are_sound", "nothing_is_no_data", "few_windows_are_said",
            "foreign_windows_are_invalid"} <= found


def test_a_result_is_plain_evidence():
    result = Result(status="drift", reason="r", e_value=float("inf"))
    assert msgspec.json.decode(msgspec.json.encode(result.evidence()))["e_value"] > 1e308
    assert embedding(alpha=0.01).hash != embedding().hash
