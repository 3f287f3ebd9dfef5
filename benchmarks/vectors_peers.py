"""Claim: comparing 100,000 x 384 with as many is faster than by any method of a peer that finishes.

    python benchmarks/vectors_peers.py [--rows 100000] [--dims 384] [--limit 120] [--peers DIR] [--methods NAME ..]

Ours is everything: the frame fitted on 10,000 rows of the baseline, both sides read into states, all statistics. Beside
it stands ours of the same question alone (`incumbent.compare(.., statistics=[..])`): a frame and states that keep what
this one statistic needs. CPU seconds on one thread, imports not counted, each peer in its own environment (`_peers.py`)
after a warming call on 500 rows, stopped after `limit` seconds of CPU or at 10 GB of address space. Both ratios are the
peer's time over ours, which is measured again before every package, the median of three. Below ours stand the two means
alone, in NumPy: what a peer that only compares means could cost at least.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from _peers import argument, peers

from incumbent.drift.alarm import light, measure
from incumbent.drift.embedding import STATISTICS, scores
from incumbent.stats.vectors import Vectors

PACKAGES = ["evidently", "alibi-detect", "nannyml", "frouros", "scipy"]
#: what a peer's method asks -> ours that asks the same. Distributions per dimension: ours on 64 directions
QUESTIONS = {"distance": "euclidean", "Welch": "largest_shift", "reconstruction": "reconstruction", "mmd": "mmd",
             "MMD": "mmd", "LSDD": "mmd", "model": "hotelling", "classifier": "hotelling"}
PER_DIMENSION = "sliced_wasserstein"


def sides(rows: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Two samples of 20 clusters, float32; the second has its mean moved by a twentieth of a standard deviation."""
    rng = np.random.default_rng(11)
    middles = rng.standard_normal((20, d), dtype=np.float32)
    made = [rng.standard_normal((rows, d), dtype=np.float32) + middles[rng.integers(0, 20, rows)] for _ in range(2)]
    return made[0], made[1] + np.float32(0.07)


def ours(base: np.ndarray, now: np.ndarray) -> tuple[float, float]:
    """CPU seconds of fitting, and of reading both sides and scoring."""
    start = time.process_time()
    zero = Vectors.fit(base[:10_000], seed=1)
    fitted = time.process_time()
    found = scores(zero.update(now), zero.update(base))
    assert len(found) == len(STATISTICS)
    return fitted - start, time.process_time() - fitted


def alone(base: np.ndarray, now: np.ndarray, statistic: str) -> float:
    """CPU seconds of one statistic by itself: fitting, reading both sides and scoring."""
    start = time.process_time()
    zero = Vectors.fit(base[:10_000], seed=1, **light([statistic]))
    measure([statistic])(zero.update(now), zero.update(base))
    return time.process_time() - start


def show(base: np.ndarray, now: np.ndarray) -> dict[str, float]:
    """Ours as rows of the table, medians of three: the whole under "", every question by itself."""
    times = [ours(base, now) for _ in range(3)]
    fit, compare = (statistics.median(one) for one in zip(*times, strict=True))
    sums = sorted(map(sum, times))
    print(f"{1:8.2f} {'':8} {fit + compare:8.2f}  ours: fit {fit:.2f}, both states and {len(STATISTICS)} statistics "
          f"{compare:.2f} (sum {sums[0]:.2f}-{sums[-1]:.2f})", flush=True)
    each = {name: statistics.median(alone(base, now, name) for _ in range(3))
            for name in dict.fromkeys([*QUESTIONS.values(), PER_DIMENSION])}
    print(f"{'':27}alone: " + ", ".join(f"{name} {took:.2f}" for name, took in each.items()), flush=True)
    return {"": fit + compare, **each}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dims", type=int, default=384)
    parser.add_argument("--limit", type=float, default=120.0, help="CPU seconds for one method")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help='only these, as "scipy KS"')
    argument(parser)
    args = parser.parse_args()
    base, now = sides(args.rows, args.dims)
    print(f"{args.rows:,} x {args.dims} against as many, CPU seconds, one thread\n{'ratio':>8} {'alike':>8} "
          f"{'seconds':>8}")
    mine = show(base, now)
    start = time.process_time()
    np.linalg.norm(base.mean(axis=0, dtype=np.float64) - now.mean(axis=0, dtype=np.float64))
    means = time.process_time() - start
    print(f"{means / mine['']:8.2f} {means / mine['euclidean']:8.2f} {means:8.2f}  numpy: two means and nothing else",
          flush=True)
    with tempfile.TemporaryDirectory() as folder:
        small = {name: Path(folder, f"{name}_small.npz") for name in ("base", "now")}
        whole = {name: Path(folder, f"{name}.npz") for name in ("base", "now")}
        for name, rows in (("base", base), ("now", now)):
            np.savez(small[name], vectors=rows[:500])
            np.savez(whole[name], vectors=rows)
        last = None
        for (package, method), peer in peers(args.peers, limit_s=args.limit, packages=PACKAGES).items():
            if method.endswith("ids") or (args.methods and f"{package} {method}" not in args.methods):
                continue
            if last not in (None, package):
                mine = show(base, now)
            last = package
            said = peer.ask(method, small["base"], small["now"])
            if "stopped" in said.get("error", "") or "cpu_s" in said:
                said = peer.ask(method, whole["base"], whole["now"])
            if "cpu_s" in said:
                took, question = said["cpu_s"], QUESTIONS.get(method, PER_DIMENSION)
                print(f"{took / mine['']:8.2f} {took / mine[question]:8.2f} {took:8.2f}  {package} {method} "
                      f"({question})", flush=True)
            else:
                print(f"{'-':>8} {'-':>8} {'-':>8}  {package} {method}: {said['error']}", flush=True)
            peer.close()


if __name__ == "__main__":
    main()
