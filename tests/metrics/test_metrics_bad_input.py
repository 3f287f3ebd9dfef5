"""What the library refuses, in one clear error, and what it marks instead of taking for certain."""

import math

import numpy as np
import pytest

from incumbent import metrics, registry
from incumbent.errors import DataError
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.paired import Paired, ones

SHOWN = {"user_id": ["u", "u", "v"], "item_id": ["a", "b", "a"], "rank": [1, 2, 1]}
BOUGHT = {"user_id": ["u"], "item_id": ["b"]}
COUNTS = {"item_id": ["a", "b"], "count": [3, 1]}
DAY = {"user_id": ["u", "v"], "requests": [1, 1], "slots": [10, 10], "sessions": [1, 1], "clicks": [1, 2],
       "carts": [0, 1], "orders": [0, 1], "value_minor": [0, 900], "refund_minor": [0, 0], "dismissals": [0, 0],
       "seconds": [3.0, 4.0], "length_s": [9.0, 9.0], "cost": [0.1, 0.2], "latency_ms": [5.0, 6.0],
       "items": [["a"], ["b"]], "removed": [0, 1]}


@pytest.mark.parametrize("metric, column", [
    ("click_through", "clicks"), ("click_through", "slots"), ("clicks_per_session", "sessions"),
    ("add_to_cart", "carts"), ("dismissals", "dismissals"), ("conversion", "orders"),
    ("orders_per_request", "requests"), ("dwell", "seconds"), ("time_spent", "seconds"), ("completion", "seconds"),
    ("cost_per_thousand", "cost"), ("latency", "latency_ms"), ("revenue_per_user", "refund_minor"),
    ("revenue_per_slot", "slots"), ("order_value", "orders"), ("order_value", "value_minor"),
    ("refund_share", "refund_minor"), ("removed_share", "removed")])
def test_what_cannot_be_negative_is_refused(metric, column):
    assert getattr(metrics, metric)(DAY).value is not None
    with pytest.raises(DataError, match=rf"{column} must not be negative\. Got -2\.5\. Expected 0 or more"):
        getattr(metrics, metric)({**DAY, column: [1.0, -2.5]})


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "10", 10**7, 10**20, 10**30])
def test_a_k_is_a_whole_number_that_a_list_can_have(k):
    for call in (lambda: metrics.ndcg(SHOWN, BOUGHT, k=k), lambda: metrics.coverage(SHOWN, catalogue=COUNTS, k=k),
                 lambda: metrics.novelty(SHOWN, popularity=COUNTS, k=k), lambda: metrics.precision(SHOWN, BOUGHT, k)):
        with pytest.raises(DataError, match=r"k must be a whole number in \[1, 1000000\]"):
            call()


def test_a_k_of_numpy_and_one_beyond_the_list():
    assert metrics.coverage(SHOWN, catalogue=COUNTS, k=np.int64(5)).value == 1
    assert metrics.recall(SHOWN, BOUGHT, k=10**6) == metrics.recall(SHOWN, BOUGHT, k=2)


@pytest.mark.parametrize("asked, said", [
    (None, "distinct names"), (3, "distinct names"), ([], "distinct names"), (["mrr"] * 2, "distinct names"),
    ([None], "named by text"), (["recall"], "did you mean 'recall@10'"), (["recall@" + "9" * 6000], "k must be")])
def test_what_is_no_list_of_names(asked, said):
    with pytest.raises(DataError, match=said):
        metrics.evaluate(SHOWN, BOUGHT, asked)


def test_settings_that_are_none():
    with pytest.raises(DataError, match=r"ndcg_achievable@10 has no such option.*depth"):
        metrics.ndcg(SHOWN, BOUGHT, depth=3)
    with pytest.raises(DataError, match=r"novelty has no such setting.*depth"):
        metrics.novelty(SHOWN, popularity=COUNTS, depth=3)


def test_settings_stand_in_the_name_to_their_last_digit():
    made = [registry.load("metrics", name)(**{setting: value}).name for name, setting, value in (
        ("f_beta", "beta", 1 / 3), ("f_beta", "beta", 2.0), ("rbp", "persistence", 0.1234567))]
    assert made == ["f0.3333333333333333@10", "f2@10", "rbp_0.1234567@10"]


@pytest.mark.parametrize("position", [0, 1.5, -3, math.inf])
def test_clicks_stand_at_whole_positions(position):
    with pytest.raises(DataError, match="positions are whole numbers from 1"):
        metrics.click_rank({"user_id": ["u"], "position": [position]})


def test_a_matrix_is_a_column_of_vectors():
    vectors = {"item_id": np.array(["a", "b"]), "vector": np.array([[1, 0], [0, 2]])}
    listed = {"item_id": ["a", "b"], "vector": [[1.0, 0.0], [0.0, 2.0]]}
    made = metrics.diversity(SHOWN, vectors=vectors)
    assert made == metrics.diversity(SHOWN, vectors=listed) and made.value == 1 and made.n == 1
    for wrong, said in (({**vectors, "vector": np.eye(3)}, "differ in length"),
                        ({**vectors, "vector": np.eye(2)[None]}, r"one dimension.*shape \(1, 2, 2\)"),
                        ({**vectors, "vector": np.array(3)}, r"one dimension.*shape \(\)"),
                        ({**vectors, "vector": np.zeros((2, 0))}, r"shape \(2, 0\)")):
        with pytest.raises(DataError, match=said):
            metrics.diversity(SHOWN, vectors=wrong)
    with pytest.raises(DataError, match=r"ids must be text.*"):
        metrics.ndcg({**SHOWN, "item_id": np.ones((3, 2))}, BOUGHT)


def test_a_text_is_no_column():
    with pytest.raises(DataError, match=r"sequence of values. Got 'uuv'"):
        metrics.ndcg({**SHOWN, "user_id": "uuv"}, BOUGHT)


def test_zeros_alone_say_how_large_a_share_can_be_and_nothing_of_what_has_no_bound():
    none = {"user_id": [f"u{n}" for n in range(40)], "clicks": [0] * 40, "slots": [10] * 40, "status": ["ok"] * 40}
    clicks, errors = metrics.click_through(none), metrics.error_rate(none)
    assert clicks.value == 0 and clicks.low is clicks.high is clicks.se is None
    assert "no interval: everything is 0" in clicks.method
    used = len({int(n) for n in registry.load("metrics", "error_rate")().observe(Batch(none), Side())[0]})
    assert errors.value == 0 and errors.high == pytest.approx(1 - 0.025 ** (1 / used))  # exact, of none in so many
    both = Paired(np.arange(40), ones(np.zeros(40)), ones(np.zeros(40)))
    assert both.estimate("candidate").high is None and both.estimate("difference").high == 0
