"""Peers for the benchmarks: each in an environment of its own, asked over a pipe, stopped when it takes too long.

``--peers DIR`` (or the variable INCUMBENT_PEERS) names a folder with one virtual environment per package:

    for p in evidently alibi-detect nannyml frouros river; do
        python -m venv DIR/$p && DIR/$p/bin/pip install $p; done
    DIR/evidently/bin/pip install "pandas<3"     # with pandas 3 it does not import

scipy needs none: it runs on this interpreter. What is not there is a row that says so.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from _peer_worker import METHODS

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "LOKY_MAX_CPU_COUNT")


def argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--peers`` to a benchmark."""
    parser.add_argument("--peers", type=Path, default=os.environ.get("INCUMBENT_PEERS"), metavar="DIR",
                        help="a folder with one virtual environment per package; default $INCUMBENT_PEERS")


PATIENCE = 20  # a machine with other work gives a peer's CPU seconds slowly


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far; where the system does not say, the clock stands in."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.monotonic()


class Peer:
    """One package's worker: started when first asked, and again after a request that took `limit_s` of CPU."""

    def __init__(self, package: str, folder: Path | None, *, limit_s: float, memory_gb: float = 10.0) -> None:
        self.package, self.limit_s, self.memory_gb = package, limit_s, memory_gb
        python = Path(sys.executable) if package == "scipy" else Path(folder or ".") / package / "bin" / "python"
        self.python = python if package == "scipy" or (folder is not None and python.exists()) else None
        self._process: subprocess.Popen[str] | None = None

    def ask(self, method: str, baseline: Path, current: Path) -> dict[str, Any]:
        """``drift``, ``score`` and ``cpu_s``, or ``error``."""
        if self.python is None:
            return {"error": "not installed"}
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        try:
            asked = {"method": method, "baseline": str(baseline), "current": str(current)}
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            return self._gone("it does not start")
        used, waited = cpu_s(process.pid), time.monotonic()
        while not select.select([process.stdout], [], [], 0.5)[0]:
            if cpu_s(process.pid) - used > self.limit_s or time.monotonic() - waited > PATIENCE * self.limit_s:
                return self._gone(f"stopped after {self.limit_s:g} s of CPU")
        line = process.stdout.readline()
        return json.loads(line) if line else self._gone("it died: out of memory?")

    def close(self) -> None:
        """End the worker."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _gone(self, why: str) -> dict[str, Any]:
        self.close()
        return {"error": why}

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            worker = Path(__file__).with_name("_peer_worker.py")
            self._process = subprocess.Popen(
                [str(self.python), str(worker), self.package, str(self.memory_gb)], text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=os.environ | dict.fromkeys(THREADS, "1"))
        return self._process


def peers(folder: Path | None, *, limit_s: float, packages: list[str] | None = None) -> dict[tuple[str, str], Peer]:
    """Every (package, method) with the worker that serves it."""
    found = {package: Peer(package, folder, limit_s=limit_s) for package in packages or METHODS}
    return {(package, method): peer for package, peer in found.items() for method in METHODS[package]}
