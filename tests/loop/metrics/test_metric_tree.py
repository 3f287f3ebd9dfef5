"""The tree, its bands, proxies and worst cells, from day states made by hand; and the finding that is told once."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from incumbent.clock import ManualClock
from incumbent.config import MetricsConfig
from incumbent.events.ids import EventIds
from incumbent.loop.metrics import proxies, read
from incumbent.loop.metrics.bands import band
from incumbent.loop.metrics.cohorts import cohorts, counted, mature
from incumbent.loop.metrics.keys import DAY_FAMILY, Cell, packed
from incumbent.loop.metrics.proxies import predicts, stopped
from incumbent.loop.metrics.read import Reader
from incumbent.loop.metrics.set import measured
from incumbent.loop.metrics.tree import parents, tree
from incumbent.loop.metrics.watch import MetricWatch, standing_of
from incumbent.stats.estimate import Estimate
from incumbent.stats.shared_noise import Relation
from incumbent.stores.memory_control import MemoryControl

CONFIG = MetricsConfig(currency="EUR", least_rows=10)
METRICS = measured(CONFIG, "EUR").all()
NOW = datetime(2026, 6, 30, 8, tzinfo=UTC)
LAST = date(2026, 6, 29)


def ratio(name: str, value: float, rng: np.random.Generator, rows: int = 400) -> Any:
    """A state of so many rows whose ratio is near a value."""
    metric = METRICS[name]
    bucket, bottom = rng.integers(0, 128, rows), np.full(rows, 10.0)
    top = rng.poisson(value * 10, rows).astype(float) if value > 0 else np.zeros(rows)
    many = len(metric.state().variables) > 1
    return metric.state().update(bucket, np.stack([top, bottom], axis=1) if many else top / 10)


def put(control: MemoryControl, day: date, cells: dict[Cell, dict[str, Any]]) -> None:
    control.put(day, 0, DAY_FAMILY, [packed(cell.day_key, day, 0, states) for cell, states in cells.items()])


def history(days: int, *, breaks: int = 0, seed: int = 1) -> MemoryControl:
    """Click-through drives conversion until the last `breaks` days; orders follow nothing."""
    rng, control = np.random.default_rng(seed), MemoryControl()
    for at in range(days, 0, -1):
        move = float(rng.normal(0, 0.25))
        follows = move if at > breaks else float(rng.normal(0, 0.25))
        whole = {"click_through": ratio("click_through", 1 + move, rng),
                 "conversion": ratio("conversion", 1 + follows, rng),
                 "revenue_per_user": ratio("revenue_per_user", 5.0, rng)}
        put(control, LAST - timedelta(days=at - 1), {Cell("home"): whole})
    return control


def test_every_metric_has_a_parent_but_the_root_and_none_is_its_own_ancestor() -> None:
    above = parents(METRICS, CONFIG)
    assert [name for name, parent in above.items() if parent is None] == ["revenue_per_user"]
    for name in above:
        at, steps = name, 0
        while above[at] is not None:
            at, steps = above[at], steps + 1
            assert steps < 10, name
    circle = parents(METRICS, CONFIG.model_copy(update={"parents": {
        "click_through": "conversion", "conversion": "click_through", "add_to_cart": "no_such_metric"}}))
    assert circle["add_to_cart"] == "revenue_per_user" and "revenue_per_user" in (
        circle["click_through"], circle["conversion"])


def test_a_node_has_its_value_its_days_and_its_band() -> None:
    control = history(40)
    made = tree(Reader(control), "home", CONFIG, NOW, currency="EUR")
    assert made.day == LAST and made.since == LAST - timedelta(days=6) and made.notes == []
    node = next(one for one in made.nodes if one.name == "click_through")
    assert node.value["n"] == 7 * 400 and node.value["low"] < node.value["value"] < node.value["high"]
    assert node.band.days == CONFIG.baseline_days and len(node.series) == CONFIG.baseline_days + 1
    assert node.series[-1][0] == LAST and node.band.value == node.series[-1][1]
    assert next(one for one in made.nodes if one.name == "dwell").value["reason"] == "no rows"
    assert {one.level for one in made.nodes} == {"business", "proxy", "quality", "response", "health"}
    msgspec.json.encode(msgspec.to_builtins(made))


def test_a_day_outside_its_band_is_good_or_bad_by_its_direction() -> None:
    for value, status in ((3.0, "good"), (0.1, "bad")):
        rng, control = np.random.default_rng(2), history(30)
        put(control, LAST, {Cell("home"): {"click_through": ratio("click_through", value, rng)}})
        node = next(one for one in tree(Reader(control), "home", CONFIG, NOW).nodes if one.name == "click_through")
        assert node.status == status


def test_bands_are_robust_and_need_a_week() -> None:
    rng = random.Random(5)
    past = [10 + rng.gauss(0, 1) for _ in range(28)]
    usual, spoilt = band(past, 10.0), band([*past[:24], 900.0, 950.0, 999.0, 1000.0], 10.0)
    assert usual.status == "ok" and spoilt.high < 20 and band(past, 20.0).status == "above"
    assert band(past[:6], 10.0).reason == "6 past days, fewer than 7" and band(past, None).status == "no_data"
    for value in (0.1, None):  # what never was negative is not usual below 0, of a day without a value neither
        made = band([0.0, 0.0, 0.1, 0.3] * 4, value, 1.0)
        assert made.low == 0.0 <= made.location <= made.high <= 1.0
    assert band([-0.1, 0.0, 0.1, 0.3] * 4, None).low < 0
    assert band([0.9, 0.95, 1.0] * 4, 0.9, 1.0).high == 1.0 < band([0.9, 0.95, 1.0] * 4, 0.9).high
    assert band([1.0] * 10, 1.0).status == "ok" and band([1.0] * 10, 1.1).status == "above"


def test_a_proxy_that_drives_its_parent_is_told_from_one_that_does_not() -> None:
    made = tree(Reader(history(80)), "home", CONFIG.model_copy(update={"baseline_days": 60}), NOW)
    over = {one.over: one for one in next(n for n in made.nodes if n.name == "click_through").predicts}
    assert over["days"].correlation["low"] > 0.3 and over["days"].points > 60
    assert over["cells"].correlation["reason"] and over["experiments"].correlation["reason"]


def test_a_proxy_may_predict_who_comes_back() -> None:
    """Clicks of a day drive the part of its users who come back the day after; the last day's cohort is too young."""
    rng, control = np.random.default_rng(6), MemoryControl()
    users, back = [f"u{n}" for n in range(400)], list[tuple[str, int]]()
    for at in range(60, 0, -1):
        move = float(rng.normal(0, 0.25))
        put(control, LAST - timedelta(days=at - 1), {Cell("home"): {
            "click_through": ratio("click_through", 1 + move, rng),
            "cohort:users_returned": counted(28, users, [1] * 400, back)}})
        back = [(user, 1) for user in users if rng.random() < 0.4 * (1 + move)]
    config = CONFIG.model_copy(update={"baseline_days": 40, "parents": {"click_through": "return_rate_1d"}})
    node = next(n for n in tree(Reader(control), "home", config, NOW).nodes if n.name == "click_through")
    days = next(one for one in node.predicts if one.over == "days")
    assert node.parent == "return_rate_1d" and days.correlation["low"] > 0.3
    assert days.points == 60 - 7 - 1


def test_past_experiments_count_as_points() -> None:
    rng, control, cells = np.random.default_rng(7), history(3), {}
    for n in range(12):
        effect = float(rng.normal(0, 0.3))
        for lane, more in (("holdout", 0.0), ("interleave", effect)):
            cells[Cell("home", by="lane", value=f"e{n}:{lane}")] = {
                "click_through": ratio("click_through", 1 + more, rng, 2000),
                "conversion": ratio("conversion", 1 + more, rng, 2000)}
    put(control, LAST - timedelta(days=1), cells)
    made = tree(Reader(control), "home", CONFIG, NOW)
    found = next(n for n in made.nodes if n.name == "click_through").predicts[2]
    assert found.points == 12 and found.correlation["low"] > 0.5
    assert 0.5 < found.slope["value"] < 1.5


def test_cells_that_cut_the_same_users_anew_are_not_counted_again() -> None:
    rng, control = np.random.default_rng(8), history(20)
    moves = rng.normal(0, 0.3, 9)
    for at in range(20):
        cells = {}
        for n, move in enumerate(moves):
            states = {name: ratio(name, 1 + (move if at < 10 else 0), rng, 2000)
                      for name in ("click_through", "conversion")}
            cells |= {Cell("home", by=by, value=f"{by}{n}"): states for by in ("country", "device")[:1 + (n < 8)]}
        put(control, LAST - timedelta(days=at), cells)
    made = tree(Reader(control), "home", CONFIG.model_copy(update={"baseline_days": 0}), NOW)
    found = next(n for n in made.nodes if n.name == "click_through").predicts[1]
    assert (found.over, found.by, found.points) == ("cells", "country", 9)


def test_what_is_compared_shares_no_day(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[date, date]] = []
    real = proxies.related

    def noted(days: Any, proxy: str, parent: str, first: date, last: date) -> Any:
        read.append((first, last))
        assert min(days) <= first and last <= max(days)
        return real(days, proxy, parent, first, last)

    monkeypatch.setattr("incumbent.loop.metrics.watch.related", noted)
    clock = ManualClock(NOW)
    MetricWatch(history(113), clock, EventIds(clock), lambda: CONFIG, lambda: ["home"]).run_once(NOW)
    (first, before), (after, last) = read[:2]
    assert before < after and last == LAST - timedelta(days=CONFIG.relevant_days)
    assert (before - first).days + 1 - 7 == 56 and (last - after).days + 1 - 7 == 42  # the first week is only taken off


def test_a_proxy_that_stops_is_a_finding_told_once_and_again_only_after_it_has_come_back() -> None:
    control = history(113, breaks=43)
    clock = ManualClock(NOW)
    watch = MetricWatch(control, clock, EventIds(clock), lambda: CONFIG, lambda: ["home"])
    assert watch.run_once(NOW).findings == 1
    finding = control.conclusions("finding")[0]
    assert finding.subject == "surface:home" and finding.check == "proxy:click_through" and finding.status == "drift"
    assert "no longer predicts conversion" in finding.reason and standing_of(control).stopped == ["home/click_through"]
    assert watch.run_once(NOW).proxies == 0
    clock.advance(86_400.0)
    assert watch.run_once(clock.now()).findings == 0
    assert len(control.conclusions("finding")) == 1


def test_a_proxy_so_good_that_its_correlation_has_a_wide_interval_can_stop() -> None:
    """Correlations near 1 have intervals that hold 0; the slope says that it predicted, and that it still does."""
    def made(slope: float, half: float, correlation: float, low: float, high: float) -> Relation:
        return Relation(Estimate(slope, slope - half, slope + half, half / 2.5, 51, "m"),
                        Estimate(correlation, low, high, None, 51, "m"), 0.1, 10)

    good, gone = made(3.3, 0.4, 0.99, -0.9, 1.0), made(0.4, 1.3, 0.1, -0.3, 0.5)
    assert predicts(good) and not predicts(gone)
    assert "slope 5." in str(stopped(good, gone, 0.01)) and stopped(gone, good, 0.01) is None
    assert stopped(good, made(1.2, 0.4, 0.9, -0.9, 1.0), 0.01) is None, "less than before, but it predicts"
    assert stopped(good, made(-1.2, 0.4, -0.9, -1.0, 0.9), 0.01) is not None
    assert not predicts(Relation(Estimate.missing("few"), Estimate.missing("few"), None))


def test_a_day_is_judged_only_once_the_watermark_has_passed_it_and_what_is_relevant_to_it() -> None:
    """A proxy that broke in the last weeks, on days of which the lake does not hold all yet."""
    control, clock, noon = history(113, breaks=43), ManualClock(NOW), timedelta(hours=12)
    watch = MetricWatch(control, clock, EventIds(clock), lambda: CONFIG, lambda: ["home"])
    assert watch.run_once(None).stopped == "nothing was measured yet" and standing_of(control).day is None
    behind = datetime(2026, 5, 20, tzinfo=UTC) + noon  # the day that is over by then, less one for what is relevant
    assert watch.run_once(behind).findings == 0 and standing_of(control).day == date(2026, 5, 18)
    assert watch.run_once(behind + noon - timedelta(microseconds=1)) == watch.run_once(behind)
    assert standing_of(control).day == date(2026, 5, 18), "midnight is not reached"
    watch.run_once(behind + noon)
    assert standing_of(control).day == date(2026, 5, 19)
    assert watch.run_once(NOW + timedelta(days=9)).findings == 1 and standing_of(control).day == date(2026, 6, 28)


def test_a_proxy_that_goes_on_predicting_is_no_finding() -> None:
    told = 0
    for seed in range(12):
        clock = ManualClock(NOW)
        told += MetricWatch(history(113, seed=seed), clock, EventIds(clock), lambda: CONFIG,
                            lambda: ["home"]).run_once(NOW).findings
    assert told <= 1


def test_where_nothing_changed_there_are_no_worst_cells() -> None:
    """60 pairs of cell and metric in each of 8 shops: at 95 % each, about one in forty would be a loss."""
    alone = led = 0
    for seed in range(8):
        rng, control = np.random.default_rng(100 + seed), history(3)
        for at in (0, 20):  # now, and before
            whole = {"click_through": ratio("click_through", 1.0, rng, 600)}
            put(control, LAST - timedelta(days=at), {Cell("home"): whole} | {
                Cell("home", by="country", value=f"c{n}"): {
                    name: ratio(name, 1.0, rng, 300) for name in ("click_through", "conversion", "add_to_cart")}
                for n in range(20)})
        worst = tree(Reader(control), "home", CONFIG, NOW).slices
        alone += any(one.harm > 0 and not one.low <= 0 <= one.high for one in worst if one.harm is not None)
        led += any(one.worst > 0 for one in worst)
    assert alone >= 4 and led <= 1


def test_a_rare_thing_that_did_not_happen_this_week_is_no_loss() -> None:
    """One click a week in a thousand slots; none this week. Where two in three had one, none is a loss."""
    state, control = METRICS["click_through"].state(), MemoryControl()
    for at in range(35):
        rare, often = np.zeros(150), (np.arange(150) % 3 > 0).astype(float)
        rare[0] = at >= 7 and at % 7 == 0
        rows = np.arange(150) * 37 % 128
        cells = {value: {"click_through": state.update(rows, np.stack([top, np.ones(150)], axis=1))}
                 for value, top in (("rare", rare), ("often", often * (at >= 7)))}
        put(control, LAST - timedelta(days=at), {Cell("home", by="country", value=value): one
                                                 for value, one in cells.items()} | {Cell("home"): cells["often"]})
    by = {one.value: one for one in tree(Reader(control), "home", CONFIG, NOW).slices}
    assert by["rare"].now == 0 and by["rare"].before > 0 and by["rare"].worst == 0
    assert by["rare"].low == -1 and by["rare"].high > 0
    assert by["often"].worst > 0.9 and by["often"].high < -0.5


def test_latencies_of_users_who_are_slow_on_any_day_lead_no_list() -> None:
    """A user's requests hang together: order statistics alone would take luck in who came for a loss."""
    rng, control = np.random.default_rng(1), history(3)
    for at in (0, 20):  # now, and before: 20 users of 30 requests, each user as slow as always
        slow = [METRICS["latency_p50"].state().update(np.exp(
            3 + np.repeat(rng.normal(0, 0.6, 20), 30) + rng.normal(0, 0.3, 600))) for _ in range(20)]
        put(control, LAST - timedelta(days=at), {Cell("home"): {"latency_p50": slow[0]}} | {
            Cell("home", by="country", value=f"c{n}"): {"latency_p50": state} for n, state in enumerate(slow)})
    worst = tree(Reader(control), "home", CONFIG, NOW).slices
    assert len(worst) == 20 and all(one.worst == 0 for one in worst)
    assert sum(not one.low <= 0 <= one.high for one in worst) > 5


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_what_varies_on_neither_side_is_no_discovery(share: float) -> None:
    """Every user had 7 of 10 on the days before, and has `share` now: two numbers, and nothing to hold them against."""
    control = MemoryControl()
    for at in (0, 20):
        top, bottom = (share if at == 0 else 0.7) * np.arange(1, 129), np.arange(1, 129)
        state = METRICS["click_through"].state().update(np.arange(128), np.stack([top, bottom], axis=1))
        put(control, LAST - timedelta(days=at), {Cell("home"): {"click_through": state},
                                                 Cell("home", by="country", value="DE"): {"click_through": state}})
    (one,) = tree(Reader(control), "home", CONFIG, NOW).slices
    assert one.now == pytest.approx(share) and one.before == pytest.approx(0.7)
    assert (one.worst, one.low, one.reason) == (0, None, "its change has no interval")


def test_the_worst_cells_come_first_and_small_ones_have_no_number() -> None:
    rng, control = np.random.default_rng(3), history(3)
    for at in range(36):
        now = at < 7
        whole = {Cell("home"): {"click_through": ratio("click_through", 1.0, rng, 600)}}
        put(control, LAST - timedelta(days=at), whole | {
            Cell("home", by="country", value=value): {"click_through": ratio("click_through", rate, rng, rows)}
            for value, rate, rows in (("DE", 0.7 if now else 1.0, 300), ("FR", 0.4 if now else 1.0, 60),
                                      ("IT", 1.0, 200), ("MT", 0.1 if now else 1.0, 1))})
    worst = tree(Reader(control), "home", CONFIG, NOW).slices
    assert [one.value for one in worst[:2]] == ["DE", "FR"] and worst[0].worst > worst[1].worst > 0
    by = {one.value: one for one in worst}
    assert by["IT"].worst == 0.0 and by["MT"].now is None and "fewer than 10" in by["MT"].reason
    assert by["DE"].harm == pytest.approx(0.3, abs=0.05) and by["DE"].share == pytest.approx(0.5)


def test_cohorts_are_put_together_from_the_days_on_which_users_came_back() -> None:
    """Day by day who was here, and who came back after how many days; by hand, in whole users and user by user."""
    control = MemoryControl()
    told = [(100, {}), (80, {1: 30}), (60, {1: 20, 2: 10}), (1, {3: 1})]
    for at, (here, gaps) in enumerate(told):
        since = {1: 0, 2: 30, 3: 40}  # who came back after a day is not back after two
        back = [(f"u{since[gap] + user}", gap) for gap, count in gaps.items() for user in range(count)]
        state = counted(28, [f"u{user}" for user in range(here)], [1] * here, back)
        put(control, LAST - timedelta(days=3 - at), {Cell("home"): {"cohort:users_returned": state}})
    days = Reader(control).cells("home", LAST - timedelta(days=9), LAST)[Cell("home")]
    assert Reader(control).whole("home", LAST - timedelta(days=9), LAST).keys() == days.keys()
    day_after, last = METRICS["return_rate_1d"], LAST - timedelta(days=2)
    assert mature(day_after, days, last) == cohorts(day_after, days, last, last, LAST).part("users")
    metric, first = METRICS["return_rate_7d"], LAST - timedelta(days=3)
    made = cohorts(metric, days, first, first, LAST).part("delay")
    assert made.shown[3] == 100 and made.converted[3].tolist()[:4] == [0, 30, 10, 1]
    one = METRICS["return_rate_1d"]
    found = one.estimate(cohorts(one, days, first, LAST, LAST))
    assert found.value == pytest.approx(50 / 240) and found.n == 240
    groups: dict[int, list[int]] = {}  # bucket of users -> user-days, those that were followed by another
    for here, back_next in ((100, 30), (80, 20), (60, 0)):
        for user in range(here):
            sums = groups.setdefault(bucket_by_hand(f"u{user}"), [0, 0])
            sums[0], sums[1] = sums[0] + 1, sums[1] + (user < back_next)
    spread = sum((came - 50 / 240 * rows) ** 2 for rows, came in groups.values())
    assert found.se == pytest.approx((128 / 127 * spread) ** 0.5 / 240) and found.low < found.value < found.high
    node = next(n for n in tree(Reader(control), "home", CONFIG, NOW).nodes if n.name == "return_rate_7d")
    assert node.value["value"] is None and "younger than 7 days" in node.value["reason"]


def bucket_by_hand(user: str) -> int:
    return int.from_bytes(hashlib.blake2b(user.encode(), digest_size=8).digest(), "big") % 128


def test_young_cohorts_are_corrected_and_marked_beside_the_mature_ones() -> None:
    """Of 200 users a day 30 % come back within the week, evenly over its days."""
    rng, control = np.random.default_rng(5), MemoryControl()
    came: dict[int, list[tuple[str, int]]] = {}
    for at in range(40):
        users = [f"u{user}" for user in rng.choice(2_000, 200, replace=False)]
        for user in users:
            if rng.random() < 0.3:
                gap = int(rng.integers(1, 8))
                came.setdefault(at + gap, []).append((user, gap))
        put(control, LAST - timedelta(days=39 - at), {Cell("home"): {
            "cohort:users_returned": counted(28, users, [1] * 200, came.get(at, []))}})
    node = next(n for n in tree(Reader(control), "home", CONFIG, NOW).nodes if n.name == "return_rate_7d")
    assert node.value["low"] < 0.3 < node.value["high"] and "younger rows left out" in node.value["method"]
    assert node.corrected is not None and node.corrected["low"] < 0.3 < node.corrected["high"]


def test_a_reader_keeps_what_it_can_where_more_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    control, made = history(10), list[date]()
    monkeypatch.setattr(read, "KEPT", 6)
    real = read.unpacked
    monkeypatch.setattr(read, "unpacked", lambda row: (made.append(row.day), real(row))[1])
    reader, first = Reader(control), LAST - timedelta(days=9)
    before = reader.cells("home", first, LAST)
    assert len(made) == 10
    made.clear()
    assert reader.cells("home", first, LAST) == before and made == [LAST - timedelta(days=at) for at in (3, 2, 1, 0)]
    put(control, first, {Cell("home"): {"click_through": ratio("click_through", 2.0, np.random.default_rng(9))}})
    made.clear()
    assert reader.whole("home", first, first)[first] != before[Cell("home")][first] and made == [first]
    made.clear()
    reader.whole("home", LAST, LAST)  # older looks make room
    reader.whole("home", LAST, LAST)
    assert made == [LAST]
