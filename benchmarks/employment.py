"""Claim: on real census data quality is estimated before the labels come, close to what then came; and where it cannot.

    python benchmarks/employment.py [--data DIR] [--chunk 5000]

NannyML's employment data (US census, Massachusetts; Apache-2.0): a model's scores, 2015 as reference with labels, 2016
to 2018 as analysis, whose labels come later. Each chunk: rate, accuracy, AUC and Brier loss as estimated from the scores
alone, and as they turned out; how often the truth lay within the stated 95 % interval; and what "as in the reference"
would have been off by. Then the inputs, column by column (`incumbent.compare`: windows of time are not in the data, so
that rows are the null), and the loss over time against the reference by a sequential test, which is what may page.
"""  # noqa: E501

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import incumbent
from incumbent.drift.before_labels import quality_before_labels
from incumbent.drift.concept import calibration_drift
from incumbent.drift.detector import Reference
from incumbent.drift.risk import BoundedRisk
from incumbent.stats.moments import Moments
from incumbent.stats.reliability import Reliability

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "nannyml_employment"
EDGES = sorted({*np.linspace(0.02, 0.98, 49).round(4).tolist(), 0.5})
NAMES = ("rate", "accuracy", "auc", "brier")


def auc(p: np.ndarray, y: np.ndarray) -> float:
    """Mann and Whitney's by ranks, ties half."""
    order = np.sort(p[y == 0])
    left, right = np.searchsorted(order, p[y == 1], "left"), np.searchsorted(order, p[y == 1], "right")
    return float((left + right).mean() / 2 / len(order))


def truth(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Quality as it turned out."""
    return {"rate": y.mean(), "accuracy": ((p >= 0.5) == y).mean(), "auc": auc(p, y), "brier": ((p - y) ** 2).mean()}


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--chunk", type=int, default=5000)
    options = parser.parse_args()
    files = {name: options.data / f"employment_MA_{name}.pq" for name in ("reference", "analysis", "analysis_target")}
    if not all(file.exists() for file in files.values()):
        print(f"skipped: no employment_MA_reference.pq in {options.data.name}/ (of NannyML; see --data)")
        return 0
    start = time.process_time()
    past, rows, later = (pq.read_table(file) for file in files.values())
    p0, y0 = (past[name].to_numpy().astype(float) for name in ("predicted_probability", "employed"))
    p, y = rows["predicted_probability"].to_numpy().astype(float), later["employed"].to_numpy().astype(float)
    assert rows["id"].equals(later["id"])
    before_labels(p0, y0, p, y, rows["year"].to_numpy(), options.chunk)
    inputs(past, rows)
    over_time(p0, y0, p, y, options.chunk)
    print(f"\n{time.process_time() - start:.0f} s of CPU", file=sys.stderr)
    return 0


def before_labels(p0: np.ndarray, y0: np.ndarray, p: np.ndarray, y: np.ndarray, year: np.ndarray, chunk: int) -> None:
    """Estimated against realised."""
    zero = Reliability.zero(edges=EDGES)
    reference, usual = zero.update(p0, y0), truth(p0, y0)
    misses, naive, inside = ({name: [] for name in NAMES} for _ in range(3))
    print(f"{'rows':>15} {'year':>6}  " + "  ".join(f"{name + ' est':>12} {'came':>6}" for name in NAMES))
    chunks = range(0, len(p) - chunk + 1, chunk)
    for i, at in enumerate(chunks):
        part = slice(at, at + chunk)
        found = quality_before_labels(zero.update(p[part], np.full(chunk, np.nan)), reference, threshold=0.5)
        came = truth(p[part], y[part])
        for name in NAMES:
            misses[name].append(abs(found[name].value - came[name]))
            naive[name].append(abs(usual[name] - came[name]))
            if found[name].low is not None:
                inside[name].append(found[name].low <= came[name] <= found[name].high)
        if i % 8 == 0:
            print(f"{at:>7}-{at + chunk:<7} {year[at]:>6.0f}  " + "  ".join(
                f"{found[name].value:>12.3f} {came[name]:>6.3f}" for name in NAMES))
    print(f"mean over {len(chunks)} chunks of {chunk:,}:")
    for name in NAMES:
        within = f", within the 95 % interval in {np.mean(inside[name]):.0%}" if inside[name] else ", without interval"
        print(f"  {name:9} off by {np.mean(misses[name]):.4f} before labels, {np.mean(naive[name]):.4f} if taken to be "
              f"as in the reference{within}")
    whole = zero.update(p, y)
    ratio = calibration_drift(whole, reference)["observed_expected"]
    print(f"  once labels came: observed / expected {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f}) of the "
          "reference's")


def inputs(past: pa.Table, rows: pa.Table) -> None:
    """Which columns moved."""
    columns = [name for name in past.column_names if name not in ("id", "employed", "year", "prediction")]
    ids = [name for name in columns if name not in ("AGEP", "predicted_probability")]
    found = incumbent.compare(past.select(columns), rows.select(columns), ids=ids, progress=False)
    said = [f"{one.name} ({one.components[0].name} {one.components[0].standardised:+.0f})"
            for one in sorted(found.streams, key=lambda one: -(one.score or 0)) if one.status == "drift"]
    print(f"\ninputs, {found.current.rows:,} rows against {found.baseline.rows:,}, rows as the null: {found.status}; "
          f"{len(said)} of {len(found.streams)} columns: {', '.join(said)}")


def over_time(p0: np.ndarray, y0: np.ndarray, p: np.ndarray, y: np.ndarray, chunk: int) -> None:
    """The Brier loss of chunks against the reference's, worse by more than a tolerance."""
    def states(p: np.ndarray, y: np.ndarray) -> list[Moments]:
        loss = (p - y) ** 2
        return [Moments.zero().update(loss[at:at + chunk]) for at in range(0, len(loss) - chunk + 1, chunk)]

    reference = Reference.of(states(p0, y0))
    for tolerance in (0.0, 0.01, 0.02):
        detector, memory, first = BoundedRisk("brier", tolerance=tolerance, alpha=0.01), None, None
        for i, state in enumerate(states(p, y)):
            result, memory = detector.step(state, reference, memory)
            first = i + 1 if result.status == "drift" and first is None else first
        said = f"page after {first} chunks" if first else "no page"
        print(f"loss over time, tolerance {tolerance}: {said} (bound {detector.bound(reference):.4f}, "
              f"mean of the analysis {((p - y) ** 2).mean():.4f})")


if __name__ == "__main__":
    raise SystemExit(main())
