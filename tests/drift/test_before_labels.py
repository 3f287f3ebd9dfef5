"""Quality before labels against what then came: simulated, and on real census data with scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from incumbent.drift.before_labels import quality_before_labels
from incumbent.errors import DataError, StateError
from incumbent.stats.reliability import Reliability

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "nannyml_employment"
EDGES = sorted({*np.linspace(0.02, 0.98, 49).round(4).tolist(), 0.5})


def auc(p: np.ndarray, y: np.ndarray) -> float:
    """Mann and Whitney's by ranks, ties half."""
    order = np.sort(p[y == 0])
    left, right = np.searchsorted(order, p[y == 1], "left"), np.searchsorted(order, p[y == 1], "right")
    return float((left + right).mean() / 2 / len(order))


def world(rng, rows, shift=0.0):
    """Scores that are overconfident by a known curve; the inputs move by `shift`."""
    x = rng.normal(shift, 1.2, rows)
    return 1 / (1 + np.exp(-1.5 * x)), (rng.random(rows) < 1 / (1 + np.exp(-x))).astype(float)


def test_it_is_what_then_came_where_only_the_inputs_moved():
    rng = np.random.default_rng(0)
    zero = Reliability.zero(edges=EDGES)
    reference, outside = zero.update(*world(rng, 40_000)), 0
    naive = []
    for _ in range(100):
        p, y = world(rng, 2000, shift=0.8)
        found = quality_before_labels(zero.update(p, np.full(2000, np.nan)), reference, threshold=0.5)
        truth = {"rate": y.mean(), "brier": ((p - y) ** 2).mean(), "accuracy": ((p >= 0.5) == y).mean()}
        outside += sum(not found[name].low <= value <= found[name].high for name, value in truth.items())
        assert found["auc"].value == pytest.approx(auc(p, y), abs=0.06)
        naive.append(p.mean() - y.mean())
        assert all("before labels" in estimate.method for estimate in found.values())
    assert outside <= 30  # of 300 at 95 %: expected 15
    assert np.mean(naive) > 0.03  # what the raw scores would have been off by


def test_labels_that_are_there_change_nothing():
    rng = np.random.default_rng(1)
    zero = Reliability.zero(edges=EDGES)
    reference, (p, y) = zero.update(*world(rng, 5000)), world(rng, 500)
    some = np.where(rng.random(500) < 0.3, y, np.nan)
    assert quality_before_labels(zero.update(p, some), reference) == quality_before_labels(
        zero.update(p, np.full(500, np.nan)), reference)


def test_what_cannot_be_said():
    zero = Reliability.zero(edges=[0.5])
    known = zero.update([0.2, 0.8], [0, 1])
    assert quality_before_labels(zero, known)["rate"].reason == "no scores"
    assert quality_before_labels(known, zero)["auc"].reason == "the reference has no labels"
    assert quality_before_labels(known, zero.update([0.2], [0]))["rate"].value == pytest.approx(0.4)  # (0 + .8) / 2
    assert quality_before_labels(zero.update([0.2], [None]), known)["auc"].reason.startswith("labels of one kind")
    with pytest.raises(DataError, match="edge of the bins"):
        quality_before_labels(known, known, threshold=0.4)
    with pytest.raises(StateError, match="different bins"):
        quality_before_labels(known, Reliability.zero())


@pytest.mark.skipif(not DATA.exists(), reason="the employment data set is not on this machine")
def test_employment_before_and_after_the_labels():
    """Massachusetts 2015 as reference, 2016-2018 in chunks of 5,000: estimated against realised."""
    import pyarrow.parquet as pq

    def read(name, *columns):
        table = pq.read_table(DATA / f"employment_MA_{name}.pq", columns=list(columns))
        return [table[column].to_numpy().astype(float) for column in columns]

    p, y = read("reference", "predicted_probability", "employed")
    zero = Reliability.zero(edges=EDGES)
    reference = zero.update(p, y)
    (scores,), (labels,) = read("analysis", "predicted_probability"), read("analysis_target", "employed")
    misses = {"rate": [], "brier": [], "accuracy": [], "auc": []}
    for at in range(0, len(scores) - 4999, 5000):
        p, y = scores[at:at + 5000], labels[at:at + 5000]
        found = quality_before_labels(zero.update(p, np.full(len(p), np.nan)), reference, threshold=0.5)
        truth = {"rate": y.mean(), "brier": ((p - y) ** 2).mean(), "accuracy": ((p >= 0.5) == y).mean(),
                 "auc": auc(p, y)}
        for name, value in truth.items():
            misses[name].append(found[name].value - value)
    mean = {name: float(np.mean(np.abs(values))) for name, values in misses.items()}
    print({name: round(value, 4) for name, value in mean.items()}, len(misses["auc"]))
    assert len(misses["auc"]) == 41
    assert mean["accuracy"] < 0.01 and mean["auc"] < 0.01 and mean["brier"] < 0.01 and mean["rate"] < 0.02, mean
