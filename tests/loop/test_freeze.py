"""What is slow for the champion is read once, before the start, and goes with the experiment from then on."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from incumbent.errors import ConflictError
from incumbent.events.schema import ModelAnswer
from incumbent.loop import keys
from incumbent.loop.decide import latest
from incumbent.loop.definitions import definitions, slow_limits
from incumbent.loop.rollup import Rollup, state_row
from incumbent.stats.log_histogram import LogHistogram
from incumbent.stores.store import Partition
from incumbent.testing.judge import Shop

GUARDRAILS = [{"metric": "latency_p95", "margin": 0.02, "hard_limit": 0.5}, {"metric": "error_rate", "margin": 0.2}]


def took(shop, rng, n, days_ago):
    """Answers of the champion on one day before: gamma, 20 ms on average."""
    day = shop.clock.now().date()
    shop.control.put(day.replace(day=day.day - days_ago) if days_ago else day, 0, "test", [state_row(
        keys.of_model("latency_ms", "home", "old", "champion"),
        Partition(day.replace(day=day.day - days_ago) if days_ago else day, 0),
        LogHistogram.zero().update(rng.gamma(4.0, 5.0, n)))])


def shop_of(**guardrail):
    shop = Shop(guardrails=[{**GUARDRAILS[0], **guardrail}, GUARDRAILS[1]])
    shop.advance(20)  # into the month
    return shop


def test_the_champions_quantile_is_frozen_at_the_start():
    shop, rng = shop_of(), np.random.default_rng(3)
    took(shop, rng, 5_000, 2)
    shop.run()
    frozen = shop.row().definition["guardrails"][0]["slow_ms"]
    assert frozen == pytest.approx(np.quantile(np.random.default_rng(9).gamma(4.0, 5.0, 200_000), 0.95), rel=0.05)
    took(shop, rng, 50_000, 0)
    assert shop.row().definition["guardrails"][0]["slow_ms"] == frozen
    assert slow_limits(definitions(shop.control, shop.config)) == {"e1": (frozen, float("inf"))}


def test_what_is_configured_stands():
    shop = shop_of(slow_ms=120.0)
    shop.run()
    assert shop.row().definition["guardrails"][0]["slow_ms"] == 120.0


@pytest.mark.parametrize(("answers", "days_ago"), [(0, 1), (999, 1), (5_000, 9)])
def test_without_a_history_the_start_is_refused(answers, days_ago):
    shop = shop_of()
    if answers:
        took(shop, np.random.default_rng(1), answers, days_ago)
    with pytest.raises(ConflictError, match="at least 1000 answers") as error:
        shop.run()
    assert "slow_ms" in error.value.hint and shop.row() is None


@pytest.mark.parametrize(("slow", "status", "verdict"), [(0.05, "unclear", "hold"), (0.6, "harm", "roll_back")])
def test_slow_answers_are_counted_and_judged(slow, status, verdict):
    """1,500 requests, in which so many of the candidate's answers take 300 ms; one of the champion's takes an hour."""
    shop, rng = shop_of(slow_ms=100.0), np.random.default_rng(4)
    shop.run()

    def every(made):
        late = 300.0 if rng.random() < slow else 10.0
        first = 3_600_000.0 if made.user_id == "u7" else 120.0 if rng.random() < 0.05 else 9.0
        return msgspec.structs.replace(made, models=[
            ModelAnswer("champion", "old", "1", "ok", first, 8, made.models[0].items),
            ModelAnswer("candidate", "new", "1", "ok", late, 8, made.models[1].items)])

    shop.serve(1_500, every=every)
    Rollup(shop.lake, shop.control, shop.clock, lambda: definitions(shop.control, shop.config)).run_once()
    said = shop.decider.run_once().judged["e1"]
    reading = latest(shop.control, "e1").evidence["guardrails"][0]
    assert (reading["status"], said.verdict) == (status, verdict), reading["reason"]
    assert reading["effect"]["value"] == pytest.approx(slow - 0.05, abs=0.03)
    assert reading["over_limit"] == (slow > 0.5) and reading["level"]["value"] == pytest.approx(slow, abs=0.04)
