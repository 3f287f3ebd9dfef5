"""What is wrong is told everywhere that somebody looks: readiness, metrics, the page's health, the command line."""

import asyncio
import random
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from incumbent import registry
from incumbent.clock import ManualClock, SystemClock
from incumbent.commands import experiment
from incumbent.config import Config
from incumbent.dashboard.pages import Page
from incumbent.events import codec
from incumbent.events.ids import EventIds
from incumbent.loop import live
from incumbent.loop.operate import Operator
from incumbent.loop.plan import build_plan
from incumbent.loop.schedule import Job
from incumbent.service import health
from incumbent.service.desk import Desk
from incumbent.service.front import Front
from incumbent.service.looper import Looper
from incumbent.service.metrics import REASON_CHARS, Meter
from incumbent.service.pulse import Pulse
from incumbent.stores.embedded import open_stores
from incumbent.stores.memory import open_stores as open_memory
from incumbent.stores.store import Record
from incumbent.testing.golden import impression

T0 = datetime(2026, 3, 1, tzinfo=UTC)
MODELS = {"old": {"target": "incumbent.testing.endpoints:good"}, "new": {"target": "incumbent.testing.endpoints:short"}}


def config(directory, **changes):
    return Config(**{"models": MODELS, "surfaces": {"home": {"champion": "old"}},
                     "stores": {"directory": str(directory)}, "experiments": {
                         "e1": {"surface": "home", "candidate": "new"}}, **changes})


class Service:
    """A front over embedded stores, and the page's look at what it reports."""

    def __init__(self, directory):
        self.config, self.clock = config(directory), SystemClock()
        (directory / "run" / "metrics").mkdir(parents=True)
        self.stores = open_stores(self.config, self.clock, role="gateway")
        self.front = Front(self.config, ("gateway", "collector"), self.clock, self.stores.log, self.stores.control)
        self.pulse = Pulse(Meter(directory / "run" / "metrics", "page", self.clock), self.clock, self.stores.control,
                           ("gateway", "collector"))

    def health(self):
        return {line["name"]: (line["ok"], line["text"]) for line in self.pulse.health()}

    def run(self, story):
        async def told():
            await self.front.start()
            try:
                await story()
            finally:
                await self.front.stop()

        asyncio.run(told())


def test_a_damaged_inbox_is_shown(tmp_path):
    log = open_stores(config(tmp_path), SystemClock(), role="gateway").log
    for n in range(40):
        log.append([Record(f"0195{n:04x}-0000-7000-8000-000000000000", "feedback", b"x" * 9000)]).result(20)
    path = tmp_path / "inbox" / f"{log.writer}.sqlite"
    log.close()
    content = bytearray(path.read_bytes())
    content[-60_000:] = random.Random(1).randbytes(60_000)
    path.write_bytes(content)
    service = Service(tmp_path)

    async def story():
        assert health.judge(service.front.checks)[0]  # damage of the past keeps nobody from serving
        await service.front.tick()
        ok, text = service.health()["inbox"]
        assert not ok and path.name in text
        assert 'incumbent_problem{about="inbox",reason="' in service.front.meter.expose().decode()

    service.run(story)


def test_a_plan_that_cannot_be_served_is_told_everywhere_and_gone_when_it_can(tmp_path):
    service = Service(tmp_path)
    reason = "plan 2 cannot be served: model target cannot be loaded. Got 'nowhere:model'"

    async def story():
        assert service.health()["plan"] == (True, "version 1")
        broken = config(tmp_path, models={**MODELS, "new": {"target": "nowhere:model"}})
        service.stores.control.publish(build_plan(broken))
        await service.front.tick()
        ready, checks = health.judge(service.front.checks)
        assert not ready and checks["plan"].startswith(reason) and checks["plan"].endswith("(plan 1 serves on)")
        ok, text = service.health()["plan"]
        assert not ok and text.startswith(reason)
        assert f'incumbent_problem{{about="plan",reason="{reason}' in service.front.meter.expose().decode()
        service.stores.control.publish(build_plan(service.config, delisted=["x"]))
        await service.front.tick()
        assert health.judge(service.front.checks)[0] and service.health()["plan"] == (True, "version 3")
        assert "incumbent_problem{" not in service.front.meter.expose().decode()

    service.run(story)


def start_and_forget(control, directory):
    """An experiment is started whose candidate is no longer configured afterwards."""
    before = config(directory, models={**MODELS, "removed": {"target": "m:f"}},
                    experiments={"gone": {"surface": "home", "candidate": "removed"}})
    clock = ManualClock(T0)
    Operator(control, before, clock, EventIds(clock)).start("gone", actor="ann", reason="try it")


@pytest.fixture
def loop():
    clock = ManualClock(T0)
    stores = open_memory(config("unused"), clock)
    meter = Meter(None, "loop", SystemClock())
    return Looper(config("unused"), stores, clock, meter), stores, meter


POINTS = registry._points


def runs(meter):
    return dict(meter.snapshot().values.get("incumbent_job_runs", ()))


def problems(meter):
    return [labels for labels, _ in meter.snapshot().values.get("incumbent_problem", ())]


def test_an_experiment_that_runs_and_is_not_served_is_told(loop):
    looper, stores, meter = loop
    start_and_forget(stores.control, "unused")
    looper.observe()
    assert problems(meter) == [("experiment", "gone: candidate 'removed' is no longer configured")]
    desk = Desk(config("unused"), stores, looper._clock)
    text = "gone runs and is not served: candidate 'removed' is no longer configured"
    assert desk.health() == [{"name": "experiment", "ok": False, "text": text}] == desk.report()["health"]
    assert {one["name"]: one["unserved"] for one in desk.experiments()} == {
        "e1": None, "gone": "candidate 'removed' is no longer configured"}
    assert desk.experiment("gone")["unserved"] == "candidate 'removed' is no longer configured"


def test_an_experiment_that_cannot_be_judged_is_told_until_it_can_be(loop, monkeypatch, capsys):
    looper, stores, meter = loop
    Operator(stores.control, config("unused"), looper._clock, EventIds(looper._clock)).start(
        "e1", actor="ann", reason="try it")
    desk = Desk(config("unused"), stores, looper._clock)  # a configuration of now would be refused
    monkeypatch.setattr(registry, "_points", lambda kind: {} if kind == "rules" else POINTS(kind))
    looper.scheduler.run_now("decide")
    looper.observe()
    reason = "NotFoundError: no rules plugin of that name. Got 'sequential'"
    [(about, told)] = problems(meter)
    assert about == "experiment" and told.startswith(f"e1 cannot be judged: {reason}")
    assert runs(meter) == {("decide", "error"): 1.0}
    [line] = desk.health()
    assert line["text"].startswith(f"e1 runs and cannot be judged: {reason}") and not line["ok"]
    assert desk.report()["health"] == [line] and desk.experiment("e1")["unjudged"].startswith(reason)
    page = Page(desk)
    for answer in (page.overview(), page.experiment("e1")):
        assert "not judged</b> NotFoundError: no rules plugin of that name" in answer.body.decode()
    experiment.show_list(desk, False)
    experiment.show_one(desk, "e1", False)
    out = " ".join(capsys.readouterr().out.split())
    assert f"e1 cannot be judged: {reason}" in out and f"cannot be judged: {reason}" in out.split("e1: new against")[1]
    monkeypatch.undo()
    looper.scheduler.run_now("decide")
    looper.observe()
    assert problems(meter) == [] == desk.health() and desk.experiment("e1")["unjudged"] is None
    assert runs(meter) == {("decide", "error"): 1.0, ("decide", "ok"): 1.0}


def test_an_experiment_that_was_ended_by_hand_waits_for_no_judgement(loop, monkeypatch):
    looper, stores, meter = loop
    operator = Operator(stores.control, config("unused"), looper._clock, EventIds(looper._clock))
    operator.start("e1", actor="ann", reason="try it")
    looper.decider._one = {}.__getitem__  # a look that fails, whatever for
    looper.scheduler.run_now("decide")
    looper.observe()
    assert [about for about, _ in problems(meter)] == ["experiment"]
    operator.roll_back("e1", actor="ann", reason="nobody can judge it")
    looper.observe()
    assert problems(meter) == []


def test_a_job_that_fails_is_told_until_it_is_well_again(loop):
    looper, _, meter = loop

    def full():
        raise OSError("no space left")

    entry = looper.scheduler._entries["decide"]
    entry.job = Job("decide", full, 600.0)
    looper.scheduler.run_now("decide")
    looper.observe()
    assert problems(meter) == [("job", "decide failed 1 times in a row: OSError: no space left")]
    entry.job = Job("decide", int, 600.0)
    looper.scheduler.run_now("decide")
    looper.observe()
    assert problems(meter) == []


def test_what_was_sealed_wakes_the_live_numbers(loop):
    looper, stores, _ = loop
    looper.scheduler.run_now("seal")
    assert not looper.scheduler._wake["live"].is_set()  # nothing came
    shown = impression("r1", T0, "u1", "home", "e1/ramp_50/interleave", ["a:pair1:T", "b:pair1:C"])
    stores.log.append([Record(shown.event_id, "impression", codec.encode(shown))]).result(5)
    looper.scheduler.run_now("seal")
    assert looper.scheduler._wake["live"].is_set()
    looper.scheduler.run_now("live")
    assert live.read(stores.control).hour["requests"] == {"home/interleave": 1}


def test_a_reason_is_one_line_of_bounded_length():
    meter = Meter(None, "front", SystemClock())
    meter.problems("plan", ["a\n  b" + "x" * 1000])
    [(about, reason)] = problems(meter)
    assert about == "plan" and reason.startswith("a bx") and len(reason) == REASON_CHARS


def test_the_command_line_reports_what_is_not_well(tmp_path, capsys, monkeypatch):
    from incumbent import cli

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["init"])
    control = open_stores(config(tmp_path / "incumbent-data"), SystemClock(), role="gateway").control
    start_and_forget(control, tmp_path / "incumbent-data")
    control.close()
    for command, line in (("report", "NOT WELL experiment: gone runs and is not served: candidate 'removed'"),
                          ("experiment list", "gone is not served: candidate 'removed' is no longer configured"),
                          ("experiment show gone", "not served: candidate 'removed' is no longer configured")):
        with pytest.raises(SystemExit):
            cli.main(command.split())
        assert line in " ".join(capsys.readouterr().out.split())


def test_readiness_tells_of_a_page_that_is_being_restarted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a unix socket is short
    reported = None
    ready = lambda: health.judge({"page": health.behind("page.sock", lambda: reported)})  # noqa: E731
    with socket.socket(socket.AF_UNIX) as page:
        page.bind("page.sock")
        page.listen(0)
        assert [ready() for _ in range(5)] == [(True, {"page": "ok"})] * 5  # also where its queue is full
    gone = (True, {"page": "it is being restarted; its paths answer 503 meanwhile"})
    assert ready() == gone
    Path("page.sock").unlink()
    assert ready() == gone
    reported = "0 of 1 page processes reported within 15 s"
    assert ready() == (False, {"page": reported})
