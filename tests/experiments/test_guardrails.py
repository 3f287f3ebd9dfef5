"""Guardrails: Fieller against a numeric inversion, division by the share, missing is never ok, floors for rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.config import GuardrailConfig
from incumbent.experiments import guardrails as g
from incumbent.stats.buckets import Buckets
from incumbent.stats.estimate import Estimate

K = 256
REVENUE = GuardrailConfig(metric="revenue_per_user_day", margin=0.05)
ERRORS = GuardrailConfig(metric="error_rate", margin=0.01, hard_limit=0.2)
LATENCY = GuardrailConfig(metric="latency_ms", margin=50.0, hard_limit=1000.0)


def lane(mean, users=4_000, days=5, seed=0, spread=0.5):
    """A row per user of one lane and what they brought on some days: they keep their own level, days add noise."""
    rng = np.random.default_rng(seed)
    level = mean * np.exp(rng.normal(0, spread, users) - spread**2 / 2)
    bucket = rng.integers(0, K, users)
    value = (level[:, None] * rng.gamma(4.0, 0.25, (users, days))).sum(axis=1)
    rows = np.stack([np.ones(users), value, (value > mean * days).astype(float)], axis=1)
    return Buckets.zero(k=K, variables=["users", "revenue", "conversions"]).update(bucket, rows)


def model(errors=0.0, latency=20.0, requests=5_000, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.stack([np.ones(requests), rng.random(requests) < errors, np.zeros(requests),
                     rng.gamma(4.0, latency / 4, requests)], axis=1)
    return Buckets.zero(k=K, variables=["requests", "errors", "timeouts", "latency_ms"]).update(
        np.arange(requests) % K, rows.astype(float))


def boundary(se, tuned, alpha):
    """The one-sided mixture boundary in standard errors, from the reference, n replaced by information."""
    a = 2 * alpha
    u = (-2 * math.log(a) + math.log(1 - 2 * math.log(a))) * (tuned / se) ** 2
    return math.sqrt(2 * (u + 1) / u * math.log(1 + math.sqrt(u + 1) / (2 * alpha)))


@settings(deadline=None, max_examples=80)
@given(st.floats(1, 1e6), st.floats(0.3, 3), st.floats(0.005, 0.09), st.floats(0.005, 0.09),
       st.sampled_from([0.05, 0.05 / 3, 0.001]))
def test_fieller_ends_are_where_the_test_turns(bottom, ratio, cv_top, cv_bottom, alpha):
    top = bottom * ratio
    one, other = Estimate(top, se=cv_top * top, n=900), Estimate(bottom, se=cv_bottom * bottom, n=100)
    found = g.fieller(one, other, alpha=alpha)
    c = boundary(found.se, 0.033, alpha)
    assert found.value == pytest.approx(ratio - 1, abs=1e-9)
    if c * cv_bottom >= 1:
        assert found.low == -math.inf and found.high == math.inf
        return
    for end in (found.low, found.high):
        t = 1 + end
        z = abs(top - t * bottom) / math.hypot(one.se, t * other.se)
        assert z == pytest.approx(c, rel=1e-3)
    assert found.low < found.value < found.high


def test_effect_is_divided_by_the_share_and_not_pooled():
    states = {"interleave": lane(95.0, 20_000, seed=1), "holdout": lane(100.0, 20_000, seed=2)}
    half, small = (g.read(REVENUE, states, stage=stage, share=share, alpha=0.05)
                   for stage, share in (("ramp_50", 0.5), ("ramp_5", 0.05)))
    assert half.lane_effect.value == small.lane_effect.value == pytest.approx(-0.05, abs=0.02)
    assert half.effect.value == pytest.approx(half.lane_effect.value / 0.5)
    assert small.effect.low == pytest.approx(small.lane_effect.low / 0.05)
    assert half.stage == "ramp_50"


def test_harm_ok_unclear():
    good = lane(100.0, 30_000, seed=3)
    for mean, users, status in ((70.0, 30_000, "harm"), (120.0, 30_000, "ok"), (98.0, 2_000, "unclear")):
        said = g.read(REVENUE, {"interleave": lane(mean, users, seed=4), "holdout": good}, stage="ramp_50", share=0.5,
                      alpha=0.05 / 3)
        assert said.status == status, said.reason
        assert said.worse == "lower"


@pytest.mark.parametrize(("states", "share", "words"), [
    ({}, 0.5, "lane interleave"),
    ({"interleave": lane(100.0)}, 0.5, "lane holdout"),
    ({"interleave": lane(100.0), "holdout": Buckets.zero(k=K, variables=["users", "revenue"])}, 0.5, "holdout"),
    ({"interleave": lane(100.0), "holdout": lane(100.0)}, 0.0, "shadow"),
    ({"interleave": lane(100.0), "holdout": lane(100.0, 90)}, 0.5, "buckets"),
    ({"interleave": lane(100.0), "holdout": lane(100.0, 400, spread=2.5)}, 0.5, "known to"),
    ({"interleave": lane(100.0), "holdout": lane(0.0)}, 0.5, "nothing to compare"),
])
def test_missing_has_a_reason_and_is_never_ok(states, share, words):
    said = g.read(REVENUE, states, stage="ramp_50", share=share, alpha=0.05)
    assert said.status == "missing" and said.effect.value is None
    assert words in said.reason


def test_model_guardrails_pair_the_same_requests_and_do_not_divide():
    rng = np.random.default_rng(9)
    n = 6_000
    load = rng.gamma(2.0, 40.0, n)  # what both models suffer alike
    states = {}
    for role, extra in (("champion", 0.0), ("candidate", 12.0)):
        rows = np.stack([np.ones(n), np.zeros(n), np.zeros(n), load + extra + rng.normal(0, 1, n)], axis=1)
        states[role] = Buckets.zero(k=K, variables=["requests", "errors", "timeouts", "latency_ms"]).update(
            np.arange(n) % K, rows)
    said = g.read(LATENCY, states, stage="canary", share=0.01, alpha=0.05 / 3)
    assert said.effect.value == pytest.approx(12.0, abs=0.2)
    assert said.effect.se < 0.05  # unpaired it would be about 1
    assert said.status == "ok" and said.effect == said.lane_effect
    assert said.level.value is None and not said.over_limit  # nothing recent is known
    again = g.read(LATENCY, states, stage="canary", share=0.01, alpha=0.05 / 3, recent=states["candidate"])
    assert again.level.value == pytest.approx(92.0, abs=3)


def test_no_errors_yet_is_not_no_errors_ever():
    few = {"candidate": model(requests=150), "champion": model(requests=150)}
    said = g.read(ERRORS, few, stage="canary", share=0.01, alpha=0.05 / 3)
    assert said.status == "unclear" and said.effect.high > 0.01
    many = {"candidate": model(requests=20_000), "champion": model(requests=20_000)}
    assert g.read(ERRORS, many, stage="canary", share=0.01, alpha=0.05 / 3).status == "ok"


def test_harmful_model_and_hard_limit():
    states = {"candidate": model(errors=0.3, latency=1500.0), "champion": model()}
    now = states["candidate"]
    errors = g.read(ERRORS, states, stage="shadow", share=0.0, alpha=0.05 / 3, recent=now)
    assert errors.status == "harm" and errors.over_limit and errors.level.value == pytest.approx(0.3, abs=0.03)
    assert g.read(LATENCY, states, stage="shadow", share=0.0, alpha=0.05 / 3, recent=now).over_limit
    quick = {"candidate": model(requests=99, errors=1.0), "champion": model(requests=99)}
    said = g.read(ERRORS, quick, stage="shadow", share=0.0, alpha=0.05 / 3, recent=quick["candidate"])
    assert said.status == "missing" and not said.over_limit


def test_a_hard_limit_is_held_against_the_last_day():
    """A bad hour today after a million good requests, and the other way round."""
    long = {"candidate": model(requests=100_000), "champion": model(requests=100_000)}
    bad = model(requests=200, errors=0.5)
    whole = {**long, "candidate": long["candidate"].merge(bad)}
    assert g.read(ERRORS, whole, stage="canary", share=0.01, alpha=0.05, recent=bad).over_limit
    healed = {"candidate": model(errors=0.4), "champion": model(errors=0.4, seed=1)}
    assert not g.read(ERRORS, healed, stage="canary", share=0.01, alpha=0.05, recent=model(requests=500)).over_limit


def test_a_denominator_that_the_candidate_moves_hides_what_it_does():
    """A tenth of the lane never comes back: what those who come bring per day is as before, what users bring is not."""
    rng, users = np.random.default_rng(3), 40_000
    bucket = rng.integers(0, K, users)
    states = {}
    for name, stay in (("interleave", 0.9), ("holdout", 1.0)):
        came = rng.random(users) < stay
        spent = came * rng.gamma(2.0, 50.0, users)
        states[name] = Buckets.zero(k=K, variables=["users", "came", "revenue", "conversions"]).update(
            bucket, np.stack([np.ones(users), came, spent, came], axis=1))
    per_visit = [state.ratio("revenue", "came").value for state in states.values()]
    assert per_visit[0] / per_visit[1] == pytest.approx(1.0, abs=0.02)
    said = g.read(REVENUE, states, stage="ramp_50", share=0.5, alpha=0.05 / 3)
    assert said.lane_effect.value == pytest.approx(-0.1, abs=0.02) and said.status == "harm"


def test_slow_answers_are_a_rate_that_an_outlier_cannot_carry():
    """Twins, one of whose answers once took a day: the mean is harmed without end, the rate of slow answers is not."""
    rng, n = np.random.default_rng(8), 20_000
    took = {"champion": rng.gamma(4.0, 5.0, n), "candidate": rng.gamma(4.0, 5.0, n)}
    bar = float(np.quantile(rng.gamma(4.0, 5.0, n), 0.95))  # of the champion, before the start
    took["candidate"][7] = 86_400_000.0
    slow = {role: Buckets.zero(k=K, variables=["over_p95", "over_p99"]).update(
        np.arange(n) % K, np.stack([times > bar, times > 2 * bar], axis=1).astype(float))
        for role, times in took.items()}
    mean = {role: Buckets.zero(k=K, variables=["errors", "timeouts", "latency_ms"]).update(
        np.arange(n) % K, np.stack([0 * times, 0 * times, times], axis=1)) for role, times in took.items()}
    p95 = GuardrailConfig(metric="latency_p95", margin=0.02)
    assert g.read(LATENCY, mean, stage="canary", share=0.01, alpha=0.05).effect.value > 1_000
    said = g.read(p95, slow, stage="canary", share=0.01, alpha=0.05 / 3)
    assert said.status == "ok" and abs(said.effect.value) < 0.01
    slow["candidate"] = Buckets.zero(k=K, variables=["over_p95", "over_p99"]).update(
        np.arange(n) % K, np.stack([1.5 * took["candidate"] > bar, 0 * took["candidate"]], axis=1).astype(float))
    assert g.read(p95, slow, stage="canary", share=0.01, alpha=0.05 / 3).status == "harm"


def test_numbers_of_requests_may_differ_a_little():
    states = {"candidate": model(latency=20.0, requests=5_000), "champion": model(latency=20.0, requests=4_990, seed=1)}
    said = g.read(LATENCY, states, stage="canary", share=0.01, alpha=0.05)
    assert abs(said.effect.value) < 1.0
