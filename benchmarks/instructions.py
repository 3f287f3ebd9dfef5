"""What serving costs beside a bare handler, in instructions: a count that a busy neighbour does not change.

    python benchmarks/instructions.py [--requests 800]

Both are counted by valgrind's callgrind in a process of its own that feeds uvicorn's protocol as 16 connections would,
without sockets: the bare handler of `recommendations.py`, and ours with its two local models, two lists of 20, a page
of 10 and an experiment at 50 %, bounded delay. The impression is made and encoded; the log's thread is left out.
Starting and warming up are not counted. Where valgrind is not installed, nothing is measured, and the output says so.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn
from recommendations import BARE, MODELS, maker
from uvicorn.server import ServerState

CONNECTIONS = 16
WARM = 20  # requests a connection


class Wire(asyncio.Transport):
    """A transport that keeps what was written last and sends it to nobody."""

    last = b""

    def write(self, data: Any) -> None:
        self.last = data

    def is_closing(self) -> bool:
        return False


def bare() -> uvicorn.Config:
    """The least that a server in Python does: decode, answer."""
    made: dict[str, Any] = {}
    exec(BARE, made)
    return uvicorn.Config(made["app"], loop="uvloop", http="httptools", ws="none", lifespan="off", access_log=False,
                          log_config=None, proxy_headers=False, server_header=False)


def ours() -> uvicorn.Config:
    """The recommendation route of a gateway, as `incumbent serve` runs it."""
    from incumbent.clock import SystemClock
    from incumbent.config import Config
    from incumbent.events.ids import EventIds, Signer
    from incumbent.events.plan import ExperimentPlan, ModelPlan, ServingPlan, SurfacePlan
    from incumbent.loop.serve import Gateway
    from incumbent.models.callable import CallableModel
    from incumbent.models.guard import Guarded
    from incumbent.service.auth import Keys
    from incumbent.service.metrics import Meter
    from incumbent.service.origin import Sites
    from incumbent.service.recommendations import Recommendations
    from incumbent.service.run import server_of
    from incumbent.service.shim import Route, Shim

    made: dict[str, Any] = {}
    exec(MODELS, made)
    meter = Meter(None, "front", clock := SystemClock())
    log: Any = SimpleNamespace(error=None, post=lambda *_, **__: None)  # impressions come to it encoded
    gateway = Gateway(log, clock=clock, ids=EventIds(clock), signer=Signer(b"s" * 40), observe=meter.impression)
    models = {name: ModelPlan(name, "callable", "x:y", "1", local=True) for name in ("old", "new")}
    experiment = ExperimentPlan("bench", "new", "salt", "ramp_50", 0.5, holdout=0.0)
    home = SurfacePlan("home", "old", experiment, depth=20, deadline_ms=1000)
    gateway.use(ServingPlan(version=1, time=None, models=models, surfaces={"home": home}),
                {name: Guarded(plan, CallableModel(plan, made[name]), clock) for name, plan in models.items()})

    route = Route(Recommendations(gateway), "serve", "recommendations")
    return server_of(Shim({"/v1/recommendations": route}, None, keys=Keys({}), meter=meter,  # type: ignore[arg-type]
                          clock=clock, sites=Sites("127.0.0.1", [], open=True), body_bytes=1 << 20), Config()).config


SUBJECTS = {"bare": bare, "ours": ours}


def counted() -> None:
    """From here on callgrind counts this process."""
    subprocess.run(["callgrind_control", "--instr=on", str(os.getpid())], check=True, capture_output=True)


async def feed(config: uvicorn.Config, rounds: int, make: Callable[[], bytes]) -> None:
    """Warm up, have callgrind count, and send every connection so many requests, each when all were answered."""
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"Sun, 22 Nov 2026 11:26:55 GMT")]
    for line in (lines := [config.http_protocol_class(config, state, {}) for _ in range(CONNECTIONS)]):  # type: ignore
        line.connection_made(Wire())
    for done in range(WARM + rounds):
        if done == WARM:
            counted()
        for line in lines:
            line.data_received(make())
        while state.tasks:  # noqa: ASYNC110 (a waiter would be counted too)
            await asyncio.sleep(0)
    assert b'{"' in lines[0].transport.last, lines[0].transport.last
    os._exit(0)  # what an interpreter does at its end is no request


def count(subject: str, rounds: int) -> float:
    """Instructions of one request."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={Path(folder) / 'out'}",
             sys.executable, __file__, "--inside", subject, "--requests", str(rounds * CONNECTIONS)],
            env=os.environ | {"PYTHONHASHSEED": "0"}, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{subject}: callgrind counted nothing\n{done.stderr[-2000:]}")
    return int(found[1]) / (rounds * CONNECTIONS)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=800)
    parser.add_argument("--inside", choices=SUBJECTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rounds = max(1, options.requests // CONNECTIONS)
    if options.inside:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(feed(SUBJECTS[options.inside](), rounds, maker()))
    if shutil.which("valgrind") is None or shutil.which("callgrind_control") is None:
        print("skipped: valgrind is not installed (apt install valgrind)")
        return 0
    print(f"{'server':<8}{'instructions a request':>24}{'/ bare':>9}")
    counts: dict[str, float] = {}
    for subject in SUBJECTS:
        counts[subject] = count(subject, rounds)
        print(f"{subject:<8}{counts[subject]:>24,.0f}{counts[subject] / counts['bare']:>8.2f}x", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
