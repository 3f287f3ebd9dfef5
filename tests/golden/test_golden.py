"""Plays the golden logs beside this file through the real sealer, attribution and maturity, on both sets of stores."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from incumbent.clock import ManualClock
from incumbent.config import ExperimentConfig
from incumbent.events import codec
from incumbent.events.schema import Audit, Decision
from incumbent.loop.attribute import Attributor
from incumbent.loop.definitions import definitions
from incumbent.loop.mature import Maturer
from incumbent.loop.rollup import Rollup
from incumbent.loop.seal import Sealer
from incumbent.stores.control import SqlControl
from incumbent.stores.inbox import EmbeddedLog
from incumbent.stores.lake import DeltaLake
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.stores.memory_log import MemoryLog
from incumbent.stores.store import ExperimentRow, Matured, Record, seal_hash
from incumbent.testing.golden import Step, event_id, moment, parse

HERE = Path(__file__).parent
START = moment("2026-02-20T00:00")


class Died(BaseException):
    """The sealer's process, between lake and inbox."""


class DiesAtRelease:
    """A log whose process dies when it is told to forget a segment."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def release(self, segment: Any) -> None:
        raise Died


class Memory:
    """Inboxes that are objects."""

    def __init__(self, clock: ManualClock, directory: Path) -> None:
        self.clock, self.lake, self.control = clock, MemoryLake(buckets=4), MemoryControl()
        self.logs: dict[str, Any] = {}

    def append(self, writer: str, records: list[Record]) -> None:
        log = self.logs.setdefault(writer, MemoryLog(self.clock, writer=writer))
        log.source = writer  # a host of its own
        log.append(records).result()

    def drains(self) -> list[Any]:
        return list(self.logs.values())


class Embedded:
    """Inboxes that are files of processes that have ended."""

    def __init__(self, clock: ManualClock, directory: Path) -> None:
        self.clock, self.directory = clock, directory
        self.lake, self.control = DeltaLake(directory / "lake", 4), SqlControl.in_directory(directory)
        self.opened: list[Any] = []

    def append(self, writer: str, records: list[Record]) -> None:
        log = EmbeddedLog(self.directory, self.clock)
        log.append(records).result()
        log.close()

    def drains(self) -> list[Any]:
        for log in self.opened:
            log.close()
        self.opened = [EmbeddedLog(self.directory, self.clock, write=False)]
        return self.opened


class Player:
    def __init__(self, stores: Any, clock: ManualClock) -> None:
        self.stores, self.clock = stores, clock
        self.names: dict[str, str] = {}
        self.ids = 0
        lake, control = stores.lake, stores.control
        self.attributor = Attributor(lake, control, clock, lambda: definitions(control))
        self.rollup = Rollup(lake, control, clock, lambda: definitions(control))
        self.maturer = Maturer(lake, control, clock, grace_s=1800)

    def play(self, steps: list[Step]) -> None:
        for step in steps:
            getattr(self, f"do_{step.verb}")(step)

    def do_experiment(self, step: Step) -> None:
        options = dict(step.options)
        actions = {name: float(weight) for name, weight in
                   (part.split(":") for part in options.pop("actions").split(","))}
        definition = ExperimentConfig.model_validate({
            "surface": options.pop("surface"), "candidate": "new", "actions": actions,
            "attribution": options.pop("attribution"), "attribution_window_days": options.pop("window"),
            "maturity_window_days": options.pop("maturity"), **options}).model_dump(mode="json")
        row = ExperimentRow(step.argument, "ramp_50", START, START, False, None, 1, definition)
        decision = Decision(event_id=event_id(step.argument, START), time=START, experiment=step.argument,
                            verdict="start", reason="golden", by="test")
        self.stores.control.conclude(decision, experiment=row)

    def do_log(self, step: Step) -> None:
        records = []
        for event in step.events:
            table = type(event).__name__.lower()
            records.append(Record(event.event_id, table, codec.encode(event)))  # type: ignore[arg-type]
        self.stores.append(step.argument, records)

    def do_seal(self, step: Step) -> None:
        crash = step.argument == "crash"
        for log in self.stores.drains():
            with suppress(Died):
                Sealer(DiesAtRelease(log) if crash else log, self.stores.lake, self.stores.control, self.clock,
                       holder="loop").run_once()

    def do_run(self, step: Step) -> None:
        self.clock.set(moment(step.argument))
        self.do_seal(Step("seal"))
        for verb in (self.attributor, self.rollup, self.maturer, self.attributor):
            verb.run_once()

    def do_erase(self, step: Step) -> None:
        self.ids += 1
        audit = Audit(event_id=event_id(f"audit{self.ids}", self.clock.now()), time=self.clock.now(), actor="test",
                      action="erase", subject="user", reason="asked")
        self.stores.lake.erase([step.argument])
        self.stores.control.erase([step.argument], audit)

    # ------------------------------------------------------------------------------------------------------ answers
    def do_outcomes(self, step: Step) -> None:
        rows = self.stores.lake.scan("outcome").to_pylist()
        told = {row["event_id"]: self.names[row["event_id"]] for row in rows}
        assert sorted(map(repr, (outcome(row, told) for row in rows))) == sorted(
            map(repr, (expected_outcome(line) for line in step.lines)))

    def do_matured(self, step: Step) -> None:
        control = self.stores.control
        found = [[sealed_on(control, step.argument, row).isoformat(), *unit(row)]
                 for row in control.matured(step.argument)]
        assert found == [expected_unit(line[1:], [line[0]]) for line in step.lines]

    def do_restated(self, step: Step) -> None:
        judged = {row.unit: row for row in self.stores.control.matured(step.argument)}
        rows = sorted(self.stores.control.restated(step.argument), key=lambda row: row.unit)
        assert all(row.unit in judged for row in rows)
        assert [unit(row) for row in rows] == [expected_unit(line, []) for line in step.lines]

    def do_seals(self, step: Step) -> None:
        found = [[seal.day.isoformat(), f"units={seal.units}"] for seal in self.stores.control.seals(step.argument)]
        assert found == step.lines


def sealed_on(control: Any, experiment: str, row: Matured) -> Any:
    """The day of the seal that holds the unit: seals are in order, and `matured` is in seal order."""
    rows, at = control.matured(experiment), 0
    for seal in control.seals(experiment):
        mine = rows[at:at + seal.units]
        if seal_hash(mine) != seal.hash:  # somebody of it was erased: fall back on the day of maturity
            return row.matured_at.date()
        at += seal.units
        if row in mine:
            return seal.day
    raise AssertionError(f"{row.unit} is in no seal")


def outcome(row: dict[str, Any], names: dict[str, str]) -> tuple[Any, ...]:
    where = "-" if row["surface"] is None else f"{row['surface']}/{row['experiment'] or '-'}"
    credit = row["reason"] or (row["rule"], round(row["credit_candidate"], 9), round(row["credit_champion"], 9))
    if row["reason"]:
        assert row["credit_candidate"] == row["credit_champion"] == 0
    money = None if row["value_minor"] is None else (row["value_minor"], row["currency"])
    return names[row["event_id"]], where, row["request_id"] or "-", credit, round(row["weight"], 9) + 0.0, money


def expected_outcome(line: list[str]) -> tuple[Any, ...]:
    name, where, request, what, *rest = line
    options = dict(word.split("=") for word in rest if "=" in word)
    money = [word for word in rest if "=" not in word]
    credit: Any = what.removeprefix("reason=") if what.startswith("reason=") else (
        what, number(options["T"]), number(options["C"]))
    return (name, where, request, credit, number(options.get("weight", "1")),
            (int(money[0]), money[1]) if money else None)


def unit(row: Matured) -> list[Any]:
    return [row.unit, row.lane, row.stage, row.exposed_at, row.x, row.y, row.n, row.value, row.requests]


def expected_unit(line: list[str], before: list[str]) -> list[Any]:
    user, lane, stage, exposed, *numbers = line
    options = dict(word.split("=") for word in numbers)
    return [*before, user, lane, stage, moment(exposed), *(number(options[k]) for k in ("x", "y", "n", "value")),
            int(options["requests"])]


def number(text: str) -> float:
    return round(float(Fraction(text)), 9) + 0.0


def named(steps: list[Step], text: str) -> dict[str, str]:
    """Event id -> name in the log."""
    names = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 3 and words[0].startswith("2026-") and "T" in words[0] and words[1] != "request":
            names[event_id(words[2], moment(words[0]))] = words[2]
    return names


LOGS = sorted(HERE.glob("*.log"))


@pytest.mark.parametrize("kind", [Memory, Embedded])
@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_golden(path: Path, kind: type, tmp_path: Path) -> None:
    text = path.read_text()
    steps = parse(text)
    assert {"run", "outcomes"} <= {step.verb for step in steps}
    clock = ManualClock(START)
    player = Player(kind(clock, tmp_path), clock)
    player.names = named(steps, text)
    player.play(steps)


def test_all_golden_logs_are_there() -> None:
    assert [path.stem for path in LOGS] == ["edges", "erased", "foreign", "gateways", "late", "ramp", "refund", "rules"]


def test_a_wrong_answer_fails(tmp_path: Path) -> None:
    text = (HERE / "refund.log").read_text().replace("x=0 y=1 n=2", "x=1 y=1 n=2")
    clock = ManualClock(START)
    player = Player(Memory(clock, tmp_path), clock)
    player.names = named(parse(text), text)
    with pytest.raises(AssertionError):
        player.play(parse(text))


def test_a_line_that_cannot_be_read_is_named() -> None:
    from incumbent.errors import DataError

    with pytest.raises(DataError, match="cannot be read") as error:
        parse("[log g1]\nyesterday request r1")
    assert error.value.field == "line 2"

