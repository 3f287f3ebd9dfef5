"""The scheduler: intervals, isolation, back-off, and a stop that lets work finish."""

from __future__ import annotations

import threading
import time

import pytest

from incumbent.clock import EPOCH, ManualClock, SystemClock
from incumbent.errors import DataError
from incumbent.loop.schedule import Job, Scheduler


def counted(name, every_s, calls, fail=lambda n: False, **kwargs):
    def run():
        calls.append(name)
        if fail(len(calls)):
            raise RuntimeError(f"{name} broke")

    return Job(name, run, every_s, **kwargs)


def test_intervals_and_order():
    clock, calls = ManualClock(EPOCH), []
    scheduler = Scheduler([counted("seal", 15, calls), counted("act", 1, calls), counted("compact", 3600, calls,
                                                                                         first_s=3600)], clock)
    assert scheduler.tick() == ["seal", "act"]
    for _ in range(15):
        clock.advance(seconds=1)
        scheduler.tick()
    assert calls.count("act") == 16 and calls.count("seal") == 2 and "compact" not in calls


def test_a_clock_that_steps_back_delays_nothing():
    clock, calls = ManualClock(EPOCH), []
    scheduler = Scheduler([counted("act", 10, calls)], clock)
    scheduler.tick()
    clock.advance(seconds=-3600)
    clock.advance(seconds=10)
    assert scheduler.tick() == ["act"]


def test_a_job_that_fails_backs_off_alone_and_recovers():
    clock, bad, good = ManualClock(EPOCH), [], []
    scheduler = Scheduler([counted("bad", 10, bad, fail=lambda n: n <= 3), counted("good", 10, good)], clock)
    at = []
    for second in range(121):
        before = len(bad)
        scheduler.tick()
        if len(bad) > before:
            at.append(second)
        clock.advance(seconds=1)
    assert at == [0, 20, 60]  # the interval doubles: 20, 40, 80
    assert len(good) == 13
    status = {each.name: each for each in scheduler.status()}
    assert (status["bad"].failures, status["bad"].failing, status["bad"].error) == (3, 3, "RuntimeError: bad broke")
    clock.advance(seconds=20)
    scheduler.tick()
    recovered = next(each for each in scheduler.status() if each.name == "bad")
    assert (recovered.runs, recovered.failing, recovered.error) == (4, 0, None)


def test_threads_isolate_a_slow_job_and_stop_lets_it_finish():
    release, finished, quick = threading.Event(), [], []

    def slow():
        release.wait(5)
        finished.append(True)

    scheduler = Scheduler([Job("slow", slow, 0.01), counted("quick", 0.01, quick)], SystemClock())
    scheduler.start()
    deadline = time.monotonic() + 5
    while len(quick) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(quick) >= 5 and not finished
    assert next(each for each in scheduler.status() if each.name == "slow").running
    assert scheduler.stop(timeout_s=0.05) == ["slow"]
    release.set()
    assert scheduler.stop(timeout_s=5) == []
    assert finished == [True]
    after = len(quick)
    time.sleep(0.05)
    assert len(quick) == after


def test_wake_runs_a_job_before_it_is_due():
    ran = threading.Event()
    calls = []

    def run():
        calls.append(1)
        ran.set()

    scheduler = Scheduler([Job("act", run, 3600)], SystemClock())
    scheduler.start()
    assert ran.wait(5)
    ran.clear()
    scheduler.wake("act")
    assert ran.wait(5)
    assert scheduler.stop(5) == [] and len(calls) == 2


def test_run_now():
    clock, calls = ManualClock(EPOCH), []
    scheduler = Scheduler([counted("seal", 15, calls, first_s=99)], clock)
    assert scheduler.run_now("seal").runs == 1
    assert calls == ["seal"]


@pytest.mark.parametrize("jobs", [[Job("a", print, 0)], [Job("a", print, 1), Job("a", print, 1)]])
def test_senseless_jobs_are_refused(jobs):
    with pytest.raises(DataError):
        Scheduler(jobs, ManualClock(EPOCH))
