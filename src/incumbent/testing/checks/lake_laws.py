"""What every lake does, whether or not it outlives its process: the laws of a `Shelf`."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pyarrow as pa
from msgspec import structs

from incumbent.errors import DataError, NotFoundError
from incumbent.events.window import Window, day_of
from incumbent.stores.store import Partition
from incumbent.stores.tables import TABLES, TIME, schema, table_of
from incumbent.testing.checks.lake_samples import (
    LAKES,
    NOON,
    Shelf,
    click,
    clicks,
    events_in,
    home,
    ids_in,
    impression,
    one_of_each,
)

DAY = timedelta(days=1)


@LAKES.law()
def an_empty_scan_has_the_right_schema(shelf: Shelf) -> None:
    """A scan without rows is an empty table of the table's schema, or of the columns asked for."""
    for table in TABLES:
        assert shelf.lake.scan(table).schema == schema(table), table
        assert shelf.lake.scan(table, columns=["time", "event_id"]).column_names == ["time", "event_id"]
        assert shelf.lake.changes(table, -1) == (-1, frozenset())
    shelf.lake.commit([click(1)], "w", 0)
    empty = shelf.lake.scan("feedback", Window.of_day(date(2020, 1, 1)))
    assert empty.schema == schema("feedback") and empty.num_rows == 0


@LAKES.law()
def what_was_committed_comes_back(shelf: Shelf) -> None:
    """Events of every kind come back as they were, each in its day and its user's bucket."""
    events = one_of_each()
    done = shelf.lake.commit(events, "w", 0)
    assert done.applied and done.rows == len(events), done
    for table in {table_of(event) for event in events}:
        expected = sorted((e for e in events if table_of(e) == table), key=lambda event: event.event_id)
        assert events_in(shelf.lake, table) == expected, table
        assert shelf.lake.scan(table).schema == schema(table), table
    assert done.partitions == {home(events[0], "ann"), Partition(day_of(NOON), 0)}
    place = shelf.lake.scan("feedback", columns=["day", "bucket"]).to_pylist()[0]
    assert Partition(place["day"], place["bucket"]) == home(events[1], "ann")


@LAKES.law()
def a_segment_enters_once(shelf: Shelf) -> None:
    """The same (writer, sequence) changes nothing; another writer's same number does, and so does an empty one."""
    first = clicks(range(10))
    assert shelf.lake.commit(first, "w", 0).applied
    version, _ = shelf.lake.changes("feedback", -1)
    again = shelf.lake.commit(first, "w", 0)
    assert not again.applied and again.rows == 0 and not again.partitions, again
    assert shelf.lake.changes("feedback", version) == (version, frozenset())
    assert shelf.lake.commit(clicks(range(10, 12)), "v", 0).rows == 2
    assert shelf.lake.commit([], "w", 1).rows == 0
    assert len(ids_in(shelf.lake)) == 12


@LAKES.law()
def an_event_enters_once(shelf: Shelf) -> None:
    """An event sent again, in the same segment or in another of any writer, on any day, is not kept twice."""
    first = clicks(range(20), hours=3)
    assert shelf.lake.commit(first + first[:5], "w", 0).rows == 20
    late = [click(1000 + n, "user-1", NOON - 9 * DAY) for n in range(3)]
    assert shelf.lake.commit(first[10:] + clicks(range(20, 25), hours=3) + late, "v", 0).rows == 8
    done = shelf.lake.commit(late + first, "u", 7)
    assert done.applied and done.rows == 0 and not done.partitions, done
    assert not shelf.lake.commit(late + first, "u", 7).applied
    assert ids_in(shelf.lake) == sorted(e.event_id for e in clicks(range(25), hours=3) + late)


@LAKES.law()
def an_event_id_is_kept_once_whatever_comes_with_it(shelf: Shelf) -> None:
    """The same id with another time (over midnight, days away) or another user is the same event; the first stays."""
    midnight = NOON + DAY / 2
    first = [click(n, f"user-{n}", midnight - timedelta(seconds=1)) for n in range(6)]
    assert shelf.lake.commit(first, "w", 0).rows == 6
    other = [("user-0", midnight + timedelta(seconds=1)), ("user-1", NOON - DAY / 2), ("user-2", midnight + 20 * DAY),
             ("user-3", NOON - 20 * DAY), ("user-9", first[4].time), ("user-7", midnight + 3 * DAY)]
    again = [structs.replace(event, user_id=user, time=time) for event, (user, time) in zip(first, other, strict=True)]
    for sequence, batch in enumerate((again, again[::-1], [*again, click(7, "user-1", midnight)])):
        assert shelf.lake.commit(batch, "v", sequence).rows == (sequence == 2), batch
    assert events_in(shelf.lake, "feedback")[:6] == first
    far = structs.replace(click(8, time=NOON - 300 * DAY), time=NOON)  # of such an id the times must be near
    assert shelf.lake.commit([far], "w", 1).rows == 1
    assert shelf.lake.commit([structs.replace(far, time=midnight)], "v", 3).rows == 0


@LAKES.law()
def order_does_not_matter(shelf: Shelf) -> None:
    """Segments that arrive out of order, or twice and out of order, are all kept, once."""
    segments = {n: clicks(range(n * 10, n * 10 + 10)) for n in range(5)}
    for sequence in (3, 0, 4, 0, 1, 3, 2, 4, 2):
        shelf.lake.commit(segments[sequence], "w", sequence)
    assert ids_in(shelf.lake) == sorted(e.event_id for s in segments.values() for e in s)


@LAKES.law()
def a_scan_filters(shelf: Shelf) -> None:
    """Period (half-open), buckets, users and columns, alone and together, agree with a loop over the events."""
    events = clicks(range(60), users=7, hours=1.7)
    for sequence in range(3):
        shelf.lake.commit(events[sequence * 20:][:20], "w", sequence)
    period = Window(events[7].time, events[40].time)
    some = {"user-1", "user-4", "nobody"}
    for wanted, buckets, users in ((None, None, None), (period, None, None), (None, [1, 3], None), (None, None, some),
                                   (period, [0, 1, 2], some), (Window(NOON, NOON), None, None), (None, [], None)):
        expected = sorted(
            e.event_id for e in events
            if (wanted is None or wanted.start <= e.time < wanted.end) and (users is None or e.user_id in users)
            and (buckets is None or home(e, e.user_id).bucket in buckets))
        assert ids_in(shelf.lake, period=wanted, buckets=buckets, users=users) == expected, (wanted, buckets, users)
    assert shelf.lake.scan("feedback", columns=["item_id", "day"]).column_names == ["item_id", "day"]
    assert shelf.lake.scan("item", users=["user-1"]).num_rows == 0
    shelf.lake.commit(one_of_each(9), "w", 3)  # an item's vector has the name of the user here
    assert shelf.lake.scan("embedding", users=["ann"], columns=["entity"]).to_pylist() == [{"entity": "user"}]


@LAKES.law()
def unknown_names_are_errors(shelf: Shelf) -> None:
    """An unknown table or column is an error that names the known ones."""
    asked: list[tuple[Any, list[str] | None, type[Exception]]] = [
        ("feedback", ["nope"], DataError), ("clicks", None, NotFoundError)]
    for table, columns, error in asked:
        try:
            shelf.lake.scan(table, columns=columns)
        except error as raised:
            assert "Expected" in str(raised), raised
        else:
            raise AssertionError("nothing was raised")


@LAKES.law()
def a_bad_event_commits_nothing(shelf: Shelf) -> None:
    """An event that fits no column is a `DataError`; nothing of its segment is kept, and the good part can follow."""
    bad = one_of_each()[4]
    bad = type(bad)(event_id=bad.event_id, time=NOON, item_id="a", price_minor=2**63)
    try:
        shelf.lake.commit([click(1), bad], "w", 0)
    except DataError:
        assert ids_in(shelf.lake) == []
    else:
        raise AssertionError("nothing was raised")
    assert shelf.lake.commit([click(1)], "w", 0).rows == 1


@LAKES.law()
def changes_are_exact(shelf: Shelf) -> None:
    """After each verb, exactly the partitions whose rows changed are named; compaction and retention change none."""
    lake = shelf.lake
    a, b = click(1, "user-1"), click(2, "user-2", NOON + DAY)
    start, none = lake.changes("feedback", -1)
    assert not none
    lake.commit([a], "w", 0)
    one, changed = lake.changes("feedback", start)
    assert changed == {home(a, "user-1")}, changed
    lake.commit([b], "w", 1)
    two, changed = lake.changes("feedback", one)
    assert changed == {home(b, "user-2")} and two > one, changed
    assert lake.changes("feedback", -1)[1] == {home(a, "user-1"), home(b, "user-2")}
    lake.commit([a], "w", 2)
    lake.commit([click(3, "user-1")], "w", 3)
    three, _ = lake.changes("feedback", two)
    lake.compact(NOON + 9 * DAY)
    four, changed = lake.changes("feedback", three)
    assert not changed, changed
    lake.erase(["user-2"])
    five, changed = lake.changes("feedback", four)
    assert changed == {home(b, "user-2")}, changed
    assert lake.expire("feedback", day_of(NOON) + DAY) == 2
    six, changed = lake.changes("feedback", five)
    assert not changed and lake.changes("feedback", -1) == (six, frozenset()), changed
    assert lake.changes("impression", -1)[1] == frozenset()


@LAKES.law()
def fresh_rows_add_up_to_the_whole(shelf: Shelf) -> None:
    """What came after a version, again and again, is together what a partition holds; where rows went, all is told."""
    lake, place = shelf.lake, home(click(1, "user-1"), "user-1")

    def fresh(since: int, partition: Partition = place) -> tuple[int, bool, list[str]]:
        found = lake.fresh("feedback", partition, since)
        ids = sorted(i for piece in found.read(["event_id"]) for i in piece["event_id"].to_pylist())
        assert found.rows == len(ids), (found.rows, ids)
        return found.version, found.whole, ids

    assert fresh(-1)[1:] == (True, [])
    lake.commit([click(1, "user-1")], "w", 0)
    one, whole, first = fresh(-1)
    assert whole and first == [click(1, "user-1").event_id], first
    assert fresh(one) == (one, False, [])
    lake.commit([click(1, "user-1"), click(2, "user-1"), click(3, "user-2", NOON + DAY)], "w", 1)
    two, whole, second = fresh(one)
    assert (whole, second) == (False, [click(2, "user-1").event_id]), second
    assert fresh(two + 1)[1] and fresh(two)[1:] == (False, [])  # a version that is not there yet: everything
    for n in range(4, 8):
        lake.commit([click(n, "user-1")], "w", n)
    lake.compact(NOON + 9 * DAY)
    three, whole, third = fresh(two)
    assert (whole, third) == (False, [click(n, "user-1").event_id for n in range(4, 8)]), third
    lake.commit([click(8, "user-1"), click(9, "user-2")], "w", 8)
    lake.erase(["user-2"])
    four, whole, _ = fresh(three)
    assert four > three
    if not whole:  # the two users may lie in different buckets
        assert place != home(click(9, "user-2"), "user-2")
    lake.erase(["user-1"])
    assert fresh(four)[1:] == (True, [])
    lake.commit([click(10, "user-1")], "w", 10)
    assert fresh(four)[1:] == (True, [click(10, "user-1").event_id])


@LAKES.law()
def compaction_changes_no_rows(shelf: Shelf) -> None:
    """Merging files keeps every row of every column, merges only days that began before, and finds no more to do."""
    for sequence in range(6):
        shelf.lake.commit([*clicks(range(sequence * 10, sequence * 10 + 10), hours=1), impression(sequence)],
                          "w", sequence)
    before = {table: events_in(shelf.lake, table) for table in ("feedback", "impression")}
    assert shelf.lake.compact(NOON - DAY).get("feedback", 0) == 0
    first = shelf.lake.compact(NOON + DAY)
    assert first["feedback"] > 0 and first["impression"] == 6, first
    assert {table: events_in(shelf.lake, table) for table in before} == before
    assert not any(shelf.lake.compact(NOON + DAY).values())
    assert shelf.lake.commit(clicks(range(60), hours=1), "v", 0).rows == 0


@LAKES.law()
def a_partition_is_replaced_once(shelf: Shelf) -> None:
    """`replace` puts rows in the place of a partition, once per sequence, and a late repeat brings nothing back."""
    lake, place = shelf.lake, Partition(day_of(NOON), 2)

    def rows(*ids: str) -> pa.Table:
        return pa.table({"event_id": list(ids), "time": pa.array([NOON] * len(ids), TIME),
                         "credit_candidate": [0.5] * len(ids)})

    assert lake.replaced("outcome", [place], "attribute") is None
    assert lake.replace("outcome", place, rows("a", "b"), "attribute", 0).rows == 2
    lake.replace("outcome", Partition(place.day, 3), rows("c"), "attribute", 0)
    done = lake.replace("outcome", place, rows("d"), "attribute", 1)
    assert done.applied and done.partitions == {place}, done
    assert not lake.replace("outcome", place, rows("a", "b"), "attribute", 0).applied
    assert not lake.replace("outcome", place, rows("x"), "attribute", 1).applied
    both = [place, Partition(place.day, 3)]
    assert [lake.replaced("outcome", which, "attribute") for which in (both, both[1:], [])] == [1, 0, None]
    assert lake.replaced("outcome", both, "somebody else") is None
    found = lake.scan("outcome", columns=["event_id", "day", "bucket", "credit_candidate", "rule"]).to_pylist()
    assert sorted(r["event_id"] for r in found) == ["c", "d"], found
    assert all(r["day"] == place.day and r["credit_candidate"] == 0.5 and r["rule"] is None for r in found)
    assert lake.replace("outcome", place, rows(), "attribute", 2).partitions == {place}
    assert ids_in(lake, "outcome") == ["c"]
    foreign = rows("e").append_column("bucket", pa.array([1], pa.int32()))
    try:
        lake.replace("outcome", place, foreign, "attribute", 3)
    except DataError:
        return
    raise AssertionError("a row of another bucket was taken")


@LAKES.law()
def whole_days_expire(shelf: Shelf) -> None:
    """Retention drops the days before a date, in one table, and says how many rows went."""
    events = clicks(range(12), hours=12)
    shelf.lake.commit([*events, impression(1)], "w", 0)
    limit = day_of(NOON) + 2 * DAY
    old = [event for event in events if day_of(event.time) < limit]
    assert shelf.lake.expire("feedback", limit) == len(old)
    assert shelf.lake.expire("feedback", limit) == 0
    assert ids_in(shelf.lake) == sorted(e.event_id for e in events if e not in old)
    assert len(ids_in(shelf.lake, "impression")) == 1 and shelf.lake.expire("item", limit) == 0


@LAKES.law()
def an_erased_user_is_gone(shelf: Shelf) -> None:
    """Erasing users takes their rows, vectors and quarantined messages of every day, in one call, and nobody else's."""
    mine = [*one_of_each(1, "ann"), *one_of_each(2, "bob"), click(900, "ann", NOON - 5 * DAY)]
    others = [*one_of_each(3, "ann2"), *one_of_each(4, "joann")]
    shelf.lake.commit(mine[::2] + others, "w", 0)
    shelf.lake.commit(mine[1::2], "w", 1)
    went = shelf.lake.erase(["ann", "bob"])
    assert went == {"impression": 2, "feedback": 3, "embedding": 2, "quarantine": 2}, went
    owned = {event.event_id for event in mine if getattr(event, "user_id", None) or "raw" in event.__struct_fields__
             or getattr(event, "entity", "") == "user"}
    for table in {table_of(event) for event in others}:
        expected = sorted(e.event_id for e in mine + others if table_of(e) == table and e.event_id not in owned)
        assert ids_in(shelf.lake, table) == sorted(expected), table
    assert not any(shelf.lake.erase(["ann", "nobody"]).values()) and shelf.lake.erase([]) == {}
