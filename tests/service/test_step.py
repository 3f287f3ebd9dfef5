"""A step runs every job once, in order, for the token that asked."""

from __future__ import annotations

import asyncio
import threading

import pytest

from incumbent.clock import EPOCH, ManualClock, SystemClock
from incumbent.errors import UnavailableError
from incumbent.loop.schedule import Job, Scheduler
from incumbent.service.step import Stepper, step


class Cursors:
    """The two verbs of Control that a step needs."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def cursor(self, name):
        return self.kept.get(name)

    def set_cursor(self, name, value):
        self.kept[name] = value


def made(done: list[str], failing: str | None = None):
    def job(name):
        def run():
            done.append(name)
            if name == failing:
                raise OSError("disk full")
        return Job(name, run, every_s=1e6, first_s=1e6)

    control = Cursors()
    jobs = [job(name) for name in ("house", "act", "seal", "decide", "drift", "expectations", "measure")]
    scheduler = Scheduler(jobs, ManualClock(EPOCH))
    return control, Stepper(control, scheduler)


def ask(control, stepper):
    stop = threading.Event()
    thread = stepper.start(stop)
    try:
        return asyncio.run(step(control, SystemClock(), wait_s=10))
    finally:
        stop.set()
        thread.join()


def test_every_job_runs_once_in_order_and_the_step_is_answered():
    done: list[str] = []
    control, stepper = made(done)
    assert not stepper.poll()
    first, second = ask(control, stepper), ask(control, stepper)
    assert done == ["seal", "measure", "drift", "expectations", "decide", "act"] * 2
    assert first.token != second.token
    assert [run.error for run in first.jobs] == [None] * 6


def test_a_job_that_fails_is_named_and_the_others_run():
    done: list[str] = []
    control, stepper = made(done, failing="measure")
    answer = ask(control, stepper)
    assert done == ["seal", "measure", "drift", "expectations", "decide", "act"]
    assert {run.name: run.error for run in answer.jobs}["measure"] == "OSError: disk full"


def test_a_loop_that_starts_again_does_not_repeat_a_step_that_was_done():
    done: list[str] = []
    control, stepper = made(done)
    ask(control, stepper)
    _, again = made(done)
    again = Stepper(control, again._scheduler)
    assert not again.poll()


def test_without_a_loop_the_route_says_so():
    with pytest.raises(UnavailableError, match=r"has not done the step.*where the part `loop` runs"):
        asyncio.run(step(Cursors(), SystemClock(), wait_s=0.05))
