"""False alarms and detections of the drift detectors beside detectors that look at nothing, and beside peers' defaults.

    python benchmarks/detectors.py [--worlds 60] [--windows 3] [--peers]

Claims: what is delivered on null windows lies within the exact 95 % interval of the 5 % that was promised, without and
with day effects; with a 10,000-row baseline and windows of 1,000 rows the combined alarm finds .95 of the mean shifts
and .75 of the clusters of 2 %. Settings:

  rows     no day effects, baseline 10,000 rows kept as 40 windows of 250, the frame fitted on the first 8, tail "rows"
  days     day effects, 60 windows of 2,000 rows, ranks only: the null of section 2 of the reference
  trap     day effects, but with the "rows" setting: what assuming away the days costs

Every world is fitted anew and judged on null windows (twice as many) and on each fault. Peers get the same rows at
their own default thresholds. The seed stands in no other file; thresholds were frozen in the commit before it ran.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import importlib
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from incumbent.drift.alarm import embedding
from incumbent.drift.detector import Detector, Reference
from incumbent.stats.binomial import proportion
from incumbent.stats.vectors import Vectors
from incumbent.testing.drift_detectors import always_fire, never_fire
from incumbent.testing.drift_worlds import FAULTS, EmbeddingWorld

SEED = 640_271_993
ALPHA = 0.05


@dataclass(frozen=True)
class Setting:
    """A world and the windows that it is seen through."""

    day: float
    windows: int
    rows: int
    current: int
    fitted: int
    tail: str | None


SETTINGS = {"rows": Setting(0.0, 40, 250, 1000, 8, "rows"), "days": Setting(1.0, 60, 2000, 2000, 0, None),
            "trap": Setting(1.0, 40, 250, 1000, 8, "rows")}
Rows = Callable[[np.ndarray, np.ndarray], bool]


def main() -> None:
    """Print a table for every setting."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--worlds", type=int, default=60)
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--peers", action="store_true", help="also the peers that can be imported: slow")
    args = parser.parse_args()
    for name in args.settings:
        start = time.process_time()
        table(name, SETTINGS[name], args.worlds, args.windows, peers(args.peers))
        print(f"  {time.process_time() - start:.0f} s of CPU\n", flush=True)


def table(name: str, setting: Setting, worlds: int, windows: int, others: dict[str, Rows]) -> None:
    """All detectors in all worlds of a setting: alarms counted, shares printed."""
    alarms: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for world in range(worlds):
        one_world(name, setting, world, windows, others, alarms)
    first = next(iter(alarms.values()))
    print(f"{name}: {setting.windows} windows of {setting.rows} rows, current {setting.current}, day effects "
          f"{setting.day:g}; {worlds} worlds, {len(first['null'])} null windows, {len(first['scale_6'])} per fault")
    print(f"  {'detector':22}{'false alarms [exact 95 %]':>27} " + " ".join(f"{fault[:12]:>12}" for fault in FAULTS))
    for detector, found in alarms.items():
        null = proportion(sum(found["null"]), len(found["null"]))
        cells = " ".join(f"{np.mean(found[fault]):12.2f}" for fault in FAULTS)
        print(f"  {detector:22}{null.value:13.3f} [{null.low:.3f}, {null.high:.3f}] {cells}")


def one_world(
    name: str, setting: Setting, index: int, windows: int, others: dict[str, Rows],
    alarms: dict[str, dict[str, list[bool]]],
) -> None:
    """One world: a baseline, its calibration, and every detector on the same windows."""
    seed = [SEED, list(SETTINGS).index(name), index]
    world, rng = EmbeddingWorld.seeded(*seed, day=setting.day), np.random.default_rng([*seed, 1])
    baseline = [world.rows(rng, setting.rows) for _ in range(setting.windows)]
    zero = Vectors.fit(np.vstack(baseline[:setting.fitted] or baseline), seed=index)
    reference = Reference.of([zero.update(rows) for rows in baseline], fitted=setting.fitted)
    combined = embedding(alpha=ALPHA, tail=setting.tail)  # type: ignore[arg-type]
    detectors: dict[str, Detector] = {"combined": combined, "always_fire": always_fire(), "never_fire": never_fire()}
    calibrated = {key: one.calibrate(reference, setting.current) for key, one in detectors.items()}
    pooled = np.vstack(baseline)
    for fault in (None, None, *FAULTS):
        for _ in range(windows):
            rows = world.window(rng, setting.current, fault)
            state = zero.update(rows)
            for key, one in detectors.items():
                said = one.step(state, calibrated[key], None)[0]
                alarms[key][fault or "null"].append(said.status == "drift")
            for key, other in others.items():
                alarms[key][fault or "null"].append(other(rows, pooled))


# ------------------------------------------------------------------------------------------------------------ peers
def peers(wanted: bool) -> dict[str, Rows]:
    """Kolmogorov-Smirnov per dimension with Bonferroni, and the packages that can be imported."""
    if not wanted:
        return {}
    found: dict[str, Rows] = {"scipy KS, Bonferroni": ks}
    for label, module, adapt in (("evidently model", "evidently", evidently), ("alibi KS", "alibi_detect", alibi)):
        try:
            importlib.import_module(module)
        except Exception as error:  # a peer that does not import is a row too
            print(f"{label}: not here ({type(error).__name__}: {error})")
        else:
            found[label] = adapt()
    return found


def ks(rows: np.ndarray, baseline: np.ndarray) -> bool:
    """Alarm where any dimension's p-value is below .05 over their number."""
    d = rows.shape[1]
    return any(stats.ks_2samp(rows[:, i], baseline[:, i], method="asymp").pvalue < ALPHA / d for i in range(d))


def evidently() -> Rows:
    """Evidently's default for embeddings: a linear classifier told apart by its ROC AUC."""
    import pandas as pd
    from evidently.legacy.metrics.data_drift.embedding_drift_methods import model

    judge = model()
    return lambda rows, baseline: bool(judge(pd.DataFrame(rows), pd.DataFrame(baseline))[1])


def alibi() -> Rows:
    """Alibi Detect's KSDrift at its default p-value of .05."""
    from alibi_detect.cd import KSDrift

    return lambda rows, baseline: bool(KSDrift(baseline, p_val=ALPHA).predict(rows)["data"]["is_drift"])


if __name__ == "__main__":
    main()
