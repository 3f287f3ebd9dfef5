"""Step the loop: run its jobs once, here and now, in their order. Exists under a replay clock alone.

A replay passes a model day in less than a second, and its schedule counts seconds of ours: so whoever moves the clock
says when the loop shall catch up. Route and loop are in different processes and meet in Control: the one writes what
it asks for under one cursor, the other what it has done under another.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from typing import Any

import msgspec
from fastapi import APIRouter
from msgspec import Struct

from incumbent import logs
from incumbent.clock import Clock
from incumbent.errors import UnavailableError
from incumbent.loop.schedule import Scheduler
from incumbent.stores.store import Control

ASKED, DONE = "step/asked", "step/done"
JOBS = ("seal", "measure", "drift", "expectations", "decide", "act")
POLL_S = 0.02
WAIT_S = 300.0


class JobRun(Struct, frozen=True):
    """How one job of a step went; `error` None where it went well."""

    name: str
    took_s: float | None = None
    error: str | None = None


class Step(Struct, frozen=True):
    """What a step did, under the token that asked for it."""

    token: str
    jobs: list[JobRun] = []


class Stepper:
    """The loop's side, in a thread of its own from `start` until `stopping` is set."""

    def __init__(self, control: Control, scheduler: Scheduler) -> None:
        self._control, self._scheduler = control, scheduler
        self._done = _read(control)

    def start(self, stopping: threading.Event) -> threading.Thread:
        """Take steps every `POLL_S`; join the thread before the stores are closed."""

        def turn() -> None:
            while not stopping.wait(POLL_S):
                try:
                    self.poll()
                except Exception as error:  # Control is busy: the step is asked for still
                    logs.get(__name__).error("a step could not be taken and will be tried again", exc_info=error)

        thread = threading.Thread(target=turn, name="step", daemon=True)
        thread.start()
        return thread

    def poll(self) -> bool:
        """Run all jobs where a step was asked for that is not done; True where it was.

        A job that fails does not keep the others from running; its error is in the answer.
        """
        asked = self._control.cursor(ASKED)
        if asked is None or (self._done is not None and self._done.token == asked):
            return False
        runs = []
        for name in JOBS:
            status = self._scheduler.run_now(name)
            runs.append(JobRun(name, status.took_s, status.error))
        self._done = Step(asked, runs)
        self._control.set_cursor(DONE, msgspec.json.encode(self._done).decode())
        return True


async def step(control: Control, clock: Clock, *, wait_s: float = WAIT_S) -> Step:
    """Ask for a step and wait until it is done; `UnavailableError` where the loop does not answer in time."""
    token = secrets.token_hex(8)
    asked = clock.monotonic()
    until = asked + wait_s
    await asyncio.to_thread(control.set_cursor, ASKED, token)
    while True:
        done = await asyncio.to_thread(_read, control)
        if done is not None and done.token == token:
            return done
        if clock.monotonic() >= until:
            raise UnavailableError("the loop has not done the step", got=f"no answer in {wait_s:g} s",
                                   hint="it goes on where the part `loop` runs: see incumbent_job_runs_total")
        await asyncio.sleep(min(max(POLL_S, (clock.monotonic() - asked) / 20), 0.25))  # a step may take seconds


def routes(control: Control, clock: Clock) -> APIRouter:
    """``POST /v1/loop/run``: include it where ``service.clock`` is ``replay``."""
    router = APIRouter(tags=["replay"])

    @router.post("/v1/loop/run", summary="Seal, measure, judge drift, ask live gates, decide, act; answers once done")
    async def run() -> dict[str, Any]:
        made: dict[str, Any] = msgspec.to_builtins(await step(control, clock))
        return made

    return router


def _read(control: Control) -> Step | None:
    kept = control.cursor(DONE)
    return None if kept is None else msgspec.json.decode(kept, type=Step)
