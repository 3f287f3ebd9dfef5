"""Claim: a new shop's weekdays bring no more false findings at the door than the budget, and a gross fault is seen.

    python benchmarks/door_weeks.py [--shops 56]

Simulated shops of 1,000 clicks a day on 15 checks, days that vary by a tenth, at the defaults of ``[door]``: false
findings of days 1 to 14 beside the budget of two weeks, and of shops with a fault from day 11 on the part that is told
of it by day 13. Shops begin on every weekday.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

import numpy as np

from incumbent.clock import ManualClock
from incumbent.config.door import DoorConfig
from incumbent.events.ids import EventIds
from incumbent.events.schema import Finding
from incumbent.loop.door.checks import checks_of
from incumbent.loop.door.states import key_of
from incumbent.loop.door.watch import DAYS_PER_MONTH, DoorWatch
from incumbent.loop.rollup import state_row
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.store import Partition

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
WEEKS = {"all alike": [1.0] * 7, "weekends at 0.8": [1.0] * 5 + [0.8] * 2, "weekends at 0.5": [1.0] * 5 + [0.5] * 2,
         "weekends at 1.5": [1.0] * 5 + [1.5] * 2, "Sundays at 0.2": [1.0] * 6 + [0.2],
         "each its own": [1.0, 0.95, 0.95, 1.0, 1.1, 1.3, 0.8]}
FAULTS = {"purchases stop": "volume[purchase]", "sessions vanish": "null[session_id]", "a third comes": "volume"}
CHECKS = {(table, check.name): check for table in ("feedback", "impression", "item")
          for check in checks_of(table, DoorConfig().late_s)}
SHARES = {"null[request_id]": 0.3, "join[request]": 0.98, "join[item]": 0.995, "late[3600 s]": 0.03, "resent": 0.002,
          "out_of_order": 0.01}
Counted = dict[tuple[str, str], dict[str, int]]


def day_of(rng: np.random.Generator, level: float, weekend: bool, fault: str | None) -> Counted:
    """What each check counts on one day; weekends have twice as many events without a session, and few new items."""
    day, part = level * np.exp(rng.normal(0, 0.1)), 1 / 3 if fault == "a third comes" else 1.0
    actions = {name: int(rng.poisson(mean * part * day * np.exp(rng.normal(0, 0.03))))
               for name, mean in (("click", 1000), ("add_to_cart", 150), ("purchase", 60))}
    if fault == "purchases stop":
        actions["purchase"] = 0
    total = sum(actions.values())

    def share(n: int, p: float) -> dict[str, int]:
        hits = int(rng.binomial(n, min(p * np.exp(rng.normal(0, 0.1)), 1.0) if p < 0.5 else p))
        return {"hit": hits, "miss": n - hits}

    feed = 200 * (0.3 if weekend else 1.0) * np.exp(rng.normal(0, 0.1))
    sessions = 1.0 if fault == "sessions vanish" else 0.2 if weekend else 0.1
    return {("feedback", "volume"): {"rows": total},
            **{("feedback", f"volume[{name}]"): {"rows": n} for name, n in actions.items()},
            ("feedback", "null[session_id]"): share(total, sessions),
            ("feedback", "null[value_minor of purchases]"): share(actions["purchase"], 0.01),
            **{("feedback", name): share(total, p) for name, p in SHARES.items()},
            ("impression", "volume"): {"rows": int(rng.poisson(3000 * part * day))},
            ("item", "volume"): {"rows": int(rng.poisson(feed))}}


def told(week: str, shop: int, days: int, fault: str | None = None, since: int = 0) -> list[tuple[int, str]]:
    """Day and check of every change that a shop is told of."""
    rng, clock, control = np.random.default_rng([20_261_122, shop]), ManualClock(START), MemoryControl()
    watch, first = DoorWatch(control, clock, EventIds(clock)), shop % 7
    for n in range(days):
        weekday, day = (n + first) % 7, START + timedelta(days=n + first)
        shard = Partition(day.date(), 0)
        counted = day_of(rng, WEEKS[week][weekday], weekday > 4 and week != "all alike", fault if n >= since else None)
        rows = []
        for (table, name), counts in counted.items():
            state = CHECKS[table, name].metric.state().update(list(counts), list(counts.values()))
            rows += [] if state.empty else [state_row(key_of(table, name), shard, state)]
        control.put(shard.day, 0, "door", rows, None)
        clock.set(day + timedelta(days=1, hours=2))
        watch.run_once(clock.now())
    return [((one.time - START).days - first, one.check) for one in control.conclusions("finding", limit=1000)
            if isinstance(one, Finding) and one.status == "drift"]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shops", type=int, default=56)
    shops = parser.parse_args().shops
    budget = DoorConfig().false_findings_per_month * 14 / DAYS_PER_MONTH
    print(f"{'weekdays':16} {'false findings, days 1 to 14':>30} {'of the budget':>14}")
    for week in WEEKS:
        found = sum(len(told(week, shop, 14)) for shop in range(shops)) / shops
        print(f"{week:16} {found:30.2f} {found / budget:14.0%}")
    print(f"\n{'weekdays':16} {'fault from day 11 on':22} {'told by day 13':>14}")
    for week in ("all alike", "weekends at 0.5"):
        for fault, check in FAULTS.items():
            hits = sum(any(day > 10 and name == check for day, name in told(week, shop, 13, fault, 10))
                       for shop in range(shops))
            print(f"{week:16} {fault:22} {hits / shops:14.0%}")


if __name__ == "__main__":
    main()
