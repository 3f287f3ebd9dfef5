"""Many seeds at the full rate, each in a process of its own; stopped at any time, it goes on where it stood.

    python -m incumbent.testing.simulated_campaign --seeds 1001-1200 --processes 2 --out seeds.jsonl

A line is printed as each seed ends, and a summary after the last. What ``--out`` names holds every seed's result as a
line of JSON; seeds that stand in it are not run again. The exit code is 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
from msgspec import Struct

from incumbent.errors import DataError
from incumbent.testing.simulated_reach import EXPECTED
from incumbent.testing.simulation import Settings, simulate

SEEDS = range(1_001, 1_201)  # of the slow suite


class Seed(Struct, frozen=True):
    """What came of one seed, and what it cost; `peak_mb` is of its process."""

    seed: int
    engine: str
    visits: int
    requests: int
    events: int  # acknowledged
    faults: int
    stages: tuple[str, ...]
    reached: tuple[str, ...]
    violations: tuple[str, ...]
    cpu_s: float
    peak_mb: float

    def __str__(self) -> str:
        broken = f"{len(self.violations)} BROKEN: {self.violations[0]}" if self.violations else "all holds"
        return (f"seed {self.seed} ({self.engine}): {self.visits:,} visits, {self.requests:,} requests, "
                f"{self.events:,} events, {self.faults:,} faults, {self.cpu_s:.0f} s CPU, {self.peak_mb:.0f} MB, "
                f"{'/'.join(self.stages)}; {broken}")


def settings_of(seed: int, every_s: float = 5.0, days: float = 14.0) -> Settings:
    """A seed of the slow suite: every other one on the engine of the service."""
    return Settings(seed=seed, every_s=every_s, days=days, engine=("arrow", "duckdb")[seed % 2])


def run_seed(settings: Settings) -> Seed:
    """Simulate one world and hold it against every invariant; CPU and peak memory are of the process so far."""
    pa.set_cpu_count(1)  # tables are small: waiting for threads costs more than they bring
    report = simulate(settings).report()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Seed(
        settings.seed, settings.engine, settings.requests, report.counts["requests"],
        report.counts.get("events acknowledged", 0), sum(report.faults.values()), report.stages,
        tuple(sorted(report.reached)), report.violations, round(used.ru_utime + used.ru_stime, 1),
        round(used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10), 1))


def campaign(wanted: Sequence[Settings], processes: int = 2, out: Path | None = None,
             tell: Callable[[str], None] = print) -> list[Seed]:
    """Run seeds, each in a fresh process (in this one where `processes` is 0), and tell of each as it ends; those that
    stand in `out` are taken from there. `DataError` where `out` holds something else."""
    known = {(done.seed, done.engine, done.visits): done for done in _kept(out)}
    found = [known[_key(settings)] for settings in wanted if _key(settings) in known]
    left = [settings for settings in wanted if _key(settings) not in known]
    for done in _run(left, processes):
        found.append(done)
        tell(str(done))
        if out is not None:
            with out.open("ab") as file:
                file.write(msgspec.json.encode(done) + b"\n")
    return found


def _run(left: Sequence[Settings], processes: int) -> Iterator[Seed]:
    if processes and left:
        with multiprocessing.get_context("spawn").Pool(min(processes, len(left)), maxtasksperchild=1) as pool:
            yield from pool.imap_unordered(run_seed, left)
    else:
        yield from map(run_seed, left)


def _key(settings: Settings) -> tuple[int, str, int]:
    return settings.seed, settings.engine, settings.requests


def _kept(out: Path | None) -> Iterator[Seed]:
    """The results of a file; a torn last line is taken off it."""
    data = b"" if out is None or not out.exists() else out.read_bytes()
    whole = data[:data.rfind(b"\n") + 1]
    for line in whole.splitlines():
        try:
            yield msgspec.json.decode(line, type=Seed)
        except msgspec.MsgspecError as error:
            raise DataError("a line holds no result of a seed", got=f"{out}: {error}", field="out") from None
    if out is not None and whole != data:
        out.write_bytes(whole)


def summary(found: Sequence[Seed]) -> str:
    """All seeds in a few lines: how much ran, what it cost, what was broken, what none of them met.

    >>> print(summary([]))
    0 seeds, 0 visits, 0 faults, 0 s CPU, at most 0 MB; 0 seeds broke a promise
    """
    broken = [seed for seed in found if seed.violations]
    lines = [f"{len(found)} seeds, {sum(s.visits for s in found):,} visits, {sum(s.faults for s in found):,} faults, "
             f"{sum(s.cpu_s for s in found):,.0f} s CPU, at most {max((s.peak_mb for s in found), default=0):.0f} MB; "
             f"{len(broken)} seeds broke a promise"]
    lines += [f"seed {seed.seed}: {text}" for seed in broken for text in seed.violations]
    never = EXPECTED.difference(*(seed.reached for seed in found)) if found else ()
    return "\n".join(lines + ([f"none of them met: {', '.join(sorted(never))}"] if never else []))


def seeds_of(text: str) -> list[int]:
    """Seeds from a list of numbers and ranges, both ends included; `ValueError` for anything else.

    >>> seeds_of("1001-1003,1010")
    [1001, 1002, 1003, 1010]
    """
    found: Iterable[int] = ()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found = [*found, *range(int(first), int(last or first) + 1)]
    return list(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see above."""
    parser = argparse.ArgumentParser(prog="python -m incumbent.testing.simulated_campaign", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=seeds_of, default=list(SEEDS), help="1001-1020, or 1001,1007; else all 200")
    parser.add_argument("--processes", type=int, default=2, help="at once; 0 runs them in this one")
    parser.add_argument("--out", type=Path, help="a file of results, to which this run is added")
    parser.add_argument("--every-s", type=float, default=5.0, help="model seconds from one visit to the next")
    parser.add_argument("--days", type=float, default=14.0, help="of model time")
    given = parser.parse_args(arguments)
    found = campaign([settings_of(seed, given.every_s, given.days) for seed in given.seeds], given.processes, given.out,
                     lambda text: print(text, flush=True))
    print(summary(found))
    return 1 if any(seed.violations for seed in found) else 0


if __name__ == "__main__":
    sys.exit(main())
