"""Claim: on real series the sequential detectors are as good as they are here, beside people, always and never.

    python benchmarks/changepoints.py [--data DIR]

Seven series of river (BSD-3) with the change points that five people each marked (`annotations.json`; van den Burg,
Williams, arXiv 2003.06222). F1 with a margin of 5 observations, recall averaged over people, and covering, both with
the trivial change point 0 as there. Series of several columns are judged column by column, and alarms within the margin
of one another are one. Rows are those that were annotated: apple every third from the second on, bitcoin to 2019-06-19,
of every tenth of brent those from 2000 on.

A detector learns location and scale from the 25 observations after its last alarm and then goes on until the next: these
are detectors over time, which know nothing of the future, where people saw the whole series. CUSUM and Page-Hinkley take
values as normal and independent, which prices are not; `ranks` multiplies ranks (e-SR) and assumes exchangeability,
which series with a trend do not have either. "always" and "never" are the rows without which no table means anything.
"""  # noqa: E501

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from incumbent.drift.cusum import cusum_step, cusum_threshold, page_hinkley_step
from incumbent.drift.sequential import calibrated, e_step, ranked

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "river_changepoints"
MARGIN, LEARN = 5, 25
RUN_LENGTH = 400.0  # observations to a false alarm that every detector is set to
COLUMNS = {"airline_passengers": [1], "apple": [4, 6], "bitcoin": [1], "brent_crude_oil": [1],
           "occupancy": [1, 2, 3, 4], "run_log": [1, 2], "uk_coal_employment": [1]}
Detector = Callable[[Sequence[float]], list[int]]


def read(folder: Path, name: str) -> list[list[float]]:
    """The columns of a series, rows as they were annotated; what is missing is NaN."""
    with (folder / f"{name}.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    if name == "apple":
        rows = rows[1::3]
    elif name == "brent_crude_oil":
        rows = rows[::10]
        rows = rows[next(i for i, row in enumerate(rows) if row[0].endswith("2000")):]
    elif name == "bitcoin":
        rows = rows[:1 + next(i for i, row in enumerate(rows) if row[0].startswith("2019-06-19"))]
    return [[float(row[i]) if row[i] else math.nan for row in rows] for i in COLUMNS[name]]


def over_time(values: Sequence[float], step: Callable[[list[float]], Callable[[float], bool]]) -> list[int]:
    """Alarms of a detector that learns afresh after each: `step(learned)` gives a function of one observation."""
    alarms: list[int] = []
    learned: list[float] = []
    watch: Callable[[float], bool] | None = None
    for i, value in enumerate(values):
        if math.isnan(value):
            continue
        if watch is None:
            learned.append(value)
            if len(learned) == LEARN:
                watch = step(learned)
        elif watch(value):
            alarms.append(i)
            learned, watch = [], None
    return alarms


def _scaled(learned: Sequence[float]) -> tuple[float, float]:
    return float(np.mean(learned)), float(np.std(learned, ddof=1)) or 1.0


def cusum(learned: list[float]) -> Callable[[float], bool]:
    """Two-sided CUSUM of standardised values."""
    middle, scale = _scaled(learned)
    limit, memory = cusum_threshold(RUN_LENGTH), [None]

    def watch(x: float) -> bool:
        memory[0], level = cusum_step(memory[0], (x - middle) / scale)
        return level > limit
    return watch


def page_hinkley(learned: list[float]) -> Callable[[float], bool]:
    """Two Page-Hinkley tests, up and down; the threshold 50 and the tolerance .005 that packages ship."""
    middle, scale = _scaled(learned)
    memory: list[list[float] | None] = [None, None]

    def watch(x: float) -> bool:
        z, levels = (x - middle) / scale, []
        for side, sign in enumerate((1, -1)):
            memory[side], level = page_hinkley_step(memory[side], sign * z)
            levels.append(level)
        return max(levels) > 50
    return watch


def ranks(learned: list[float]) -> Callable[[float], bool]:
    """e-SR over conformal ranks of the distance from the median."""
    middle = float(np.median(learned))
    null, past, memory = [abs(x - middle) for x in learned], [], [None]

    def watch(x: float) -> bool:
        score = abs(x - middle)
        memory[0] = e_step(memory[0], calibrated(ranked(score, null, past)))
        past.append(score)
        return memory[0] >= math.log(RUN_LENGTH)
    return watch


DETECTORS: dict[str, Detector] = {
    "cusum": lambda v: over_time(v, cusum), "page-hinkley": lambda v: over_time(v, page_hinkley),
    "ranks (e-SR)": lambda v: over_time(v, ranks), "always": lambda v: list(range(len(v))), "never": lambda v: []}


def together(alarms: list[list[int]], margin: int = MARGIN) -> list[int]:
    """The alarms of several columns, those within the margin of one before being the same."""
    out: list[int] = []
    for one in sorted({i for column in alarms for i in column}):
        if not out or one - out[-1] > margin:
            out.append(one)
    return out


def hits(marked: Sequence[int], found: Sequence[int], margin: int = MARGIN) -> int:
    """How many marked points have a found one within the margin, each found one used once, the nearest first."""
    left, count = set(found), 0
    for point in sorted(marked):
        near = sorted((abs(one - point), one) for one in left if abs(one - point) <= margin)
        if near:
            left.remove(near[0][1])
            count += 1
    return count


def f1(marked: dict[str, list[int]], found: Sequence[int]) -> float:
    """Precision against all people's points together, recall averaged over people; the change point 0 is in both.

    The example is that of the authors: Prophet at its defaults on brent.

    >>> people = {"6": [219, 230, 288], "8": [227, 381], "9": [86, 219, 230, 279, 375],
    ...           "12": [169, 172, 217, 228, 287, 368, 382, 389, 409],
    ...           "13": [170, 180, 219, 229, 246, 271, 286, 379, 409, 444, 483]}
    >>> round(f1(people, [259, 279, 299, 319, 339, 359]), 10)
    0.2485875706
    """
    ours = sorted({0, *found})
    each = [sorted({0, *points}) for points in marked.values()]
    precision = hits(sorted({i for points in each for i in points}), ours) / len(ours)
    recall = sum(hits(points, ours) / len(points) for points in each) / len(each)
    return 2 * precision * recall / (precision + recall)


def covering(marked: dict[str, list[int]], found: Sequence[int], n: int) -> float:
    """Mean over people of ``sum |A| / n max_B |A and B| / |A or B|`` over their segments A, B those found."""
    def segments(points: Sequence[int]) -> list[tuple[int, int]]:
        ends = [0, *sorted({i for i in points if 0 < i < n}), n]
        return list(pairwise(ends))

    ours, total = segments(found), 0.0
    for points in marked.values():
        for a, b in segments(points):
            best = max(max(min(b, d) - max(a, c), 0) / (max(b, d) - min(a, c)) for c, d in ours)
            total += (b - a) * best / n
    return total / len(marked)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    if not (options.data / "annotations.json").exists():
        print(f"skipped: no annotations.json in {options.data.name}/ (river's change points; see --data)")
        return 0
    start = time.process_time()
    marked = json.loads((options.data / "annotations.json").read_text())
    print(f"{'series':20} {'n':>4}  " + "  ".join(f"{name:>20}" for name in DETECTORS))
    print(f"{'':26}" + "  ".join(f"{'F1   cover  alarms':>20}" for _ in DETECTORS))
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in DETECTORS}
    for name in COLUMNS:
        columns = read(options.data, name)
        n, cells = len(columns[0]), []
        for detector, run in DETECTORS.items():
            found = run(columns[0]) if detector == "always" else together([run(column) for column in columns])
            score = f1(marked[name], found), covering(marked[name], found, n)
            scores[detector].append(score)
            cells.append(f"{score[0]:5.2f} {score[1]:6.2f} {len(found):7}")
        print(f"{name:20} {n:>4}  " + "  ".join(f"{cell:>20}" for cell in cells))
    means = [np.mean(scores[name], axis=0) for name in DETECTORS]
    print(f"{'mean':26}" + "  ".join(f"{f'{a:5.2f} {b:6.2f}        ':>20}" for a, b in means))
    print(f"\n{time.process_time() - start:.0f} s of CPU", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
