"""The laws of a lake that outlives its process: crashes, full disks, several handles, and bytes on disk.

``make.steps`` names the functions around which a crash is tried, as dotted paths (`incumbent.testing.faults`), and
``make.disk`` those that a disk may refuse.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from incumbent.errors import StoreError
from incumbent.events.window import day_of
from incumbent.stores.store import Partition
from incumbent.stores.tables import TIME
from incumbent.testing.checks.lake_samples import (
    LAKES,
    NOON,
    Shelf,
    click,
    clicks,
    event_id,
    home,
    ids_in,
    impression,
    one_of_each,
)
from incumbent.testing.faults import Crash, failing

WHO = "erase-me-7f3a9c"


def crashes(shelf: Shelf, passes: int = 2) -> Iterator[tuple[str, int]]:
    """Every side of every step, at its first passes."""
    for target in getattr(shelf.make, "steps", ()):
        for when in ("before", "after"):
            for nth in range(1, passes + 1):
                yield f"{when}:{target}", nth


def crash_in(verb: Callable[[], object], point: str, nth: int) -> bool:
    """Run a verb until it crashes at a point; False where it never passed there."""
    try:
        with failing(point, Crash(point), nth):
            verb()
    except Crash:
        return True
    return False


@LAKES.law("durable")
def what_was_committed_survives(shelf: Shelf) -> None:
    """Another process sees every row, knows every sequence, and two handles may take turns."""
    first = shelf.lake
    first.commit(one_of_each(1), "w", 0)
    second = shelf.reopen()
    assert not second.commit(one_of_each(1), "w", 0).applied
    for number in range(2, 9):
        lake = first if number % 2 else second
        assert lake.commit([*one_of_each(number)], "w", number).rows == 10
        assert len(ids_in(first)) == len(ids_in(second)) == number
    assert first.changes("feedback", -1) == second.changes("feedback", -1)


@LAKES.law("durable")
def a_crash_at_any_step_of_a_commit_costs_nothing(shelf: Shelf) -> None:
    """Killed at any step and started again, the same segment completes: every row is there once, other rows stay."""
    expected: list[str] = []
    hits = 0
    for sequence, (point, nth) in enumerate(crashes(shelf)):
        users = [f"user-{sequence}", "ann"]
        time = NOON + timedelta(days=sequence % 4)
        events = [click(sequence * 10 + n, users[n % 2], time) for n in range(4)]
        slate = impression(sequence, time=time)
        hits += crash_in(partial(shelf.lake.commit, [*events, slate], "w", sequence), point, nth)
        lake = shelf.reopen()
        assert set(ids_in(lake)) <= set(expected) | {e.event_id for e in events}, point
        lake.commit([*events, slate], "w", sequence)
        expected += [event.event_id for event in events]
        assert ids_in(lake) == sorted(expected), (point, nth)
        assert len(ids_in(lake, "impression")) == sequence + 1, (point, nth)
    assert hits >= len(getattr(shelf.make, "steps", ())), f"only {hits} crashes happened"


@LAKES.law("durable")
def a_crash_in_the_care_of_a_table_costs_nothing(shelf: Shelf) -> None:
    """Compaction, replacement, erasure and retention, killed at any step and run again, end as if never killed."""
    hits = 0
    place = Partition(day_of(NOON), 1)
    for round_, (point, nth) in enumerate(crashes(shelf, passes=1)):
        keep = clicks(range(round_ * 100, round_ * 100 + 8), hours=0.01)
        for number in range(3):
            shelf.lake.commit([*keep[number * 3:][:3], click(10_000 + round_ * 10 + number, WHO),
                               click(20_000 + round_ * 10 + number, "ann", NOON - timedelta(days=9))],
                              "w", round_ * 3 + number)
        rows = pa.table({"event_id": [f"o{round_}"], "time": pa.array([NOON], TIME)})
        limit = day_of(NOON) - timedelta(days=5)
        kept = [i for i in ids_in(shelf.lake) if i >= event_id(0)]
        verbs: list[tuple[str, tuple[Any, ...]]] = [
            ("compact", (NOON + timedelta(days=9),)), ("erase", ([WHO],)),
            ("replace", ("outcome", place, rows, "attribute", round_)), ("expire", ("feedback", limit))]
        for verb, arguments in verbs:
            hits += crash_in(partial(getattr(shelf.lake, verb), *arguments), point, nth)
            getattr(shelf.reopen(), verb)(*arguments)
        kept = [i for i in kept if int(i[-12:], 16) < 10_000]
        assert ids_in(shelf.lake) == kept, point
        assert ids_in(shelf.lake, "outcome") == [f"o{round_}"], point
        assert ids_in(shelf.lake, users=[WHO]) == [], point
    assert hits >= len(getattr(shelf.make, "steps", ())), f"only {hits} crashes happened"


@LAKES.law("durable")
def a_disk_that_refuses_is_a_clear_error(shelf: Shelf) -> None:
    """A full, read-only or broken disk is a `StoreError`; the same segment on the same handle completes afterwards."""
    shelf.lake.commit(clicks(range(5)), "w", 0)
    sequence = 0
    for name in ("ENOSPC", "EROFS", "EIO"):
        for target in getattr(shelf.make, "disk", ()):
            sequence += 1
            events = clicks(range(sequence * 10 + 5, sequence * 10 + 9))
            with failing(f"before:{target}", name), suppress(StoreError):
                shelf.lake.commit(events, "w", sequence)
            shelf.lake.commit(events, "w", sequence)
            assert len(ids_in(shelf.lake)) == 5 + 4 * sequence, (name, target)


@LAKES.law("durable")
def an_erased_user_leaves_no_byte(shelf: Shelf) -> None:
    """No file under the folder holds an erased id: no row, no old version, no statistics, no log, no leftover."""
    lake = shelf.lake
    for sequence in range(7):
        lake.commit([*one_of_each(sequence * 2, WHO), *one_of_each(sequence * 2 + 1, "ann")], "w", sequence)
    lake.compact(NOON + timedelta(days=9))
    lake.replace("outcome", home(click(1), WHO), pa.table(
        {"event_id": ["o1", "o2"], "time": pa.array([NOON] * 2, TIME), "user_id": [WHO, None]}), "attribute", 0)
    for point, nth in crashes(shelf, passes=1):  # what a killed commit leaves behind must go as well
        crash_in(partial(lake.commit, one_of_each(90, WHO), "v", nth), point, nth)
        lake = shelf.reopen()
    assert any(WHO.encode() in data for _, data in readable(shelf.directory)), "the search finds nothing at all"
    lake.erase([WHO])
    items = lake.scan("embedding", columns=["entity", "entity_id"]).to_pylist()
    assert {"entity": "item", "entity_id": WHO} in items  # an item that happens to have the same name
    assert not lake.scan("embedding", users=[WHO]).num_rows
    for path, data in readable(shelf.directory):
        assert "embedding" in path.parts or WHO.encode() not in data, path.relative_to(shelf.directory)


def readable(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file as its raw bytes and, where it is Parquet, as the text of its rows and statistics too."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            yield path, data
            if path.suffix == ".parquet" and data:
                file = pq.ParquetFile(io.BytesIO(data))
                yield path, repr((file.read().to_pylist(), file.metadata.to_dict())).encode()
