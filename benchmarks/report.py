"""The experiment report over a million impressions of ten items: attribution, per-user totals, analysis.

The claim: under 10 s on two cores and under 2 GB. Beside it, in the same run and process, the same numbers by SQL
written by hand for DuckDB, for this one question: one experiment, last touch, purchases, no refunds, no reasons.

    python benchmarks/report.py --impressions 1000000
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.config import ExperimentConfig
from incumbent.events.window import Window
from incumbent.experiments.analysis import Look, Units, compare, series
from incumbent.loop import units
from incumbent.loop.definitions import reach_days, terms_of
from incumbent.loop.outcomes import FEEDBACK_COLUMNS, IMPRESSION_COLUMNS, outcome_rows
from incumbent.loop.readings import Meter
from incumbent.loop.relations import DuckEngine
from incumbent.stores.tables import conform, schema

SLOTS, DAYS, ITEMS = 10, 14, 20_000
START = datetime(2026, 3, 1, tzinfo=UTC)
DEFINITION = ExperimentConfig(surface="home", candidate="new", currency="EUR")


class Clocks:
    """Wall and processor seconds of each part, as they end: on a busy machine the second says more."""

    def __init__(self) -> None:
        self.parts: dict[str, tuple[float, float]] = {}
        self._last = time.perf_counter(), time.process_time()

    def end(self, part: str) -> None:
        """Note what has gone by since the last part."""
        now = time.perf_counter(), time.process_time()
        self.parts[part] = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now

    @property
    def total(self) -> tuple[float, float]:
        """Wall and processor seconds of all parts."""
        return sum(wall for wall, _ in self.parts.values()), sum(cpu for _, cpu in self.parts.values())

    def __str__(self) -> str:
        return ", ".join(f"{part} {wall:.2f} s ({cpu:.2f} of processor)" for part, (wall, cpu) in self.parts.items())


class ArrowLake:
    """Arrow tables by day, in files that are mapped into memory, with the one verb that the report reads by."""

    def __init__(self, folder: Path) -> None:
        self.buckets = 1
        self._folder = folder
        self._made: dict[tuple[str, date], pa.Table] = {}

    def write(self, table: str, rows: pa.Table) -> None:
        """Keep rows, a file for each day."""
        for day, part in by_day(rows):
            with pa.OSFile(str(self._path(table, day)), "wb") as sink, pa.ipc.new_file(sink, part.schema) as writer:
                writer.write_table(part.combine_chunks())

    def put(self, table: str, rows: pa.Table) -> None:
        """Keep derived rows in memory, split by day."""
        self._made |= {(table, day): part for day, part in by_day(rows)}

    def scan(self, table: str, period: Window, buckets: Sequence[int], columns: list[str],
             users: Sequence[str] | None = None) -> pa.Table:
        """The rows of whole days; the bench has all users in one bucket."""
        found = [self._day(table, day) for day in period.days()]
        parts = [part.select(columns) for part in found if part is not None]
        empty = pa.schema([schema(table).field(name) for name in columns]).empty_table()
        return pa.concat_tables(parts) if parts else empty

    def _day(self, table: str, day: date) -> pa.Table | None:
        if (table, day) in self._made:
            return self._made[table, day]
        path = self._path(table, day)
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all() if path.exists() else None

    def _path(self, table: str, day: date) -> Path:
        return self._folder / f"{table}-{day}.arrow"


def by_day(rows: pa.Table) -> Iterator[tuple[date, pa.Table]]:
    """The rows of each UTC day."""
    days = rows["time"].cast(pa.date32())
    for day in days.unique().to_pylist():
        yield day, rows.filter(pc.equal(days, pa.scalar(day)))


def impressions(count: int, users: int, rng: np.random.Generator) -> pa.Table:
    """Requests of `SLOTS` slots: four pairs and two shared items, a tenth of the users in the holdout."""
    user = rng.integers(0, users, count)
    held = user % 10 == 0
    items = pa.array([f"item-{i:06d}" for i in range(ITEMS)])
    flat = count * SLOTS
    place = np.tile(np.arange(SLOTS), count)
    pair = place // 2
    first = np.repeat(rng.integers(0, 2, (count, SLOTS // 2)), 2, axis=1).ravel() ^ (place % 2)
    solo = np.repeat(held, SLOTS)
    neutral = solo | (pair == 4)
    kind = pa.array(["pair", "shared", "solo"]).take(pa.array(np.where(solo, 2, np.where(pair == 4, 1, 0))))
    owner = pa.array(["champion", "candidate", None]).take(pa.array(np.where(solo, 0, np.where(neutral, 2, first))))
    struct = pa.StructArray.from_arrays(
        [pa.array(place + 1), items.take(pa.array(rng.integers(0, ITEMS, flat))), kind, owner,
         pa.array(pair, mask=neutral)], names=["position", "item_id", "kind", "owner", "pair_id"])
    when = np.sort(rng.integers(0, DAYS * 86_400_000_000, count)) + int(START.timestamp()) * 1_000_000
    same = {"surface": "home", "experiment": "e", "stage": "ramp_50"}
    names = pa.array([f"request-{n:08d}" for n in range(count)])
    return pa.table({
        "request_id": names, "ranking_id": names, "page": pa.array(np.ones(count, np.int64)),
        "time": pa.array(when).cast(pa.timestamp("us", tz="UTC")),
        "user_id": pa.array([f"user-{n:07d}" for n in range(users)]).take(pa.array(user)),
        "lane": pa.array(["interleave", "holdout"]).take(pa.array(held.astype(int))),
        **{name: pa.repeat(value, count) for name, value in same.items()},
        "slots": pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * SLOTS), struct)})


def feedback(shown: pa.Table, count: int, rng: np.random.Generator) -> pa.Table:
    """Purchases of shown items up to three days later, the candidate's a little more often."""
    at = np.sort(rng.integers(0, shown.num_rows, count))
    slot = at * SLOTS + rng.integers(0, SLOTS, count)
    values = shown["slots"].combine_chunks().values
    when = shown["time"].cast(pa.int64()).to_numpy()[at] + rng.integers(0, 3 * 86_400_000_000, count)
    own = {
        "event_id": pa.array([f"event-{n:08d}" for n in range(count)]),
        "time": pa.array(when).cast(pa.timestamp("us", tz="UTC")), "user_id": shown["user_id"].take(pa.array(at)),
        "item_id": values.field("item_id").take(pa.array(slot)), "action": pa.repeat("purchase", count),
        "value_minor": pa.array(rng.integers(100, 5000, count)), "currency": pa.repeat("EUR", count)}
    return conform("feedback", pa.table(own)).select(FEEDBACK_COLUMNS)


def ours(lake: ArrowLake, first: date, last: date) -> tuple[Any, Clocks]:
    """The report by the project's own path; seconds of each part."""
    engine, known, clocks = DuckEngine(threads=2), {"e": DEFINITION}, Clocks()
    window = Window.of_days(first, last)
    asked = lake.scan("feedback", window, [0], FEEDBACK_COLUMNS)
    made = outcome_rows(asked, pieces(lake, window), terms_of(known), engine, reach_days(known))
    lake.put("outcome", conform("outcome", made))
    clocks.end("attribution")
    scope, meter = units.Scope("e", DEFINITION, "EUR", first), Meter()
    members = units.first_exposures(lake, engine, scope, [0], last, meter)  # type: ignore[arg-type]
    matured = units.matured_units(lake, engine, scope, [0], members, meter)  # type: ignore[arg-type]
    clocks.end("per-user totals")
    table = Units.of(matured)
    found = compare(table, Look.of(DEFINITION))
    series(table, Look.of(DEFINITION))
    clocks.end("analysis")
    return found, clocks


def pieces(lake: ArrowLake, window: Window) -> Iterator[pa.Table]:
    """A day at a time."""
    for day in window.days():
        yield lake.scan("impression", Window.of_day(day), [0], IMPRESSION_COLUMNS)


BY_HAND = """
with shown as (
  select user_id, request_id, time as shown_at, unnest(slots) as slot from impression where experiment = 'e'
), touched as (
  select f.event_id, f.user_id, f.time, s.slot.kind as kind, s.slot.owner as owner, s.shown_at,
         row_number() over (partition by f.event_id order by s.shown_at desc, s.request_id desc,
                            s.slot.position desc) as back
  from feedback f join shown s on s.user_id = f.user_id and s.slot.item_id = f.item_id
  where s.shown_at <= f.time and s.shown_at >= f.time - interval 7 days
), first as (
  select user_id, min(time) as t0 from impression where experiment = 'e' group by user_id
), credit as (
  select t.user_id, count(*) filter (owner = 'candidate') as x, count(*) filter (owner = 'champion') as y
  from touched t join first using (user_id)
  where back = 1 and kind in ('pair', 'half') and t.time <= t0 + interval 7 days and t.shown_at >= t0
  group by t.user_id
), pairs as (
  select user_id, sum(len(list_filter(slots, lambda s: s.kind = 'pair'))) / 2 as n
  from impression join first using (user_id)
  where lane = 'interleave' and time between t0 and t0 + interval 7 days group by user_id
)
select count(*) as units, sum(sign(coalesce(x, 0) - coalesce(y, 0))) as net, sum(n) as pairs,
       avg(coalesce(x, 0) - coalesce(y, 0)) / avg(n) as delta
from pairs left join credit using (user_id) where n > 0
"""


def by_hand(lake: ArrowLake, window: Window) -> tuple[dict[str, Any], Clocks]:
    """The same numbers by SQL for this one question."""
    connection = duckdb.connect(config={"threads": "2", "autoinstall_known_extensions": "false"})
    connection.register("impression", pa.concat_tables(piece for piece in pieces(lake, window) if piece.num_rows))
    connection.register("feedback", lake.scan("feedback", window, [0], FEEDBACK_COLUMNS))
    connection.sql("set timezone = 'UTC'")
    connection.sql("set enable_progress_bar = false")
    clocks = Clocks()
    [row] = connection.sql(BY_HAND).to_arrow_table().to_pylist()
    clocks.end("SQL")
    return row, clocks


def make(options: argparse.Namespace, folder: Path) -> None:
    """Write the log."""
    rng = np.random.default_rng(options.seed)
    shown = impressions(options.impressions, options.users, rng)
    lake = ArrowLake(folder)
    lake.write("impression", shown)
    lake.write("feedback", feedback(shown, options.feedback, rng))


def report(way: str, folder: Path) -> tuple[tuple[Any, ...], Clocks, float]:
    """One way in a process of its own, the second of two runs: its numbers, its times, its peak memory in MB."""
    first, last = START.date(), (START + timedelta(days=DAYS + 3)).date()
    for _ in range(2):
        lake = ArrowLake(folder)
        if way == "incumbent":
            found, clocks = ours(lake, first, last)
            numbers = (found.units, found.wins - found.losses, round(found.pairs), found.delta.value)
        else:
            row, clocks = by_hand(lake, Window.of_days(first, last))
            numbers = (row["units"], round(row["net"]), round(row["pairs"]), row["delta"])
    return numbers, clocks, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """A call in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def main() -> None:
    """Make the log, report both ways, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--impressions", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--feedback", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        alone(make, options, folder)
        results = {way: alone(report, way, folder) for way in ("incumbent", "SQL by hand")}
    print(f"{options.impressions:,} impressions x {SLOTS} items, {options.feedback:,} purchases, "
          f"{options.users:,} users")
    mine, hand = (results[way][1].total for way in results)
    print(f"ratio: wall {mine[0] / hand[0]:.2f}, processor {mine[1] / hand[1]:.2f}   (claims: 10 s, 2,048 MB)\n")
    for way, (numbers, clocks, peak) in results.items():
        wall, processor = clocks.total
        units_, net, pairs, delta = numbers
        print(f"{way:<12} {wall:6.2f} s  processor {processor:6.2f} s  peak {peak:6,.0f} MB   units {units_:,}  "
              f"net {net:+,}  pairs {pairs:,}  delta {delta:+.6f}")
    print(f"\n{results['incumbent'][1]}")
    if len({numbers[:3] for numbers, _, _ in results.values()}) != 1:
        raise SystemExit("the two ways do not agree")


if __name__ == "__main__":
    main()
