"""Expectations: what is judged how, and gate files whose every mistake is named."""

from __future__ import annotations

import pytest

from incumbent.errors import ConfigError, DataError
from incumbent.metrics.expectation import Expectation, judge
from incumbent.metrics.expectation_file import parse_gate, read_gate
from incumbent.metrics.measures import PROBES, known, resolve
from incumbent.stats.estimate import Estimate


class TestJudge:
    @pytest.mark.parametrize(("bounds", "holds", "status"), [
        ({"at_least": 0.1}, "interval", "passed"), ({"at_least": 0.19}, "interval", "failed"),
        ({"at_least": 0.19}, "point", "passed"), ({"at_least": 0.21}, "point", "failed"),
        ({"at_most": 0.3}, "interval", "passed"), ({"at_most": 0.22}, "interval", "failed"),
        ({"at_most": 0.1}, "interval", "failed"), ({"at_least": 0.1, "at_most": 0.3}, "interval", "passed"),
        ({"at_least": 0.15, "at_most": 0.22}, "interval", "failed")])
    def test_bounds(self, bounds, holds, status):
        assert judge(Expectation("x", holds=holds, **bounds), Estimate(0.2, 0.15, 0.25, n=9))[0] == status

    def test_bounds_are_closed(self):
        estimate = Estimate(0.2, 0.15, 0.25, n=9)
        assert judge(Expectation("x", at_least=0.15, at_most=0.25), estimate)[0] == "passed"

    def test_too_few_users_is_said_so(self):
        told = judge(Expectation("x", at_least=0.19), Estimate(0.2, 0.15, 0.25, n=9))[1]
        assert "more users may settle it" in told
        assert "below the lower bound" in judge(Expectation("x", at_least=0.3), Estimate(0.2, 0.15, 0.25, n=9))[1]
        assert "above the upper bound" in judge(Expectation("x", at_most=0.1), Estimate(0.2, 0.15, 0.25, n=9))[1]

    def test_no_number_is_neither(self):
        assert judge(Expectation("x", at_least=0), Estimate.missing("no users")) == ("missing", "no number: no users")
        assert judge(Expectation("x", at_least=0), Estimate(0.2, n=3))[0] == "missing"
        assert judge(Expectation("x", at_least=0, holds="point"), Estimate(0.2, n=3))[0] == "passed"


class TestMeasures:
    def test_all_probes_and_all_shown_names_resolve(self):
        assert all(resolve(name).kind == "probe" for name in PROBES)
        made = 0
        for name in known():
            try:
                made += bool(resolve(name))
            except DataError as error:  # of another grain: said so, or a factory without a k
                assert "not one of lists" in str(error) or "@10" in name, name
        assert made > 40

    @pytest.mark.parametrize(("name", "near"), [
        ("ndgc_full@10", "ndcg_full@10"), ("latency_p95_ms", "latency_p95"), ("behaviour.coldstart",
                                                                            "behaviour.cold_start")])
    def test_nearest_name(self, name, near):
        with pytest.raises(DataError, match=near):
            resolve(name)

    @pytest.mark.parametrize("name", ["ndcg_full@0", "latency_p0", "", "recall@", "coverage@x", "recall@-1"])
    def test_no_metric(self, name):
        with pytest.raises(DataError, match="no such metric"):
            resolve(name)


def mistakes(text):
    with pytest.raises(ConfigError) as caught:
        parse_gate(text)
    return caught.value.problems


class TestGateFile:
    def test_defaults(self):
        gate = parse_gate("""
            [[expect]]
            metric = "coverage@10"
            at_least = 0.1
            [[expect]]
            metric = "ndcg_achievable@10"
            compare = "difference"
            at_least = -0.01
            slice = {country = "*"}
            [[expect]]
            metric = "error_rate"
            at_most = 0
            [[expect]]
            metric = "error_rate"
            at_most = 0.01
        """)
        assert [one.holds for one in gate.expectations()] == ["point", "interval", "point", "interval"]
        assert gate.expectations()[1].slice == (("country", "*"),) and gate.k == 10

    def test_every_mistake_at_once(self):
        found = mistakes("""
            alpa = 0.1
            k = 0
            [run]
            candidat = "x"
            [[expect]]
            metric = "ndgc_full@10"
            at_least = 0.1
            [[expect]]
            metric = "recall@10"
            [[expect]]
            metric = "recall@10"
            at_least = 0.5
            at_most = 0.1
            [[expect]]
            metric = "coverage@10"
            at_least = 0.5
            holds = "interval"
            [[expect]]
            metric = "empty_share"
            at_most = 0
            holds = "interval"
            [[expect]]
            metric = "gini@10"
            at_most = 0.5
            slice = {country = "DE"}
            [[expect]]
            metric = "recall@10"
            at_least = "much"
            compare = "diff"
        """)
        joined = "\n".join(found)
        for part in ("alpa: unknown key. Hint: did you mean 'alpha'?", "k: input should be greater",
                     "run.candidat: unknown key. Hint: did you mean 'candidate'?", "did you mean 'ndcg_full@10'",
                     "expect.1: no bound", "expect.2: at_least is above at_most. Got 0.5 and 0.1",
                     "expect.3.holds: coverage@10 is a number of all lists", "expect.4.holds: no interval of a share",
                     "expect.5.slice: gini@10 is not measured by slice", "expect.6.at_least", "expect.6.compare"):
            assert part in joined, (part, joined)

    @pytest.mark.parametrize(("text", "part"), [
        ("", "nothing is expected"), ("expect = 3", "expect"), ("relevant = []\n[[expect]]\nmetric='mrr'\nat_least=0",
                                                             "no action is a hit"),
        ("[[expect]]\nmetric = 'recall@20'\nat_least = 1", "looks further than the lists are long. Got recall@20"),
        ("[[expect]]\nat_least = 1", "expect.0.metric"), ("relevant = ['clik']", "relevant.0")])
    def test_other_mistakes(self, text, part):
        assert any(part in line for line in mistakes(text)), mistakes(text)

    def test_not_toml_and_not_there(self, tmp_path):
        with pytest.raises(ConfigError, match="not TOML"):
            parse_gate("[[expect]")
        with pytest.raises(ConfigError, match="cannot be read"):
            read_gate(tmp_path / "none.toml")
        (tmp_path / "gate.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigError, match="not TOML"):
            read_gate(tmp_path / "gate.toml")
