"""Error rates as delivered: how often the judge is wrong in worlds whose truth is known, beside what one does without.

    python benchmarks/error_rates.py [--worlds 300] [--days 45]

Claim 1: a guardrail at the very edge of its margin is called harm, or called safe, in at most alpha of the worlds,
however often one looks, with users who come back and differ. Beside it: a fixed one-sided interval read every day.
Claim 2: a twin's net preference leaves 0 out in at most 5 % of the worlds; beside it the fixed interval every day.
Ratios come first: error rate over the rate that was promised.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np
from scipy import stats

from incumbent.experiments.analysis import Look, series
from incumbent.experiments.guardrails import SOURCES, judge, lane_effect
from incumbent.stats.estimate import Estimate
from incumbent.testing.world import Shop, World

SEED = 377_902_118
ALPHA, SHARE, LOSS = 0.05 / 3, 0.5, 0.05
MARGIN = LOSS / SHARE  # the whole lane loses exactly what the margin allows


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=300)
    parser.add_argument("--days", type=int, default=45)
    args = parser.parse_args()
    start = time.monotonic()
    print(f"guardrail at its margin, alpha = {ALPHA:.4f} per side, {args.worlds} worlds, {args.days} daily looks")
    print(f"{'users':>7} {'s':>4} {'holdout':>8} | {'harm/alpha':>10} {'safe/alpha':>10} | {'harm':>7} {'safe':>7} "
          f"{'looked at':>9} | fixed: {'harm':>6} {'safe':>6}")
    for users, holdout in ((5_000, 0.1), (5_000, 0.3), (20_000, 0.1)):
        for s in (0.0, 1.0, 1.5):
            guardrail_row(users, s, holdout, args.worlds, args.days)
    print(f"\nnet preference of twins, alpha = 0.05, {args.worlds} worlds, {args.days} daily looks")
    print(f"{'users':>7} {'s':>4} | {'error/alpha':>11} | {'error':>7} | fixed: {'error':>6}")
    for s in (0.0, 1.0, 1.5):
        preference_row(2_500, s, args.worlds, args.days)
    print(f"\n{time.monotonic() - start:.0f} s")


def guardrail_row(users: int, s: float, holdout: float, worlds: int, days: int) -> None:
    """One line: worlds in which the guardrail was ever called harm or safe, by the judge and by the fixed interval."""
    counts: Counter[str] = Counter()
    z = float(stats.norm.ppf(1 - ALPHA))
    for i in range(worlds):
        world = World(Shop(users=users, heterogeneity=s, holdout=holdout, lane_loss=LOSS, arrival_days=20),
                      np.random.default_rng([SEED, users, round(10 * s), round(100 * holdout), i]))
        seen: set[str] = set()
        for _ in range(days):
            world.live_day("ramp_50", SHARE)
            states = world.lane_states("ramp_50")
            if len(states) < 2:
                continue
            whole = lane_effect(states["interleave"], states["holdout"], SOURCES["revenue_per_user_day"], alpha=ALPHA)
            if whole.value is None:
                continue
            seen |= {"open", "judge " + judge(whole.scaled(1 / SHARE), MARGIN, "lower")[0]}
            plain = Estimate(whole.value, whole.value - z * whole.se, whole.value + z * whole.se, whole.se, whole.n)
            seen.add("fixed " + judge(plain.scaled(1 / SHARE), MARGIN, "lower")[0])
        counts.update(seen)
    harm, safe = counts["judge harm"] / worlds, counts["judge ok"] / worlds
    print(f"{users:7} {s:4} {holdout:8.0%} | {harm / ALPHA:10.2f} {safe / ALPHA:10.2f} | {harm:7.4f} {safe:7.4f} "
          f"{counts['open'] / worlds:9.0%} | fixed: {counts['fixed harm'] / worlds:6.3f} "
          f"{counts['fixed ok'] / worlds:6.3f}", flush=True)


def preference_row(users: int, s: float, worlds: int, days: int) -> None:
    """One line: worlds in which a twin's interval ever left 0 out, by the sequence and by the fixed interval."""
    wrong = fixed = 0
    for i in range(worlds):
        world = World(Shop(users=users, heterogeneity=s, arrival_days=20),
                      np.random.default_rng([SEED, 1, users, round(10 * s), i]))
        for _ in range(days):
            world.live_day("ramp_50", SHARE)
        points = [p.preference for p in series(world.matured(), Look()) if p.preference.value is not None]
        wrong += any(p.low > 0 or p.high < 0 for p in points)
        fixed += any(abs(p.value) > 1.96 * p.se for p in points)
    rate = wrong / worlds
    print(f"{users:7} {s:4} | {rate / 0.05:11.2f} | {rate:7.4f} | fixed: {fixed / worlds:6.3f}", flush=True)


if __name__ == "__main__":
    main()
