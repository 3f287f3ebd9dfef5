"""The sealer: what arrives is sealed once, what cannot be read holds nothing up, and only one seals at a time."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from incumbent.clock import ManualClock
from incumbent.errors import StoreError
from incumbent.events import codec
from incumbent.loop.seal import LEASE, Sealed, Sealer
from incumbent.stores.inbox import EmbeddedLog
from incumbent.stores.lake import DeltaLake
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.stores.memory_log import MemoryLog
from incumbent.stores.store import Quarantined, Record
from incumbent.stores.tables import table_of
from incumbent.testing.checks.lake_samples import click, clicks, events_in, ids_in, one_of_each
from incumbent.testing.faults import Crash, failing

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def record(event):
    return Record(event.event_id, table_of(event), msgspec.msgpack.encode(event) if isinstance(event, Quarantined)
                  else codec.encode(event))


class Bench:
    """A log, a lake and a control in memory, and a sealer over them."""

    def __init__(self, **options):
        self.clock = ManualClock(NOW)
        self.log, self.lake, self.control = MemoryLog(self.clock), MemoryLake(4), MemoryControl()
        self.sealer = self.another("a", **options)

    def another(self, holder, **options):
        return Sealer(self.log, self.lake, self.control, self.clock, holder=holder, **options)

    def send(self, *records):
        self.log.append(list(records)).result()


@pytest.fixture
def bench():
    return Bench()


def test_every_kind_of_event_is_sealed(bench):
    events = one_of_each()
    bench.send(*map(record, events))
    assert bench.sealer.run_once() == Sealed(segments=1, records=10, rows=10)
    for event in events:
        assert event in events_in(bench.lake, table_of(event))
    assert bench.sealer.run_once() == Sealed()
    assert bench.log.backlog == 0


def test_small_appends_are_sealed_together_up_to_the_limit():
    bench = Bench(limit=30)
    for event in clicks(range(100)):
        bench.send(record(event))
    assert bench.sealer.run_once() == Sealed(segments=4, records=100, rows=100)


def test_under_steady_traffic_a_run_ends_and_the_next_goes_on():
    coming = iter(clicks(range(100)))
    bench = Bench(max_segments=60, taken=lambda events: bench.send(record(next(coming))))
    bench.send(record(next(coming)))
    for run in range(1, 4):
        assert bench.sealer.run_once() == Sealed(segments=2, records=2, rows=2)
        assert bench.log.backlog == 1 and len(ids_in(bench.lake, "feedback")) == 2 * run


def test_a_run_is_bounded():
    bench = Bench(limit=10, max_segments=3)
    bench.send(*map(record, clicks(range(100))))
    first = bench.sealer.run_once()
    assert (first.segments, first.records) == (3, 30) and first.reason == "there is more than 3 segments"
    assert sum(bench.sealer.run_once().records for _ in range(3)) == 70


def test_what_cannot_be_read_goes_to_quarantine_with_the_reason(bench):
    good = clicks(range(6))
    foreign = msgspec.msgpack.encode({"type": "weather", "user_id": "ann", "rain": True})
    newer = msgspec.msgpack.encode({**msgspec.to_builtins(good[5]), "schema": 99, "time": NOW})
    bad = {"bytes": b"\xff\xfe no event", "empty": b"", "foreign": foreign, "newer": newer, "nested": b"\x91" * 100_000}
    records = [record(event) for event in good[:5]]
    for at, (name, data) in enumerate(bad.items()):
        records.insert(2 * at, Record(name, "feedback", data))
    bench.send(*records)
    assert bench.sealer.run_once() == Sealed(segments=1, records=10, rows=10, quarantined=5)
    assert ids_in(bench.lake) == [event.event_id for event in good[:5]]
    found = {event.event_id: event for event in events_in(bench.lake, "quarantine")}
    assert {name: found[name].raw for name in bad} == bad
    assert all(event.source == "sealer" and event.reason for event in found.values())
    assert found["foreign"].user_id == "ann" and "99" in found["newer"].reason
    assert found["bytes"].time == NOW


def test_the_time_of_a_quarantined_record_is_that_of_its_id(bench):
    lost = click(3, time=NOW - timedelta(days=4))
    bench.send(Record(lost.event_id, "feedback", b"torn"))
    bench.sealer.run_once()
    assert events_in(bench.lake, "quarantine")[0].time == lost.time


def test_an_event_that_fits_no_column_loses_no_other(bench):
    good = one_of_each()
    item = good[4]
    huge = type(item)(event_id="f" * 36, time=NOW, item_id="i", price_minor=2**63)
    vector = type(good[2])(event_id="e" * 36, time=NOW, space="s", version="1", entity="item", entity_id="i",
                           vector="no base64")
    bench.send(*map(record, [huge, *good, vector]))
    assert bench.sealer.run_once() == Sealed(segments=1, records=12, rows=12, quarantined=2)
    assert {"f" * 36, "e" * 36} <= set(ids_in(bench.lake, "quarantine"))
    assert ids_in(bench.lake, "item") == [item.event_id]


def test_quarantined_by_the_collector_is_kept_as_it_came(bench):
    refused = Quarantined("q", NOW, b"{", "does not parse", field="time", user_id="ann")
    bench.send(record(refused))
    assert bench.sealer.run_once() == Sealed(segments=1, records=1, rows=1)
    assert events_in(bench.lake, "quarantine") == [refused]


def test_only_one_seals_at_a_time(bench):
    bench.send(*map(record, clicks(range(3))))
    other = bench.another("b")
    assert bench.control.acquire(LEASE, "b", 30.0, NOW) is not None
    assert bench.sealer.run_once() == Sealed(reason="another process holds the lease")
    assert other.run_once().rows == 3
    bench.send(*map(record, clicks(range(3, 5))))
    other.stop()
    assert bench.sealer.run_once().rows == 2


def test_a_sealer_that_lost_its_lease_releases_nothing(bench, monkeypatch):
    """It stalls in the middle of a commit, another takes over: the segment is sealed once, by whoever was first."""
    bench.send(*map(record, clicks(range(5))))
    other = bench.another("b")
    real = bench.lake.commit

    def stalls(*arguments):
        done = real(*arguments)
        bench.clock.advance(3600)
        bench.control.acquire(LEASE, "b", 30.0, bench.clock.now())
        return done

    monkeypatch.setattr(bench.lake, "commit", stalls)
    assert bench.sealer.run_once() == Sealed(reason="the lease went to another process")
    assert bench.log.backlog == 5
    monkeypatch.setattr(bench.lake, "commit", real)
    assert other.run_once() == Sealed(segments=1, records=5, rows=0)
    assert len(ids_in(bench.lake)) == 5


def test_a_commit_longer_than_the_lease_is_released_all_the_same(monkeypatch):
    """As under a replay clock, where a commit takes hours: nobody else took over, so the run goes on."""
    bench = Bench(limit=10)
    bench.send(*map(record, clicks(range(50))))
    real = bench.lake.commit
    monkeypatch.setattr(bench.lake, "commit", lambda *a: (bench.clock.advance(7200), real(*a))[1])
    assert bench.sealer.run_once() == Sealed(segments=5, records=50, rows=50)
    assert bench.log.backlog == 0


def test_whoever_seals_in_between_leaves_nothing_to_do(monkeypatch):
    """A stalled sealer's lease goes to another and comes back: the segment it committed is released once, by either."""
    bench = Bench()
    bench.send(*map(record, clicks(range(5))))
    other = bench.another("b")
    real = bench.lake.commit

    def stalls(*arguments):
        monkeypatch.setattr(bench.lake, "commit", real)
        done = real(*arguments)
        bench.clock.advance(3600)
        assert other.run_once() == Sealed(segments=1, records=5, rows=0)
        bench.send(*map(record, clicks(range(5, 8))))
        bench.clock.advance(3600)
        return done

    monkeypatch.setattr(bench.lake, "commit", stalls)
    bench.sealer.run_once()
    bench.sealer.run_once()
    assert ids_in(bench.lake) == [event.event_id for event in clicks(range(8))] and bench.log.backlog == 0


def test_a_lake_that_refuses_loses_nothing(bench, monkeypatch):
    bench.send(*map(record, clicks(range(5))))
    monkeypatch.setattr(bench.lake, "commit", lambda *_: (_ for _ in ()).throw(StoreError("the disk is full")))
    with pytest.raises(StoreError):
        bench.sealer.run_once()
    assert bench.log.backlog == 5
    monkeypatch.undo()
    assert bench.sealer.run_once().rows == 5


STEPS = [f"{when}:{target}" for when in ("before", "after") for target in (
    "incumbent.stores.inbox_file.InboxFile.drain", "incumbent.stores.inbox_file.InboxFile.release",
    "incumbent.stores.lake.DeltaLake.commit", "incumbent.stores.delta.DeltaFolder.write",
    "incumbent.stores.delta.DeltaFolder.commit",
    "incumbent.stores.memory_control.MemoryControl.acquire")]


def survive(directory, nth, kind=Sealer):
    """Embedded stores, a producer that sends again what it is not sure of, and a sealer that dies at every step."""
    clock = ManualClock(NOW)
    lake, control = DeltaLake(directory / "lake", 4), MemoryControl()
    sent: list[str] = []
    crashes = 0
    for number, step in enumerate(STEPS):
        events = [*clicks(range(number * 10, number * 10 + 4)), *one_of_each(1000 + number)]
        inbox = EmbeddedLog(directory, clock)  # every round another writer dies and leaves its inbox behind
        inbox.append([record(event) for event in events]).result()
        inbox.append([record(event) for event in events[:3]]).result()
        inbox.close()
        sent += [event.event_id for event in events]
        log = EmbeddedLog(directory, clock, write=False)
        try:
            with failing(step, Crash(step), nth):
                kind(log, lake, control, clock, holder="a", limit=5).run_once()
        except Crash:
            crashes += 1
        log.close()
        log, lake = EmbeddedLog(directory, clock, write=False), DeltaLake(directory / "lake", 4)
        assert kind(log, lake, control, clock, holder="a", limit=5).run_once().reason is None
        assert log.backlog == 0
        log.close()
        found = Counter(i for table in {table_of(e) for e in events} for i in ids_in(lake, table))
        assert found == Counter(sent), step
    assert crashes == len(STEPS)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_crash_at_any_step_seals_everything_once(tmp_path, nth):
    survive(tmp_path, nth)


class ReleasesFirst(Sealer):
    def _commit(self, segment):
        self._log.release(segment)
        return super()._commit(segment)


def test_a_sealer_that_releases_before_it_commits_is_caught(tmp_path):
    with pytest.raises(AssertionError, match=r"DeltaLake\.commit|DeltaFolder"):
        survive(tmp_path, 1, ReleasesFirst)


def test_inboxes_of_the_living_and_of_the_dead_are_sealed(tmp_path):
    clock = ManualClock(NOW)
    dead, living = EmbeddedLog(tmp_path, clock), EmbeddedLog(tmp_path, clock)
    dead.append([record(event) for event in clicks(range(5))]).result()
    dead.close()
    living.append([record(event) for event in clicks(range(3, 9))]).result()  # three of them were sent to both
    lake = DeltaLake(tmp_path / "lake", 4)
    log = EmbeddedLog(tmp_path, clock, write=False)
    done = Sealer(log, lake, MemoryControl(), clock, holder="a").run_once()
    assert (done.records, done.rows, done.reason) == (11, 9, None)
    assert ids_in(lake) == sorted(event.event_id for event in clicks(range(9)))
    log.close()
    living.close()


def test_a_run_that_begins_with_a_small_segment_of_before_still_takes_all_that_was_there(tmp_path):
    clock = ManualClock(NOW)
    writers = [EmbeddedLog(tmp_path, clock) for _ in range(2)]
    for n, log in enumerate(writers):
        for event in clicks(range(60 * n, 60 * n + 60)):
            log.append([record(event)]).result()
    dead = EmbeddedLog(tmp_path, clock, write=False)
    assert len(dead.drain(3).records) == 3  # handed out, and then the sealer died
    dead.close()
    log, lake = EmbeddedLog(tmp_path, clock, write=False), MemoryLake(4)
    done = Sealer(log, lake, MemoryControl(), clock, holder="s", limit=20_000).run_once()
    assert done.reason is None and done.records == 120 and log.backlog == 0
    for one in (*writers, log):
        one.close()
