"""The loop process: seal, measure, judge, decide, act and keep house, each on its own schedule, until told to stop."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.errors import StoreError
from incumbent.events.ids import EventIds
from incumbent.events.window import day_of
from incumbent.logs import get
from incumbent.loop import erase
from incumbent.loop.act import Actor, Errands
from incumbent.loop.attribute import Attributor, read_cursor
from incumbent.loop.catalogue import Cataloguer, current_plan
from incumbent.loop.decide import Decider, unjudgeable
from incumbent.loop.definitions import definitions
from incumbent.loop.door import quarantine
from incumbent.loop.door.states import DoorStates
from incumbent.loop.door.watch import DoorWatch
from incumbent.loop.drift.job import DriftJob
from incumbent.loop.erase import Eraser, subject_of
from incumbent.loop.evaluation.expectations import Expectations
from incumbent.loop.generated.states import TextStates
from incumbent.loop.live import LiveTally
from incumbent.loop.mature import Maturer, expire_units
from incumbent.loop.metrics.states import MetricStates
from incumbent.loop.metrics.watch import MetricWatch
from incumbent.loop.plan import unservable
from incumbent.loop.rollup import Rollup
from incumbent.loop.schedule import Job, Scheduler
from incumbent.loop.seal import Sealer
from incumbent.service import health
from incumbent.service.auth import signing_secret
from incumbent.service.metrics import Meter
from incumbent.service.parts import Assignment, open_stores
from incumbent.service.run import tell, watch_parent
from incumbent.service.step import Stepper
from incumbent.stores.store import Stores

FOREVER_S = 3650 * 86_400.0  # a lease under a replay clock, whose days pass in seconds


class Looper:
    """The jobs of one loop process over one set of stores.

    `holder` is the same after a restart, so that leases of a process that was killed do not keep the next one waiting:
    one loop runs on a directory, and its claim says so.
    """

    def __init__(self, config: Config, stores: Stores, clock: Clock, meter: Meter) -> None:
        self._config, self._stores, self._clock, self._meter = config, stores, clock, meter
        replay = config.service.clock == "replay"
        directory = Path(config.stores.directory).absolute()
        common: dict[str, Any] = {"holder": f"loop@{socket.gethostname()}:{directory}",
                                  "lease_s": FOREVER_S if replay else config.loop.lease_s}
        log, lake, control = stores.log, stores.lake, stores.control
        known = lambda: definitions(control, config)  # noqa: E731
        days = config.stores.retention_days
        self.live, self._counting = LiveTally(clock), threading.Lock()
        self.sealer = Sealer(log, lake, control, clock, taken=self._count_live, **common)
        self.attributor = Attributor(lake, control, clock, known, retention_days=days, **common)
        self.maturer = Maturer(lake, control, clock, retention_days=days, **common, grace_s=(
            config.loop.seal_s + config.loop.attribute_s))
        self.rollup = Rollup(lake, control, clock, known, **common)
        self.metric_states = MetricStates(lake, control, clock, lambda: config.metrics, **common)
        self.metric_watch = MetricWatch(control, clock, EventIds(clock), lambda: config.metrics,
                                        lambda: config.surfaces, **common)
        self.expectations = Expectations(control, clock, EventIds(clock), lambda: config.metrics, **common)
        self.door_states = DoorStates(lake, control, clock, late_s=config.door.late_s, **common)
        self.text_states = TextStates(lake, control, clock, config, **common)
        self.door_watch = DoorWatch(control, clock, EventIds(clock), config.door, **common)
        self.drift = DriftJob(lake, control, clock, config.drift, outcomes=self.attributor.run_once, **common)
        self.decider = Decider(lake, control, clock, EventIds(clock), **common)
        plan_of = lambda: current_plan(config, control)  # noqa: E731
        self._sealing, self._measuring = threading.Lock(), threading.Lock()
        long = {**common, "lease_s": FOREVER_S if replay else max(300.0, config.loop.lease_s)}
        self._eraser = Eraser(stores, clock, EventIds(clock), also=self._forget, **long)
        self.actor = Actor(control, log, clock, plan_of, left=(erase.KIND,),
                           more={quarantine.KIND: quarantine.returner(log, lake, control)}, **common)
        self.erasures = Errands(control, clock, {erase.KIND: self._erase}, lease=erase.KIND, **long)
        self.cataloguer = Cataloguer(lake, control, clock, plan_of, **common)
        self._sealed_s = clock.monotonic()
        self._measured: datetime | None = None  # the watermark that the states of metrics have reached
        loop = config.loop
        self.scheduler = Scheduler([
            Job("seal", self._timed("seal", self._seal), loop.seal_s),
            Job("measure", self._timed("measure", self.measure), loop.attribute_s, first_s=min(loop.seal_s, 5.0)),
            Job("decide", self._timed("decide", self.decider.run_once), loop.decide_s,
                first_s=min(loop.attribute_s, 10.0)),
            Job("expectations", self._timed("expectations", self._ask_gates), loop.attribute_s,
                first_s=min(loop.attribute_s, 20.0)),
            Job("drift", self._timed("drift", self._judge_drift), loop.drift_s, first_s=min(loop.drift_s, 15.0)),
            Job("live", self._timed("live", self._publish_live), loop.live_s),
            Job("act", self._timed("act", self.actor.run_once), loop.act_s),
            Job("erase", self._timed("erase", self.erasures.run_or_raise), loop.act_s),
            Job("catalogue", self._timed("catalogue", self.cataloguer.run_once), loop.seal_s, first_s=1.0),
            Job("house", self._timed("house", self.keep_house), loop.compact_s, first_s=loop.compact_s),
        ], clock)

    def _timed(self, name: str, work: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            started, outcome = self._clock.monotonic(), "error"
            try:
                done = work()
                stopped = getattr(done, "stopped", None) or getattr(done, "reason", None)
                outcome = "error" if getattr(done, "failed", None) else "skipped" if stopped else "ok"
                return done
            finally:
                self._meter.add("incumbent_job_runs", (name, outcome))
                self._meter.observe("incumbent_job_seconds", self._clock.monotonic() - started, (name,))

        return run

    def _erase(self, payload: dict[str, Any]) -> None:
        """Forget a shopper between two sealings and two measurings: nothing of them is on its way back meanwhile.

        A measuring may take minutes, so it is waited for first: sealing goes on until the erasure itself begins.
        """
        if "subject" not in payload:  # asked for of a version that did not key the hash
            payload = {**payload, "subject": subject_of(payload["user_id"], signing_secret(self._config))}
        with self._measuring, self._sealing:
            self._eraser.carry_out(payload)

    def _seal(self) -> Any:
        with self._sealing:
            done = self.sealer.run_once()
        if done.reason is None:
            self._sealed_s = self._clock.monotonic()
        return done

    def _publish_live(self) -> None:
        with self._counting:
            self.live.publish(self._stores.control)

    def _forget(self, user_id: str) -> None:
        self.maturer.forget(user_id)
        with self._counting:
            self.live.forget(user_id)

    def _count_live(self, events: Sequence[Any]) -> None:
        with self._counting:
            self.live.add(events)
        self.scheduler.wake("live")  # what has just come is on the page before the live job is due

    def measure(self) -> Any:
        """Outcomes, then matured units, then states: each stands on the one before."""
        with self._measuring:
            self.attributor.run_once()
            until = read_cursor(self._stores.control).until
            self.maturer.run_once()
            done = self.rollup.run_once()
            if self.metric_states.run_once().stopped is None:
                self._measured = until
            self.metric_watch.run_once(self._measured)
            if self._config.door.enabled and self.door_states.run_once().stopped is None:
                self.door_watch.run_once(until)
            self.text_states.run_once()
            return done

    def _ask_gates(self) -> Any:
        """Of the days that the last whole measuring reached: its own job, as a gate file may be wrong."""
        return self.expectations.run_once(self._measured)

    def _judge_drift(self) -> Any:
        """Between two measurings: it reads the same outcomes, and no erasure is under way."""
        with self._measuring:
            return self.drift.run_once()

    def keep_house(self) -> None:
        """Merge small files, and drop the days that retention has passed, and the units of experiments long over."""
        now = self._clock.now()
        lake, stores = self._stores.lake, self._config.stores
        lake.compact(now)
        kept = day_of(now - timedelta(days=stores.retention_days))
        for table in ("impression", "feedback", "outcome", "embedding", "measurement"):
            lake.expire(table, kept)
        lake.expire("quarantine", day_of(now - timedelta(days=stores.quarantine_days)))
        expire_units(self._stores.control, now, stores.retention_days)

    def observe(self) -> None:
        """Set the gauges, and write this process's metrics."""
        if self._sealing.acquire(blocking=False):  # the inboxes are the sealer's while it seals
            try:
                self._meter.set("incumbent_inbox_records", float(self._stores.log.backlog))
            except StoreError as error:
                get("incumbent.service.looper").warning("an inbox cannot be counted", error=str(error))
            finally:
                self._sealing.release()
        self._meter.set("incumbent_seal_lag_seconds", self._clock.monotonic() - self._sealed_s)
        health.log_problems(self._meter, self._stores.log)
        self._report_experiments()
        self._report_jobs()
        self._meter.flush()

    def _report_experiments(self) -> None:
        try:
            rows = self._stores.control.experiments()
            unserved = unservable(self._config, rows)
            unjudged = unjudgeable(self._stores.control, rows)
        except Exception as error:  # Control is away, whatever the reason
            self._meter.problems("control", [str(error)])
            return
        self._meter.problems("control", [])
        self._meter.problems("experiment", [
            *(f"{name}: {reason}" for name, reason in unserved.items()),
            *(f"{name} cannot be judged: {reason}" for name, reason in unjudged.items())])

    def _report_jobs(self) -> None:
        self._meter.problems("job", [f"{job.name} failed {job.failing} times in a row: {job.error}"
                                     for job in self.scheduler.status() if job.failing])

    def finish(self, timeout_s: float) -> None:
        """Let running jobs end, work off the outbox, and seal what the fronts left behind."""
        still = self.scheduler.stop(timeout_s)
        if still:
            get("incumbent.service.looper").warning("jobs did not end in time", jobs=still)
        if "act" not in still:
            self.actor.run_once()
        if not {"drift", "erase", "measure", "seal"}.intersection(still):  # else it stays asked for
            self.erasures.run_once()
        if "seal" not in still:
            self.sealer.run_once()
            self.sealer.stop()


def run_loop(assignment: Assignment, config: Config, clock: Clock) -> int:
    """Run the jobs until SIGTERM, or until the supervisor is gone; everything that arrived is in the lake after."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    watch_parent(stopping.set)
    stores = open_stores(config, clock, "loop")
    meter = Meter(Path(config.stores.directory) / "run" / "metrics", "loop", clock)
    looper = Looper(config, stores, clock, meter)
    log = get("incumbent.service.looper")
    for problem in getattr(stores.log, "problems", ()):
        log.error("an inbox was damaged; what could be read went on", error=str(problem))
    looper.observe()  # fronts are ready once this process has reported, so it does before it says that it is
    looper.scheduler.start()
    stepping = Stepper(stores.control, looper.scheduler).start(stopping) if config.service.clock == "replay" else None
    tell(assignment.ready_fd)
    try:
        while not stopping.wait(1.0):
            looper.observe()
    finally:
        if stepping is not None:
            stepping.join(config.service.drain_s)
        looper.finish(config.service.drain_s)
        looper.observe()
        stores.log.close()
        stores.control.close()
    return 0
