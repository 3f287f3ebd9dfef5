"""What the gateway serves, the coin audit recomputes: pins, pages, filler, exclusions, duplicates, shares, coins."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from incumbent.events.plan import ExperimentPlan, PinnedSlot
from incumbent.experiments.audit import Auditor
from incumbent.experiments.validity import checks, coin_audit
from incumbent.loop.requests import RecommendationRequest
from incumbent.testing.gateway import Shop
from incumbent.testing.judge import Shop as Judge


def lists(seed):
    """Two models that agree on some items and give another list to every request, sometimes short, sometimes twice."""
    rng = np.random.default_rng(seed)

    def answer(ask, k):
        items = [f"i{j}" for j in rng.permutation(14)[: rng.integers(2, 12)]]
        return items + items[:1] if rng.random() < 0.2 else items

    return answer


def serve(shop, n):
    async def ask():
        for i in range(n):
            request = RecommendationRequest(surface="home", user_id=f"u{i}", k=2 + i % 6,
                                            exclude=[f"i{i % 14}"] if i % 3 == 0 else [])
            page = await shop.gateway.recommend(request)
            for _ in range(2):
                if page.cursor is None:
                    break
                page = await shop.gateway.recommend(RecommendationRequest(
                    surface="home", user_id=request.user_id, k=3, cursor=page.cursor, exclude=request.exclude))

    asyncio.run(ask())


@pytest.mark.parametrize("coin", ["round", "list"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_everything_served_is_recomputed(share, coin):
    experiment = ExperimentPlan("e1", "new", "exp1", "ramp_50", share, holdout=0.2, coin=coin)
    shop = Shop(old=lists(1), new=lists(2), experiment=experiment, fallback=["f1", "f2"], filler=True,
                pinned=[PinnedSlot(2, "ad"), PinnedSlot(5, "i3", sponsored=True)])
    serve(shop, 120)
    made = shop.impressions()
    tally = Auditor("e1", {shop.plan.hash: shop.plan}.get).audit(made)
    assert tally.mismatches == 0, tally.examples
    assert tally.impressions == len(made) and tally.interleaved == sum(i.mode == "interleave" for i in made) > 80
    assert coin_audit(tally).status == "ok"
    found = {check.name: check for check in checks(tally, {}, Judge(holdout=0.2).config.experiments["e1"])}
    assert found["parity"].status == "ok"
    assert found["overlap"].numbers["candidate_share"] == pytest.approx(share, abs=0.2)


def test_pages_of_stable_lists_are_recomputed_too():
    shop = Shop(old=[f"a{i}" for i in range(12)], new=[f"b{i}" for i in range(7)] + ["a1", "a2"])
    serve(shop, 60)
    made = shop.impressions()
    assert sum(i.page > 1 and i.mode == "interleave" for i in made) > 60
    tally = Auditor("e1", {shop.plan.hash: shop.plan}.get).audit(made)
    assert tally.mismatches == 0, tally.examples
