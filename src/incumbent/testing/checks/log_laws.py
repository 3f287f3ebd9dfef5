"""The laws of a Log: acknowledged once, kept in order, handed out again until released, erased when asked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from incumbent.errors import StoreError
from incumbent.stores.store import Log, Record, Segment
from incumbent.testing.checks.bench import Bench, drained, ids_of
from incumbent.testing.checks.suite import Suite

WAIT_S = 20.0


def refused(act: Callable[[], Any], error: type[Exception], what: str) -> None:
    """Assert that `act` raises `error`."""
    try:
        act()
    except error:
        return
    raise AssertionError(f"{what} is not refused with {error.__name__}")


def append(log: Log, *records: Record) -> list[bool]:
    """Append and wait for the answer."""
    return log.append(records).result(WAIT_S)


def new_records_are_new(b: Bench) -> None:
    """An append answers True for each record that is new, and an empty one answers nothing."""
    assert append(b.log, *b.records(3)) == [True] * 3
    assert append(b.log) == []
    assert b.log.backlog == 3 and b.log.error is None and b.log.dropped == 0


def duplicates_are_told(b: Bench) -> None:
    """A record whose id was seen within a day answers False and is not kept twice, in one append or in two."""
    one, two, three = b.records(3)
    assert append(b.log, one, one, two) == [True, False, True]
    b.clock.advance(seconds=23 * 3600)
    assert append(b.log, two, three, one) == [False, True, False]
    segments = drained(b.log)
    assert ids_of(segments) == [one.event_id, two.event_id, three.event_id]
    assert append(b.log, one) == [False], "a sealed record is new again"


def ids_are_forgotten(b: Bench) -> None:
    """Ids are not kept for ever: two days later one is new again."""
    one = b.feedback()
    append(b.log, one)
    b.clock.advance(seconds=49 * 3600)
    assert append(b.log, one) == [True]


def any_record_is_kept(b: Bench) -> None:
    """Ids of any text and data of any bytes come back as they were."""
    records = [Record("x", "feedback", b""), Record("é" * 36, "item", bytes(range(256))), b.feedback(),
               Record("-" * 36, "measurement", b"\0" * 3_000_000), b.quarantined(None, b"\xff\xfe")]
    assert append(b.log, *records) == [True] * 5
    assert [record for segment in drained(b.log) for record in segment.records] == records


def order_is_kept(b: Bench) -> None:
    """Records come out in the order in which one caller appended them."""
    records = b.records(60)
    waiting = [b.log.append(records[at:at + 7]) for at in range(0, 60, 7)]
    assert all(all(future.result(WAIT_S)) for future in waiting)
    assert ids_of(drained(b.log)) == [record.event_id for record in records]


def segments_have_a_limit(b: Bench) -> None:
    """A segment holds at most `limit` records, cut anywhere, and nothing is lost at the cuts."""
    records = b.records(23)
    append(b.log, *records[:10])
    append(b.log, *records[10:])
    segments = drained(b.log, 4)
    assert [len(segment.records) for segment in segments][:5] == [4] * 5
    assert ids_of(segments) == [record.event_id for record in records]


def a_segment_comes_back(b: Bench) -> None:
    """Until it is released the same segment comes back, whatever arrives and whatever is asked."""
    append(b.log, *b.records(3))
    first = b.log.drain(3)
    append(b.log, *b.records(5))
    assert first is not None and b.log.drain(100) == first and b.log.drain(1) == first


def sequences_grow(b: Bench) -> None:
    """Each segment of a writer has a higher sequence than all before it."""
    append(b.log, *b.records(9))
    first = drained(b.log, 2)
    append(b.log, *b.records(3))
    sequences = [segment.sequence for segment in first + drained(b.log)]
    assert sequences == sorted(set(sequences)) and len({segment.writer for segment in first}) == 1


def release_is_idempotent(b: Bench) -> None:
    """Releasing a segment twice, or one of long ago, takes nothing else away."""
    records = b.records(6)
    append(b.log, *records)
    first = b.log.drain(2)
    assert first is not None
    b.log.release(first)
    b.log.release(first)
    second = b.log.drain(2)
    assert second is not None
    b.log.release(first)
    assert b.log.drain() == second and ids_of([second]) == [record.event_id for record in records[2:4]]
    assert b.log.backlog == 4


def nothing_is_none(b: Bench) -> None:
    """An empty log drains to None."""
    assert b.log.drain() is None
    append(b.log, b.feedback())
    drained(b.log)
    assert b.log.drain() is None and b.log.backlog == 0


def the_mark_follows_the_end(b: Bench) -> None:
    """`drained_until` moves once all that was there is released, and with nothing there at all."""
    log = b.log
    append(log, *b.records(3))
    first = log.drain(2)
    assert first is not None
    log.release(first)
    assert log.drained_until is None, "a segment that does not reach the end moves the mark"
    b.clock.advance(seconds=60)
    taken, last = b.clock.now(), log.drain()
    assert last is not None
    append(log, b.feedback())
    b.clock.advance(seconds=60)
    assert log.drained_until is None, "a segment that is not released moves the mark"
    log.release(last)
    assert log.drained_until == taken
    drained(log)
    assert log.drain() is None and log.drained_until == b.clock.now()
    b.clock.advance(seconds=60)
    assert log.drain() is None and log.drained_until == b.clock.now(), "an idle inbox holds the mark back"


def coroutines_may_append(b: Bench) -> None:
    """`append_async` answers as `append`, to many coroutines at once; `post` asks for no answer and keeps as well."""
    records, posted = b.records(40), b.records(10)

    async def run() -> list[list[bool]]:
        for record in posted:
            b.log.post([record], max_delay_s=0.005)
        return list(await asyncio.wait_for(asyncio.gather(*[
            b.log.append_async([record], max_delay_s=0.01 * (i % 2)) for i, record in enumerate(records + records[:1])
        ]), WAIT_S))

    answers = asyncio.run(run())
    assert answers == [[True]] * 40 + [[False]]
    assert append(b.log, posted[-1]) == [False]
    assert sorted(ids_of(drained(b.log))) == sorted(record.event_id for record in records + posted)


def a_cancelled_waiter_harms_nobody(b: Bench) -> None:
    """Who stops waiting takes nobody's answer away."""
    one, two = b.records(2)

    async def run() -> list[bool]:
        given_up, kept = b.log.append_async([one], max_delay_s=0.02), b.log.append_async([two], max_delay_s=0.02)
        given_up.cancel()
        return await asyncio.wait_for(kept, WAIT_S)

    assert asyncio.run(run()) == [True]
    assert two.event_id in ids_of(drained(b.log))


def threads_may_append(b: Bench) -> None:
    """Eight threads append at once: each record is acknowledged and comes out once."""
    log, records = b.log, b.records(400)
    with ThreadPoolExecutor(8) as pool:
        futures = list(pool.map(lambda at: log.append(records[at:at + 5]), range(0, 400, 5)))
    wait(futures, WAIT_S)
    assert all(future.result() == [True] * 5 for future in futures)
    assert sorted(ids_of(drained(log, 37))) == sorted(record.event_id for record in records)


def users_are_erased(b: Bench) -> None:
    """Erasure takes a user's events, vectors and refused messages, also out of a segment that is handed out."""
    gone = [b.feedback("ü1"), b.impression("ü1"), b.embedding("user", "ü1"), b.quarantined("ü1"),
            b.quarantined(None, '{"user_id": "ü1", "item'.encode())]
    kept = [b.feedback("ü11"), b.embedding("item", "ü1"), b.quarantined("u2"), b.quarantined(None, b"\xff"),
            Record("x", "feedback", b"no event")]
    append(b.log, *gone[:2], *kept[:2])
    segment = b.log.drain(3)
    assert segment is not None
    append(b.log, *gone[2:], *kept[2:])
    assert b.log.erase(["ü1", "nobody"]) == len(gone)
    again = b.log.drain()
    assert again is not None and (again.writer, again.sequence) == (segment.writer, segment.sequence)
    assert ids_of(drained(b.log)) == [record.event_id for record in kept]
    assert b.log.erase([]) == 0


def a_segment_erased_whole_goes(b: Bench) -> None:
    """Where erasure leaves nothing of a segment, the next one comes."""
    append(b.log, b.feedback("u1"), b.feedback("u1"))
    other = b.feedback("u2")
    append(b.log, other)
    b.log.drain(2)
    assert b.log.erase(["u1"]) == 2
    assert ids_of(drained(b.log)) == [other.event_id]


def the_clock_may_step_back(b: Bench) -> None:
    """A clock that steps back loses nothing, and duplicates are still told."""
    one, two, three = b.records(3)
    append(b.log, one)
    b.clock.advance(seconds=-5 * 24 * 3600)
    assert append(b.log, two, one) == [True, False]
    b.clock.advance(seconds=5 * 24 * 3600)
    assert append(b.log, three, two) == [True, False]
    assert ids_of(drained(b.log)) == [one.event_id, two.event_id, three.event_id]


def closed_is_closed(b: Bench) -> None:
    """A closed log refuses records with a StoreError; closing it twice is no mistake."""
    log = b.log
    log.close()
    refused(lambda: log.append([b.feedback()]), StoreError, "an append to a closed log")
    log.close()


def any_schedule_keeps_each_once(b: Bench) -> None:
    """Whatever the order of appends, repeats, drains, repeated drains and releases, each record comes out once."""
    for seed in range(5):
        draw = random.Random(seed)
        sent: list[Record] = []
        out: list[Segment] = []
        log = b.log
        for _ in range(60):
            step = draw.random()
            if step < 0.5:
                batch = b.records(draw.randint(1, 6)) + draw.sample(sent, min(len(sent), draw.randint(0, 3)))
                draw.shuffle(batch)
                known = {record.event_id for record in sent}
                assert append(log, *batch) == [record.event_id not in known for record in batch]
                sent += [record for record in batch if record.event_id not in known]
            elif (segment := log.drain(draw.randint(1, 9))) is not None and step < 0.85:
                log.release(segment)
                out.append(segment)
                if step > 0.75:
                    log.release(segment)
        out += drained(log, 5)
        assert ids_of(out) == [record.event_id for record in sent], f"seed {seed}"


LAWS = (
    new_records_are_new, duplicates_are_told, ids_are_forgotten, any_record_is_kept, order_is_kept,
    segments_have_a_limit, a_segment_comes_back, sequences_grow, release_is_idempotent, nothing_is_none,
    the_mark_follows_the_end,
    coroutines_may_append, a_cancelled_waiter_harms_nobody, threads_may_append, users_are_erased,
    a_segment_erased_whole_goes, the_clock_may_step_back, closed_is_closed, any_schedule_keeps_each_once,
)


def add_to(suite: Suite) -> None:
    """Register the laws."""
    for law in LAWS:
        suite.law()(law)
