"""One pass over many metrics gives what each gives by itself, and bad questions are refused."""

import re

import numpy as np
import pytest

from incumbent import registry
from incumbent.errors import DataError, NotFoundError
from incumbent.metrics.measurement import measure
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.per_list import PerList
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


def test_names_of_evaluate_are_taken_and_answered_under_their_own_name():
    shown = {"user_id": ["u", "u", "v"], "item_id": ["a", "b", "c"], "rank": [1, 2, 1]}
    bought = {"user_id": ["u", "v"], "item_id": ["b", "d"]}
    names = ["ndcg_achievable@10", "map_relevant@2", "recall@1"]
    made = measure(shown, names, Side(relevant=bought)).estimates
    known = evaluate(shown, bought, names).estimates()
    assert {name: made[name].value for name in names} == {name: known[name].value for name in names}
    with pytest.raises(NotFoundError, match="did you mean 'novelty'"):
        measure(shown, ["noveltie"])


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


@pytest.mark.parametrize("name", [
    "ndcg", "novelty", "surprisal", "popularity", "unseen_share", "serendipity", "diversity", "unexpectedness",
    "category_diversity", "category_calibration", "coverage"])
def test_what_a_metric_lacks_is_said_with_its_name_and_what_to_do(name):
    rows, _ = metric_samples.lists(1)
    metric = registry.load("metrics", name)()
    with pytest.raises(DataError) as told:
        measure(rows, [name], Side())
    part = str(told.value.field).removeprefix("side.")
    assert str(told.value).startswith(f"{metric.name} needs ") and f"Hint: Side({part}=a table of " in str(told.value)


@pytest.mark.parametrize("name", [name for name in registry.names("metrics")
                                  if getattr(registry.load("metrics", name)(), "bounded", False)])
def test_the_interval_of_a_share_of_few_users_is_one_of_shares(name):
    """Five users whose numbers lie at both ends; Student's interval of most of them leaves [0, 1]."""
    metric = registry.load("metrics", name)()
    for ones in range(6):
        values = np.array([1.0] * ones + [0.0] * (5 - ones))
        rows = values if isinstance(metric, PerList) else np.stack([values, np.ones(5)], axis=1)
        made = metric.estimate(metric.state().update(np.arange(5), rows))
        assert 0 <= made.low <= made.value == ones / 5 <= made.high <= 1 and made.high - made.low > 0.4
        assert "Clopper-Pearson at the effective sample size" in made.method


def test_what_no_baseline_freezes_is_refused_by_every_metric():
    for name in registry.names("metrics"):
        metric = registry.load("metrics", name)()
        with pytest.raises(DataError, match=f"^{re.escape(metric.name)} has no .*setting"):
            metric.state({"no_such": 1})
