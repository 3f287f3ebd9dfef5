"""Claim: the embedding state costs at most 1.5 times its own matrix products at 384 dimensions, 2.5 times at 64.

    python benchmarks/vectors.py [--rows 1000000] [--dims 384 64] [--rounds 5] [--hours 720]

One pass over a memory-mapped float32 file made on the fly, against the same floating-point operations in plain BLAS on
the same blocks of the same file: one float32 product with all columns (frequencies, projections, centroids) and one
float64 rank-k update. A second reference does the rank-k update in float32 too, which no sum within 1e-9 can. One BLAS
thread, CPU time, the sides taking turns in one process; the ratio is the median over rounds, its range beside it.

Further bars: 300 MB of memory over the input (anonymous pages, sampled), a state of 1.5 MB at 384 dimensions, and one
second to merge 720 hourly states and score a window with every statistic against 100 leave-one-out references.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import blas

from incumbent.drift.embedding import STATISTICS, scores
from incumbent.stats.vectors import Vectors

BARS = {384: 1.5, 64: 2.5}


def make(path: Path, rows: int, d: int) -> np.ndarray:
    """A memory-mapped file of vectors from 20 clusters, written in pieces."""
    rng = np.random.default_rng(1)
    middles = rng.standard_normal((20, d), dtype=np.float32)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, d))
    for start in range(0, rows, 50_000):
        part = out[start:start + 50_000]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32) + middles[rng.integers(0, 20, len(part))]
    out.flush()
    return np.load(path, mmap_mode="r")


def plain(rows: np.ndarray, zero: Vectors, wide: bool) -> None:
    """The same products as the pass makes and nothing else."""
    frame, d = zero.frame, rows.shape[1]
    columns = len(frame.frequencies) + len(frame.directions) + len(frame.centroids)
    weights = np.random.default_rng(1).standard_normal((d, columns), dtype=np.float32)
    out = np.empty((frame.block, columns), dtype=np.float32)
    whole = np.empty((frame.block, d), dtype=np.float64 if wide else np.float32)
    total = np.zeros((d, d), order="F", dtype=whole.dtype)
    update = blas.dsyrk if wide else blas.ssyrk
    for start in range(0, len(rows), frame.block):
        block = rows[start:start + frame.block]
        m = len(block)
        np.matmul(block, weights, out=out[:m])
        np.copyto(whole[:m], block)
        total = update(1.0, whole[:m].T, beta=1.0, c=total, overwrite_c=1)


def cpu(work: Callable[[], Any]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def anonymous_mb() -> float:
    """Memory of this process that no file backs."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float("nan")


def peak_mb(work: Callable[[], Any]) -> float:
    """How far anonymous memory rose while `work` ran."""
    before, peak, done = anonymous_mb(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], anonymous_mb())
    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return peak[0] - before


def one_pass(d: int, rows: int, rounds: int, folder: Path) -> None:
    """A line of the table for one dimension."""
    data = make(folder / f"{d}.npy", rows, d)
    zero = Vectors.fit(data[:10_000], seed=1)
    memory = peak_mb(lambda: zero.update(data))
    ratios: list[float] = []
    ratios32: list[float] = []
    ours: list[float] = []
    for _ in range(rounds):
        ours.append(cpu(lambda: zero.update(data)))
        ratios.append(ours[-1] / cpu(lambda: plain(data, zero, True)))
        ratios32.append(ours[-1] / cpu(lambda: plain(data, zero, False)))
    bar = f"{BARS[d]:.1f}" if d in BARS else "-"
    print(f"{d:>5} {rows:>9,} {statistics.median(ratios):>7.2f} {min(ratios):>5.2f}-{max(ratios):<5.2f} {bar:>4} "
          f"{statistics.median(ratios32):>9.2f} {rows / min(ours) / 1000:>10.0f} {memory:>8.0f} "
          f"{len(zero.to_bytes()) / 1e6:>8.2f}")
    (folder / f"{d}.npy").unlink()


def windows(d: int, hours: int) -> None:
    """Merge hourly states, then score one of them against leave-one-out references with every statistic."""
    rng = np.random.default_rng(2)
    zero = Vectors.fit(rng.standard_normal((5000, d), dtype=np.float32), seed=1)
    states = [zero.update(rng.standard_normal((300, d), dtype=np.float32)) for _ in range(hours)]
    window = zero.update(rng.standard_normal((300, d), dtype=np.float32))
    total: list[Vectors] = []
    merging = cpu(lambda: total.append(Vectors.total(states)))
    left = min(100, hours)
    scoring = cpu(lambda: [scores(window, total[0].subtract(state)) for state in states[:left]])
    each = {}
    for name, statistic in STATISTICS.items():
        fresh = [total[0].subtract(state) for state in states[:5]]
        each[name] = 1000 / 5 * cpu(lambda f=statistic, parts=fresh: [f(window, part) for part in parts])
    data = [state.to_bytes() for state in states[:20]]
    loading = cpu(lambda: [Vectors.from_bytes(item) for item in data]) / len(data)
    slow = ", ".join(f"{name} {ms:.1f}" for name, ms in sorted(each.items(), key=lambda item: -item[1])[:3])
    print(f"\n{d} dimensions: {hours} hourly states merged in {merging:.2f} s, {len(STATISTICS)} statistics against "
          f"{left} leave-one-out references in {scoring:.2f} s: {merging + scoring:.2f} s together (bar 1 s)")
    print(f"slowest alone: {slow} ms; reading one state from bytes: {1000 * loading:.1f} ms")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dims", type=int, nargs="+", default=[384, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hours", type=int, default=720)
    options = parser.parse_args()
    print(f"{'dims':>5} {'rows':>9} {'ratio':>7} {'range':^11} {'bar':>4} {'/ float32':>9} {'k rows/s':>10} "
          f"{'over MB':>8} {'state MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for d in options.dims:
            one_pass(d, options.rows, options.rounds, Path(folder))
    if options.hours:
        windows(options.dims[0], options.hours)


if __name__ == "__main__":
    main()
