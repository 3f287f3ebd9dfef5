"""The whole system on virtual time, with everything going wrong: what was promised holds, and a seed says it all.

Fast: ten seeds of two model weeks, at one visit per 600 s and in three half hours, in which a front dies or a disk
fills up, at one per 5 s; slow: 200 seeds at one visit per 5 s of model time throughout. Between them the ten meet
everything that the invariants are about, or the suite fails.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from incumbent.clock import EPOCH
from incumbent.errors import DataError, UnavailableError
from incumbent.stats.buckets import Buckets
from incumbent.stores.store import Seal
from incumbent.testing import invariants, virtual_time
from incumbent.testing.simulated_campaign import SEEDS, Seed, campaign, main, settings_of
from incumbent.testing.simulated_experiment import EXPERIMENT
from incumbent.testing.simulated_reach import EXPECTED
from incumbent.testing.simulation import Report, Settings, Simulation, simulate
from incumbent.testing.virtual_time import VirtualClock, VirtualLoop

FAST = [Settings(seed=seed, every_s=600.0, rushes=3, users=360, appetite=1.5, buckets=1 + (seed == 3),
                 engine="duckdb" if seed == 10 else "arrow") for seed in range(1, 11)]
SHORT = "Settings(seed=77, days=3.5, every_s=600.0, users=60, appetite=1.5)"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tables are small: waiting for threads costs more than they bring."""
    before = pa.cpu_count()
    pa.set_cpu_count(1)
    yield
    pa.set_cpu_count(before)


def told(report: Report) -> str:
    counts = report.counts
    return (f"seed {report.settings.seed}: {counts['requests']} requests, {counts['events acknowledged']} events, "
            f"{sum(report.faults.values())} faults, stages {'/'.join(report.stages)}, "
            f"slowest {report.slowest_ms:.0f} ms")


@cache
def reported(settings: Settings) -> Report:
    """One run a seed, whoever asks."""
    return simulate(settings).report()


@pytest.mark.parametrize("settings", FAST, ids=lambda settings: f"seed{settings.seed}")
def test_invariants_hold(settings: Settings) -> None:
    report = reported(settings)
    print(told(report))
    assert report.violations == ()
    assert report.counts["answered"] >= settings.requests * 0.9
    assert report.faults["front crash"] and report.faults["loop crash"] and report.faults["disk full"]


def test_ten_seeds_meet_everything_that_the_invariants_are_about() -> None:
    met = frozenset().union(*(reported(settings).reached for settings in FAST))
    assert EXPECTED - met == frozenset()


@pytest.mark.slow
@pytest.mark.parametrize("first", SEEDS[::10], ids=lambda first: f"seeds{first}_{first + 9}")
def test_invariants_hold_over_two_weeks_at_full_rate(first: int) -> None:
    found = campaign([settings_of(seed) for seed in range(first, first + 10)])
    assert {seed.seed: seed.violations for seed in found if seed.violations} == {}


def test_a_campaign_goes_on_where_it_stood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Seeds of the file are not run again, a torn line is, and a broken promise is told and is the exit code."""
    out = tmp_path / "seeds.jsonl"
    done = Seed(7, "duckdb", 12, 12, 3, 4, ("shadow",), ("page 2",), (), 1.5, 100.0)
    broken = msgspec.structs.replace(done, seed=9, violations=("a seal changed",))
    out.write_bytes(b"".join(msgspec.json.encode(seed) + b"\n" for seed in (done, broken)) + b'{"seed": 8, "eng')
    order = ["--seeds", "7-9", "--processes", "0", "--out", str(out), "--days", "0.02", "--every-s", "144"]
    for runs in (1, 0):
        assert main(order) == 1
        told = capsys.readouterr().out
        assert told.count("all holds") == runs and "seed 9: a seal changed" in told
        assert "3 seeds, 36 visits" in told and "1 seeds broke a promise" in told
    assert [msgspec.json.decode(line)["seed"] for line in out.read_bytes().splitlines()] == [7, 9, 8]
    out.write_text("no result\n")
    with pytest.raises(DataError, match="holds no result"):
        main(order)


def test_equal_seeds_give_equal_lakes_under_any_hash_seed() -> None:
    source = ("from incumbent.testing.simulation import Settings, Simulation\n"
              "from incumbent.testing.virtual_time import run\n"
              f"world = Simulation({SHORT})\nrun(world.live)\nprint(world.fingerprint())\n")
    prints = [subprocess.run([sys.executable, "-c", source], env={**os.environ, "PYTHONHASHSEED": seed},
                             capture_output=True, text=True, timeout=600, check=True).stdout for seed in ("1", "2")]
    assert prints[0] == prints[1] and len(prints[0].strip()) == 32


def test_what_is_broken_is_found() -> None:
    """The invariants see a lost impression, a doubled event or outcome, a tampered or missing state, a moved seal, and
    a user who was not erased."""
    world = Simulation(Settings(seed=5, days=1.0, every_s=600.0, users=20, faults=False))
    virtual_time.run(world.live)
    invariants.check(world)
    assert world.ledger.violations == []

    watch = invariants.SealWatch(world)
    watch()
    key = (EXPERIMENT, EPOCH.date())
    world.control._seals[key] = Seal(EXPERIMENT, EPOCH.date(), 0, 1, "abc", EPOCH)
    watch()
    world.control._seals[key] = Seal(EXPERIMENT, EPOCH.date(), 0, 1, "abd", EPOCH)
    watch()
    lost = next(iter(world.ledger.answers.values()))
    world.ledger.answers["nowhere"] = lost
    rows = world.lake.scan("impression").slice(0, 1)
    partition = next(iter(world.lake._tables["impression"].parts))
    world.lake._tables["impression"].parts[partition].append(rows)
    shard = next(shard for shard in world.control._states.values() if shard)
    tampered = next(row for row in shard.values() if row.state == "buckets")
    state = Buckets.from_bytes(tampered.data)
    shard[tampered.key] = msgspec.structs.replace(tampered, data=state.merge(state).to_bytes())
    shard.pop(next(key for key in shard if key != tampered.key))
    outcomes = world.lake._tables["outcome"].parts
    outcomes[next(iter(outcomes))].append(world.lake.scan("outcome").slice(0, 1))
    user = next(user for user in world.lake.scan("impression")["user_id"].to_pylist() if user != lost.user)
    world.ledger.erased.add(user)
    invariants.check(world)
    found = "\n".join(world.ledger.violations)
    for text in ("the seal of 1970-01-01 changed", "an acknowledged impression is lost: nowhere", "2 times",
                 "missing", tampered.key, "holds [", "are not the naive ones",
                 f"{user} was erased and is still in impression"):
        assert text in found, found


# ------------------------------------------------------------------------------------------------------- virtual time
def test_virtual_time_jumps_to_the_next_timer_in_order() -> None:
    seen: list[tuple[float, str]] = []

    async def wait(loop: VirtualLoop, seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        seen.append((loop.time(), name))

    async def main(loop: VirtualLoop) -> None:
        await asyncio.gather(wait(loop, 5.0, "b"), wait(loop, 86_400.0, "c"), wait(loop, 0.5, "a"))

    virtual_time.run(main)
    assert seen == [(0.5, "a"), (5.0, "b"), (86_400.0, "c")]


def test_a_simulation_that_stands_still_says_so() -> None:
    async def main(loop: VirtualLoop) -> None:
        await loop.create_future()

    loop = VirtualLoop()
    task = loop.create_task(main(loop))
    with pytest.raises(UnavailableError, match="stands still"):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_a_stepped_clock_moves_business_time_alone() -> None:
    async def main(loop: VirtualLoop) -> tuple[timedelta, float]:
        clock = VirtualClock(loop, EPOCH)
        await asyncio.sleep(100.0)
        clock.step(-30.0)
        return clock.now() - EPOCH, clock.monotonic()

    assert virtual_time.run(main) == (timedelta(seconds=70), 100.0)


def test_executors_run_here_and_now() -> None:
    async def main(loop: VirtualLoop) -> int:
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)
        return await loop.run_in_executor(None, max, 1, 2)

    assert virtual_time.run(main) == 2
