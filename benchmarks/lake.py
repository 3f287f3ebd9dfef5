"""Claim: the lake's promises (exactly once, synced, anti-joined) cost little beside a bare deltalake append.

    python benchmarks/lake.py [--commits 400] [--rows 100] [--dir DIRECTORY]

Both write the same rows in the same run, commit by commit in turn, partitioned by day and 16 user buckets: ours through
`DeltaLake.commit` from event structs, the bare one as `write_deltalake` of the finished Arrow table, which syncs
nothing and knows no duplicates. Then both are scanned, asked what changed, and compacted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from incumbent.clock import ManualClock
from incumbent.events.ids import EventIds
from incumbent.events.schema import Feedback, Impression, ModelAnswer, Slot
from incumbent.stores.columns import to_arrow
from incumbent.stores.lake import DeltaLake

START = datetime(2026, 3, 1, tzinfo=UTC)


def purchases(ids: EventIds, clock: ManualClock, count: int) -> list[Feedback]:
    clock.advance(1)
    return [Feedback(event_id=ids.new(), time=clock.now(), user_id=f"user-{n * 7919 % 4099}", item_id=f"item-{n % 500}",
                     action="purchase", quantity=1, value_minor=1250, currency="EUR") for n in range(count)]


def slates(ids: EventIds, clock: ManualClock, count: int) -> list[Impression]:
    items = [f"item-{n}" for n in range(20)]
    models = [ModelAnswer(role=role, name=role, version="1", status="ok", latency_ms=2.0, n_items=20, items=items,
                          scores=[n / 20 for n in range(20)]) for role in ("champion", "candidate")]
    slots = [Slot(position=n + 1, item_id=items[n], kind="pair", owner="champion", pair_id=n // 2, champion_rank=n + 1)
             for n in range(10)]
    return [Impression(event_id=ids.new(), request_id=f"r{n}", ranking_id=f"k{n}", time=clock.now(), slots=slots,
                       user_id=f"user-{n}", surface="home", mode="interleave", lane="interleave", plan="0" * 16,
                       models=models, coins=[0.5] * 10, context={"country": "at"}) for n in range(count)]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    answer = work()
    return (time.perf_counter() - start) * 1000, answer


def row(name: str, ours: float, bare: float, unit: str = "ms") -> None:
    print(f"{name:<46}{ours / bare:>8.2f}{ours:>12.1f}{bare:>12.1f} {unit}")


def commits(lake: DeltaLake, bare: Path, count: int, rows: int, ids: EventIds, clock: ManualClock) -> None:
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    scans: list[tuple[int, float, float]] = []
    for sequence in range(count):
        events = purchases(ids, clock, rows)
        table = to_arrow("feedback", events, 16)
        times["ours"].append(timed(lambda e=events, n=sequence: lake.commit(e, "w", n))[0])
        times["bare"].append(timed(lambda t=table: write_deltalake(
            bare, t, mode="append", partition_by=["day", "bucket"]))[0])
        if (sequence + 1) % (count // 4) == 0:
            scans.append((sequence + 1, *scan(lake, bare, rows * (sequence + 1))))
    tenth = max(count // 10, 1)
    row(f"commit of {rows} rows, first {tenth}, median", *(statistics.median(t[:tenth]) for t in times.values()))
    row(f"commit of {rows} rows, last {tenth}, median", *(statistics.median(t[-tenth:]) for t in times.values()))
    for number, ours, theirs in scans:
        row(f"scan of two columns after {number} commits", ours, theirs)


def scan(lake: DeltaLake, bare: Path, expected: int) -> tuple[float, float]:
    columns = ["event_id", "user_id"]
    ours, found = timed(lambda: lake.scan("feedback", columns=columns))
    theirs, other = timed(lambda: DeltaTable(bare).to_pyarrow_table(columns=columns))
    assert found.num_rows == other.num_rows == expected
    return ours, theirs


def rest(lake: DeltaLake, bare: Path, count: int, rows: int) -> None:
    version, _ = lake.changes("feedback", -1)
    row("what changed in the last ten commits / list files",
        timed(lambda: lake.changes("feedback", version - 10))[0],
        timed(lambda: DeltaTable(bare).get_add_actions(flatten=True))[0])
    day = START + timedelta(days=2)
    ours, merged = timed(lambda: lake.compact(day))
    row(f"compaction of {merged['feedback']} files", ours, timed(lambda: DeltaTable(bare).optimize.compact())[0])
    row("scan of two columns after it", *scan(lake, bare, count * rows))
    users = [f"user-{n * 7919 % 4099}" for n in (0, 1)]
    ours, went = timed(lambda: lake.erase(users))
    bare_table = DeltaTable(bare)
    theirs = timed(lambda: (bare_table.delete(f"user_id in ('{users[0]}', '{users[1]}')"), bare_table.vacuum(
        0, dry_run=False, enforce_retention_duration=False)))[0]
    row(f"erasure of two users, {went['feedback']} rows", ours, theirs)


def conversion(ids: EventIds, clock: ManualClock) -> None:
    for name, events in (("feedback", purchases(ids, clock, 20_000)), ("impression", slates(ids, clock, 4_000))):
        ours, table = timed(lambda name=name, events=events: to_arrow(name, events, 16))

        def plain(events: list[Any] = events, schema: pa.Schema = table.schema) -> pa.Table:
            built = [{**msgspec.to_builtins(event, builtin_types=(datetime,)), "context": "{}"} for event in events]
            return pa.Table.from_pylist(built, schema=schema)

        theirs = timed(plain)[0]
        row(f"{name} to Arrow / Table.from_pylist", ours * 1000 / len(events), theirs * 1000 / len(events), "us each")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--commits", type=int, default=400)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--dir", type=Path, default=None, help="on the disk to measure")
    given = parser.parse_args()
    clock = ManualClock(START)
    ids = EventIds(clock)
    print(f"{'':<46}{'ratio':>8}{'ours':>12}{'deltalake':>12}")
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        lake, bare = DeltaLake(Path(folder) / "lake"), Path(folder) / "bare"
        commits(lake, bare, given.commits, given.rows, ids, clock)
        rest(lake, bare, given.commits, given.rows)
    conversion(ids, clock)


if __name__ == "__main__":
    main()
