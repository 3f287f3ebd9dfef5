"""What the library refuses, in one clear error, and what it marks instead of taking for certain."""

import math
import warnings
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from incumbent import metrics, registry
from incumbent.errors import DataError, NotFoundError
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


@pytest.mark.parametrize("ids, said", [
    ([2**70, 1, 2], "beyond 64 bits"), (["\ud800", "b", "a"], "no Unicode"), (["a", 3, "b"], "mixed types"),
    ([True, False, True], "text or whole numbers"), ([1.5, 2.0, 3.0], "text or whole numbers")])
def test_ids_that_are_none(ids, said):
    for frame in (dict, partial(pd.DataFrame, dtype=object)):
        with pytest.raises(DataError, match=said):
            metrics.ndcg(frame({**SHOWN, "item_id": ids}), BOUGHT)


def test_a_lazy_frame_is_to_be_collected():
    polars = pytest.importorskip("polars")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"Got 'LazyFrame'.*collect it first"):
            metrics.ndcg(polars.LazyFrame(SHOWN), BOUGHT)


def test_lists_of_one_user_each_may_have_an_id():
    assert metrics.ndcg({**SHOWN, "list_id": [1, 1, 2]}, BOUGHT) == metrics.ndcg(SHOWN, BOUGHT)
    with pytest.raises(DataError, match="one list per user"):
        metrics.ndcg({**SHOWN, "user_id": ["u"] * 3, "list_id": [1, 1, 2]}, BOUGHT)


def test_what_is_left_out_stands_in_the_method():
    rows = {key: [*column, None if key == "user_id" else column[0]] for key, column in SHOWN.items()}
    made = metrics.ndcg(rows, {"user_id": ["u", "x"], "item_id": ["b", "a"]})
    assert made.n == 2 and made.method.endswith(
        "; 1 users without positives left out; 1 users unserved as 0; 1 rows without an id dropped")
    novel = metrics.measure(rows, ["novelty@1"], Side(popularity=COUNTS))
    assert novel.counts == {"lists": 2, "rows": 3, "rows_without_id": 1, "tied_ranks": 0}
    assert novel.estimates["novelty_ceiling@1"].method == "mean; 1 rows without an id dropped"


@pytest.mark.parametrize("name, column", [
    ("dwell", "seconds"), ("latency", "latency_ms"), ("click_rank", "position"), ("error_rate", "status")])
def test_missing_rows_are_told_once(name, column):
    values = {"status": ["ok", None], "position": [1, None]}.get(column, [1.0, None])
    made = getattr(metrics, name)({"user_id": ["u", "v"], column: values})
    assert made.n == 1 and made.method.count("missing") == 1, made.method
    none = getattr(metrics, name)({"user_id": ["u", "v"], column: pa.nulls(2, pa.array(values).type)})
    assert none.value is None and f"{none.method} {none.reason}".count("missing") == 1


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_vectors_whose_squares_a_float_cannot_hold(scale):
    vectors = {"item_id": ["a", "b"], "vector": [[scale, 0.0], [scale, scale]]}
    assert metrics.diversity(SHOWN, vectors=vectors).value == pytest.approx(1 - 1 / math.sqrt(2))


def test_one_category_per_item_and_counts_that_have_a_sum():
    with pytest.raises(DataError, match="an item has one category"):
        metrics.category_diversity(SHOWN, catalogue={"item_id": ["a"], "category": [["x", "y"]]})
    with pytest.raises(DataError, match="popularity needs finite counts"):
        metrics.novelty(SHOWN, popularity={"item_id": ["a", "b"], "count": [1e308, 1e308]})


def test_answers_as_a_matrix_or_lists_of_one_length():
    users, items = ["u", "v"], [["a", "a"], ["b", "c"]]
    fixed = pa.array(items, pa.list_(pa.string(), 2))
    for column in (np.array(items), fixed, items):
        assert metrics.duplicate_share({"user_id": users, "items": column}).value == 0.5
        both = {"user_id": users, "champion_items": column, "candidate_items": [["a", "b"], ["b", "c"]]}
        assert metrics.overlap(both).value == 0.75
    with pytest.raises(DataError, match="mixed id types"):
        metrics.overlap({"user_id": ["u"], "champion_items": [[1]], "candidate_items": [["1"]]})


def test_a_currency_is_one():
    money = {"user_id": ["u", "v"], "value_minor": [100, 200], "refund_minor": [0, 0], "orders": [1, 1]}
    assert metrics.revenue_per_user(money, currency="SEK").unit == "SEK minor units/user-day"
    for name in ("revenue_per_user", "order_value"):
        with pytest.raises(DataError, match=r"no such currency\. Got 'XXY'"):
            getattr(metrics, name)(money, currency="XXY")


@pytest.mark.parametrize("name", ["revenue_per_user", "revenue_per_slot", "order_value", "refund_share"])
def test_money_of_several_currencies_does_not_add(name):
    def read(*codes, second=10, **settings):
        return getattr(metrics, name)({"user_id": ["u", "v"], "value_minor": [5, second], "refund_minor": [0, 0],
                                       "orders": [1, 1], "slots": [1, 1], "currency": list(codes)}, **settings)

    with pytest.raises(DataError, match=r"does not add\. Got \['EUR', 'USD'\]"):
        read("EUR", "USD")
    with pytest.raises(DataError, match=r"no such currency\. Got 'XXY'"):
        read("XXY", "XXY")
    for codes in (("EUR", None), (None, None)):
        with pytest.raises(DataError, match=r"money without a currency\. Got None\. .* value_minor is") as caught:
            read(*codes)
        assert caught.value.field == "rows.currency"
    for nothing in (0, None, float("nan")):  # whoever bought nothing needs no currency
        assert read("EUR", "EUR", second=nothing).value == read("EUR", None, second=nothing).value
    if name != "refund_share":
        with pytest.raises(DataError, match=r"does not add\. Got \['EUR'\]\. Expected SEK"):
            read("EUR", "EUR", currency="SEK")
        assert read("SEK", None, second=0, currency="SEK").unit.startswith("SEK")
        with pytest.raises(DataError, match="money without a currency"):
            read("SEK", None, currency="SEK")


def test_money_given_back_has_a_currency_too():
    day = {"user_id": ["u", "v"], "value_minor": [5, 0], "refund_minor": [0, 3], "currency": ["EUR", None]}
    with pytest.raises(DataError, match=r"money without a currency\. .* refund_minor is above 0"):
        metrics.refund_share(day)


def test_names_of_the_one_pass_may_have_a_k():
    made = metrics.measure(SHOWN, ["novelty@5", "novelty"], Side(popularity=COUNTS)).estimates
    assert list(made) == ["novelty_ceiling@5", "novelty_ceiling@10"]
    for wrong in (None, "novelty"):
        with pytest.raises(DataError, match="must be a list of names"):
            metrics.measure(SHOWN, wrong)
    for wrong in ("noveltyy", "novelty@x"):
        with pytest.raises(NotFoundError, match=f"Got '{wrong}'"):
            metrics.measure(SHOWN, [wrong])


@pytest.mark.parametrize("name, setting, value", [
    ("f_beta", "beta", 0), ("f_beta", "beta", math.inf), ("f_beta", "beta", "2"), ("rbp", "persistence", 1.0),
    ("rbp", "persistence", math.nan)])
def test_settings_out_of_range(name, setting, value):
    with pytest.raises(DataError, match=f"{setting} must be in"):
        getattr(metrics, name)(SHOWN, BOUGHT, **{setting: value})


def test_times_are_numbers_or_times():
    answer = {"user_id": ["u"], "items": [["a", "b"]]}
    excluded = {"user_id": ["u"], "item_id": ["a"]}
    found = []
    for when in (lambda second: second * 1_000_000, lambda second: datetime(1970, 1, 1, 0, 0, second),
                 lambda second: datetime(1970, 1, 1, 0, 0, second, tzinfo=UTC)):
        for frame in (dict, pd.DataFrame, pa.table):
            rows = frame({**answer, "time": [when(5)]})
            side = frame({**excluded, "since": [when(3)], "until": [when(9)]})
            found.append(metrics.excluded_share(rows, excluded=side).value)
    assert found == [0.5] * 9


@pytest.mark.parametrize("name", ["excluded_share", "delisted_share"])
def test_an_answer_without_a_time_is_missing(name):
    rows = {"user_id": ["u", "v"], "items": [["a"], ["a"]], "time": [5.0, None]}
    made = getattr(metrics, name)(rows, excluded={"user_id": ["u", "v"], "item_id": ["a", "a"], "since": [1, 1]},
                                  catalogue={"item_id": ["a"], "delisted_at": [1]})
    assert made.value == 1 and made.n == 1 and "1 missing rows left out" in made.method


def test_a_type_that_arrow_does_not_have():
    with pytest.raises(DataError, match="a type that Arrow does not have"):
        metrics.ndcg({**SHOWN, "rank": np.array([1, 2, 1], dtype=">i8")}, BOUGHT)
