"""Acting: at least once and by id, in the face of failures half-way."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from incumbent.errors import IncumbentError
from incumbent.events import codec
from incumbent.events.schema import Alert
from incumbent.loop.act import Acted, Actor, Errands, LogSink
from incumbent.loop.schedule import Job, Scheduler
from incumbent.stores.store import OutboxRow
from incumbent.testing.judge import Shop

WHO = {"actor": "ada", "reason": "because"}


def logged(shop):
    out = []
    while (segment := shop.log.drain()) is not None:
        out += [codec.decode(record.data) for record in segment.records]
        shop.log.release(segment)
    return out


def test_conclusions_reach_the_log_the_plan_and_the_sinks():
    shop = Shop()
    shop.operator.start("e1", **WHO)
    shop.operator.roll_back("e1", **WHO)
    assert shop.actor.run_once().failed == 0
    while shop.control.outbox():
        shop.actor.run_once()
    kinds = sorted(type(event).__name__ for event in logged(shop))
    assert kinds == ["Alert", "Audit", "Audit", "Decision", "Decision"]
    assert [alert.title for alert in shop.told] == ["e1: ROLL BACK"]
    assert shop.control.plan().surfaces["home"].experiment is None
    assert shop.control.conclusions("alert")[0] == shop.told[0]


def test_a_crash_before_the_row_is_forgotten_repeats_by_id():
    shop = Shop()
    shop.operator.start("e1", **WHO)
    shop.operator.discard("e1", **WHO)
    forget, shop.control.outbox_done = shop.control.outbox_done, lambda ids: None
    for _ in range(3):
        shop.actor.run_once()
    shop.control.outbox_done = forget
    while shop.control.outbox():
        shop.actor.run_once()
    events = logged(shop)
    assert len({event.event_id for event in events}) == 5
    assert len({alert.event_id for alert in shop.told}) == 1
    assert len(shop.control.conclusions("audit")) == 2
    assert shop.control.plan_version() == 1


def test_a_row_that_fails_stays_and_holds_up_nobody():
    shop = Shop()
    shop.operator.start("e1", **WHO)
    shop.actor._plan_of = None  # publishing cannot work
    done = shop.actor.run_once()
    assert done.failed == 1 and done.done >= 1
    left = [row for row in shop.control.outbox() if row.kind == "publish"]
    assert left[0].attempts == 1 and "TypeError" in left[0].error
    shop.actor._plan_of = shop.plan_of
    while shop.control.outbox():
        assert shop.actor.run_once().failed == 0
    assert shop.control.plan().surfaces["home"].experiment is not None


def test_a_sink_that_fails_is_told_again():
    shop = Shop()

    class Flaky:
        calls = 0

        def send(self, alert):
            self.calls += 1
            if self.calls == 1:
                raise OSError("no route")

    flaky = Flaky()
    actor = Actor(shop.control, shop.log, shop.clock, shop.plan_of, sinks=[flaky])
    shop.operator.start("e1", **WHO)
    shop.operator.discard("e1", **WHO)
    assert actor.run_once().failed == 1
    while shop.control.outbox():
        actor.run_once()
    assert flaky.calls == 2


def test_unknown_kinds_are_kept_with_their_error():
    shop = Shop()
    shop.operator.start("e1", **WHO)
    decision = shop.control.conclusions("decision")[0]
    odd = OutboxRow("x:odd", "telegram", {}, shop.clock.now())
    audit = Alert(event_id=shop.ids.new(), time=shop.clock.now(), subject="s", severity="info", title="t", body="b",
                  refers_to=decision.event_id)
    shop.control.conclude(audit, outbox=[odd])
    shop.actor.run_once()
    row = next(row for row in shop.control.outbox() if row.id == "x:odd")
    assert "unknown kind" in row.error


def test_only_one_actor_at_a_time():
    shop = Shop()
    shop.operator.start("e1", **WHO)
    assert shop.control.acquire("act", "another", 30, shop.clock.now())
    assert "another process" in shop.actor.run_once().stopped
    assert shop.control.plan() is None


def asked(shop, count, kind="erase", **payload):
    """So many rows of a kind, older than what comes after."""
    audit = Alert(event_id=shop.ids.new(), time=shop.clock.now(), subject="s", severity="info", title="t", body="b")
    shop.control.conclude(audit, outbox=[
        OutboxRow(f"{kind}{n}", kind, {"n": n, **payload}, shop.clock.now()) for n in range(count)])


@pytest.mark.parametrize("count", [1, 500, 2100])
def test_what_is_left_to_another_job_holds_up_no_plan(count):
    shop = Shop()
    asked(shop, count)
    shop.operator.start("e1", **WHO)
    actor = Actor(shop.control, shop.log, shop.clock, shop.plan_of, left=("erase",))
    while (acted := actor.run_once()) != Acted():
        assert acted.failed == 0
    assert shop.control.plan().surfaces["home"].experiment is not None
    assert [row.kind for row in shop.control.outbox(10_000)] == ["erase"] * count  # not so much as tried


def test_errands_take_their_kinds_alone():
    shop, done = Shop(), []
    shop.operator.start("e1", **WHO)
    before = shop.control.outbox()
    asked(shop, 3)
    errands = Errands(shop.control, shop.clock, {"erase": lambda payload: done.append(payload["n"])}, lease="erase")
    assert shop.control.acquire("act", "another", 30, shop.clock.now())  # whoever publishes plans meanwhile
    assert errands.run_or_raise() == Acted(done=3) and done == [0, 1, 2]
    assert shop.control.outbox() == before and errands.run_or_raise() == Acted()
    asked(shop, 1, kind="erase")
    assert shop.control.acquire("erase", "another", 30, shop.clock.now())
    assert "another process" in errands.run_or_raise().stopped and len(done) == 3


def test_an_errand_that_fails_backs_off_and_holds_up_none_behind_it():
    shop, tried = Shop(), []

    def carry_out(payload):
        tried.append((round(shop.clock.monotonic() - began), payload["n"]))
        if payload["n"] == 0 and len(tried) < 6:
            raise OSError("the inbox is damaged")

    asked(shop, 2)
    errands = Errands(shop.control, shop.clock, {"erase": carry_out}, lease="erase")
    scheduler, began = Scheduler([Job("erase", errands.run_or_raise, 1.0)], shop.clock), shop.clock.monotonic()
    for _ in range(60):
        scheduler.tick()
        shop.clock.advance(seconds=1)
    assert tried == [(0, 0), (0, 1), (2, 0), (6, 0), (14, 0), (30, 0)]
    assert shop.control.outbox() == []
    [status] = scheduler.status()
    assert (status.failures, status.failing) == (4, 0)
    with pytest.raises(IncumbentError, match="Got '1 of kind erase'"):
        asked(shop, 1, kind="erase")
        Errands(shop.control, shop.clock, {"erase": lambda _: 1 / 0}, lease="erase").run_or_raise()


@pytest.mark.parametrize("severity", ["info", "ticket", "page"])
def test_the_log_sink_writes_one_line(severity):
    shop = Shop()
    with capture_logs() as lines:
        LogSink().send(Alert(event_id=shop.ids.new(), time=shop.clock.now(), subject="experiment:e1",
                             severity=severity, title="e1: ROLL BACK", body="too slow"))
    assert [line["log_level"] for line in lines] == [{"page": "error", "ticket": "warning"}.get(severity, "info")]
    assert lines[0]["subject"] == "experiment:e1"
