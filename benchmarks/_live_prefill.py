"""Ten minutes of traffic put into a lake as the sealer would, and what it then takes to bring the outcomes up to it."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from incumbent.clock import ManualClock
from incumbent.config import Config
from incumbent.events.ids import EventIds
from incumbent.events.schema import Feedback, Impression, ModelAnswer, Slot
from incumbent.loop.attribute import Attributor
from incumbent.loop.definitions import definitions
from incumbent.loop.operate import Operator
from incumbent.loop.rollup import Rollup
from incumbent.stores.embedded import open_stores

START = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
BLOCK_S = 600
ITEMS = [f"item-{n:05d}" for n in range(4_000)]
SCORES = [1.0 / (n + 1) for n in range(20)]


def config(directory: Path) -> Config:
    """One surface and one running experiment at half the contested slots."""
    return Config(
        stores={"directory": str(directory)}, surfaces={"home": {"champion": "old"}},
        models={"old": {"target": "m:old"}, "new": {"target": "m:new"}},
        experiments={"bench": {"surface": "home", "candidate": "new", "holdout": 0.1, "currency": "EUR",
                               "stages": [{"stage": "ramp_50", "share": 0.5}]}})


class Traffic:
    """Impressions with both lists of 20 and a page of 10; clicks on three in ten of them, a purchase on one in 20."""

    def __init__(self, ids: EventIds, clock: ManualClock, users: int) -> None:
        self._ids, self._clock, self._users, self._random, self._n = ids, clock, users, random.Random(1), 0

    def of(self, count: int) -> Iterator[Impression | Feedback]:
        """The events of the next `count` requests."""
        now = self._clock.now()
        for _ in range(count):
            self._n += 1
            user = f"user-{self._random.randrange(self._users)}"
            shown = self._impression(user, now, holdout=int(user[5:]) % 10 == 0)
            yield shown
            if self._random.random() < 0.3:
                yield self._feedback(shown, now, "click", None)
            if self._random.random() < 0.05:
                yield self._feedback(shown, now, "purchase", 1_999)

    def _impression(self, user: str, now: datetime, *, holdout: bool) -> Impression:
        first, event_id = self._random.randrange(3_900), self._ids.new()
        lists = [ITEMS[first:first + 20], ITEMS[first + 5:first + 25]]
        slots = [Slot(position=n + 1, item_id=lists[n % 2 if not holdout else 0][n],
                      kind="solo" if holdout else "pair", pair_id=None if holdout else n // 2,
                      owner="candidate" if n % 2 and not holdout else "champion") for n in range(10)]
        models = [ModelAnswer(role=role, name=name, version="1", status="ok", latency_ms=3.0, n_items=20, items=items,
                              scores=SCORES) for role, name, items in (("champion", "old", lists[0]),
                                                                       ("candidate", "new", lists[1]))]
        return Impression(event_id=event_id, request_id=event_id, ranking_id=event_id, time=now, slots=slots,
                          user_id=user, surface="home", mode="champion" if holdout else "interleave",
                          lane="holdout" if holdout else "interleave", plan="0" * 16, models=models, k=10,
                          experiment="bench", stage="ramp_50", share=0.5, policy="pair_draft", salt="bench",
                          coins=[] if holdout else [0.5] * 5, context={"country": "at"}, latency_ms=4.0)

    def _feedback(self, shown: Impression, now: datetime, action: Any, value: int | None) -> Feedback:
        return Feedback(event_id=self._ids.new(), time=now, user_id=shown.user_id, action=action,
                        item_id=shown.slots[self._random.randrange(10)].item_id, request_id=shown.request_id,
                        quantity=1, value_minor=value, currency=None if value is None else "EUR")


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Processor seconds of all threads, wall seconds, and what came of it."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return time.process_time() - cpu, time.perf_counter() - wall, made


def catch_up(options: argparse.Namespace) -> None:
    """Print what each block of ten minutes costs to seal, to attribute and to roll up."""
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="bench-live-") as name:
        clock = ManualClock(START)
        conf, ids = config(Path(name)), EventIds(clock)
        stores = open_stores(conf, clock, role="loop")
        Operator(stores.control, conf, clock, ids).start("bench", actor="bench", reason="benchmark")
        known = lambda: definitions(stores.control, conf)  # noqa: E731
        jobs = {"attribute": Attributor(stores.lake, stores.control, clock, known).run_once,
                "rollup": Rollup(stores.lake, stores.control, clock, known).run_once}
        traffic, sequence = Traffic(ids, clock, options.users), 0
        print(f"{options.rate:g} requests a second, {options.users:,} shoppers; seconds of one core per ten minutes\n")
        print(f"{'block':<8}{'impressions':>12}{'events':>9}{'commit':>9}{'attribute':>11}{'rollup':>9}"
              f"{'outcomes: cores':>18}{'bar':>7}")
        for block in range(1, options.blocks + 1):
            commit_s = impressions = events = 0.0
            for _ in range(round(BLOCK_S / options.seal)):
                clock.advance(options.seal)
                segment = list(traffic.of(round(options.rate * options.seal)))
                impressions += sum(isinstance(event, Impression) for event in segment)
                events += len(segment)
                commit_s += timed(lambda s=segment, n=sequence: stores.lake.commit(s, "bench", n))[0]
                sequence += 1
            spent = {name: timed(job) for name, job in jobs.items()}
            outcomes_s = sum(cpu for cpu, _, _ in spent.values())
            assert all(getattr(done, "stopped", None) is None for _, _, done in spent.values())
            met = "met" if outcomes_s < BLOCK_S and sum(wall for _, wall, _ in spent.values()) < BLOCK_S else "MISSED"
            print(f"{block:<8}{impressions:>12,.0f}{events - impressions:>9,.0f}{commit_s:>9.1f}"
                  f"{spent['attribute'][0]:>11.1f}{spent['rollup'][0]:>9.1f}{outcomes_s / BLOCK_S:>18.3f}{met:>7}",
                  flush=True)
            clock.advance(max(0.0, (START + timedelta(seconds=block * BLOCK_S) - clock.now()).total_seconds()))
            stores.lake.compact(clock.now())
        stores.log.close()
        stores.control.close()
