"""One pass over many metrics gives what each gives by itself, and bad questions are refused."""

import numpy as np
import pytest

from incumbent import registry
from incumbent.errors import DataError
from incumbent.metrics.measure import measure
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.ranking import evaluate
from incumbent.testing import metric_samples

NAMES = ["ndcg", "recall", "novelty", "popularity", "serendipity", "unexpectedness", "diversity", "category_diversity",
         "coverage", "gini", "personalisation"]


def test_one_pass_gives_what_each_metric_gives():
    rows, side = metric_samples.lists(3)
    made = measure(rows, NAMES, side)
    assert len(made.estimates) == len(NAMES) and made.per_user().num_rows == 30
    for name in NAMES:
        metric = registry.load("metrics", name)()
        alone = metric.estimate(metric.state().update(*metric.observe(Batch(rows), side)))
        assert made.estimates[metric.name].value == pytest.approx(alone.value)
    served = {key: [value for user, value in zip(side.relevant["user_id"], side.relevant[key], strict=True)
                    if user in rows["user_id"]] for key in ("user_id", "item_id")}
    same = evaluate(rows, served, ["ndcg_achievable@10"]).estimates()["ndcg_achievable@10"]
    ours = made.estimates["ndcg_achievable@10"]
    assert (ours.value, ours.n) == (pytest.approx(same.value), same.n) and ours.low == pytest.approx(same.low)


def test_missing_values_are_missing_in_the_table_and_not_in_the_mean():
    rows, _ = metric_samples.lists(1)
    made = measure(rows, ["ndcg"], Side(relevant={"user_id": ["u1", "u2"], "item_id": ["i0", "i1"]}))
    column = made.per_user()["ndcg_achievable@10"]
    assert column.null_count == np.isnan(made.values["ndcg_achievable@10"]).sum() == 28
    assert made.estimates["ndcg_achievable@10"].n == 2


def test_bad_questions_are_refused():
    rows, side = metric_samples.lists(1)
    for metrics in ([], ["click_through"], ["novelty", "novelty"], [None]):
        with pytest.raises(DataError, match="distinct metrics of lists"):
            measure(rows, metrics, side)
    with pytest.raises(DataError, match="one list per user"):
        measure({"user_id": ["u", "u"], "item_id": ["a", "b"], "rank": [1, 1], "list_id": [1, 2]}, ["personalisation"])
    with pytest.raises(DataError, match=r"side\.popularity"):
        measure(rows, ["novelty"], Side())
