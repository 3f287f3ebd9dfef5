"""Whatever the plan, the lists, the failures and the paging: what no answer may ever do."""

import asyncio
from typing import Any

import msgspec
from hypothesis import event, given, settings
from hypothesis import strategies as st

from incumbent.events.plan import PinnedSlot
from incumbent.events.schema import Impression
from incumbent.experiments.audit import Auditor
from incumbent.experiments.coins import coins
from incumbent.loop.requests import RecommendationAnswer, RecommendationRequest
from incumbent.testing.gateway import NO_HOLDOUT, Shop

IDS = [f"i{n}" for n in range(14)]
LIST = st.lists(st.sampled_from(IDS), min_size=2, max_size=16)
SCORED = LIST.flatmap(lambda items: st.lists(
    st.sampled_from([0.1, 0.5, 0.5, 0.9]), min_size=len(items), max_size=len(items)).map(
        lambda scores: list(zip(items, scores, strict=True))))
FAILURE = st.sampled_from([RuntimeError("boom"), 42, [("a", float("nan"))]])
ANSWER = st.one_of(SCORED, LIST, SCORED, LIST, FAILURE)
SOME = st.sets(st.sampled_from(IDS), max_size=3)
PINS = st.lists(st.builds(PinnedSlot, st.integers(1, 12), st.sampled_from(IDS), st.booleans()), max_size=3)
STAGES = st.sampled_from([("shadow", 0.0), ("canary", 0.01), ("ramp_25", 0.25), ("ramp_50", 0.5), ("promoted", 0.95)])


@st.composite
def shops(draw: Any) -> Shop:
    stage, share = draw(STAGES)
    experiment = msgspec.structs.replace(
        NO_HOLDOUT, stage=stage, share=share, holdout=draw(st.sampled_from([0.0, 0.3])),
        coin=draw(st.sampled_from(["round", "list"])))
    looks = {item: f"#{n % 5}" for n, item in enumerate(IDS)} if draw(st.booleans()) else {}
    return Shop(draw(ANSWER), draw(ANSWER), experiment=draw(st.sampled_from([experiment, experiment, None])),
                pinned=draw(PINS), fallback=draw(LIST), filler=draw(st.booleans()), strict=draw(st.booleans()),
                depth=draw(st.sampled_from([5, 200])), deadline_ms=60_000, model={"deadline_ms": 60_000},
                whole={"delisted": sorted(draw(SOME)), "presentations": looks,
                       "groups": {item: f"g{n % 3}" for n, item in enumerate(IDS)} if looks else {}})


def pages(shop: Shop, data: st.DataObject, excluded: set[str]) -> list[tuple[RecommendationAnswer, Impression]]:
    """Page after page, with things that happen between them."""
    found: list[tuple[RecommendationAnswer, Impression]] = []
    cursor, ranking_id = None, f"r{data.draw(st.integers(0, 99))}"
    plans = {shop.plan.hash: shop.plan}
    auditor = Auditor("e1", plans.get)
    for _ in range(4):
        request = RecommendationRequest(surface="home", user_id="u42", k=data.draw(st.integers(1, 6)), cursor=cursor,
                                        exclude=sorted(excluded), ranking_id=ranking_id)
        found.append((asyncio.run(shop.gateway.recommend(request)), shop.impressions()[-1]))
        if found[-1][1].experiment is not None:
            tally = auditor.one(found[-1][1])
            assert tally.mismatches == 0, tally.examples
        cursor = found[-1][0].cursor
        if cursor is None:
            break
        happening = data.draw(st.sampled_from(["nothing", "nothing", "model", "plan", "exclusion"]))
        if happening == "model":
            shop.models[data.draw(st.sampled_from(["old", "new"]))].answer = data.draw(ANSWER)
        elif happening == "plan":
            plan = shop.change(k_max=data.draw(st.integers(10, 200)))
            plans[plan.hash] = plan
        elif happening == "exclusion":
            shop.exclusions["u42"] = frozenset(data.draw(SOME))
    return found


@settings(deadline=None, max_examples=250)
@given(shops(), SOME, st.data())
def test_what_no_answer_may_do(shop: Shop, excluded: set[str], data: st.DataObject) -> None:
    seen: set[str] = set()
    position = 0
    for answer, made in pages(shop, data, excluded):
        event(f"{made.mode}, page {made.page}, {made.reason and made.reason.split()[0]}")
        items = [item.item_id for item in answer.items]
        assert not set(items) & ({*shop.plan.delisted} | excluded), "hidden items are never shown"
        organic = [slot.item_id for slot in made.slots if slot.kind != "pinned"]
        assert len(organic) == len(set(organic)) and not set(organic) & seen, "nothing is shown twice"
        assert len(items) == len(set(items)) <= made.k
        seen |= set(items)
        assert [item.position for item in answer.items] == list(range(position + 1, position + 1 + len(items)))
        position += len(items)
        credited = [slot for slot in made.slots if slot.kind in ("pair", "half")]
        assert made.mode == "interleave" or not credited, "only a draft credits anybody"
        if made.mode in ("champion", "shadow"):
            assert all(slot.owner != "candidate" for slot in made.slots), "nothing of the candidate is shown"
        if made.mode == "interleave":
            assert made.reason is None and made.coins == coins("exp1", "u42", made.ranking_id, len(made.coins))
        for model in made.models:
            assert (model.status == "ok") or model.items == []
            assert len(model.items) == len(set(model.items)) <= shop.surface.depth
            assert model.scores is None or len(model.scores) == len(model.items)
        for slot in made.slots:
            for rank, model in zip((slot.champion_rank, slot.candidate_rank), made.models, strict=False):
                assert rank is None or model.items[rank - 1] == slot.item_id, "ranks are those of the logged lists"
