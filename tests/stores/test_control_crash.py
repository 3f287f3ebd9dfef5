"""Control is stopped before and after every statement of its transactions: each is there whole, or not at all."""

import gc
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import event

from incumbent.clock import ManualClock
from incumbent.errors import StoreError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Audit, Decision, Finding
from incumbent.stores.control import SqlControl
from incumbent.stores.store import ExperimentRow, Matured, OutboxRow, StageChange, StateRow

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = NOW.date()
IDS = EventIds(ManualClock(NOW))
DECISION = Decision(event_id=IDS.new(), time=NOW, experiment="e", verdict="advance", reason="r", by="rule")
FINDING = Finding(event_id=IDS.new(), time=NOW, subject="experiment:e", check="coin_audit", status="ok",
                  severity="info", reason="r")
AUDIT = Audit(event_id=IDS.new(), time=NOW, actor="a", action="erase", subject="s", reason="r")


def unit(name, wins=1.0):
    return Matured("e", name, "interleave", "canary", NOW, NOW, wins, 0.0, 1.0, 5.0, 1)


def state(key):
    return StateRow(key, DAY, 0, "moments", "c", b"1")


def before(control):
    control.put(DAY, 0, "f", [state("old")], ("c", "1"))
    control.exclude("u1", "i", NOW)
    control.conclude(Decision(event_id=IDS.new(), time=NOW - timedelta(days=1), experiment="e", verdict="start",
                              reason="r", by="rule"),
                     experiment=ExperimentRow("e", "shadow", NOW, NOW, False, None, 1, {}),
                     change=StageChange("e", "shadow", 0.0, NOW - timedelta(days=1), None))
    control.seal("e", DAY, [unit("u0"), unit("u9")], NOW)


VERBS = {
    "put": lambda c: c.put(DAY, 0, "f", [state("a"), state("b")], ("c", "2")),
    "conclude": lambda c: c.conclude(
        DECISION, experiment=ExperimentRow("e", "canary", NOW, NOW, False, "advance", 2, {"a": 1}),
        change=StageChange("e", "canary", 0.01, NOW, None), memory=("m", b"1"), also=[FINDING],
        outbox=[OutboxRow("o1", "publish", {}, NOW), OutboxRow("o2", "alert", {}, NOW)]),
    "seal": lambda c: c.seal("e", DAY + timedelta(days=1), [unit("u1"), unit("u2")], NOW),
    "restate": lambda c: c.restate("e", [unit("u0", 2.0), unit("u9", 3.0)], NOW),
    "erase": lambda c: c.erase(["u0", "u1"], AUDIT),
    "expire_units": lambda c: c.expire_units("e"),
    "exclude": lambda c: c.exclude("u1", "j", NOW),
}


def picture(control):
    """All that a reader can see."""
    return (control.range(""), control.cursor("c"), control.conclusions(), control.experiments(), control.stages("e"),
            control.outbox(), control.memory("m"), control.seals("e"), control.matured("e"), control.restated("e"),
            control.exclusions())


class Crash(BaseException):
    """The machine stops here."""


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_every_statement_leaves_all_or_nothing(ram_path, verb, after):
    whole = SqlControl.in_directory(ram_path / "whole")
    before(whole)
    was = picture(whole)
    VERBS[verb](whole)
    becomes = picture(whole)
    whole.close()
    assert was != becomes
    base = SqlControl.in_directory(ram_path / "steps")
    before(base)
    was = picture(base)
    seen = set()
    for step in count(1):
        left = [step]

        def die(*arguments, left=left):
            left[0] -= 1
            if left[0] == 0:
                raise Crash

        control = SqlControl.in_directory(ram_path / "steps")
        raw = []
        event.listen(control._db.engine, "connect", lambda connection, record, raw=raw: raw.append(connection))
        control._db.engine.dispose()
        name = "after_cursor_execute" if after else "before_cursor_execute"
        event.listen(control._db.engine, name, die)
        try:
            VERBS[verb](control)
            crashed = False
        except Crash:
            crashed = True
        for connection in raw:
            with suppress(sqlite3.ProgrammingError):  # closed already
                connection.rollback()  # what a dead process leaves open, the next one to look rolls back
                connection.close()
        gc.collect()  # cursors that the exception left behind hold their transaction open
        now = picture(base)
        seen.add(now == was)
        if now != was:
            assert [repr(part) for part in shape(now)] == [repr(part) for part in shape(becomes)]
        if not crashed:
            assert now != was
            break
        assert now == was, f"step {step}: half of it is there"
    assert step >= 3
    base.close()


def shape(seen):
    """A picture without the ids that differ between two directories."""
    return (*seen[:2], [(c.time, type(c).__name__) for c in seen[2]], *seen[3:])


def test_a_full_database_keeps_nothing_of_the_transaction(ram_path):
    control = SqlControl.in_directory(ram_path)
    before(control)
    was = picture(control)

    def cramp(connection, record):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")

    event.listen(control._db.engine, "connect", cramp)
    control._db.engine.dispose()
    with pytest.raises(StoreError, match="full"):
        control.put(DAY, 0, "f", [StateRow(f"k{i}", DAY, 0, "moments", "c", bytes(3000)) for i in range(50)])
    assert picture(control) == was
    event.remove(control._db.engine, "connect", cramp)
    control._db.engine.dispose()
    control.put(DAY, 0, "f", [StateRow(f"k{i}", DAY, 0, "moments", "c", bytes(3000)) for i in range(50)])
    assert len(control.range("k")) == 50
    control.close()
