"""Bent, cut, full and forbidden files under the embedded log: what can be read goes on, what cannot is told."""

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from incumbent.clock import ManualClock
from incumbent.errors import StoreError
from incumbent.stores import sqlite_wal
from incumbent.stores.inbox import EmbeddedLog
from incumbent.stores.inbox_file import InboxDamaged
from incumbent.testing.checks.log_samples import NOW, drain_all, record, records
from incumbent.testing.faults import failing


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


def test_a_bent_wal_is_told_and_loses_only_what_is_bent(ram_path):
    """SQLite forgets all behind a bad frame of its WAL without a word; here the commits behind it come out."""
    clock, sizes = ManualClock(NOW), []
    log = EmbeddedLog(ram_path / "live", clock)
    for i in range(30):
        log.append(records(i * 3, 3, 2000)).result(20)
        (wal,) = (ram_path / "live" / "inbox").glob("*-wal")
        sizes.append(wal.stat().st_size)
    database = wal.with_name(wal.name.removesuffix("-wal"))
    content, wal_content = database.read_bytes(), wal.read_bytes()
    log.close()
    draw, told = random.Random(5), 0
    for n in range(40):
        bent = bytearray(wal_content)
        at = draw.randrange(32) if n % 4 == 0 else draw.randrange(32, len(bent))
        bent[at] ^= 1 << draw.randrange(8)
        folder = ram_path / str(n) / "inbox"
        folder.mkdir(parents=True)
        (folder / database.name).write_bytes(content)
        (folder / wal.name).write_bytes(bent)
        log = EmbeddedLog(ram_path / str(n), clock)
        out = [r for s in drain_all(log) for r in s.records]
        assert all(r == record(int(r.event_id[4:8], 16), 2000) for r in out)
        hit = sum(size <= at for size in sizes)  # the commit whose bytes were bent; the header belongs to the first
        lost = {int(r.event_id[4:8], 16) for r in records(0, 90)} - {int(r.event_id[4:8], 16) for r in out}
        if hit < len(sizes) - 1:
            assert log.problems and list((folder / "damaged").glob("*.bent")), f"bent at {at}"
            assert lost <= set(range(hit * 3, hit * 3 + 3)), f"bent at {at}: {sorted(lost)} lost, commit {hit} was hit"
            told += 1
        else:
            assert lost <= set(range(87, 90)), "the last commit cannot be told from a torn one"
        log.close()
    assert told > 30


@pytest.mark.parametrize("size", [0, 31, 32, 4096, 4152, 50_000])
def test_a_zeroed_or_random_wal_is_a_torn_one(size):
    assert not sqlite_wal.is_bent(bytes(size))
    assert not sqlite_wal.is_bent(random.Random(size).randbytes(size))
    assert sqlite_wal.overlay(b"x" * 4096, bytes(size)) == b"x" * 4096


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
from incumbent.testing.checks.log_samples import NOW, drain_all, record, records
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
def test_a_read_only_directory(tmp_path):
    log = EmbeddedLog(tmp_path, ManualClock(NOW))
    log.append(records(0, 1)).result(20)
    log.close()
    for path in (tmp_path, tmp_path / "inbox", *tmp_path.parents[:-1]):
        path.chmod(path.stat().st_mode | 0o555)
    done = subprocess.run([sys.executable, "-c", _NOBODY, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert "cannot be opened" in done.stdout and "write" in done.stdout, done.stdout + done.stderr[-2000:]


def bend(path):
    """The first frame's checksum is wrong from now on."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE frames SET crc = crc + 1 WHERE id = (SELECT min(id) FROM frames)")
        db.commit()


@pytest.mark.parametrize("alive", [True, False])
def test_damage_in_what_is_handed_out_stops_no_other_inbox(tmp_path, alive):
    """The lake refused the segment; before it is asked for again, its frame turns bad."""
    clock = ManualClock(NOW)
    bent, other = EmbeddedLog(tmp_path, clock), EmbeddedLog(tmp_path, clock)
    bent.append(records(0, 2)).result(20)
    path = tmp_path / "inbox" / f"{bent.writer}.sqlite"
    if not alive:
        bent.append(records(4, 2)).result(20)  # a second frame, whole
        bent.close()
    sealer = EmbeddedLog(tmp_path, clock, write=False)
    assert sealer.drain().writer == path.stem  # handed out; nobody releases it
    bend(path)
    other.append(records(2, 2)).result(20)
    segments = drain_all(sealer)
    assert {r.event_id for s in segments for r in s.records} == {
        r.event_id for r in records(2, 2) + ([] if alive else records(4, 2))}
    assert len(sealer.problems) == 1 and str(path) in str(sealer.problems[0])
    if alive:
        assert sealer.drain() is None and sealer.drained_until is None  # it waits, and holds the watermark
        bent.close()
        again = EmbeddedLog(tmp_path, clock)  # its restart: set aside
        again.append(records(6, 2)).result(20)
        assert {r.event_id for s in drain_all(sealer) for r in s.records} == {r.event_id for r in records(6, 2)}
        again.close()
    assert not path.exists() and sealer.drain() is None and sealer.drained_until == NOW
    sealer.close()
    other.close()


@pytest.mark.parametrize("alive", [True, False])
def test_an_inbox_that_cannot_release_stops_no_other(tmp_path, alive):
    """The lake has the segment, and the inbox is too damaged to forget it: told, and the others go on."""
    clock = ManualClock(NOW)
    bent, other = EmbeddedLog(tmp_path, clock), EmbeddedLog(tmp_path, clock)
    path = tmp_path / "inbox" / f"{bent.writer}.sqlite"
    bent.append(records(0, 2)).result(20)
    if not alive:
        bent.close()
    sealer = EmbeddedLog(tmp_path, clock, write=False)
    segment = sealer.drain()
    assert segment.writer == path.stem
    with failing("before:incumbent.stores.inbox_file.InboxFile.release", InboxDamaged("bent", got=str(path))):
        sealer.release(segment)
    other.append(records(2, 2)).result(20)
    came = [r.event_id for s in drain_all(sealer) for r in s.records]
    assert set(came) == {r.event_id for r in records(2, 2) + ([] if alive else records(0, 2))}
    assert len(sealer.problems) == 1 and str(path) in str(sealer.problems[0])
    assert sealer.drained_until == (None if alive else NOW)  # nothing of it counts as drained meanwhile
    if alive:  # it was but a passing fault: tried again before long, and the lake knows the segment
        clock.advance(seconds=61)
        assert [(s.writer, s.sequence) for s in drain_all(sealer)] == [(segment.writer, segment.sequence)]
        assert sealer.drained_until == clock.now()
        bent.close()
    sealer.close()
    other.close()


def test_the_watermark_waits_for_what_was_salvaged_into_a_drained_inbox(tmp_path):
    """A damaged inbox that this sealer never drained goes on, at its writer's restart, in an orphan that it has."""
    clock = ManualClock(NOW)
    orphan, bent = EmbeddedLog(tmp_path, clock), EmbeddedLog(tmp_path, clock)
    for i in range(2):
        bent.append(records(i, 1)).result(20)
    bend(tmp_path / "inbox" / f"{bent.writer}.sqlite")
    orphan.close()
    clock.advance(1)
    sealer = EmbeddedLog(tmp_path, clock, write=False)
    assert sealer.drain() is None and sealer.drained_until is None
    bent.close()
    again = EmbeddedLog(tmp_path, clock)
    assert again.writer == orphan.writer and sealer.backlog == 1
    assert sealer.drained_until is None
    assert [r.event_id for s in drain_all(sealer) for r in s.records] == [records(1, 1)[0].event_id]
    assert sealer.drain() is None and sealer.drained_until == clock.now()
    sealer.close()
    again.close()
