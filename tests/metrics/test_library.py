"""`incumbent.metrics.ndcg` and its friends: by hand, on every kind of frame, and the same as the one pass over many."""

import importlib
import inspect
import math
import pkgutil
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pytest

from incumbent import metrics, registry
from incumbent.errors import DataError

SHOWN = {"user_id": ["u", "u", "u", "v", "v", "w"], "item_id": ["a", "b", "c", "a", "d", "b"],
         "rank": [1, 2, 3, 1, 2, 1]}
BOUGHT = {"user_id": ["u", "u", "v", "x"], "item_id": ["b", "c", "e", "a"]}
LOG3 = 1 / math.log2(3)
#: of u, v and x: w wants nothing, x was shown nothing
BY_HAND = {
    "precision": 2 / 10 / 3, "recall": 1 / 3, "hit_rate": 1 / 3, "mrr": 1 / 2 / 3, "r_precision": 1 / 2 / 3,
    "mean_average_precision": (1 / 2 + 2 / 3) / 2 / 3, "ndcg": (LOG3 + 0.5) / (1 + LOG3) / 3,
    "f_beta": 2 * 2 / (2 + 10) / 3, "rbp": 0.2 * (0.8 + 0.64) / 3, "auc": 0.0}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name):
    made = getattr(metrics, name)(SHOWN, BOUGHT)
    assert made.value == pytest.approx(BY_HAND[name]) and made.n == 3 and 0 <= made.low <= made.value <= made.high <= 1


def test_settings_and_policies_are_those_of_the_one_pass():
    full = metrics.ndcg(SHOWN, BOUGHT, 2, ideal="full", unserved="missing", without_positives="zero", alpha=0.5)
    whole = metrics.evaluate(SHOWN, BOUGHT, ["ndcg_full@2"], unserved="missing", without_positives="zero")
    assert full == whole.estimates(alpha=0.5)["ndcg_full@2"] and full.n == 3
    assert metrics.mean_average_precision(SHOWN, BOUGHT, k=None, divisor="hits").value == pytest.approx(7 / 12 / 3)
    assert metrics.rbp(SHOWN, BOUGHT, persistence=0.5).value == pytest.approx(0.5 * (0.5 + 0.25) / 3)


@pytest.mark.parametrize("kind", ["pandas.DataFrame", "polars.DataFrame", "pyarrow.table"])
def test_frames_of_every_kind(kind):
    library, _, make = kind.partition(".")
    frame = getattr(pytest.importorskip(library), make)
    assert metrics.ndcg(frame(SHOWN), frame(BOUGHT), k=10) == metrics.ndcg(SHOWN, BOUGHT, k=10)


def test_what_is_absent_is_named():
    with pytest.raises(DataError, match="item_id"):
        metrics.ndcg({"user_id": ["u"], "rank": [1]}, BOUGHT)
    with pytest.raises(AttributeError, match="has no attribute 'ndgc'"):
        metrics.ndgc(SHOWN, BOUGHT)


def test_a_column_that_is_there_twice_is_named():
    rows, names = [[["u"], ["v"], ["a"], [1]], ["user_id", "user_id", "item_id", "rank"]]
    for frame in (pa.table(rows, names=names), pd.DataFrame([["u", "v", "a", 1]], columns=names)):
        with pytest.raises(DataError, match=r"(?s)recommendations hold columns twice.*user_id"):
            metrics.ndcg(frame, BOUGHT)


def test_whole_numbers_beyond_those_of_floats_are_rounded():
    gains = {**BOUGHT, "gain": [2**60 + 1] * 4}
    assert metrics.ndcg(SHOWN, gains).value == pytest.approx(BY_HAND["ndcg"])


def test_every_registered_metric_is_a_function_whatever_was_imported_before():
    for module in pkgutil.iter_modules(metrics.__path__):
        importlib.import_module(f"incumbent.metrics.{module.name}")
    for name in registry.names("metrics"):
        assert inspect.isfunction(getattr(metrics, name)) and name in dir(metrics), name
    assert metrics.map is metrics.mean_average_precision


def test_functions_of_metrics_beyond_accuracy_are_the_one_pass():
    side = {"history": {"user_id": ["u"], "item_id": ["c"]}, "popularity": {"item_id": ["a", "b"], "count": [3, 1]},
            "catalogue": {"item_id": list("abcd"), "category": list("xxyy")},
            "vectors": {"item_id": ["a", "b", "c"], "vector": [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]}}
    names = ["novelty", "surprisal", "popularity", "unseen_share", "diversity", "category_diversity", "unexpectedness",
             "serendipity", "category_calibration", "coverage", "gini", "concentration", "personalisation"]
    whole = metrics.measure(SHOWN, names, metrics.Side(relevant=BOUGHT, **side)).estimates
    for name, made in zip(names, whole.values(), strict=True):
        assert getattr(metrics, name)(SHOWN, BOUGHT, **side) == made and made.value is not None, name
    assert metrics.serendipity.__doc__.startswith("``unexpected relevant") and metrics.novelty.__name__ == "novelty"
    first = metrics.novelty(SHOWN, popularity=side["popularity"], k=1)
    assert first.value == pytest.approx((2 * math.log2(4 / 3) + 2) / 3)


def test_naming_the_package_loads_nothing():
    code = "import sys, incumbent.metrics; print('numpy' in sys.modules, 'ndcg' in incumbent.metrics.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "True"]
