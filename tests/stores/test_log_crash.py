"""The embedded log is stopped at every SQLite statement, torn, filled up and bent; what was acknowledged comes out."""

import random
import sqlite3
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count

import pytest

from incumbent.clock import ManualClock
from incumbent.errors import StoreError
from incumbent.stores import inbox_file, salvage
from incumbent.stores.inbox import EmbeddedLog
from incumbent.stores.inbox_file import InboxFile
from incumbent.stores.inboxes import Inboxes, new_inbox
from incumbent.stores.store import Record

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def record(i, size=40):
    return Record(f"0195{i:04x}-0000-7000-8000-000000000000", "feedback", bytes([i % 256]) * size)


def records(first, n, size=40):
    return [record(i, size) for i in range(first, first + n)]


def drain_all(log):
    out = []
    while (segment := log.drain(7)) is not None:
        out.append(segment)
        log.release(segment)
    return out


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


@pytest.mark.parametrize("owner", ["restart", "sealer"])
def test_a_damaged_file_is_set_aside_and_read_as_far_as_it_goes(tmp_path, owner):
    clock = ManualClock(NOW)
    log = EmbeddedLog(tmp_path, clock)
    for i in range(40):
        log.append(records(i * 2, 2, 5000)).result(20)
    writer = log.writer
    log.close()
    path = tmp_path / "inbox" / f"{writer}.sqlite"
    content = bytearray(path.read_bytes())
    assert len(content) > 300_000
    content[-60_000:] = random.Random(1).randbytes(60_000)
    path.write_bytes(content)
    log = EmbeddedLog(tmp_path, clock, write=owner == "restart")
    out = [r for s in drain_all(log) for r in s.records]
    assert len(log.problems) >= 1 and str(path) in str(log.problems[-1])
    aside = [p for p in (tmp_path / "inbox" / "damaged").iterdir() if p.suffix == ".sqlite"]
    assert len(aside) == 1 and str(aside[0]) in str(log.problems[-1]) and not path.exists()
    assert aside[0].read_bytes() == bytes(content)
    ids = {r.event_id for r in out}
    assert 50 <= len(ids) < 80 and len(ids) == len(out), "most of it was readable"
    assert all(r == record(int(r.event_id[4:8], 16), 5000) for r in out), "never a wrong record"
    log.close()
    again = EmbeddedLog(tmp_path, clock)
    assert again.drain() is None and not again.problems
    again.close()


def test_bit_flips_never_give_a_wrong_record(ram_path):
    clock = ManualClock(NOW)
    log = EmbeddedLog(ram_path / "live", clock)
    for i in range(10):
        log.append(records(i * 5, 5, 3000)).result(20)
    name = f"{log.writer}.sqlite"
    log.close()
    content = (ram_path / "live" / "inbox" / name).read_bytes()
    draw, told = random.Random(3), 0
    for n in range(60):
        bent = bytearray(content)
        bent[draw.randrange(len(bent))] ^= 1 << draw.randrange(8)
        folder = ram_path / str(n) / "inbox"
        folder.mkdir(parents=True)
        (folder / name).write_bytes(bent)
        try:
            log = EmbeddedLog(ram_path / str(n), clock)
        except StoreError as error:
            assert str(folder) in str(error)
            continue
        out = [r for s in drain_all(log) for r in s.records]
        told += bool(log.problems)
        assert all(r == record(int(r.event_id[4:8], 16), 3000) for r in out)
        assert len(out) == 50 or (log.problems and len(out) >= 40), f"{len(out)} left, {log.problems}"
        log.close()
    assert told > 20


def test_a_file_that_is_no_database_is_set_aside(tmp_path):
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "w1.sqlite").write_bytes(b"not a database" * 1000)
    log = EmbeddedLog(tmp_path, ManualClock(NOW))
    assert "w1.sqlite" in str(log.problems[0]) and log.append(records(0, 1)).result(20) == [True]
    log.close()
    assert not (tmp_path / "inbox" / "w1.sqlite").exists()


def test_damage_under_a_living_writer_stops_only_its_own_inbox(tmp_path):
    clock = ManualClock(NOW)
    one, two = EmbeddedLog(tmp_path, clock), EmbeddedLog(tmp_path, clock)
    one.append(records(0, 3)).result(20)
    two.append(records(10, 3)).result(20)
    with sqlite3.connect(tmp_path / "inbox" / f"{one.writer}.sqlite") as db:
        db.execute("UPDATE frames SET crc = crc + 1")
    sealer = EmbeddedLog(tmp_path, clock, write=False)
    assert [r.event_id for s in drain_all(sealer) for r in s.records] == [r.event_id for r in records(10, 3)]
    assert sealer.drain() is None and len(sealer.problems) == 1 and one.writer in str(sealer.problems[0])
    for log in (sealer, one, two):
        log.close()


def test_a_full_database_refuses_whole_and_recovers(tmp_path):
    log = EmbeddedLog(tmp_path, ManualClock(NOW))
    database = log._file._db
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages + 2}")
    big = log.append(records(0, 50, 1000))
    with pytest.raises(StoreError, match="full"):
        big.result(20)
    assert isinstance(log.error, StoreError) and log.backlog == 0
    log.post(records(100, 30, 1000), max_delay_s=0.001)
    with pytest.raises(StoreError):
        log.append(records(50, 50, 1000)).result(20)
    database.execute("PRAGMA max_page_count = 100000")
    assert log.append(records(0, 50, 1000)).result(20) == [True] * 50
    assert log.error is None and log.dropped == 0 and log.backlog == 80, "what was posted waited for the space"
    log.close()


_CRAMPED = """
import os, resource, sys
from pathlib import Path
from incumbent.clock import SystemClock
from incumbent.errors import StoreError
from incumbent.stores.inbox import EmbeddedLog
from incumbent.stores.store import Record
log = EmbeddedLog(Path(sys.argv[1]), SystemClock())
acknowledged, refused = [], 0
def send(i):
    global refused
    ids = [f"{i}-{j}" for j in range(5)]
    try:
        log.append([Record(id, "feedback", os.urandom(2000)) for id in ids]).result(20)
        acknowledged.extend(ids)
    except StoreError as error:
        assert "inbox cannot be written" in str(error), error
        refused += 1
for limit in (200_000, 300_000, 500_000, -1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
    for i in range(60):
        send(f"{limit}-{i}")
assert refused > 20 and len(acknowledged) > 300, (refused, len(acknowledged))
out = []
while segment := log.drain(40):
    out += [r.event_id for r in segment.records]
    log.release(segment)
assert len(out) == len(set(out)) and set(acknowledged) == set(out), (len(out), len(acknowledged))
log.close()
print("kept", len(out), "refused", refused)
"""


def test_writes_that_the_system_refuses(tmp_path):
    """Under a limit of the file size real writes fail half-way; nothing acknowledged is lost, nothing refused kept."""
    done = subprocess.run([sys.executable, "-c", _CRAMPED, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("kept")


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(StoreError, match="inbox directory cannot be made"):
        EmbeddedLog(tmp_path / "file", ManualClock(NOW))


_NOBODY = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from incumbent.clock import ManualClock
from incumbent.errors import StoreError
from incumbent.stores.inbox import EmbeddedLog
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    EmbeddedLog(Path(sys.argv[1]), ManualClock(datetime(2026, 3, 2, tzinfo=UTC)))
except StoreError as error:
    print(error)
"""


@pytest.mark.skipif(__import__("os").geteuid() != 0, reason="only root can become somebody without rights")
def test_a_read_only_directory(tmp_path):
    log = EmbeddedLog(tmp_path, ManualClock(NOW))
    log.append(records(0, 1)).result(20)
    log.close()
    for path in (tmp_path, tmp_path / "inbox", *tmp_path.parents[:-1]):
        path.chmod(path.stat().st_mode | 0o555)
    done = subprocess.run([sys.executable, "-c", _NOBODY, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert "cannot be opened" in done.stdout and "write" in done.stdout, done.stdout + done.stderr[-2000:]


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
