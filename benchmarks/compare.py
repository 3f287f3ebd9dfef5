"""Claim: two files are compared in memory that does not grow with them, and in seconds.

    python benchmarks/compare.py [--rows 20000 100000] [--dimension 384]

Two .npy files of float32 vectors (50 clusters), mapped into memory, `incumbent.drift.compare.compared` without a time
column (rows as the null: 200 unions of random parts, each against the rest). CPU seconds on one thread, and the most
anonymous memory over that before (mapped pages are the system's to take back). The same distribution on both sides:
the verdict should be ok.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from incumbent.drift.compare import compared


def write(path: Path, rows: int, dimension: int, seed: int) -> Path:
    """A file of vectors, written a part at a time."""
    rng, middles = np.random.default_rng(seed), np.random.default_rng(0).normal(size=(50, dimension)).astype(np.float32)
    out = np.lib.format.open_memmap(path, "w+", np.float32, (rows, dimension))
    for start in range(0, rows, 20_000):
        part = out[start:start + 20_000]
        part[:] = middles[rng.integers(0, 50, len(part))] + rng.standard_normal(part.shape, dtype=np.float32)
    out.flush()
    return path


def anonymous_mb() -> float:
    """Memory of the process that belongs to no file."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--dimension", type=int, default=384)
    options = parser.parse_args()
    if not Path("/proc/self/status").exists():
        print("skipped: memory is read from /proc")
        return 0
    print(f"{'rows a side':>12} {'dimension':>10} {'input MB':>9} {'CPU s':>6} {'MB over':>8}  verdict")
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            sides = [write(Path(folder) / f"{seed}.npy", rows, options.dimension, seed) for seed in (1, 2)]
            peak, done, before = [0.0], threading.Event(), anonymous_mb()

            def watch(peak: list[float] = peak, done: threading.Event = done) -> None:
                while not done.wait(0.05):
                    peak[0] = max(peak[0], anonymous_mb())

            thread = threading.Thread(target=watch)
            thread.start()
            start = time.process_time()
            found = compared(*sides)
            spent = time.process_time() - start
            done.set()
            thread.join()
            size = sum(side.stat().st_size for side in sides) / 2**20
            print(f"{rows:>12,} {options.dimension:>10} {size:>9.0f} {spent:>6.1f} {peak[0] - before:>8.0f}  "
                  f"{found.status}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
