"""schedule: run the loop's jobs at their intervals, each on its own, so that none waits for another or falls with it.

Intervals are counted on `Clock.monotonic`: seconds of ours, also under a replay clock, whose days last minutes; a
machine clock that steps back delays nothing. What a job *reads* as now is the business clock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from incumbent import logs
from incumbent.clock import Clock
from incumbent.errors import DataError

MAX_BACKOFF_S = 300.0
_log = logs.get(__name__)


@dataclass(frozen=True)
class Job:
    """Something to be done every `every_s` seconds, counted from the end of one run to the start of the next.

    `run` is called without arguments. It takes its own lease where only one process may do it, and returns without
    having done anything where it does not get it. `first_s` delays the first run.
    """

    name: str
    run: Callable[[], Any]
    every_s: float
    first_s: float = 0.0


class JobStatus(Struct, frozen=True):
    """How a job fares: for metrics, `/readyz` and the page."""

    name: str
    runs: int = 0
    failures: int = 0  # of all runs
    failing: int = 0  # failures in a row; 0 = the last run was well
    error: str | None = None  # of the last run
    took_s: float | None = None  # the last run
    due: float = 0.0  # on the monotonic clock
    running: bool = False


@dataclass
class _Entry:
    job: Job
    status: JobStatus
    lock: threading.Lock = field(default_factory=threading.Lock)  # held while the job runs


class Scheduler:
    """Runs jobs. `start` gives each a thread; `tick` runs what is due here and now, in order, for simulations.

    A job that raises is logged, counted and tried again after its interval doubled per failure in a row, at most five
    minutes (or its interval, where that is longer). A job never runs twice at a time. `stop` lets running jobs finish.

    >>> from incumbent.clock import EPOCH, ManualClock
    >>> clock, done = ManualClock(EPOCH), []
    >>> scheduler = Scheduler([Job("seal", lambda: done.append("seal"), every_s=15)], clock)
    >>> scheduler.tick(), clock.advance(seconds=14), scheduler.tick(), clock.advance(seconds=1), scheduler.tick()
    (['seal'], None, [], None, ['seal'])
    """

    def __init__(self, jobs: Iterable[Job], clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        started = clock.monotonic()
        for job in jobs:
            if not job.every_s > 0 or job.name in self._entries:
                raise DataError("a job needs a name of its own and an interval above 0", got=(job.name, job.every_s))
            self._entries[job.name] = _Entry(job, JobStatus(job.name, due=started + job.first_s))
        self._stop = threading.Event()
        self._wake = {name: threading.Event() for name in self._entries}
        self._threads: list[threading.Thread] = []

    # -------------------------------------------------------------------------------------------- in this thread
    def tick(self) -> list[str]:
        """Run every job that is due, in the order in which they were given; their names."""
        now = self._clock.monotonic()
        due = [entry for entry in self._entries.values() if entry.status.due <= now]
        for entry in due:
            self._run(entry)
        return [entry.job.name for entry in due]

    def run_now(self, name: str) -> JobStatus:
        """Run one job here and now (after a run of it that is under way), whatever is due."""
        entry = self._entries[name]
        self._run(entry)
        return entry.status

    # ------------------------------------------------------------------------------------------------ in threads
    def start(self) -> None:
        """Start a thread per job."""
        for entry in self._entries.values():
            thread = threading.Thread(target=self._loop, args=(entry,), name=f"job-{entry.job.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self, name: str) -> None:
        """Run a job soon in its own thread, whenever it is due; once more after a run that is under way."""
        self._wake[name].set()

    def stop(self, timeout_s: float = 10.0) -> list[str]:
        """Start nothing more, let running jobs finish, and wait so long for them; names of those still at it."""
        self._stop.set()
        for event in self._wake.values():
            event.set()
        until = self._clock.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - self._clock.monotonic()))
        return [thread.name.removeprefix("job-") for thread in self._threads if thread.is_alive()]

    def status(self) -> list[JobStatus]:
        """How each job fares."""
        return [replace(entry.status, running=entry.lock.locked()) for entry in self._entries.values()]

    def _loop(self, entry: _Entry) -> None:
        wake = self._wake[entry.job.name]
        while not self._stop.is_set():
            woken = wake.wait(max(0.0, entry.status.due - self._clock.monotonic()))
            wake.clear()
            if self._stop.is_set():
                return
            if woken or entry.status.due <= self._clock.monotonic():
                self._run(entry)

    def _run(self, entry: _Entry) -> None:
        with entry.lock:
            job, before = entry.job, entry.status
            began, error = self._clock.monotonic(), None
            try:
                job.run()
            except Exception as raised:  # a job's failure is its own
                error = f"{type(raised).__name__}: {raised}"
                _log.error("a job failed and will be tried again", job=job.name, failing=before.failing + 1,
                           exc_info=raised)
            ended = self._clock.monotonic()
            failing = before.failing + 1 if error else 0
            entry.status = JobStatus(
                job.name, before.runs + 1, before.failures + bool(error), failing, error, ended - began,
                ended + _pause(job.every_s, failing))


def _pause(every_s: float, failing: int) -> float:
    """Seconds to the next run: the interval, doubled per failure in a row, up to the limit.

    >>> [_pause(15, failing) for failing in (0, 1, 2, 9)], _pause(3600, 9)
    ([15, 30, 60, 300.0], 3600)
    """
    doubled: float = every_s * 2 ** min(failing, 30)
    return max(every_s, min(doubled, MAX_BACKOFF_S))
