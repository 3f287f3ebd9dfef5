"""The laws of stores that outlive their process: reopening, killing, adoption, several processes on one directory."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import msgspec

from incumbent.errors import StoreError
from incumbent.stores.store import Record, Segment
from incumbent.testing.checks.bench import Bench, drained, ids_of
from incumbent.testing.checks.control_laws import at, state
from incumbent.testing.checks.log_laws import append, refused
from incumbent.testing.checks.suite import Suite

#: appends five times two records, takes a segment of three, says both, and dies without closing anything
_CHILD = """
import os, signal, sys, msgspec
from importlib import import_module
from pathlib import Path
from incumbent.testing.checks.bench import Bench
module, _, name = sys.argv[1].partition(":")
bench = Bench(getattr(import_module(module), name), Path(sys.argv[2]))
records = bench.records(10)
for at in range(0, 10, 2):
    bench.log.append(records[at:at + 2]).result(20)
segment = bench.log.drain(3)
sys.stdout.buffer.write(msgspec.msgpack.encode((records, segment)))
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def the_log_survives_reopening(b: Bench) -> None:
    """After closing and opening, the segment handed out, the records behind it and the ids of the day are there."""
    records = b.records(9)
    append(b.log, *records)
    segment = b.log.drain(4)
    b.reopen()
    assert append(b.log, records[5], b.feedback()) == [False, True]
    assert b.log.drain(1) == segment
    out = drained(b.log)
    assert ids_of(out)[:9] == [record.event_id for record in records] and len(ids_of(out)) == 10
    keys = [(one.writer, one.sequence) for one in out]
    assert len(set(keys)) == len(keys)


def a_killed_writer_loses_nothing(b: Bench) -> None:
    """What a killed process had acknowledged comes out once, its segment byte for byte, under no used sequence."""
    name = f"{b.opener.__module__}:{b.opener.__qualname__}"
    child = subprocess.run([sys.executable, "-c", _CHILD, name, str(b.directory)], capture_output=True, timeout=60)
    assert child.returncode == -9, child.stderr.decode()[-2000:]
    records, segment = msgspec.msgpack.decode(child.stdout, type=tuple[list[Record], Segment])
    assert b.log.drain(100) == segment
    out = drained(b.log)
    assert ids_of(out) == [record.event_id for record in records]
    assert append(b.log, records[-1]) == [False]
    append(b.log, *b.records(2))
    keys = [(one.writer, one.sequence) for one in out + drained(b.log)]
    assert len(set(keys)) == len(keys)


def writers_share_a_directory(b: Bench) -> None:
    """Processes on one directory have writers of their own, and one of them drains them all, living and gone."""
    logs = [b.open().log for _ in range(3)]
    assert len({log.writer for log in logs}) == 3
    records = b.records(30)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda i: append(logs[i], *records[i * 10:(i + 1) * 10]), range(3)))
    logs[1].close()
    assert logs[0].backlog == 30
    out = drained(logs[0], 4)
    assert sorted(ids_of(out)) == sorted(record.event_id for record in records)
    by_writer = {log.writer: ids_of([one for one in out if one.writer == log.writer]) for log in logs}
    assert all(by_writer[logs[i].writer] == [record.event_id for record in records[i * 10:(i + 1) * 10]]
               for i in range(3))
    assert append(logs[2], b.feedback()) == [True]


def erasure_reaches_every_writer(b: Bench) -> None:
    """Erasure through one process takes the user's records of all, living and gone."""
    logs = [b.open().log for _ in range(3)]
    for log in logs:
        append(log, b.feedback("u1"), b.feedback("u2"))
    logs[2].close()
    assert logs[0].erase(["u1"]) == 3
    assert len(ids_of(drained(logs[0]))) == 3


def nothing_of_the_erased_is_left(b: Bench) -> None:
    """After erasure and closing, the user's id stands in no file of the log or of control; nor does what was sealed."""
    name = "user-to-be-forgotten"
    for _ in range(12):  # many pages that a release sets free
        append(b.log, *[b.feedback(name) for _ in range(50)])
    drained(b.log)
    append(b.log, *[b.feedback(name) for _ in range(50)], b.feedback("u2"))
    b.control.exclude(name, "i1", at(0))
    b.log.erase([name])
    b.control.erase([name], b.audit())
    b.close()
    found = [path for path in b.directory.rglob("*") if path.is_file() and name.encode() in path.read_bytes()]
    assert not found, f"still in {found}"


def readers_do_not_write(b: Bench) -> None:
    """Stores opened for reading refuse records, and see what others wrote."""
    append(b.log, b.feedback())
    reader = b.open("reader")
    refused(lambda: reader.log.append([b.feedback()]), StoreError, "an append to a log opened for reading")
    assert reader.log.backlog == 1


def control_is_shared(b: Bench) -> None:
    """What one process puts into control, another reads, and a third after all have closed."""
    first, second = b.open().control, b.open().control
    first.put(at(0).date(), 1, "latency", [state("a"), state("b")], ("c", "1"))
    assert [row.key for row in second.range("")] == ["a", "b"] and second.cursor("c") == "1"
    second.exclude("u1", "i1", at(0))
    assert first.exclusions()[1] == {"u1": frozenset({"i1"})}
    b.reopen()
    assert [row.key for row in b.control.range("")] == ["a", "b"]


def many_open_at_once(b: Bench) -> None:
    """Services that start at the same moment on a new directory do not trip over its making."""
    with ThreadPoolExecutor(6) as pool:
        opened = list(pool.map(lambda _: b.open(), range(6)))
    assert len({stores.log.writer for stores in opened}) == 6
    assert all(stores.control.plan_version() == 0 for stores in opened)


LAWS = (the_log_survives_reopening, a_killed_writer_loses_nothing, writers_share_a_directory,
        erasure_reaches_every_writer, nothing_of_the_erased_is_left, readers_do_not_write, control_is_shared,
        many_open_at_once)


def add_to(suite: Suite) -> None:
    """Register the laws for implementations with the tag ``durable``."""
    for law in LAWS:
        suite.law("durable")(law)
