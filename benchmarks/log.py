"""Claim: the embedded log takes 30,000 events a second a core in batches of 50, and 4,000 single ones, synced to disk.

    python benchmarks/log.py [--seconds 2] [--rounds 5] [--directory DIR]

`EmbeddedLog.append_async` under a number of waiting coroutines, beside two bare things that put the same bytes on the
same disk with one sync per commit of as many events: SQLite (WAL, synchronous=FULL, one row per event, no ids, no
thread), and a file that is written and `fdatasync`ed. The rounds are interleaved and their medians shown, ratios first:
events a second (more is better) and CPU per event (less is better) of the log over the bare thing. The last line is the
mode "bounded": `post` with 20 ms, where nobody waits.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from incumbent.clock import SystemClock
from incumbent.events.ids import EventIds
from incumbent.stores.inbox import EmbeddedLog
from incumbent.stores.store import Record

EVENT_BYTES = 400
MOST_EVENTS = 200_000
IDS = EventIds(SystemClock())
#: events an append, coroutines that wait, the bar in events a second a core (None: none is claimed)
CASES = [(1, 1, None), (1, 64, 4_000), (50, 1, None), (50, 8, 30_000), (1_000, 4, None)]


class Run(NamedTuple):
    """One measured run."""

    events: int
    commits: int
    wall_s: float
    cpu_s: float

    @property
    def rate(self) -> float:
        return self.events / self.wall_s

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / self.events * 1e6


def batches(n: int) -> Iterator[list[Record]]:
    """Batches of new events, made ahead so that their making is not measured; a run ends where they do."""
    payload = os.urandom(EVENT_BYTES)
    return iter([[Record(IDS.new(), "feedback", payload) for _ in range(n)] for _ in range(MOST_EVENTS // n)])


def timed(work: Callable[[float], tuple[int, int]], seconds: float) -> Run:
    wall, cpu = time.perf_counter(), time.process_time()
    events, commits = work(wall + seconds)
    return Run(events, commits, time.perf_counter() - wall, time.process_time() - cpu)


def of_log(directory: Path, n: int, waiters: int, seconds: float) -> Run:
    """Our log under `waiters` coroutines, each with one append of `n` events under way."""
    log, todo = EmbeddedLog(directory, SystemClock()), batches(n)

    async def many(until: float) -> int:
        async def one() -> int:
            sent = 0
            for batch in todo:
                await log.append_async(batch)
                sent += n
                if time.perf_counter() > until:
                    break
            return sent
        return sum(await asyncio.gather(*[one() for _ in range(waiters)]))

    run = timed(lambda until: (asyncio.run(many(until)), log.commits), seconds)
    log.close()
    return run


def of_posts(directory: Path | None, seconds: float, rate: int) -> Run:
    """Our log where nobody waits: `post` of single events at `rate`, on disk within 20 ms and a sync; without a
    directory the same loop posts to nobody, for what the loop itself costs."""
    log, todo = EmbeddedLog(directory, SystemClock()) if directory else None, batches(1)

    async def many(until: float) -> int:
        sent, started = 0, time.perf_counter()
        while (now := time.perf_counter()) < until:
            while sent < (now - started) * rate:
                batch = next(todo)
                if log is not None:
                    log.post(batch, max_delay_s=0.02)
                sent += 1
            await asyncio.sleep(0.002)
        return sent

    def work(until: float) -> tuple[int, int]:
        sent = asyncio.run(many(until))
        if log is not None:
            log.close()
        return sent, log.commits if log is not None else 1

    return timed(work, seconds)


def of_sqlite(directory: Path, n: int, seconds: float) -> Run:
    """Bare SQLite: one row an event, one commit per `n`."""
    db = sqlite3.connect(directory / "bare.sqlite", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, event_id TEXT, kind TEXT, data BLOB)")
    todo = batches(n)

    def work(until: float) -> tuple[int, int]:
        commits = 0
        for batch in todo:
            db.execute("BEGIN")
            db.executemany("INSERT INTO events (event_id, kind, data) VALUES (?, ?, ?)",
                           [(r.event_id, r.table, r.data) for r in batch])
            db.execute("COMMIT")
            commits += 1
            if time.perf_counter() > until:
                break
        return commits * n, commits

    run = timed(work, seconds)
    db.close()
    return run


def of_file(directory: Path, n: int, seconds: float) -> Run:
    """A bare file: one write and one fdatasync per `n`."""
    encode, todo = msgspec.msgpack.Encoder().encode, batches(n)
    file = os.open(directory / "bare.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def work(until: float) -> tuple[int, int]:
        commits = 0
        for batch in todo:
            os.write(file, encode(batch))
            os.fdatasync(file)
            commits += 1
            if time.perf_counter() > until:
                break
        return commits * n, commits

    run = timed(work, seconds)
    os.close(file)
    return run


def median(runs: list[Run], of: Callable[[Run], float]) -> float:
    return statistics.median(map(of, runs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=None, help="where to write; a temporary directory by default")
    options = parser.parse_args()

    def fresh() -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="incumbent-bench-", dir=options.directory)

    print("                      |  log / SQLite  |   log / file   |  the log                           | a core")
    print(" batch waiters commit |   rate    CPU  |   rate    CPU  |  events/s  us CPU/event  /s a core | SQLite, file")
    for n, waiters, bar in CASES:
        logs: list[Run] = []
        sqlites: list[Run] = []
        files: list[Run] = []
        for _ in range(options.rounds):
            with fresh() as a, fresh() as b, fresh() as c:
                logs.append(of_log(Path(a), n, waiters, options.seconds))
                group = max(1, round(logs[-1].events / logs[-1].commits))
                sqlites.append(of_sqlite(Path(b), group, options.seconds))
                files.append(of_file(Path(c), group, options.seconds))
        rate, cpu = median(logs, lambda r: r.rate), median(logs, lambda r: r.cpu_us)
        sql_rate, sql_cpu = median(sqlites, lambda r: r.rate), median(sqlites, lambda r: r.cpu_us)
        file_rate, file_cpu = median(files, lambda r: r.rate), median(files, lambda r: r.cpu_us)
        said = "" if bar is None else f"  bar {bar:,} a core: {'met' if 1e6 / cpu >= bar else 'MISSED'}"
        print(f"{n:6} {waiters:7} {median(logs, lambda r: r.events / r.commits):6.0f} | {rate / sql_rate:6.2f} "
              f"{cpu / sql_cpu:6.2f}  | {rate / file_rate:6.2f} {cpu / file_cpu:6.2f}  | {rate:9,.0f} {cpu:13.1f} "
              f"{1e6 / cpu:10,.0f} | {1e6 / sql_cpu:,.0f}, {1e6 / file_cpu:,.0f}{said}")
    with fresh() as a:
        run, idle = of_posts(Path(a), options.seconds * 2, 1_000), of_posts(None, options.seconds * 2, 1_000)
    print(f"post, 1,000 a second, 20 ms: {run.events / run.commits:.0f} events a commit, "
          f"{run.cpu_us - idle.cpu_us:.0f} us of CPU an event")


if __name__ == "__main__":
    main()
