"""The workers of benchmarks/_peers.py: an answer, a failure that is said, a method that is stopped, a peer that is not there."""  # noqa: E501

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def peers():
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("_peers", FOLDER / "_peers.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(FOLDER))


def files(folder, shift):
    rng = np.random.default_rng(1)
    for name, rows in (("base", rng.normal(size=(300, 4))), ("now", rng.normal(size=(200, 4)) + shift)):
        np.savez(folder / f"{name}.npz", vectors=rows)
    return folder / "base.npz", folder / "now.npz"


def test_a_worker_answers_and_says_what_failed(peers, tmp_path):
    peer = peers.Peer("scipy", None, limit_s=60)
    try:
        assert peer.ask("KS", *files(tmp_path, 0.0))["drift"] is False
        assert peer.ask("KS", *files(tmp_path, 1.0))["drift"] is True
        assert peer.ask("Wasserstein", *files(tmp_path, 1.0))["score"] == pytest.approx(1.0, abs=0.3)
        assert peer.ask("no such", *files(tmp_path, 0.0)) == {"error": "KeyError: 'no such'"}
    finally:
        peer.close()


def test_a_method_over_its_limit_is_stopped_and_the_next_gets_a_new_worker(peers, tmp_path):
    peer = peers.Peer("scipy", None, limit_s=0.0)
    try:
        assert "stopped after 0 s" in peer.ask("KS", *files(tmp_path, 0.0))["error"]
        peer.limit_s = 60
        assert peer.ask("KS", *files(tmp_path, 1.0))["drift"] is True
    finally:
        peer.close()


def test_a_peer_that_is_not_there_is_a_row(peers, tmp_path):
    found = peers.peers(tmp_path, limit_s=1, packages=["river"])
    assert {peer.ask(method, tmp_path, tmp_path)["error"] for (_, method), peer in found.items()} == {"not installed"}
