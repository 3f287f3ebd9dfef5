"""What one job of a loop process keeps waiting, and what it does not."""

import threading
import time
from datetime import timedelta

import msgspec
import pytest

from incumbent.clock import SystemClock
from incumbent.config import Config
from incumbent.errors import StoreError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Audit, Decision
from incumbent.loop.attribute import read_cursor
from incumbent.loop.door.states import Doored
from incumbent.loop.erase import subject_of
from incumbent.loop.mature import MatureCursor
from incumbent.loop.metrics.states import Measured
from incumbent.loop.operate import Operator
from incumbent.service import looper
from incumbent.service.looper import Looper
from incumbent.service.metrics import Meter
from incumbent.service.parts import Assignment
from incumbent.stores.memory import open_stores
from incumbent.stores.store import Matured, OutboxRow

CONFIG = Config(models={"old": {"target": "m:f"}, "new": {"target": "m:g"}}, surfaces={"home": {"champion": "old"}},
                experiments={"e1": {"surface": "home", "candidate": "new"}}, loop={"act_s": 0.02, "seal_s": 0.02})


class Process:
    """A loop over stores in memory; measuring stands still from `measuring` until `go_on`."""

    def __init__(self):
        self.clock = SystemClock()
        self.ids = EventIds(self.clock)
        self.stores = open_stores(CONFIG, self.clock)
        self.control = self.stores.control
        self.looper = Looper(CONFIG, self.stores, self.clock, Meter(None, "loop", self.clock))
        self.measuring, self.go_on = threading.Event(), threading.Event()
        run = self.looper.attributor.run_once

        def slow():
            self.measuring.set()
            assert self.go_on.wait(60)
            return run()

        self.looper.attributor.run_once = slow

    def start(self):
        self.looper.scheduler.start()
        self.looper.scheduler.wake("measure")
        assert self.measuring.wait(30)

    def ask(self, user="u1", subject="user:x"):
        audit = Audit(event_id=self.ids.new(), time=self.clock.now(), actor="ada", action="user.erase.asked",
                      subject="user:x", reason="asked")
        self.control.conclude(audit, outbox=[OutboxRow(f"{audit.event_id}:erase", "erase", {
            "user_id": user, "actor": "ada", "reason": "asked", "audit": self.ids.new(),
            **({} if subject is None else {"subject": subject})}, audit.time)])

    def kinds(self):
        return {row.kind for row in self.control.outbox()}

    def runs(self, job):
        return next(status.runs for status in self.looper.scheduler.status() if status.name == job)

    def erased(self):
        return [audit for audit in self.control.conclusions("audit") if audit.action == "user.erase"]


@pytest.fixture
def process():
    made = Process()
    yield made
    made.go_on.set()
    assert made.looper.scheduler.stop(30) == []


def until(done):
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_an_erasure_that_waits_for_a_measuring_holds_up_neither_sealing_nor_a_roll_back(process):
    process.start()
    process.ask()
    until(lambda: [job.name for job in process.looper.scheduler.status() if job.running] == ["measure", "erase"]
          and process.control.acquire("erase", "another", 30, process.clock.now()) is None)
    operator = Operator(process.control, CONFIG, process.clock, process.ids)
    operator.start("e1", actor="ada", reason="try it")
    until(lambda: (plan := process.control.plan()) is not None and plan.surfaces["home"].experiment is not None)
    operator.roll_back("e1", actor="ada", reason="it is bad")
    until(lambda: process.control.plan().surfaces["home"].experiment is None)
    sealed = process.runs("seal")
    until(lambda: process.runs("seal") >= sealed + 3 and process.kinds() == {"erase"})
    assert process.erased() == [] and {a.title for a in process.control.conclusions("alert")} == {"e1: ROLL BACK"}
    process.go_on.set()
    until(lambda: process.control.outbox() == [])
    assert len(process.erased()) == 1


def test_the_erasure_itself_runs_between_two_sealings_and_two_measurings(process):
    held, eraser = [], process.looper._eraser
    carry_out = eraser.carry_out

    def noted(payload):
        held.append((process.looper._sealing.locked(), process.looper._measuring.locked()))
        return carry_out(payload)

    eraser.carry_out = noted
    process.ask()
    assert process.looper.scheduler.run_now("erase").error is None
    assert held == [(True, True)] and len(process.erased()) == 1 and process.control.outbox() == []
    assert not process.looper._sealing.locked() and not process.looper._measuring.locked()


def test_an_erasure_that_an_earlier_version_was_asked_for_is_carried_out(process, monkeypatch):
    monkeypatch.setenv("INCUMBENT_SECRET", "a secret of the service")
    process.ask("u42", subject=None)
    assert process.looper.scheduler.run_now("erase").error is None
    assert [audit.subject for audit in process.erased()] == [subject_of("u42", b"a secret of the service")]
    assert process.control.outbox() == []


def test_an_erasure_reaches_what_the_process_remembers(process, monkeypatch):
    told = []
    monkeypatch.setattr(process.looper.maturer, "forget", lambda user: told.append(("matured", user)))
    monkeypatch.setattr(process.looper.live, "forget", lambda user: told.append(("live", user)))
    process.ask("u42")
    assert process.looper.scheduler.run_now("erase").error is None
    assert sorted(told) == [("live", "u42"), ("matured", "u42")]


def test_an_erasure_that_fails_backs_off_and_is_told(process):
    def refused(payload):
        raise StoreError("the inbox is damaged")

    process.looper._eraser.carry_out = refused
    process.ask()
    for failing in (1, 2):
        status = process.looper.scheduler.run_now("erase")
        assert status.failing == failing and "Got '1 of kind erase'" in status.error and "u1" not in status.error
    assert process.looper.scheduler.run_now("act").failing == 0
    assert "the inbox is damaged" in process.control.outbox()[0].error
    process.looper.observe()
    told = [labels for labels, _ in process.looper._meter.snapshot().values["incumbent_problem"]]
    assert [(about, reason[:28]) for about, reason in told] == [("job", "erase failed 2 times in a ro")]


@pytest.mark.parametrize("busy", [False, True])
def test_at_the_end_erasures_are_worked_off_where_nothing_runs_any_more(process, busy):
    if busy:
        process.start()
    process.ask()
    process.looper.finish(0.3)
    assert len(process.erased()) == (0 if busy else 1)
    assert process.kinds() == ({"erase"} if busy else set())  # asked for still: the next loop does it


def test_the_house_drops_the_units_of_experiments_that_are_long_over(process):
    operator = Operator(process.control, CONFIG, process.clock, process.ids)
    operator.start("e1", actor="ada", reason="try it")
    operator.roll_back("e1", actor="ada", reason="it is bad")
    over = process.clock.now() - timedelta(days=401)
    row = process.control.experiment("e1")
    process.control.conclude(Decision(
        event_id=process.ids.new(), time=over, experiment="e1", verdict="roll_back", reason="long ago", by="test"),
        experiment=msgspec.structs.replace(row, ended_at=over, version=row.version + 1))
    process.control.seal("e1", over.date(), [Matured(
        "e1", "u1", "interleave", "canary", over, over, 1.0, 1.0, 1.0, 0.0, 1)], over)
    process.control.set_cursor("mature/e1", msgspec.json.encode(MatureCursor(day=process.clock.now().date())).decode())
    assert process.looper.scheduler.run_now("house").error is None
    assert process.control.matured("e1") == [] and len(process.control.seals("e1")) == 1


def test_gates_are_asked_of_the_days_that_a_whole_measuring_has_reached(process):
    asked = []
    process.looper.expectations.run_once = asked.append
    process.go_on.set()
    jobs = process.looper.scheduler
    jobs.run_now("expectations")
    assert jobs.run_now("seal").error is jobs.run_now("measure").error is None
    reached = read_cursor(process.control).until
    jobs.run_now("expectations")
    process.looper.metric_states.run_once = lambda: Measured(stopped="another process holds the lease")
    jobs.run_now("seal")
    jobs.run_now("measure")
    jobs.run_now("expectations")
    assert reached is not None and reached < read_cursor(process.control).until
    assert asked == [None, reached, reached]


def test_the_door_is_judged_up_to_where_attribution_has_come_and_not_before_its_states(process):
    judged = []
    process.looper.door_watch.run_once = judged.append
    process.go_on.set()
    jobs = process.looper.scheduler
    for job in ("seal", "measure"):
        jobs.run_now(job)
    reached = read_cursor(process.control).until
    assert reached is not None and judged == [reached]
    process.looper.door_states.run_once = lambda: Doored(stopped="another process holds the lease")
    assert jobs.run_now("measure").error is None and judged == [reached]


def test_a_loop_has_reported_before_it_says_that_it_is_ready(tmp_path, monkeypatch):
    (tmp_path / "run" / "metrics").mkdir(parents=True)
    config = CONFIG.model_copy(update={"stores": CONFIG.stores.model_copy(update={"directory": tmp_path})})
    found = []
    monkeypatch.setattr(looper, "tell", lambda fd: found.extend((tmp_path / "run" / "metrics").glob("loop-*.metrics")))
    monkeypatch.setattr(looper, "watch_parent", lambda gone: gone())
    monkeypatch.setattr(looper.signal, "signal", lambda *_: None)
    told = Assignment("loop", 0, ("loop",), config.model_dump(mode="json"), None, None, -1)
    assert looper.run_loop(told, config, SystemClock()) == 0
    assert len(found) == 1
