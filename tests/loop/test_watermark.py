"""The low watermark: no maturity day is judged before every inbox was drained past it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from incumbent.clock import ManualClock
from incumbent.config import ExperimentConfig
from incumbent.errors import ConflictError, DataError, NotFoundError
from incumbent.events import codec
from incumbent.events.ids import EventIds
from incumbent.events.schema import Decision
from incumbent.loop import watermark
from incumbent.loop.attribute import Attributor
from incumbent.loop.definitions import definitions
from incumbent.loop.mature import Maturer
from incumbent.loop.relations import ArrowEngine
from incumbent.loop.seal import Sealer
from incumbent.loop.watermark import Low, Mark
from incumbent.stores.control import SqlControl
from incumbent.stores.inbox import EmbeddedLog
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.stores.store import ExperimentRow, Record
from incumbent.testing.golden import event_id, impression, moment

START = datetime(2026, 3, 1, tzinfo=UTC)
CONFIG = ExperimentConfig.model_validate({
    "surface": "home", "candidate": "new", "maturity_window_days": 1, "attribution_window_days": 1})


def shown(user: str, at: datetime) -> Record:
    event = impression(f"r-{user}", at, user, "home", "e/canary/interleave", ["a:pair0:T", "b:pair0:C"])
    return Record(event.event_id, "impression", codec.encode(event))


class Host:
    """A directory with gateways, a sealer, and a loop over stores that several hosts may share."""

    def __init__(self, directory: Any, clock: ManualClock, control: Any = None, lake: Any = None,
                 source: str = "local") -> None:
        self.directory, self.clock = directory, clock
        self.control, self.lake = control or MemoryControl(), lake or MemoryLake(2)
        self.log = EmbeddedLog(directory, clock, write=False)
        self.log.source = source
        self.sealer = Sealer(self.log, self.lake, self.control, clock, holder=source)
        if control is None:
            self.control.conclude(
                Decision(event_id=event_id("start", START), time=START, experiment="e", verdict="start", reason="test",
                         by="test"),
                experiment=ExperimentRow("e", "canary", START, START, False, None, 1, CONFIG.model_dump(mode="json")))

    def gateway(self) -> EmbeddedLog:
        return EmbeddedLog(self.directory, self.clock)

    def seal(self) -> None:
        self.sealer.run_once()
        self.sealer.stop()

    def judge(self, **options: Any) -> Any:
        Attributor(self.lake, self.control, self.clock, lambda: definitions(self.control),
                   engine=ArrowEngine()).run_once()
        return Maturer(self.lake, self.control, self.clock, grace_s=0.0, engine=ArrowEngine(), **options).run_once()

    @property
    def units(self) -> list[str]:
        return [unit.unit for unit in self.control.matured("e")]


@pytest.fixture
def clock():
    return ManualClock(START)


@pytest.fixture
def host(tmp_path, clock):
    one = Host(tmp_path / "one", clock)
    yield one
    one.log.close()


def test_a_day_waits_for_a_sealer_that_failed(host, clock):
    gateway = host.gateway()
    gateway.append([shown("u1", START + timedelta(hours=1))]).result()
    host.seal()
    gateway.append([shown("u2", START + timedelta(hours=2))]).result()  # acknowledged, and not sealed for two days
    clock.set(moment("2026-03-03T00:01"))
    run = host.judge()
    assert host.units == [] and run.waits_for == "local"
    host.seal()
    assert host.judge().waits_for is None
    assert host.units == ["u1", "u2"] and host.control.restated("e") == []


def test_nothing_is_judged_where_nobody_seals(host, clock):
    event = codec.decode(shown("u1", START + timedelta(hours=1)).data)
    host.lake.commit([event], "by-hand", 0)
    clock.set(moment("2026-03-03T00:01"))
    assert host.judge().waits_for == "a sealer" and host.units == []


def test_attribution_has_to_pass_it_too(host, clock):
    gateway = host.gateway()
    gateway.append([shown("u1", START + timedelta(hours=1))]).result()
    host.seal()
    clock.set(moment("2026-03-03T00:01"))
    Attributor(host.lake, host.control, clock, lambda: definitions(host.control)).run_once()  # before the sealer
    host.seal()
    Maturer(host.lake, host.control, clock, grace_s=0.0).run_once()
    assert host.units == []
    host.judge()
    assert host.units == ["u1"]


def test_the_inbox_of_a_dead_gateway_is_drained_before_the_day_is_judged(host, clock):
    dead = host.gateway()
    dead.append([shown("u1", START + timedelta(hours=1))]).result()
    dead.close()
    clock.set(moment("2026-03-03T00:01"))
    host.judge()
    assert host.units == []
    host.seal()
    host.judge()
    assert host.units == ["u1"]


def test_an_idle_gateway_holds_nothing_back(host, clock):
    idle, busy = host.gateway(), host.gateway()
    busy.append([shown("u1", START + timedelta(hours=1))]).result()
    clock.set(moment("2026-03-03T00:01"))
    host.seal()
    assert watermark.low(host.control) == Low(clock.now(), "local")
    host.judge()
    assert host.units == ["u1"]
    idle.close()


def test_a_busy_gateway_does_not_either(host, clock):
    """Where something arrives during each commit a run never finds its end, and still tells how far it came."""
    gateway = host.gateway()
    commit = host.lake.commit

    def slow(events, writer, sequence):
        clock.advance(seconds=60)
        gateway.append([shown(f"late-{sequence}", clock.now())]).result()
        return commit(events, writer, sequence)

    host.lake.commit = slow
    host.sealer = Sealer(host.log, host.lake, host.control, clock, holder="local", lease_s=600)
    gateway.append([shown("u1", START)]).result()
    assert host.sealer.run_once().segments == 2 and host.log.backlog == 1
    until = watermark.low(host.control).until
    assert until == START + timedelta(minutes=1)  # when the last segment was taken, all before it is in the lake
    assert set(host.lake.scan("impression")["time"].to_pylist()) == {START, START + timedelta(minutes=1)}


def test_a_segment_that_does_not_reach_the_end_proves_nothing(host, clock):
    gateway = host.gateway()
    for n in range(3):
        gateway.append([shown(f"u{n}", START)]).result()
    Sealer(host.log, host.lake, host.control, clock, holder="local", limit=1, max_segments=2).run_once()
    assert watermark.low(host.control) == Low(None, "local")


def test_damage_under_a_living_gateway_holds_the_mark(host, clock):
    gateway, other = host.gateway(), host.gateway()
    gateway.append([shown("u1", START)]).result()
    host.seal()
    first = watermark.low(host.control).until
    gateway.append([shown("u2", START)]).result()
    import sqlite3

    path = host.directory / "inbox" / f"{gateway.writer}.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("UPDATE frames SET crc = crc + 1")
    clock.advance(seconds=3600)
    other.append([shown("u3", START)]).result()
    host.seal()
    assert host.lake.scan("impression").num_rows == 2 and watermark.low(host.control).until == first
    gateway.close()  # its process ends: the file is set aside, and what can be read goes on
    host.seal()
    assert watermark.low(host.control).until == clock.now()


def test_a_host_that_is_gone_for_good_is_retired_by_hand(tmp_path, clock):
    """Its days wait for it until somebody says that it is gone, and why; should it come back, it counts again."""
    one = Host(tmp_path / "one", clock, source="one")
    gone = Host(tmp_path / "gone", clock, one.control, one.lake, source="gone")
    ids = EventIds(clock)

    def retire(source="gone", actor="ada", reason="its disk burnt"):
        return watermark.retire(one.control, ids, source, clock.now(), actor=actor, reason=reason)

    one.gateway().append([shown("u1", START + timedelta(hours=1))]).result()
    lost = gone.gateway()
    one.seal()
    gone.seal()
    with pytest.raises(ConflictError, match="alive"):
        retire()
    clock.set(moment("2026-03-03T00:01"))
    one.seal()
    assert one.judge().waits_for == "gone" and one.units == []
    for wrong, error in (({"reason": " "}, DataError), ({"actor": ""}, DataError), ({"source": "two"}, NotFoundError)):
        with pytest.raises(error):
            retire(**wrong)
    audit = retire()
    assert (audit.actor, audit.action, audit.subject) == ("ada", "source.retire", "source:gone")
    assert audit in one.control.conclusions("audit", "source:gone") and one.control.outbox()[-1].kind == "log"
    assert one.judge().waits_for is None and one.units == ["u1"]
    with pytest.raises(ConflictError, match="already"):
        retire()
    clock.advance(seconds=3600)
    with pytest.raises(ConflictError, match="only source"):
        retire("one")
    lost.append([shown("u2", START + timedelta(hours=1))]).result()
    gone.seal()
    assert not watermark.marks(one.control)["gone"].retired


def test_the_slowest_of_several_hosts_counts(tmp_path, clock):
    one = Host(tmp_path / "one", clock, source="one")
    two = Host(tmp_path / "two", clock, one.control, one.lake, source="two")
    one.gateway().append([shown("u1", START + timedelta(hours=1))]).result()
    far = two.gateway()
    far.append([shown("u2", START + timedelta(hours=1))]).result()
    one.seal()
    two.seal()
    clock.set(moment("2026-03-03T00:01"))
    far.append([shown("u3", START + timedelta(hours=1))]).result()
    one.seal()
    assert one.judge().waits_for == "two" and one.units == []
    two.seal()
    one.judge()
    assert one.units == ["u1", "u2", "u3"]


def test_a_host_that_is_new_is_waited_for_from_its_first_run(tmp_path, clock):
    one = Host(tmp_path / "one", clock, source="one")
    one.seal()

    class Fails(MemoryLake):
        def commit(self, *args):
            raise OSError("no space left on device")

    two = Host(tmp_path / "two", clock, one.control, Fails(2), source="two")
    two.gateway().append([shown("u2", START)]).result()
    with pytest.raises(OSError):
        two.sealer.run_once()
    assert watermark.low(one.control) == Low(None, "two")


def test_a_host_that_is_gone_for_good_is_left_out_with_a_finding(tmp_path, clock):
    one = Host(tmp_path / "one", clock, source="one")
    two = Host(tmp_path / "two", clock, one.control, one.lake, source="two")
    one.gateway().append([shown("u1", START + timedelta(hours=1))]).result()
    for each in (one, two):
        each.seal()
    for day in range(2, 9):
        clock.set(moment(f"2026-03-{day - 1:02}T12:00"))
        one.seal()
        clock.set(moment(f"2026-03-{day:02}T00:01"))
        one.seal()
    assert one.judge(silent_days=7.5).waits_for == "two" and one.control.conclusions("finding") == []
    one.judge(silent_days=7.0)
    [finding] = one.control.conclusions("finding")
    assert (finding.subject, finding.status) == ("source:two", "no_data") and "2026-03-01 00:00" in finding.reason
    one.judge()
    assert one.units == ["u1"] and len(one.control.conclusions("finding")) == 1
    two.seal()  # and when it comes back, it counts again
    assert {source: mark.retired for source, mark in watermark.marks(one.control).items()} == {
        "one": False, "two": False}


@pytest.mark.parametrize("kind", [MemoryControl, lambda: SqlControl("sqlite://")])
def test_after_an_outage_of_all_nobody_is_missed_at_once(kind):
    """Two hosts stop together for eight days; the sealer of one is back two seconds before the other's."""
    control, ids = kind(), EventIds(ManualClock(START))
    for source in ("a", "b"):
        watermark.record(control, source, START, START)
    back = START + timedelta(days=8)
    watermark.announce(control, "a", back)
    watermark.record(control, "a", back, back)
    assert watermark.retire_silent(control, ids, back) == [] and watermark.low(control) == Low(START, "b")
    for hours in range(1, 24 * 7 + 1):
        now = back + timedelta(hours=hours)
        watermark.record(control, "a", now, now)
        assert watermark.retire_silent(control, ids, now) == [], "b has as long as ever"
    now += timedelta(seconds=1)
    assert watermark.retire_silent(control, ids, now) == ["b"] and watermark.low(control).source == "a"
    [finding] = control.conclusions("finding")
    assert finding.subject == "source:b" and "last heard of at 2026-03-01" in finding.reason
    assert len(control.outbox()) == 1 and watermark.marks(control)["b"].retired


def test_a_finding_and_the_mark_that_it_tells_of_are_one_transaction():
    class Dying(MemoryControl):
        def set_cursor(self, name, value):
            if '"retired"' in value:
                raise OSError("died behind the finding")
            super().set_cursor(name, value)

    control, now = Dying(), START + timedelta(days=8)
    watermark.record(control, "b", START, START)
    for day in range(17):
        watermark.record(control, "a", START, START + timedelta(days=day / 2))
    assert watermark.retire_silent(control, EventIds(ManualClock(now)), now) == ["b"]
    assert watermark.marks(control)["b"].retired and len(control.conclusions("finding")) == 1
    assert watermark.retire_silent(control, EventIds(ManualClock(now)), now) == []


def test_the_only_host_is_never_left_out(host, clock):
    host.seal()
    clock.set(moment("2026-06-01T00:00"))
    assert watermark.retire_silent(host.control, EventIds(clock), clock.now()) == []
    assert host.judge().waits_for == "local"


@pytest.mark.parametrize("kind", [MemoryControl, lambda: SqlControl("sqlite://")])
def test_marks_are_told_by_prefix(kind):
    control = kind()
    control.set_cursor("seal", "no mark")
    control.set_cursor("sealer/x", "no mark either")
    watermark.record(control, "b/é", START, START)
    watermark.announce(control, "a", START)
    watermark.announce(control, "b/é", START)
    assert watermark.marks(control) == {"a": Mark(None, START), "b/é": Mark(START, START, since=START)}
    watermark.record(control, "b/é", None, START + timedelta(days=1))
    assert watermark.marks(control)["b/é"].at == START
    assert list(control.cursors("seal/")) == ["seal/a", "seal/b/é"]
    assert msgspec.json.decode(control.cursors("seal/a")["seal/a"], type=Mark).until is None
