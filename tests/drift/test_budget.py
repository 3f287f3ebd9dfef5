"""The budget: alphas by hand, refusals at start, and one tick over many streams."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from incumbent.drift.budget import HOURS_PER_MONTH, Monitor, soonest, soonest_harm, split, within_tick
from incumbent.drift.detector import Result, no_data
from incumbent.errors import ConfigError


def test_parts_add_up_and_alphas_are_per_look():
    budget = split(3.0, [Monitor("a", 24, 5000, weight=2), Monitor("b", 1, 5000)])
    assert [part.false_alarms_per_month for part in budget.parts] == [2.0, 1.0]
    assert budget.alphas == {"a": pytest.approx(2 * 24 / 730.5), "b": pytest.approx(1 / 730.5)}
    assert sum(part.alpha * HOURS_PER_MONTH / part.monitor.every_hours for part in budget.parts) == pytest.approx(3.0)


def test_fifty_windows_cannot_carry_an_hourly_monitor_at_one_alarm_a_month():
    (part,) = split(1.0, [Monitor("items", every_hours=1, windows=50)]).refused
    assert "p is never below 1/51" in part.reason and part.needs_windows == 730
    assert split(1.0, [Monitor("items", 1, 729)]).refused  # 1 / 730 > 1 / 730.5
    assert not split(1.0, [Monitor("items", 1, 730)]).refused
    assert not split(1.0, [Monitor("items", every_hours=24, windows=50)]).refused


def test_a_tail_is_taken_only_by_name_and_says_so():
    (part,) = split(1.0, [Monitor("items", 1, 50, kind="tail")]).parts
    assert part.honoured and "extrapolated from 50 windows" in part.reason
    assert split(1.0, [Monitor("items", 1, 7, kind="tail")]).refused


def test_over_time_any_budget_can_be_carried_at_a_price_in_time():
    ranks, risk = split(2.0, [Monitor("items", 1, 50, kind="e_rank"), Monitor("ctr", 1, kind="e_detector")]).parts
    assert ranks.honoured and risk.honoured and risk.resolution is None
    assert f"about {soonest(50, 1 / 730.5)} windows after" in ranks.reason
    assert split(1.0, [Monitor("items", 1, 3, kind="e_rank")]).refused


def test_a_bounded_mean_says_when_a_collapse_is_told_and_is_refused_where_that_is_too_late():
    soon, late, never, unknown = split(4 / 12, [Monitor("a", 24, kind="e_detector", harm=2.0), Monitor(
        "b", 24, kind="e_detector", harm=0.02), Monitor("c", 24, kind="e_detector", harm=0.0),
        Monitor("d", 24, kind="e_detector")]).parts
    sums, t = [0.0] * 4, 0  # by hand, not in logarithms
    while sum(sums) / 4 < 365.25:
        sums, t = [(one + 1) * (1 + 2.0 * bet) for one, bet in zip(sums, (0.05, 0.15, 0.4, 0.9), strict=True)], t + 1
    assert soon.honoured and soon.soonest == t == soonest_harm(2.0, soon.alpha) and f"about {t} windows" in soon.reason
    assert not late.honoured and not never.honoured and "of 365.2 in 90 windows" in late.reason
    assert unknown.honoured and unknown.soonest is None


def test_a_refused_part_is_not_spent_by_the_others():
    both = split(2.0, [Monitor("a", 24, 500), Monitor("b", 1, 5)])
    assert both.alphas == {"a": split(1.0, [Monitor("a", 24, 500)]).alphas["a"]}


def test_every_mistake_at_once():
    with pytest.raises(ConfigError) as caught:
        split(0.0, [Monitor("a", 0), Monitor("a", 1, weight=-1, windows=-2)])
    assert len(caught.value.problems) == 5
    with pytest.raises(ConfigError, match="no monitors"):
        split(1.0, [])


def p(value, status="ok"):
    return Result(status=status, reason="r", severity="ticket" if status == "drift" else "info", p_value=value)


def test_one_tick_is_judged_together():
    alphas = {"a": 0.01, "b": 0.01, "c": 0.01, "d": 0.01}
    said = within_tick(
        {"a": p(0.008, "drift"), "b": p(0.019), "c": p(0.5), "d": no_data("empty"), "e": p(0.001)}, alphas, "bh")
    # three streams at .03 in all: .008 <= .01, .019 <= .02
    assert [said[name].status for name in "abcde"] == ["drift", "drift", "ok", "no_data", "ok"]
    assert said["b"].severity == "ticket" and "3 streams at 0.03 in all (bh)" in said["b"].reason
    assert said["a"].reason == "r" and said["e"] == p(0.001)


def test_an_alarm_can_be_taken_back_and_weights_are_alphas():
    said = within_tick({"a": p(0.01, "drift"), "b": p(0.5)}, {"a": 0.001, "b": 0.019}, "bh")
    assert (said["a"].status, said["a"].severity) == ("ok", "info") and "no alarm among 2" in said["a"].reason
    assert within_tick({"a": p(0.01)}, {"a": 0.01})["a"].status == "drift"
    plain = within_tick({"a": p(0.01, "drift"), "b": p(0.019)}, {"a": 0.001, "b": 0.019})
    assert (plain["a"].status, plain["b"].status) == ("ok", "drift"), "each at its own alpha"
    assert within_tick({"a": p(0.5)}, {}) == {"a": p(0.5)}


def test_e_values_go_by_e_bh():
    results = {name: Result(status="ok", reason="r", e_value=e) for name, e in (("a", 150.0), ("b", 60.0), ("c", 2.0))}
    said = within_tick(results, dict.fromkeys("abc", 0.01), "e_bh")  # thresholds 100, 50, 33
    assert [said[name].status for name in "abc"] == ["drift", "drift", "ok"]


def test_streams_that_move_together_deliver_what_was_promised_and_no_more():
    """20 streams of one cause for the most part: the mean number of alarms is the sum of the alphas, not above it."""
    rng, alphas, counted = np.random.default_rng(2), {f"m{i}": 0.01 for i in range(20)}, {"bonferroni": 0, "bh": 0}
    for _ in range(1500):
        z = np.sqrt(0.9) * rng.normal() + np.sqrt(0.1) * rng.normal(size=20)
        ps = {name: p(float(one)) for name, one in zip(alphas, stats.norm.sf(z), strict=True)}
        for method in counted:
            said = within_tick(ps, alphas) if method == "bonferroni" else within_tick(ps, alphas, method)
            counted[method] += sum(one.status == "drift" for one in said.values())
    assert counted["bonferroni"] / 1500 < 0.2 + 0.08 and counted["bh"] / 1500 > 0.6


@pytest.mark.parametrize("method", ["bonferroni", "bh", "by"])
def test_where_nothing_drifts_a_tick_alarms_at_most_at_the_sum_of_its_alphas(method):
    rng, alphas, alarms = np.random.default_rng(1), {f"m{i}": 0.01 for i in range(8)}, 0
    for _ in range(1500):
        said = within_tick({name: p(float(rng.random())) for name in alphas}, alphas, method)
        alarms += any(one.status == "drift" for one in said.values())
    assert alarms / 1500 < 0.08 + 0.022
