"""Deciding on what the loop itself measured: impressions and purchases in, outcomes, seals and states between."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from incumbent.events.schema import Feedback
from incumbent.loop import watermark
from incumbent.loop.attribute import Attributor
from incumbent.loop.decide import latest
from incumbent.loop.definitions import definitions
from incumbent.loop.mature import Maturer
from incumbent.loop.relations import ArrowEngine, DuckEngine
from incumbent.loop.rollup import Rollup
from incumbent.testing.judge import Shop

GUARDRAILS = [{"metric": "revenue_per_user_day", "margin": 0.9}, {"metric": "latency_ms", "margin": 50.0},
              {"metric": "error_rate", "margin": 0.05}]


def buy(shop, impressions, rng, likes):
    """Every shopper buys one thing with probability 0.6: of an interleaved list, the candidate's with `likes`."""
    events = []
    for each in impressions:
        if rng.random() > 0.6:
            continue
        wanted = "candidate" if rng.random() < likes and each.mode == "interleave" else "champion"
        slot = next(slot for slot in each.slots if slot.owner == wanted)
        events.append(Feedback(
            event_id=shop.ids.new(), time=each.time + timedelta(hours=1), user_id=each.user_id, item_id=slot.item_id,
            action="purchase", request_id=each.request_id, order_id=each.event_id, quantity=1, value_minor=1_000,
            currency="EUR"))
    shop.sequence += 1
    shop.lake.commit(events, "tests", shop.sequence)


def run(days, likes, seed, engine):
    """A shop with a hundred new shoppers a day, measured and judged at each midnight."""
    shop, rng = Shop(guardrails=GUARDRAILS, attribution_window_days=2.0, maturity_window_days=2.0, min_days=3.0,
                     holdout=0.3, currency="EUR", tuning_units=300), np.random.default_rng(seed)
    known = lambda: definitions(shop.control, shop.config)  # noqa: E731
    jobs = [Attributor(shop.lake, shop.control, shop.clock, known, engine=engine),
            Maturer(shop.lake, shop.control, shop.clock, grace_s=0.0, engine=engine),
            Rollup(shop.lake, shop.control, shop.clock, known), shop.decider, shop.actor]
    shop.run()
    for _ in range(days):
        shop.clock.advance(seconds=10 * 3600)
        buy(shop, shop.serve(110), rng, likes)
        shop.clock.advance(seconds=14 * 3600 + 60)
        watermark.record(shop.control, "local", shop.clock.now(), shop.clock.now())  # as a sealer would say
        for job in jobs:
            job.run_once()
        shop.clock.advance(seconds=-60)
        if shop.row().stage in ("promoted", "ended"):
            break
    return shop


def test_a_preferred_candidate_goes_from_events_to_its_promotion():
    shop = run(20, likes=0.85, seed=4, engine=ArrowEngine())
    seen = latest(shop.control, "e1")
    assert [d.verdict for d in shop.decisions()][-1] == "promote", seen.reason
    evidence = shop.decisions()[-1].evidence
    assert {g["metric"]: g["status"] for g in evidence["guardrails"]} == {
        "revenue_per_user_day": "ok", "latency_ms": "ok", "error_rate": "ok"}
    assert {c["name"]: c["status"] for c in evidence["checks"]}["coin_audit"] == "ok"
    found = evidence["preference"]
    units = [unit for unit in shop.control.matured("e1") if unit.lane == "interleave"]
    assert evidence["pooled"]["units"] == len(units) > 100
    decisive = [unit for unit in units if unit.stage == "ramp_50"]
    assert found["units"] == len(decisive) >= 100
    assert found["wins"] == sum(unit.x > unit.y for unit in decisive) > found["losses"]


@pytest.mark.slow
def test_a_disliked_candidate_ends():
    shop = run(20, likes=0.1, seed=5, engine=DuckEngine())
    assert (shop.row().stage, shop.row().verdict) == ("ended", "discard")
    assert shop.control.plan().surfaces["home"].experiment is None
