"""Online, business and service metrics: values by hand, intervals that hold for users, caps and young cohorts."""

import random
import statistics

import numpy as np
import pytest

from incumbent import registry
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.revenue import revenue

DAYS = {"user_id": list("uvw"), "requests": [2, 1, 1], "slots": [20, 10, 10], "sessions": [1, 1, 1],
        "clicks": [3, 0, 1], "carts": [1, 0, 1], "orders": [1, 0, 1], "value_minor": [1000, 0, 50_000],
        "refund_minor": [200, 0, 0], "dismissals": [0, 2, 0], "seconds": [60.0, 0.0, 30.0]}


def read(name, rows, config=None, **settings):
    metric = registry.load("metrics", name)(**settings)
    return metric.estimate(metric.state(config).update(*metric.observe(Batch(rows), Side())))


@pytest.mark.parametrize(("name", "value"), [
    ("click_through", 4 / 40), ("clicks_per_session", 4 / 3), ("add_to_cart", 2 / 4), ("dismissals", 2 / 40),
    ("conversion", 2 / 3), ("orders_per_request", 2 / 4), ("revenue_per_slot", 50_800 / 40),
    ("revenue_per_request", 50_800 / 4), ("revenue_per_session", 50_800 / 3), ("revenue_per_user", 50_800 / 3),
    ("order_value", 51_000 / 2), ("refund_share", 200 / 51_000), ("time_spent", 30.0)])
def test_values_of_a_day_by_hand(name, value):
    assert read(name, DAYS).value == pytest.approx(value)


def test_a_cap_is_shown_with_what_it_cuts():
    made = read("revenue_per_user", DAYS, {"cap": 5000}, currency="EUR")
    assert made.value == pytest.approx((800 + 0 + 5000) / 3) and made.unit == "EUR minor units/user-day"
    assert "winsorised at 5000: 1 over it, 88.6% cut off" in made.method


def test_the_interval_is_that_of_users_and_not_of_rows():
    """Users who click 20 % or not at all, many rows each: an interval of independent rows would be far too narrow."""
    hits, widths = 0, []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        chance = np.where(rng.random(300) < 0.5, 0.2, 0.0)
        users = np.repeat(np.arange(300), 10)
        rows = {"user_id": [f"u{seed}-{u}" for u in users], "clicks": rng.binomial(20, chance[users]),
                "slots": np.full(3000, 20)}
        made = read("click_through", rows)
        hits += made.low <= 0.1 <= made.high
        widths.append(made.se / np.sqrt(0.1 * 0.9 / 60_000))
    assert 182 <= hits <= 198 and min(widths) > 3


def test_money_that_is_missing_is_counted_beside_what_it_is_missing_from():
    rows = {"user_id": list("uvw"), "value_minor": [100, None, float("nan")], "refund_minor": [0] * 3,
            "orders": [1] * 3}
    for name in ("revenue_per_user", "order_value"):
        made = read(name, rows)
        assert (made.value, made.n) == (100.0, 1) and "2 missing rows left out" in made.method
    assert read("revenue_per_user", {**rows, "value_minor": [None] * 3}).reason == "all 3 rows are missing"
    aged = read("return_rate", {"user_id": list("uv"), "age_days": [9, None], "return_days": [2, None]})
    assert (aged.value, aged.n) == (1.0, 1) and "1 rows without an age left out" in aged.method


def test_young_cohorts_are_left_out_and_said():
    rows = {"user_id": list("uvwx"), "age_days": [7, 9, 6, 0], "return_days": [2, None, 1, None]}
    made = read("return_rate", rows, days=7)
    assert made.value == 0.5 and made.n == 2 and "2 younger rows left out" in made.method
    young = read("return_rate", {"user_id": ["u"], "age_days": [3], "return_days": [1]}, days=28)
    assert young.value is None and "younger than 28 days" in young.reason


def test_the_interval_of_cohorts_is_that_of_users():
    """Rows of one user agree: the error is that of a bootstrap of whole users in plain Python, not of rows."""
    rng = np.random.default_rng(7)
    habit, many = rng.random(400) < 0.3, rng.integers(1, 40, 400)  # whoever comes back does nearly always
    rows = {"user_id": [], "age_days": [], "return_days": []}
    sums = []
    for user in range(400):
        came = rng.random(many[user]) < (0.95 if habit[user] else 0.02)
        rows["user_id"] += [f"u{user}"] * (many[user] + 2)
        rows["age_days"] += [9] * many[user] + [3, 3]  # two young rows of each are in no number
        rows["return_days"] += [int(rng.integers(1, 8)) if one else None for one in came] + [1, None]
        sums.append((int(came.sum()), int(many[user])))
    made = read("return_rate", rows, days=7)
    drawn = random.Random(7)
    shares = []
    for _ in range(2000):
        picked = drawn.choices(sums, k=len(sums))
        shares.append(sum(top for top, _ in picked) / sum(bottom for _, bottom in picked))
    apart = statistics.stdev(shares)
    assert made.value == pytest.approx(sum(top for top, _ in sums) / sum(bottom for _, bottom in sums))
    assert made.n == sum(many) and made.se == pytest.approx(apart, rel=0.15)
    assert made.se > 3 * (made.value * (1 - made.value) / made.n) ** 0.5
    ordered = sorted(shares)
    assert made.low == pytest.approx(ordered[50], abs=0.02) and made.high == pytest.approx(ordered[1949], abs=0.02)


def test_the_interval_of_cohorts_covers_over_many_shops():
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng([9, seed])
        chance = np.where(rng.random(300) < 0.2, 0.9, 0.1)  # 0.26 in the mean
        came = rng.random((300, 8)) < chance[:, None]
        rows = {"user_id": np.repeat([f"{seed}-{user}" for user in range(300)], 8).tolist(), "age_days": [8] * 2400,
                "return_days": [2 if one else None for one in came.ravel().tolist()]}
        made = read("return_rate", rows, days=7)
        hits += made.low <= 0.26 <= made.high
    assert 180 <= hits <= 199


def test_a_cohort_in_which_nobody_came_back_is_no_certain_zero():
    made = read("return_rate", {"user_id": [f"u{user}" for user in range(50)], "age_days": [9] * 50,
                                "return_days": [None] * 50}, days=7)
    assert made.value == 0.0 and made.low == 0.0 and 0.05 < made.high < 0.15
    alone = read("bought_within", {"user_id": ["u"] * 9, "age_days": [9] * 9, "return_days": [1] * 4 + [None] * 5})
    assert (alone.low, alone.high) == (0.0, 1.0)  # one user says nothing of others


def test_service_metrics_by_hand():
    rows = {"user_id": list("uvwx"), "latency_ms": [5.0, 10.0, 20.0, 500.0], "status": ["ok", "error", "timeout", "ok"],
            "cost": [0.1, None, 0.3, 0.2], "time": [0, 1, 400_000_000, 2], "model_age_s": [60.0] * 4,
            "vectors_age_s": [None, 5.0, 7.0, 9.0]}
    assert read("latency", rows, q=0.5).value == pytest.approx(10.0, rel=0.01)
    assert read("error_rate", rows).value == 0.5 and read("timeout_rate", rows).value == 0.25
    assert read("cost_per_thousand", rows).value == pytest.approx(200.0)
    assert read("throughput", rows).value == 3 / 300
    assert read("model_age", rows).value == pytest.approx(60, rel=0.01)
    assert read("vectors_age", rows).value == pytest.approx(7, rel=0.01)
    assert read("completion", {"user_id": ["u", "v"], "seconds": [54.0, 53.0], "length_s": [60, 60]}).value == 0.5
    assert read("dwell", {"user_id": ["u", "v"], "seconds": [30.0, 500.0]}, {"cap": 100}).value == 65.0


def test_revenue_names_what_it_divides_by():
    assert [revenue(per=per).name for per in ("slot", "request", "session", "user")] == [
        "revenue_per_slot", "revenue_per_request", "revenue_per_session", "revenue_per_user"]
