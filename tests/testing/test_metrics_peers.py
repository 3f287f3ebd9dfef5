"""The sides of benchmarks/metrics.py: what is written by hand agrees with the library, a peer that fails is a row."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("benchmark_of_metrics", FOLDER / "metrics.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(FOLDER))


def test_arithmetic_by_hand_has_our_values(bench):
    tables = bench.make(500)
    assert bench.PEERS["plain"][1](tables, bench.SIX) == pytest.approx(bench.ours(tables, bench.SIX), abs=1e-12)


def test_polars_by_hand_has_our_values(bench):
    pytest.importorskip("polars")
    tables = bench.make(500)
    for names in (bench.SIX, bench.BEYOND):
        assert bench.PEERS["polars"][1](tables, names) == pytest.approx(bench.ours(tables, names), abs=1e-9)


def test_a_peer_that_is_not_there_or_takes_too_long_is_told(bench):
    options = SimpleNamespace(python=[], memory=14, limit=600)
    assert bench.asked("plain", bench.SIX, 50, 1, options)["values"].keys() == set(bench.SIX)
    assert bench.asked("evidently", bench.SIX, 50, 1, options) == "not installed"
    assert bench.asked("plain", bench.SIX, 50, 1, SimpleNamespace(python=[], memory=14, limit=0)) == (
        "stopped after 0 CPU s")
