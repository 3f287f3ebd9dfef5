"""The laws of baselines can fail: a Control with one planted mistake each is caught by the law that is about it."""

import pytest

from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_log import MemoryLog
from incumbent.stores.store import Stores
from incumbent.testing.checks.stores import SUITE


class Overwriting(MemoryControl):
    def add_parts(self, name, version, parts):
        self._baseline_parts[name, version].update({(one.stream, one.part): one for one in parts})


class Unnumbered(MemoryControl):
    def put_baseline(self, row, parts):
        self._baselines = {key: kept for key, kept in self._baselines.items() if key[0] != row.name}
        return super().put_baseline(row, parts)


class Mixing(MemoryControl):
    def baseline_parts(self, name, version, stream=None, part=None):
        return super().baseline_parts(name, version, None, part)


class Oldest(MemoryControl):
    def baseline(self, name, version=None):
        return super().baseline(name, version or 1)


FAULTS = {Overwriting: "parts_are_written_once", Unnumbered: "a_name_counts_its_versions",
          Mixing: "a_baseline_is_kept_with_its_parts", Oldest: "a_name_counts_its_versions"}


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_a_planted_mistake_is_caught(kind):
    def open_stores(config, clock, *, role="loop"):
        return Stores(MemoryLog(clock), None, kind())

    cases = [case for case in SUITE.cases_of("broken", open_stores) if "baseline" in case.law.name
             or case.law.name in FAULTS.values()]
    assert FAULTS[kind] in {result.law for result in (case.run() for case in cases) if not result.ok}
