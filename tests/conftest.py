"""The whole suite on two cores: long files first, one thread a process, no collector of cycles over what stays."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # read by NumPy and Arrow as they load, here and in processes
    os.environ.setdefault(name, "1")

settings.register_profile("suite", max_examples=60, deadline=None)  # of tests that do not say how many they need
settings.load_profile("suite")

#: files that take longest, the longest first: a worker that meets one at the end keeps the other waiting
LONGEST = (
    "simulation/test_deterministic.py", "crash/test_kill_http.py", "e2e/test_serve.py", "crash/test_kill.py",
    "demo/test_demo_run.py", "stores/test_lake_laws.py", "dashboard/test_browser.py", "simulation/test_aa_worlds.py",
    "testing/test_armed.py", "loop/test_attribute.py", "loop/test_mature.py", "loop/test_decide.py",
    "docs/test_examples.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, the rest as it was; `make test` tells xdist to keep this order."""
    rank = {name: at for at, name in enumerate(LONGEST)}

    def place(item: pytest.Item) -> int:
        return rank.get("/".join(item.path.parts[-2:]), len(rank))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Modules and tests stay until the end: leave them out of every later collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
