"""Group commit: who waits, for how long, and what becomes of records that the disk refuses."""

import asyncio
import threading
import time
from concurrent.futures import Future

import pytest

from incumbent.clock import SystemClock
from incumbent.errors import StoreError
from incumbent.stores import group_commit
from incumbent.stores.group_commit import GroupCommit
from incumbent.stores.inbox_file import InboxRefused
from incumbent.stores.store import Record


def record(i):
    return Record(f"e{i}", "feedback", b"")


class Disk:
    """Writes that are counted, can be held up, and can fail."""

    def __init__(self):
        self.written, self.fault, self.gate = [], None, threading.Event()
        self.gate.set()

    def __call__(self, records):
        self.gate.wait(20)
        if self.fault is not None:
            raise self.fault
        self.written.append([r.event_id for r in records])


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def commit(disk):
    made = GroupCommit(disk, SystemClock(), "test")
    yield made
    disk.gate.set()
    made.close()


def put(commit, i, delay_s=0.0, wait=True):
    future = Future() if wait else None
    commit.put([record(i)], delay_s, future, None)
    return future


def eventually(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_what_arrives_during_a_sync_shares_the_next(commit, disk):
    disk.gate.clear()
    first = put(commit, 0)
    eventually(lambda: not commit._queue)
    rest = [put(commit, i) for i in range(1, 30)]
    disk.gate.set()
    assert first.result(20) == [True] and all(future.result(20) == [True] for future in rest)
    assert disk.written == [["e0"], [f"e{i}" for i in range(1, 30)]]


def test_one_who_will_not_wait_takes_the_others_along(commit, disk):
    waiting = [put(commit, i, 3600) for i in range(3)]
    time.sleep(0.05)
    assert not any(future.done() for future in waiting)
    assert put(commit, 9).result(20) == [True]
    assert [future.result(20) for future in waiting] == [[True]] * 3
    assert disk.written == [["e0", "e1", "e2", "e9"]]


def test_the_shortest_delay_counts(commit, disk):
    long = put(commit, 0, 3600)
    time.sleep(0.05)
    short = put(commit, 1, 0.01)
    assert short.result(20) == [True] and long.result(20) == [True]


def test_a_delay_ends(commit, disk):
    started = time.monotonic()
    assert put(commit, 0, 0.1).result(20) == [True]
    assert time.monotonic() - started >= 0.09


def test_posts_during_a_sync_keep_company_too(commit, disk):
    disk.gate.clear()
    put(commit, 0)
    eventually(lambda: not commit._queue)
    put(commit, 1, 3600, wait=False)
    disk.gate.set()
    time.sleep(0.05)
    assert disk.written == [["e0"]], "a post that is not due was written behind another's sync"
    put(commit, 2).result(20)
    assert disk.written[-1] == ["e1", "e2"]


def test_a_commit_takes_whole_appends_up_to_its_size(commit, disk, monkeypatch):
    monkeypatch.setattr(group_commit, "COMMIT_RECORDS", 5)
    disk.gate.clear()
    put(commit, 0)
    eventually(lambda: not commit._queue)
    futures = [Future() for _ in range(4)]
    for i, future in enumerate(futures):
        commit.put([record(10 * i + j) for j in range(3)], 0.0, future, None)
    disk.gate.set()
    assert [future.result(20) for future in futures] == [[True] * 3] * 4
    assert [len(batch) for batch in disk.written] == [1, 6, 6]


def test_all_waiters_of_a_loop_cost_it_one_wake_up(commit, disk):
    async def run():
        loop, calls = asyncio.get_running_loop(), []
        plain = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *arguments: (calls.append(1), plain(*arguments))
        disk.gate.clear()
        futures = [loop.create_future() for _ in range(50)]
        for i, future in enumerate(futures):
            commit.put([record(i)], 0.02, future, loop)
        disk.gate.set()
        assert await asyncio.wait_for(asyncio.gather(*futures), 20) == [[True]] * 50
        return len(calls)

    assert asyncio.run(run()) == len(disk.written) <= 2


def test_a_loop_that_is_gone_harms_nobody(commit, disk):
    disk.gate.clear()

    async def run():
        loop = asyncio.get_running_loop()
        commit.put([record(0)], 0.0, loop.create_future(), loop)

    asyncio.run(run())
    other = put(commit, 1)
    disk.gate.set()
    assert other.result(20) == [True]


def test_a_refusal_reaches_all_who_wait_and_keeps_what_was_posted(commit, disk):
    disk.fault = InboxRefused("the inbox cannot be written")
    disk.gate.clear()
    put(commit, 0, wait=False)
    failed = [put(commit, i) for i in (1, 2)]
    disk.gate.set()
    for future in failed:
        with pytest.raises(StoreError, match="cannot be written"):
            future.result(20)
    eventually(lambda: isinstance(commit.error, InboxRefused))
    disk.fault = None
    eventually(lambda: ["e0"] in disk.written)  # tried again by itself
    assert commit.error is None and commit.dropped == 0
    assert [id for batch in disk.written for id in batch] == ["e0"]


def test_held_records_have_a_limit(commit, disk, monkeypatch):
    monkeypatch.setattr(group_commit, "HELD_RECORDS", 3)
    disk.fault = InboxRefused("the inbox cannot be written")
    for i in range(5):
        put(commit, i, wait=False)
        with pytest.raises(StoreError):
            put(commit, 100 + i).result(20)
    eventually(lambda: commit.dropped == 2)
    disk.fault = None
    put(commit, 9).result(20)
    assert disk.written[-1] == ["e0", "e1", "e2", "e9"]


def test_what_will_never_succeed_is_not_held(commit, disk):
    disk.fault = StoreError("too big")
    put(commit, 0, wait=False)
    with pytest.raises(StoreError, match="too big"):
        put(commit, 1).result(20)
    eventually(lambda: commit.dropped == 1)
    disk.fault = None
    put(commit, 2).result(20)
    assert disk.written == [["e2"]]


def test_any_exception_is_an_answer(commit, disk):
    disk.fault = ZeroDivisionError("a mistake of ours")
    with pytest.raises(StoreError, match="a mistake of ours"):
        put(commit, 0).result(20)
    disk.fault = None
    assert put(commit, 1).result(20) == [True]


def test_a_disk_that_does_not_keep_up_is_told(commit, disk, monkeypatch):
    monkeypatch.setattr(group_commit, "QUEUE_LIMIT", 10)
    disk.gate.clear()
    put(commit, 0)
    eventually(lambda: not commit._queue)
    waiting = [put(commit, i) for i in range(1, 11)]
    with pytest.raises(StoreError, match="does not keep up"):
        put(commit, 11)
    disk.gate.set()
    assert all(future.result(20) for future in waiting)


def test_closing_writes_what_is_queued(disk):
    commit = GroupCommit(disk, SystemClock(), "test")
    future = put(commit, 0, 3600)
    put(commit, 1, 3600, wait=False)
    commit.close()
    assert future.result(0) == [True] and disk.written == [["e0", "e1"]]
    with pytest.raises(StoreError, match="closed"):
        put(commit, 2)


def test_what_cannot_be_written_at_closing_is_counted(disk):
    disk.fault = InboxRefused("the inbox cannot be written")
    commit = GroupCommit(disk, SystemClock(), "test")
    put(commit, 0, wait=False)
    commit.close()
    assert commit.dropped == 1
