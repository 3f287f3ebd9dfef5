"""The laws of Control for what is concluded: once, whole, in order; seals; erasure."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta, timezone
from functools import partial
from typing import Any

import msgspec

from incumbent.errors import ConflictError
from incumbent.events.schema import Alert, Decision, Finding
from incumbent.stores.store import ExperimentRow, Matured, OutboxRow, StageChange, seal_hash
from incumbent.testing.checks.bench import START, Bench
from incumbent.testing.checks.control_laws import DAY, NEXT, at
from incumbent.testing.checks.log_laws import refused
from incumbent.testing.checks.suite import Suite


def decision(b: Bench, experiment: str = "e1", seconds: float = 0, **changes: Any) -> Decision:
    """A made-up decision."""
    return Decision(event_id=b.ids.new(), time=at(seconds), experiment=experiment, verdict="advance",
                    reason="gates are met", by="rule", evidence={"estimate": {"value": 0.25, "n": 10, "low": None}},
                    **changes)


def experiment(version: int, **changes: Any) -> ExperimentRow:
    """An experiment in its canary."""
    row = ExperimentRow("e1", "canary", START, START, False, None, version, {"alpha": 0.05, "stages": [{"share": 0.1}]})
    return msgspec.structs.replace(row, **changes)


def outbox(id: str) -> OutboxRow:
    """Something to be done."""
    return OutboxRow(id, "publish", {"surface": "home", "n": [1, 2.5, None, "é"]}, START)


def unit(name: str, seconds: float = 0, x: float = 1.0) -> Matured:
    """A made-up unit."""
    return Matured("e1", name, "interleave", "canary", at(seconds - 600), at(seconds), x, 0.1 + 0.2, 3.0, 1999.0, 7)


def a_conclusion_comes_with_all_that_follows(b: Bench) -> None:
    """The conclusion, the experiment, the stage, the outbox and the memory are there together, as they were given."""
    made = decision(b)
    b.control.conclude(made, experiment=experiment(1), change=StageChange("e1", "canary", 0.01, at(0), None),
                       outbox=[outbox("o1"), outbox("o2")], memory=("sequence/e1", b"\0\1"))
    assert b.control.conclusions() == [made] and b.control.experiment("e1") == experiment(1)
    assert b.control.experiments() == [experiment(1)] and b.control.experiment("e2") is None
    assert b.control.stages("e1") == [StageChange("e1", "canary", 0.01, at(0), None)] and b.control.stages("e2") == []
    assert b.control.outbox() == [outbox("o1"), outbox("o2")]
    assert (b.control.memory("sequence/e1"), b.control.memory("other")) == (b"\0\1", None)


def a_conclusion_counts_once(b: Bench) -> None:
    """Concluding again with the same event id does nothing, also where its outbox is done by now."""
    made = decision(b)
    b.control.conclude(made, experiment=experiment(1), outbox=[outbox("o1")], memory=("m", b"1"))
    b.control.outbox_done(["o1", "unknown"])
    b.control.conclude(made, experiment=experiment(1), outbox=[outbox("o1")], memory=("m", b"2"))
    b.control.conclude(made, experiment=experiment(2, stage="ramp_5"))
    assert b.control.conclusions() == [made] and b.control.outbox() == []
    assert b.control.memory("m") == b"1" and b.control.experiments() == [experiment(1)]


def conclusions_come_together(b: Bench) -> None:
    """What a conclusion stands on is stored with it, each once, and refused with it where the writer was stale."""
    first, second, last = decision(b), decision(b, "e2", 1), decision(b, seconds=2)
    b.control.conclude(last, experiment=experiment(1), also=[first, second], memory=("m", b"1"))
    assert b.control.conclusions() == [last, second, first] and b.control.memory("m") == b"1"
    b.control.conclude(decision(b, seconds=3), also=[first])
    assert len(b.control.conclusions()) == 4
    stale = partial(b.control.conclude, decision(b), experiment=experiment(1), also=[decision(b, "e3")])
    refused(stale, ConflictError, "version 1 again")
    assert len(b.control.conclusions()) == 4 and b.control.conclusions(subject="e3") == []


def a_stale_writer_is_refused_whole(b: Bench) -> None:
    """Who read an older version of an experiment is refused, and nothing of the conclusion is kept."""
    refused(lambda: b.control.conclude(decision(b), experiment=experiment(2)), ConflictError, "version 2 of nothing")
    b.control.conclude(decision(b, seconds=1), experiment=experiment(1))
    b.control.conclude(decision(b, seconds=2), experiment=experiment(2, held=True))
    ramped = StageChange("e1", "ramp_50", 0.5, at(9), None)
    for version in (1, 2, 4):
        stale = partial(b.control.conclude, decision(b), experiment=experiment(version, stage="ramp_50"),
                        outbox=[outbox("o")], memory=("m", b""), change=ramped)
        refused(stale, ConflictError, f"version {version} after 2")
    assert b.control.experiments() == [experiment(2, held=True)] and len(b.control.conclusions()) == 2
    assert b.control.outbox() == [] and b.control.memory("m") is None and b.control.stages("e1") == []


def a_race_of_writers_has_one_winner(b: Bench) -> None:
    """Of eight who decide on the same version at once, one is kept and seven are refused."""
    b.control.conclude(decision(b), experiment=experiment(1))
    made = [decision(b, seconds=i) for i in range(8)]

    def decide(one: Decision) -> bool:
        try:
            b.control.conclude(one, experiment=experiment(2), outbox=[outbox(one.event_id)])
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(decide, made))
    assert won.count(True) == 1
    assert [row.id for row in b.control.outbox()] == [made[won.index(True)].event_id]


def stages_close_one_another(b: Bench) -> None:
    """A stage change ends the interval that was open, so that the intervals of an experiment join without a gap."""
    for seconds, stage, share in ((0, "canary", 0.01), (60, "ramp_5", 0.05), (90, "ended", 0.0)):
        b.control.conclude(decision(b), change=StageChange("e1", stage, share, at(seconds), None))
    b.control.conclude(decision(b, "e2"), change=StageChange("e2", "canary", 0.01, at(70), None))
    assert [(row.stage, row.since, row.until) for row in b.control.stages("e1")] == [
        ("canary", at(0), at(60)), ("ramp_5", at(60), at(90)), ("ended", at(90), None)]


def conclusions_are_newest_first(b: Bench) -> None:
    """Conclusions are listed newest first, by kind and by subject, up to a limit, and come back whole."""
    first, second = decision(b, "e1", 1, stage_from="canary", stage_to="ramp_5"), decision(b, "e2", 3)
    finding = Finding(event_id=b.ids.new(), time=at(2), subject="experiment:e1", check="coin_audit", status="ok",
                      severity="info", reason="r", evidence={"p": 0.5, "cells": [[1, 2], [3, 4]]})
    alert = Alert(event_id=b.ids.new(), time=at(2), subject="e1", severity="page", title="t", body="b")
    for one in (second, first, finding, alert):
        b.control.conclude(one)
    assert b.control.conclusions() == [second, alert, finding, first]
    assert b.control.conclusions("decision") == [second, first] and b.control.conclusions(limit=1) == [second]
    assert b.control.conclusions(subject="e1") == [alert, first]
    assert b.control.conclusions("finding", "experiment:e1") == [finding] and b.control.conclusions("audit") == []


def the_outbox_waits(b: Bench) -> None:
    """What is to be done waits in its order, with its failed attempts, until it is done."""
    b.control.conclude(decision(b), outbox=[outbox("z"), outbox("a")])
    b.control.conclude(decision(b), outbox=[outbox("m")])
    b.control.outbox_failed("a", "the sink is down")
    b.control.outbox_failed("a", "still")
    b.control.outbox_failed("unknown", "nobody")
    rows = b.control.outbox()
    assert [(row.id, row.attempts, row.error) for row in rows] == [("z", 0, None), ("a", 2, "still"), ("m", 0, None)]
    assert [row.id for row in b.control.outbox(limit=2)] == ["z", "a"]
    b.control.outbox_done(["z", "m"])
    assert [row.id for row in b.control.outbox()] == ["a"]


def a_day_is_sealed_once(b: Bench) -> None:
    """Sealing a day again with the same rows, in any order, gives the first seal; with others it is refused."""
    rows = [unit("b", 10), unit("a", 10), unit("c", 5)]
    seal = b.control.seal("e1", DAY, rows, at(100))
    assert (seal.sequence, seal.units, seal.sealed_at) == (0, 3, at(100))
    assert seal.hash == seal_hash([rows[2], rows[1], rows[0]]), "hashed in the order in which it is read"
    assert b.control.seal("e1", DAY, rows[::-1], at(200)) == seal
    elsewhere = timezone(timedelta(hours=2))
    moved = [msgspec.structs.replace(row, matured_at=row.matured_at.astimezone(elsewhere)) for row in rows]
    assert b.control.seal("e1", DAY, moved, at(200)) == seal, "the same moments in another zone"
    for other in (rows[:2], [*rows, unit("d")], [*rows[:2], unit("c", 5, x=2.0)], []):
        refused(partial(b.control.seal, "e1", DAY, other, at(200)), ConflictError, "another seal of a day")
    assert b.control.seals("e1") == [seal] and b.control.matured("e1") == [rows[2], rows[1], rows[0]]


def the_sequence_is_that_of_sealing(b: Bench) -> None:
    """Units are read in the order of the seals, then of maturity, then of the unit; an empty day is a seal too."""
    later = b.control.seal("e1", NEXT, [unit("b", 90_000), unit("a", 90_001)], at(100))
    empty = b.control.seal("e1", date(2026, 3, 9), [], at(150))
    earlier = b.control.seal("e1", DAY, [unit("d", 5), unit("c", 5)], at(200))
    other = b.control.seal("e2", DAY, [unit("a", 5)], at(200))
    assert b.control.seals("e1") == [later, empty, earlier] and [later.sequence, earlier.sequence] == [0, 2]
    assert [row.unit for row in b.control.matured("e1")] == ["b", "a", "c", "d"] and other.sequence == 0
    assert b.control.matured("e3") == [] and b.control.seals("e3") == []


def a_unit_matures_once(b: Bench) -> None:
    """A unit stands in one seal of an experiment, once; a second time is refused, and its day is not sealed."""
    b.control.seal("e1", DAY, [unit("a")], at(100))
    refused(lambda: b.control.seal("e1", NEXT, [unit("a", 90_000), unit("b")], at(200)), ConflictError, "a unit again")
    refused(lambda: b.control.seal("e1", NEXT, [unit("b"), unit("b")], at(200)), ConflictError, "a unit twice")
    assert len(b.control.seals("e1")) == 1 and b.control.seal("e1", NEXT, [unit("b")], at(300)).sequence == 1


def restatements_stand_beside(b: Bench) -> None:
    """A restatement replaces the earlier one of its unit, and changes nothing of what was sealed."""
    b.control.seal("e1", DAY, [unit("a"), unit("b")], at(100))
    b.control.restate("e1", [unit("b", x=2.0), unit("a", x=3.0)], at(200))
    b.control.restate("e1", [unit("b", x=5.0)], at(300))
    b.control.restate("e1", [], at(300))
    assert b.control.restated("e1") == [unit("a", x=3.0), unit("b", x=5.0)] and b.control.restated("e2") == []
    assert b.control.matured("e1") == [unit("a"), unit("b")]
    b.control.restate("e1", [unit("b"), unit("a", x=4.0)], at(400))
    assert b.control.restated("e1") == [unit("a", x=4.0)], "a unit that is as it was sealed stays restated"


def matured_units_are_asked_for(b: Bench) -> None:
    """Some units of an experiment: those that matured since a time, or those that are named, in the same order."""
    b.control.seal("e1", DAY, [unit("a", 10), unit("b", 20)], at(100))
    b.control.seal("e1", NEXT, [unit("c", 90_000), unit("d", 5)], at(200))
    whole = b.control.matured("e1")
    edge = whole[1].matured_at
    assert [row.unit for row in whole] == ["a", "b", "d", "c"]
    assert [row.unit for row in b.control.matured("e1", since=edge)] == ["b", "c"]
    many = [f"u{n}" for n in range(1_200)]
    assert [row.unit for row in b.control.matured("e1", units=["c", "a", *many])] == ["a", "c"]
    assert [row.unit for row in b.control.matured("e1", since=edge, units=["c", "d"])] == ["c"]
    assert b.control.matured("e1", units=[]) == [] and b.control.matured("e2", since=edge) == []


def users_are_erased_with_an_audit(b: Bench) -> None:
    """Erasure takes users out of matured, restated and exclusions and leaves its audit; the seals stay as judged."""
    rows = [unit("u1"), unit("u2"), unit("u11")]
    seal = b.control.seal("e1", DAY, rows, at(100))
    b.control.restate("e1", [unit("u1", x=9.0), unit("u2", x=9.0)], at(200))
    b.control.exclude("u1", "i1", at(0))
    b.control.exclude("u1", "i2", at(0))
    b.control.exclude("u2", "i1", at(0))
    audit = b.audit()
    assert b.control.erase(["u1", "nobody"], audit) == {"matured": 1, "restated": 1, "exclusions": 2}
    assert [row.unit for row in b.control.matured("e1")] == ["u11", "u2"]
    assert [row.unit for row in b.control.restated("e1")] == ["u2"]
    assert b.control.exclusions()[1] == {"u2": frozenset({"i1"})}
    assert b.control.seals("e1") == [seal] and b.control.conclusions("audit") == [audit]
    assert b.control.seal("e1", DAY, rows, at(300)) == seal and len(b.control.matured("e1")) == 2
    assert b.control.erase(["u1"], audit) == {"matured": 0, "restated": 0, "exclusions": 0}
    assert len(b.control.conclusions("audit")) == 1


def units_expire_by_experiment(b: Bench) -> None:
    """Retention takes all units of one experiment, sealed and restated, and of no other; its seals stay as judged."""
    rows, other = [unit("u1"), unit("u2")], msgspec.structs.replace(unit("u1"), experiment="e2")
    seal = b.control.seal("e1", DAY, rows, at(100))
    b.control.seal("e2", DAY, [other], at(100))
    b.control.restate("e1", [unit("u1", x=9.0)], at(200))
    assert b.control.expire_units("e1") == 3 and b.control.expire_units("e1") == 0
    assert b.control.matured("e1") == [] == b.control.restated("e1") and b.control.matured("e2") == [other]
    assert b.control.seals("e1") == [seal] and b.control.seal("e1", DAY, rows, at(300)) == seal
    assert b.control.matured("e1") == [], "what expired comes back with its seal"


LAWS = (
    a_conclusion_comes_with_all_that_follows, a_conclusion_counts_once, conclusions_come_together,
    a_stale_writer_is_refused_whole,
    a_race_of_writers_has_one_winner, stages_close_one_another, conclusions_are_newest_first, the_outbox_waits,
    a_day_is_sealed_once, the_sequence_is_that_of_sealing, a_unit_matures_once, restatements_stand_beside,
    matured_units_are_asked_for, users_are_erased_with_an_audit, units_expire_by_experiment,
)


def add_to(suite: Suite) -> None:
    """Register the laws."""
    for law in LAWS:
        suite.law()(law)
