"""Data quality: each share against plain Python over the rows, and the promise of the baseline."""

import random
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.metrics.data_quality import join_rate, late_share, null_rate, out_of_order_share, resent_share
from incumbent.metrics.data_quality_baseline import Terms, judge
from incumbent.metrics.data_quality_values import (
    BUDGET,
    freshness,
    outside,
    range_of,
    range_rate,
    unseen_categories,
    volume,
)
from incumbent.metrics.metric import Batch, Side
from incumbent.stats.estimate import Estimate
from incumbent.testing.checks import metrics as contract

NAMES = ["null_rate", "resent_share", "late_share", "out_of_order_share", "join_rate", "range_rate",
         "unseen_categories", "freshness", "volume"]
T0 = datetime(2026, 3, 1, tzinfo=UTC)


def value(metric, rows):
    return metric.estimate(metric.state().update(*metric.observe(Batch(rows), Side()))).value


def test_the_contract_of_a_metric_holds():
    failed = [result for result in contract.run(NAMES) if not result.ok]
    assert not failed, failed[:3]


rows = st.lists(st.tuples(st.sampled_from("uv"), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@settings(max_examples=80, deadline=None)
@given(rows)
def test_shares_are_those_of_plain_python(found):
    users = [user for user, _, _ in found]
    times = [T0 + timedelta(seconds=100 * at) for _, at, _ in found]
    came = [time + timedelta(seconds=100 * delay) for time, (_, _, delay) in zip(times, found, strict=True)]
    batch = {"user_id": users, "item_id": ["i"] * len(found), "action": ["click"] * len(found), "time": times,
             "received": came}
    n = len(found)
    assert value(late_share(after_s=250), batch) == pytest.approx(sum(delay > 2 for _, _, delay in found) / n)
    assert value(resent_share(), batch) == pytest.approx((n - len({(u, t) for u, t, _ in found})) / n)
    behind = 0
    for user in set(users):
        newest = None
        for _, at in sorted((c, t) for u, t, c in zip(users, times, came, strict=True) if u == user):
            newest = at if newest is None else max(newest, at)
            behind += (newest - at).total_seconds() > 60
    assert value(out_of_order_share(), batch) == pytest.approx(behind / n)
    delays = sorted(delay * 100 for _, _, delay in found)
    assert value(freshness(), batch) == pytest.approx(delays[(n - 1) // 2], rel=0.06, abs=1e-9)
    assert value(volume(), batch) == n


def test_nothing_is_missing_and_not_zero():
    empty = {"time": [], "received": [], "joined": [], "request_id": [], "value_minor": [], "action": []}
    for metric in (volume(), late_share(), join_rate(), null_rate(), range_rate(), unseen_categories(), freshness()):
        assert value(metric, empty) is None
    assert value(join_rate(), {"joined": [None, None]}) is None
    assert value(late_share(), {"time": [T0], "received": [None]}) is None
    assert value(range_rate(), {"value_minor": [None]}) is None
    with pytest.raises(DataError, match="no truth value"):
        value(join_rate(), {"joined": ["yes"]})


def test_empty_text_is_null_and_false_is_not():
    assert value(null_rate(column="a"), {"a": ["", "x", None, "y"]}) == 0.5
    assert value(null_rate(column="a"), {"a": [False, None]}) == 0.5


def test_a_range_is_that_of_earlier_states():
    rate = range_rate(column="p")
    before = [rate.state().update(values) for values in ([10.0, 900.0], [50.0, 1000.0])]
    low, high = range_of(before)
    assert 4 < low < 6 and 1900 < high < 2300
    assert outside(rate.state().update([7.0, 1500.0, 100_000.0, 0.01]), low, high).value == 0.5
    assert range_of([rate.state()]) is None
    low, high = range_of([rate.state().update([-3.0, 0.0])])
    assert low < -5.9 and high >= 0


def test_too_many_categories_are_said_to_be_so():
    unseen = unseen_categories(column="c", known=["x"])
    many = unseen.state().update([f"k{n}" for n in range(BUDGET + 1)])
    assert unseen.estimate(many).value is None and "categories" in unseen.estimate(many).reason


def share(hits, n=1000):
    return Estimate(hits / n, n=n, method="m")


def days(values, start=date(2026, 3, 2)):
    return {start + timedelta(days=at): one for at, one in enumerate(values)}


def test_an_abrupt_change_is_told_and_a_small_one_is_not():
    rng = random.Random(1)
    past = days([share(rng.randint(15, 25)) for _ in range(14)])
    today = date(2026, 3, 16)
    assert judge(share(22), today, past, "share").status == "ok"
    found = judge(share(120), today, past, "share")
    assert found.status == "drift" and "above" in found.reason and found.high < 0.12 and found.days >= 12
    steady = days([share(0, 10**6) for _ in range(14)])
    assert judge(share(900, 10**6), today, steady, "share").status == "ok", "a change of 0.1 % matters to nobody"
    assert judge(share(500_000, 10**6), today, steady, "share").status == "drift"


def test_a_volume_that_falls_to_zero_is_told_and_a_missing_day_is_not():
    past = days([Estimate(1000.0 + 40 * (n % 3), n=1000, method="count") for n in range(10)])
    today = date(2026, 3, 12)
    assert judge(Estimate(0.0, n=0, method="count"), today, past, "log").status == "drift"
    missing = judge(Estimate.missing("nothing ran"), today, past, "log")
    assert (missing.status, missing.reason) == ("no_data", "nothing ran")


def test_too_few_days_judge_nothing_and_missing_days_do_not_count():
    past = days([share(20) if n % 2 else Estimate.missing("no events") for n in range(12)])
    found = judge(share(900), date(2026, 3, 14), past, "share")
    assert (found.status, found.days) == ("no_data", 6) and "7 are needed" in found.reason


def test_the_weekday_counts_once_there_are_enough():
    counts = [Estimate(100.0 if n % 7 == 6 else 1000.0, n=1000, method="count") for n in range(35)]
    past, sunday = days(counts), date(2026, 4, 12)
    found = judge(Estimate(100.0, n=100, method="count"), sunday, past, "log")
    assert (found.status, found.matched) == ("ok", "weekday") and "Sundays" in found.reason
    assert judge(Estimate(1000.0, n=1000, method="count"), sunday, past, "log").status == "drift"


@pytest.mark.parametrize("weeks", [5, 6])
def test_few_days_of_a_weekday_do_not_hide_what_all_days_show(weeks):
    """81 % missing against always 0 before, on each weekday."""
    rng = random.Random(3)
    past = days([share(0, rng.randint(60, 90)) for _ in range(7 * weeks)])
    for at in range(7):
        today = date(2026, 3, 2) + timedelta(days=7 * weeks + at)
        found = judge(share(57, 70), today, past, "share", Terms(alpha=5e-4))
        assert (found.status, found.matched) == ("drift", "weekday") and found.high < 0.79, found


def test_a_weekday_of_two_kinds_of_days_is_judged_and_a_shop_open_on_mondays_has_a_past():
    def count(value):
        return Estimate(float(value), n=value, method="count")

    mixed = days([count((10 if n // 7 % 2 else 10_000) if n % 7 == 0 else 1000 + n) for n in range(42)])
    assert judge(count(1000), date(2026, 4, 13), mixed, "log").low < 1000
    mondays = {date(2026, 1, 5) + timedelta(days=7 * n): count(100 + n) for n in range(8)}
    assert judge(count(103), date(2026, 3, 2), mondays, "log").status == "ok"
    assert judge(count(10), date(2026, 3, 2), mondays, "log").status == "drift"


def test_false_alarms_keep_to_alpha_with_weekdays():
    """Six weeks with a level of each weekday, at alpha 0.02: about 20 of 1,000 alarm; at most five deviations more."""
    rng, alarms = np.random.default_rng(8), 0
    terms = Terms(alpha=0.02, least_share=0.0, least_factor=0.0)
    level = np.tile([0.0, 0.1, 0.1, 0.2, 0.5, 1.0, -2.0], 7)[:43]
    for _ in range(1_000):
        told = [Estimate(float(n), n=int(n), method="count")
                for n in rng.poisson(2000 * np.exp(level + rng.normal(0, 0.1, 43)))]
        found = judge(told[42], date(2026, 4, 13), days(told[:42]), "log", terms)
        alarms += found.status == "drift"
        assert found.matched == "weekday"
    assert 4 < alarms < 1_000 * (0.02 + 5 * (0.02 * 0.98 / 1_000) ** 0.5), alarms


def test_a_share_that_always_was_0_is_judged_in_a_small_shop():
    past, today, terms = days([share(0, 35) for _ in range(42)]), date(2026, 4, 13), Terms(alpha=3e-4)
    assert judge(share(17, 35), today, past, "share", terms).status == "drift"
    assert judge(share(3, 35), today, past, "share", terms).status == "ok", "one shopper's luck"
    assert judge(share(60, 850), today, days([share(0, 850) for _ in range(42)]), "share", terms).status == "drift"


def test_rare_hits_in_small_shops_keep_to_alpha():
    """One hit in a hundred, 35 a day: at alpha 0.01 of 2,000 looks some 20 may alarm."""
    rng, terms = np.random.default_rng(9), Terms(alpha=0.01, least_share=0.0)
    hits = rng.binomial(35, 0.01, (2_000, 29))
    alarms = sum(judge(share(int(one[28]), 35), date(2026, 3, 30), days([share(int(n), 35) for n in one[:28]]), "share",
                       terms).status == "drift" for one in hits)
    assert alarms <= 45, alarms


@pytest.mark.parametrize("first", range(7))
def test_weekends_are_no_news(first):
    counts = [Estimate(450.0 if (n + first) % 7 > 4 else 1000.0 + n % 3, n=1000, method="count") for n in range(42)]
    past = days(counts)
    for terms in (Terms(alpha=3e-4), Terms(alpha=3e-4, min_days=14)):
        told = [judge(counts[n], when, {one: past[one] for one in list(past)[:n]}, "log", terms).status
                for n, when in enumerate(past)]
        assert told == ["no_data"] * terms.min_days + ["ok"] * (42 - terms.min_days)


@pytest.mark.parametrize("level", [[1.0] * 7, [1.0] * 5 + [0.8] * 2, [1.0] * 5 + [0.5] * 2, [1.0] * 6 + [0.2],
                                   [1.0] * 5 + [1.5] * 2])
def test_the_first_two_weeks_keep_to_alpha_and_find_what_is_gross(level):
    """Days that vary by a tenth, alpha of 15 checks at one finding a month: of 1,050 looks 2.3 may alarm; 8 are beyond
    chance. The same days at a twentieth are found."""
    rng, terms, alarms, found = np.random.default_rng(12), Terms(alpha=1 / 30.4 / 15), 0, 0
    for shop in range(150):
        means = 1000 * np.array([level[(n + shop) % 7] for n in range(14)]) * np.exp(rng.normal(0, 0.1, 14))
        counts = [Estimate(float(one), n=int(one), method="count") for one in rng.poisson(means)]
        when = [date(2026, 3, 2) + timedelta(days=n + shop % 7) for n in range(14)]
        for n in range(7, 14):
            past = dict(zip(when[:n], counts[:n], strict=True))
            alarms += judge(counts[n], when[n], past, "log", terms).status == "drift"
            least = Estimate(counts[n].value // 20, n=counts[n].n // 20, method="count")
            found += judge(least, when[n], past, "log", terms).status == "drift"
    assert alarms < 8 and found > (0.95 if min(level) > 0.2 else 0.5) * 150 * 7, (alarms, found)


@pytest.mark.parametrize("n", [20, 21, 28, 35])
def test_false_alarms_keep_to_alpha_while_weekdays_are_few(n):
    """Weekends at a half, days that vary by a tenth: of 600 looks at alpha 0.01 some 6 alarm; 24 are too many."""
    rng, alarms, start = np.random.default_rng(n), 0, date(2026, 3, 2)
    level = np.array([0.5 if at % 7 > 4 else 1.0 for at in range(n + 1)])
    terms = Terms(alpha=0.01, least_factor=0.0)
    for _ in range(600):
        told = [Estimate(float(one), n=int(one), method="count")
                for one in rng.poisson(1000 * level * np.exp(rng.normal(0, 0.1, n + 1)))]
        alarms += judge(told[n], start + timedelta(days=n), days(told[:n]), "log", terms).status == "drift"
    assert alarms <= 24, alarms


def test_one_mad_day_in_the_past_hides_nothing():
    past = days([share(20 + n % 4) for n in range(13)] + [share(700)])
    assert judge(share(200), date(2026, 3, 16), past, "share").status == "drift"


@pytest.mark.parametrize("scale", ["share", "log"])
def test_false_alarms_keep_to_alpha(scale):
    """Days that differ only by chance: at alpha 0.02 of 1,000 looks about 20 alarm; the bound is five deviations up."""
    rng = np.random.default_rng(7)
    terms, alarms = Terms(alpha=0.02, least_share=0.0, least_factor=0.0), 0
    for _ in range(1_000):
        level = 1 / (1 + np.exp(-rng.normal(-2, 0.2, 15)))
        if scale == "share":
            told = [share(int(hits), 2000) for hits in rng.binomial(2000, level)]
        else:
            told = [Estimate(float(n), n=int(n), method="count") for n in rng.poisson(5000 * level)]
        past = days(told[:14])
        alarms += judge(told[14], date(2026, 3, 16), past, scale, terms).status == "drift"
    assert alarms / 1_000 < 0.02 + 5 * (0.02 * 0.98 / 1_000) ** 0.5, alarms
    assert alarms > 4, "a judge that never alarms keeps every promise"
