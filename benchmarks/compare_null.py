"""Claim: a comparison of many columns alarms no more often than was promised, where nothing drifted.

    python benchmarks/compare_null.py [--seeds 150] [--days 40]

Four columns (two numbers, a category, item ids by a power law) in windows of a day of 200 rows, each day with an effect
of its own on the numbers; the same process on both sides. Alarms of `incumbent.drift.compare.compared` at 5 %, for 1, 5
and 20 current days, and how often each column alone is at p <= .05.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse

import numpy as np

from incumbent.drift.compare import compared
from incumbent.drift.comparison.options import Options
from incumbent.stats.binomial import proportion

SHARES = np.arange(10, 0, -1) / 55
ROWS = 200


def side(rng: np.random.Generator, days: int, start: int) -> dict[str, np.ndarray]:
    """Some days of the process."""
    effect, rows = np.repeat(rng.normal(size=days) * 0.1, ROWS), days * ROWS
    day = np.repeat(np.arange(start, start + days), ROWS) * np.timedelta64(1, "D")
    return {"x": rng.lognormal(3 + effect, 0.5), "y": rng.normal(size=rows) + effect,
            "category": rng.choice(list("abcdefghij"), rows, p=SHARES), "item_id": rng.zipf(1.3, rows) % 3000,
            "at": np.datetime64("2026-01-01", "us") + day}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=150)
    parser.add_argument("--days", type=int, default=40)
    options = parser.parse_args()
    print(f"{'current days':>12}  {'alarms':>10}  {'95 % interval':>16}  promised  columns alone at p <= .05")
    for days in (1, 5, 20):
        found = []
        for seed in range(options.seeds):
            rng = np.random.default_rng([5000, seed])
            found.append(compared(side(rng, options.days, 0), side(rng, days, options.days), Options(time="at")))
        share = proportion(sum(one.status == "drift" for one in found), len(found))
        alone = np.mean([[(stream.p_alone or 1.0) <= 0.05 for stream in one.streams] for one in found], axis=0)
        print(f"{days:>12}  {share.value:>10.1%}  {share.low:>7.1%} to {share.high:>5.1%}  {0.05:>8.0%}  "
              + ", ".join(f"{stream.name} {value:.1%}" for stream, value in zip(found[0].streams, alone, strict=True)),
              flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
