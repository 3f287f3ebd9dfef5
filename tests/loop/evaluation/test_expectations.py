"""Expectations of what runs: states of a day against a gate, told once, its end too."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from incumbent.clock import ManualClock
from incumbent.config import MetricsConfig, load
from incumbent.errors import ConfigError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Alert, Finding
from incumbent.loop.evaluation.expectations import Expectations, Looked, judged, standing_of
from incumbent.loop.metrics.keys import DAY_FAMILY, Cell, packed
from incumbent.metrics.expectation import Expectation, breached
from incumbent.stats.buckets import Buckets
from incumbent.stats.estimate import Estimate
from incumbent.stats.log_histogram import LogHistogram
from incumbent.stores.memory_control import MemoryControl

NOW = datetime(2026, 3, 10, 6, tzinfo=UTC)
DAY = date(2026, 3, 8)  # yesterday, less a day for wishes
GATE = """
    [[expect]]
    metric = "error_rate"
    at_most = 0.05
    [[expect]]
    metric = "recall@10"
    compare = "difference"
    at_least = -0.02
    [[expect]]
    metric = "latency_p95"
    at_most = 100
    [[expect]]
    metric = "empty_share"
    at_most = 0.1
    slice = {country = "*"}
    [[expect]]
    metric = "coverage@10"
    at_least = 0.9
    [[expect]]
    metric = "behaviour.determinism"
    at_least = 1
"""


def rate(share, rows=1280):
    """A rate of so many rows over 128 buckets of users, evenly."""
    hits = np.arange(rows) < round(share * rows)
    values = np.stack([np.random.default_rng(1).permutation(hits).astype(float), np.ones(rows)], axis=1)
    return Buckets.zero(k=128, variables=["numerator", "denominator"]).update(np.arange(rows) % 128, values)


def mean(value, spread=0.1, rows=1280):
    values = value + spread * np.random.default_rng(2).standard_normal(rows)
    return Buckets.zero(k=128, variables=["value"]).update(np.arange(rows) % 128, values)


class Shop:
    def __init__(self, tmp_path, gate=GATE):
        (tmp_path / "gate.toml").write_text(gate)
        self.control, self.clock = MemoryControl(), ManualClock(NOW)
        self.config = MetricsConfig(gates={"home": tmp_path / "gate.toml"})
        self.path = tmp_path / "gate.toml"
        self.job = Expectations(self.control, self.clock, EventIds(self.clock), lambda: self.config)

    def day(self, day=DAY, *, errors=0.01, candidate=None, recall=0.3, took=20.0, empty=None):
        cells = {Cell("home", "a", "champion"): {
            "error_rate": rate(errors), "recall@10": mean(0.3),
            "latency_p99": LogHistogram.zero().update(np.full(500, took))}}
        if candidate is not None:
            cells[Cell("home", "b", "candidate")] = {"error_rate": rate(candidate), "recall@10": mean(recall)}
        for country, share in (empty or {}).items():
            cells[Cell("home", by="country", value=country)] = {"empty_share": rate(share)}
        self.control.put(day, 0, DAY_FAMILY, [packed(cell.day_key, day, 0, states) for cell, states in cells.items()])

    def look(self, until=None):
        return self.job.run_once(until or self.clock.now())

    def told(self):
        return [one for one in self.control.conclusions("finding") if isinstance(one, Finding)][::-1]


def test_a_sound_day_is_silent(tmp_path):
    shop = Shop(tmp_path)
    shop.day(candidate=0.01, empty={"DE": 0.02})
    done = shop.look()
    assert done.findings == 0 and not shop.told()
    assert done.judged == 5  # errors of both models, recall of the candidate, latency of one, one country
    assert standing_of(shop.control).day == DAY and shop.look().judged == 0  # a day is judged once


@pytest.mark.parametrize(("day", "check", "of"), [
    ({"errors": 0.2}, "expectation:error_rate", "champion a"),
    ({"candidate": 0.2}, "expectation:error_rate", "candidate b"),
    ({"candidate": 0.01, "recall": 0.2}, "expectation:recall@10", "candidate b"),
    ({"took": 400.0}, "expectation:latency_p95", "champion a"),
    ({"empty": {"DE": 0.02, "FR": 0.4}}, "expectation:empty_share [country=FR]", "home")])
def test_a_break_is_told_once_and_so_is_its_end(tmp_path, day, check, of):
    shop = Shop(tmp_path)
    for after, state in enumerate((day, day, {"candidate": 0.01, "empty": {"FR": 0.01}})):
        shop.clock.set(NOW + timedelta(days=after))
        shop.day(DAY + timedelta(days=after), **state)
        shop.look()
    first, last = shop.told()
    assert (first.check, first.status, first.severity, first.subject) == (check, "breach", "ticket", "surface:home")
    assert first.evidence["of"] == of and "expected" in first.reason and "got" in first.reason
    assert (last.check, last.status, last.severity) == (check, "ok", "info") and "holds again" in last.reason
    assert standing_of(shop.control).broken == []
    alerts = [row for row in shop.control.outbox() if row.kind == "alert"]
    assert len(alerts) == 1 and msgspec.convert(alerts[0].payload["event"], Alert).refers_to == first.event_id


def test_a_day_that_cannot_tell_changes_nothing(tmp_path):
    """An interval across the bound, few rows, no rows: neither a break nor its end."""
    shop = Shop(tmp_path)
    shop.day(errors=0.05)
    shop.look()
    assert not shop.told()
    shop.clock.set(NOW + timedelta(days=1))
    shop.day(DAY + timedelta(days=1), errors=0.2)
    shop.look()
    for after, state in ((2, {"errors": 0.05}), (3, None)):
        shop.clock.set(NOW + timedelta(days=after))
        if state:
            shop.day(DAY + timedelta(days=after), **state)
        shop.look()
    assert [one.status for one in shop.told()] == ["breach"] and len(standing_of(shop.control).broken) == 1


def test_a_day_waits_until_its_states_are_whole_and_none_is_left_out(tmp_path):
    """Sealing stood still for four days; what was measured until then is judged, then the days that were missed."""
    shop = Shop(tmp_path)
    shop.day()
    shop.look()
    shop.clock.set(NOW + timedelta(days=4))
    shop.day(DAY + timedelta(days=1), errors=0.9)  # half a day, and no more of it is measured yet
    assert shop.job.run_once(None) == Looked(stopped="nothing was measured yet")
    assert shop.look(NOW + timedelta(hours=17)) == Looked() and standing_of(shop.control).day == DAY
    for after, errors in ((1, 0.01), (2, 0.2), (4, 0.01)):  # on the third day nobody came
        shop.day(DAY + timedelta(days=after), errors=errors)
    assert shop.look() == Looked(judged=6, findings=2)
    broken, well = shop.told()
    assert (broken.status, broken.evidence["day"]) == ("breach", "2026-03-10")
    assert (well.status, well.evidence["day"]) == ("ok", "2026-03-12")
    assert standing_of(shop.control).day == DAY + timedelta(days=4) and shop.look() == Looked()


def test_few_rows_are_no_number(tmp_path):
    shop = Shop(tmp_path)
    shop.control.put(DAY, 0, DAY_FAMILY, [packed(Cell("home", "a", "champion").day_key, DAY, 0, {
        "error_rate": rate(1.0, rows=20)})])
    [(_, _, estimate)] = judged(shop.control, "home", shop.path, DAY, 30)
    assert estimate.reason == "20 rows, fewer than 30"


def test_the_number_is_that_of_the_states(tmp_path):
    shop = Shop(tmp_path)
    shop.day(errors=0.125, candidate=0.01, recall=0.25)
    found = {(what, one.title): estimate for what, one, estimate in judged(shop.control, "home", shop.path, DAY, 30)}
    want = rate(0.125).ratio("numerator", "denominator")
    made = found["champion a", "error_rate"]
    assert (made.value, made.n) == (want.value, want.n) and made.se == pytest.approx(want.se)
    difference = found["candidate b", "recall@10"]
    assert difference.value == pytest.approx(-0.05) and difference.se == pytest.approx(0, abs=1e-9)  # the same noise


def test_breached_needs_the_whole_interval_outside():
    one = Expectation("x", at_least=0.1, at_most=0.3)
    for low, value, high, told in ((0.15, 0.2, 0.25, False), (0.0, 0.05, 0.09, True), (0.31, 0.4, 0.5, True),
                                   (0.05, 0.08, 0.2, None), (0.05, 0.2, 0.25, None)):
        assert breached(one, Estimate(value, low, high, n=9)) is told
    assert breached(Expectation("x", at_least=0.1, holds="point"), Estimate(0.05, 0.0, 0.2, n=9)) is True
    assert breached(one, Estimate.missing("no users")) is None


def test_without_gates_nothing_happens_and_a_wrong_gate_stops_its_job_alone(tmp_path):
    shop = Shop(tmp_path)
    shop.config = MetricsConfig()
    assert "no gates" in shop.look().stopped
    broken = Shop(tmp_path, '[[expect]]\nmetric = "ndgc"\nat_least = 1\n')
    with pytest.raises(ConfigError, match="no such metric"):
        broken.look()


def test_a_gate_of_no_surface_is_a_mistake_of_the_configuration(tmp_path):
    (tmp_path / "i.toml").write_text('[models.a]\ntarget = "m:a"\n[surfaces.home]\nchampion = "a"\n'
                                     '[metrics.gates]\nhmoe = "gate.toml"\n')
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "i.toml")
    assert "metrics.gates.hmoe: not configured" in str(caught.value) and "did you mean 'home'" in str(caught.value)
    assert load(overrides={"models": {"a": {"target": "m:a"}}, "surfaces": {"home": {"champion": "a"}},
                           "metrics": {"gates": {"home": "gate.toml"}}}).metrics.gates == {"home": Path("gate.toml")}


@pytest.mark.parametrize("name", ["ndcg_achievable@10", "recall@10", "novelty@10", "popularity@10", "empty_share",
                                  "error_rate", "timeout_rate", "invented_share", "serendipity@10", "latency_p95"])
def test_the_loop_measures_what_gates_name(name):
    """The state of such a metric is one that an expectation is read from."""
    from incumbent.loop.evaluation.expectations import _state
    from incumbent.loop.metrics.set import measured
    from incumbent.metrics.measures import resolve

    states = {metric.name: metric.state() for metric in measured(MetricsConfig(), "EUR").all().values()}
    assert _state(states, resolve(name)) is not None


def test_from_the_log_to_a_finding(tmp_path):
    """Impressions of a day whose champion fails every third time, measured by the loop's own states, then judged."""
    from incumbent.events.schema import Impression, ModelAnswer, Slot
    from incumbent.loop.metrics.states import MetricStates
    from incumbent.stores.memory_lake import MemoryLake

    shop, lake = Shop(tmp_path), MemoryLake(2)
    ids, at = EventIds(ManualClock(NOW - timedelta(days=2))), NOW - timedelta(days=2)
    events = []
    for n in range(300):
        event_id, ok = ids.new(), n % 3 > 0
        events.append(Impression(
            event_id=event_id, request_id=event_id, ranking_id=event_id, time=at, user_id=f"u{n}", surface="home",
            mode="champion" if ok else "degraded", lane="none", plan="0" * 16, k=1,
            slots=[Slot(1, "x", "solo" if ok else "filler")],
            models=[ModelAnswer("champion", "a", "1", "ok" if ok else "error", 9.0, int(ok), ["x"] if ok else [])]))
    lake.commit(events, "w", 0)
    MetricStates(lake, shop.control, shop.clock, lambda: shop.config).run_once()
    assert shop.look().findings == 1
    [finding] = shop.told()
    assert finding.check == "expectation:error_rate" and finding.evidence["of"] == "champion a"
    assert finding.evidence["estimate"]["value"] == pytest.approx(1 / 3) and finding.evidence["estimate"]["n"] == 300
