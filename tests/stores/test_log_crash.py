"""The embedded log is stopped at every SQLite statement, torn, filled up and bent; what was acknowledged comes out."""

import random
import sqlite3
from contextlib import suppress
from itertools import count

import pytest

from incumbent.clock import ManualClock
from incumbent.stores import inbox_file, inbox_ids, salvage
from incumbent.stores.inbox import EmbeddedLog
from incumbent.stores.inbox_file import InboxFile
from incumbent.stores.inbox_lock import InboxLock
from incumbent.stores.inboxes import Inboxes, new_inbox
from incumbent.stores.store import Record
from incumbent.testing.checks.log_samples import NOW, drain_all, record, records


class Crash(BaseException):
    """The machine stops here."""


class Mortal(sqlite3.Connection):
    """A connection that dies at one statement, before or after it, and with it all others."""

    left = None  # statements until death
    after = False
    alive: list = []

    def execute(self, *arguments):
        cls = type(self)
        if cls.left is not None and cls.left <= 0:
            raise Crash
        if cls.left is not None:
            cls.left -= 1
            if cls.left == 0 and not cls.after:
                raise Crash
        result = super().execute(*arguments)
        if cls.left == 0:
            raise Crash
        return result


@pytest.fixture
def mortal(monkeypatch):
    def connect(path, *, create=False):
        made = sqlite3.connect(f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}", uri=True, timeout=5.0,
                               isolation_level=None, check_same_thread=False, factory=Mortal)
        Mortal.alive.append(made)
        return made

    for module in (inbox_file, salvage):
        monkeypatch.setattr(module, "connect", connect)
    yield Mortal
    Mortal.left = None
    bury()


def bury():
    Mortal.left = None
    for connection in Mortal.alive:
        with suppress(sqlite3.Error):
            connection.close()
    Mortal.alive.clear()


def scenario(directory, clock, acknowledged, handed, released, locks):
    """Two inboxes, one of them an orphan; appends, duplicates, drains, releases, erasure, a day's turn."""
    folder = directory / "inbox"
    folder.mkdir()
    first, lock = new_inbox(folder, clock.now(), lambda n: b"a" * n)
    first.commit(records(0, 5), clock.now())
    acknowledged.update(r.event_id for r in records(0, 5))
    first.close()
    lock.give()
    second, lock = new_inbox(folder, clock.now(), lambda n: b"b" * n)
    locks.append(lock)
    for at in (10, 14, 18):
        second.commit(records(at, 6), clock.now())  # two of each are duplicates of the next
        acknowledged.update(r.event_id for r in records(at, 6))
    inboxes = Inboxes(directory, clock, second.path)
    for limit in (3, 4, 100):
        segment = inboxes.drain(limit)
        locks.append(inboxes._current[1])
        handed[segment.writer, segment.sequence] = segment
        released[segment.writer, segment.sequence] = segment  # the lake has it now
        inboxes.release(segment)
    clock.advance(seconds=86_400)
    second.commit(records(23, 3), clock.now())
    acknowledged.update(r.event_id for r in records(23, 3))
    second.erase(frozenset({"nobody"}))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_every_statement(ram_path, mortal, after):
    for step in count(1):
        directory = ram_path / str(step)
        directory.mkdir()
        clock, acknowledged, handed, released, locks = ManualClock(NOW), set(), {}, {}, []
        mortal.left, mortal.after = step, after
        crashed = False
        try:
            scenario(directory, clock, acknowledged, handed, released, locks)
        except Crash:
            crashed = True
        bury()
        for lock in locks:
            if lock is not None:
                lock.give()
        if not crashed:
            break
        log = EmbeddedLog(directory, clock)
        out = {(s.writer, s.sequence): s for s in drain_all(log)}
        assert not log.problems
        log.close()
        for key in handed.keys() & out.keys():
            assert out[key] == handed[key], f"step {step}: {key} holds something else than before the crash"
        sealed = [r for s in {**out, **released}.values() for r in s.records]
        ids = [r.event_id for r in sealed]
        assert len(ids) == len(set(ids)), f"step {step}: twice"
        assert acknowledged <= set(ids), f"step {step}: lost {acknowledged - set(ids)}"
        assert all(r == record(int(r.event_id[4:8], 16)) for r in sealed)
    assert step > 60, "the scenario was meant to have many steps"


def test_a_torn_wal_keeps_what_was_synced(ram_path):
    """A WAL cut, zeroed or scribbled over from any byte on keeps every commit acknowledged before that byte."""
    clock, sizes = ManualClock(NOW), []
    log = EmbeddedLog(ram_path / "live", clock)
    for i in range(12):
        log.append(records(i * 3, 3, 700)).result(20)
        (wal,) = (ram_path / "live" / "inbox").glob("*-wal")
        sizes.append(wal.stat().st_size)
    database = wal.with_name(wal.name.removesuffix("-wal"))
    content, wal_content = database.read_bytes(), wal.read_bytes()
    log.close()
    draw = random.Random(7)
    for n in range(120):
        at = draw.randrange(len(wal_content))
        tail = [b"", bytes(len(wal_content) - at), draw.randbytes(len(wal_content) - at)][n % 3]
        folder = ram_path / str(n) / "inbox"
        folder.mkdir(parents=True)
        (folder / database.name).write_bytes(content)
        (folder / wal.name).write_bytes(wal_content[:at] + tail)
        torn = EmbeddedLog(ram_path / str(n), clock)
        ids = [r.event_id for s in drain_all(torn) for r in s.records]
        kept = sum(size <= at for size in sizes)
        assert ids[:kept * 3] == [r.event_id for r in records(0, kept * 3)], f"cut at {at}"
        assert len(ids) % 3 == 0 and not torn.problems
        torn.close()


def test_an_empty_inbox_is_removed_once_its_ids_are_a_day_old(tmp_path):
    clock = ManualClock(NOW)
    gone, kept = EmbeddedLog(tmp_path, clock), EmbeddedLog(tmp_path, clock)
    gone.append(records(0, 1)).result(20)
    gone.close()
    sealer = EmbeddedLog(tmp_path, clock, write=False)
    drain_all(sealer)
    assert (tmp_path / "inbox" / f"{gone.writer}.sqlite").exists()
    clock.advance(seconds=2 * 86_400)
    assert sealer.drain() is None
    assert [p.name for p in sorted((tmp_path / "inbox").iterdir()) if gone.writer in p.name] == []
    assert kept.append(records(1, 1)).result(20) == [True] and len(drain_all(sealer)) == 1
    for log in (sealer, kept):
        log.close()


def test_a_restart_takes_the_inbox_over(tmp_path):
    clock = ManualClock(NOW)
    writers = set()
    for i in range(4):
        log = EmbeddedLog(tmp_path, clock)
        writers.add(log.writer)
        assert log.append(records(0, i + 1)).result(20) == [False] * i + [True]
        log.close()
    assert len(writers) == 1 and len(list((tmp_path / "inbox").glob("*.sqlite"))) == 1
    reader = Inboxes(tmp_path, clock)
    assert [path.stem for path in reader.orphans()] == list(writers)


def test_a_file_of_another_sealer_is_opened_anew(tmp_path):
    """A handle on a file that another sealer removed and that came again is not used any longer."""
    clock = ManualClock(NOW)
    (tmp_path / "inbox").mkdir()
    inboxes = Inboxes(tmp_path, clock)
    for data in (b"1", b"2"):
        path = tmp_path / "inbox" / "w1.sqlite"
        for file in (tmp_path / "inbox").glob("w1.sqlite*"):
            file.unlink()
        made = InboxFile.create(path, "w1", NOW)
        made.commit([Record("x", "feedback", data)], NOW)
        made.close()
        segment = inboxes.drain()
        assert segment.records[0].data == data
        inboxes.release(segment)
    inboxes.close()




def test_sealers_may_take_turns(tmp_path):
    """A sealer that lost its lease and gets it back goes on where the other one stands."""
    clock = ManualClock(NOW)
    one, two = EmbeddedLog(tmp_path, clock), EmbeddedLog(tmp_path, clock)
    one.append(records(0, 6)).result(20)
    two.append(records(10, 6)).result(20)
    two.close()
    first, second = (EmbeddedLog(tmp_path, clock, write=False) for _ in range(2))
    out = []
    for turn in range(4):
        sealer = (first, second)[turn % 2]
        segment = sealer.drain(4)
        assert segment is not None
        (second, first)[turn % 2].drain(4)  # the other one still thinks that it is its turn
        sealer.release(segment)
        out += [r.event_id for r in segment.records]
    out += [r.event_id for sealer in (first, second) for s in drain_all(sealer) for r in s.records]
    assert sorted(out) == sorted(r.event_id for r in records(0, 6) + records(10, 6))
    for log in (one, first, second):
        log.close()


def test_what_a_dying_process_had_begun_is_cleared_away(tmp_path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    for name in ("w1.lock", "w1.new", "w1.new-journal", "w2.lock"):
        (folder / name).write_bytes(b"")
    living, lock = new_inbox(folder, NOW, lambda n: b"c" * n)
    being_made = InboxLock.take(folder / "w3.sqlite")
    (folder / "w3.new").write_bytes(b"")
    log = EmbeddedLog(tmp_path, ManualClock(NOW))
    names = {path.name.split(".")[0] for path in folder.iterdir()}
    assert names == {living.writer, "w3", log.writer} and (folder / "w3.new").exists()
    log.close()
    living.close()
    lock.give()
    being_made.give()


def test_ids_wither_a_few_at_a_time(tmp_path, monkeypatch):
    """The ids of a day are known on the next one, and go on the third, not all at once."""
    monkeypatch.setattr(inbox_ids, "WITHER", 10)
    clock, day = ManualClock(NOW), 86_400
    log = EmbeddedLog(tmp_path, clock)

    def left():
        return sum(log._file._db.execute(f"SELECT count(*) FROM ids_{i}").fetchone()[0] for i in range(3))

    log.append(records(0, 55)).result(20)
    clock.advance(seconds=day)
    assert log.append(records(50, 6)).result(20) == [False] * 5 + [True]
    assert left() == 56
    clock.advance(seconds=day)
    counts = []
    for i in range(100, 108):
        assert log.append([record(55), record(i)]).result(20) == [False, True]
        counts.append(left() - (i - 99))
    assert counts == [46, 36, 26, 16, 6, 1, 1, 1]
    assert log.append(records(0, 1)).result(20) == [True]
    log.close()
