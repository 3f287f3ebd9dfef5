"""The table of edge cases (docs/serve/edge-cases.md), each row through real HTTP: uvicorn, the shim, the gateway."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from incumbent.clock import SystemClock
from incumbent.config import LimitsConfig
from incumbent.errors import StoreError
from incumbent.events.plan import ModelPlan, PinnedSlot
from incumbent.events.schema import Impression
from incumbent.experiments.coins import coins
from incumbent.experiments.pair_draft import PairDraft
from incumbent.loop.tracing.why import lane_of
from incumbent.models.callable import CallableModel
from incumbent.service.auth import Keys
from incumbent.service.metrics import Meter
from incumbent.service.recommendations import ROUTE, Recommendations
from incumbent.service.shim import Route, Shim
from incumbent.testing.gateway import NO_HOLDOUT, Door, Shop, served

OLD, NEW = [f"a{n}" for n in range(8)], [f"b{n}" for n in range(8)]


class Front:
    """A served route whose gateway each test chooses."""

    def __init__(self, door: Door, handler: Recommendations) -> None:
        self.door, self.handler = door, handler

    def ask(self, shop: Shop, **request: Any) -> tuple[dict[str, Any], Impression]:
        """The answer, and the impression that it left."""
        self.handler.gateway = shop.gateway
        status, answer = self.door.post(ROUTE, {"surface": "home", "user_id": "u42", "k": 4, **request})
        assert status == 200, answer
        impression = shop.impressions()[-1]
        assert [(i["item_id"], i["position"]) for i in answer["items"]] == [
            (slot.item_id, slot.position) for slot in impression.slots]
        assert answer["mode"] == impression.mode and answer["request_id"] == impression.request_id
        return answer, impression


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    handler = Recommendations(Shop().gateway)
    shim = Shim({ROUTE: Route(handler, "serve", "recommendations")}, None, keys=Keys({}),  # type: ignore[arg-type]
                meter=Meter(None, "gateway", SystemClock()), clock=SystemClock(), body_bytes=4_194_304)
    with served(shim) as door:
        yield Front(door, handler)


def items(found: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in found["items"]]


def kinds(impression: Impression) -> dict[str, str]:
    return {slot.item_id: slot.kind for slot in impression.slots}


def creditable(impression: Impression) -> list[str]:
    return [slot.item_id for slot in impression.slots if slot.kind in ("pair", "half")]


# ------------------------------------------------------------------------------------------------------------ rows
def duplicates_in_one_list(front: Front) -> None:
    shop = Shop(old=["a", "b", "a", "c", "b"], new=["x", "y"])
    _, made = front.ask(shop, k=5)
    assert sorted(kinds(made)) == ["a", "b", "c", "x", "y"]
    champion, candidate = made.models
    assert (champion.items, champion.reason, champion.n_items) == (["a", "b", "c"], "duplicates=2", 5)
    assert (candidate.reason, made.mode) == (None, "interleave")


def duplicates_where_strict(front: Front) -> None:
    shop = Shop(old=OLD, new=["x", "x"], strict=True)
    answer, made = front.ask(shop)
    assert items(answer) == OLD[:4] and creditable(made) == []
    assert (made.mode, made.models[1].status, made.models[1].reason) == ("fallback", "invalid", "duplicates=1")


def same_group_other_look_is_contested(front: Front) -> None:
    groups = {"s39": "shoe", "s40": "shoe"}
    for presentations in ({}, {"s39": "#1", "s40": "#2"}):
        shop = Shop(old=["s39", "a"], new=["s40", "a"], whole={"groups": groups, "presentations": presentations})
        _, made = front.ask(shop, k=3)
        assert kinds(made) == {"s39": "pair", "s40": "pair", "a": "shared"}
        assert {slot.item_id: slot.group_id for slot in made.slots} == {**groups, "a": None}


def same_group_same_look_is_shared(front: Front) -> None:
    shop = Shop(old=["s39", "a"], new=["s40", "b"], whole={
        "groups": {"s39": "shoe", "s40": "shoe"}, "presentations": {"s39": "#1", "s40": "#1"}})
    _, made = front.ask(shop, k=3)
    assert kinds(made) == {"s39": "shared", "a": "pair", "b": "pair"}


def unequal_lengths(front: Front) -> None:
    _, made = front.ask(Shop(old=OLD, new=["z"]), k=5)
    assert sorted(kinds(made).items()) == [("a0", "pair"), ("a1", "uncontested"), ("a2", "uncontested"),
                                           ("a3", "uncontested"), ("z", "pair")]


def fewer_than_k(front: Front) -> None:
    answer, made = front.ask(Shop(old=["a", "b"], new=["b"]), k=10)
    assert sorted(items(answer)) == ["a", "b"] and answer["cursor"] is None and made.k == 10


def fewer_than_k_filled_and_marked(front: Front) -> None:
    shop = Shop(old=["a", "b"], new=["b"], filler=True, fallback=["f1", "a", "gone", "f2", "f3"],
                whole={"delisted": ["gone"]})
    _, made = front.ask(shop, k=5)
    assert list(kinds(made).items())[2:] == [("f1", "filler"), ("f2", "filler"), ("f3", "filler")]
    assert [slot.owner for slot in made.slots[2:]] == [None] * 3


def one_model_fails(front: Front) -> None:
    for role, lists in (("candidate", {"old": OLD, "new": RuntimeError("boom")}),
                        ("champion", {"old": RuntimeError("boom"), "new": NEW})):
        answer, made = front.ask(Shop(**lists, fallback=["f"]))
        assert items(answer) == (OLD if role == "candidate" else NEW)[:4]
        assert (made.mode, made.reason, creditable(made)) == ("fallback", f"{role} error", [])
        assert set(kinds(made).values()) == {"uncontested"}
        failed = next(model for model in made.models if model.role == role)
        assert (failed.status, failed.items, failed.reason) == ("error", [], "RuntimeError: boom")


def one_model_hangs(front: Front) -> None:
    shop = Shop(old=OLD, new=lambda ask, k: asyncio.sleep(30), model={"deadline_ms": 60})
    started = time.monotonic()
    _, made = front.ask(shop, deadline_ms=1000)
    assert time.monotonic() - started < 1.0
    assert (made.mode, made.reason, made.models[1].status) == ("fallback", "candidate timeout", "timeout")


def one_model_answers_garbage(front: Front) -> None:
    for garbage in (42, [1, 2], [("a", float("nan"))], None, "text", [("a", 10**400)], [("a", 10**5000)],
                    [("half a pair \ud800", 1.0)], [("a", 1.0), ("\udfff", None)]):
        _, made = front.ask(Shop(old=OLD, new=lambda ask, k, given=garbage: given))
        assert (made.mode, made.models[1].status) == ("fallback", "invalid"), garbage


class RudeError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def one_model_fails_in_words_that_cannot_be_written(front: Front) -> None:
    for new, reason in ((RuntimeError("half a pair \ud800"), "RuntimeError: half a pair ?"),
                        (RudeError(), "RudeError: (its text cannot be read)")):
        for shop in (Shop(old=OLD, new=new), Shop(old=new, new=OLD)):
            answer, made = front.ask(shop)
            assert items(answer), "the other model's list is shown"
            assert sorted((model.status, model.reason) for model in made.models) == [("error", reason), ("ok", None)]


def both_fail(front: Front) -> None:
    shop = Shop(old=RuntimeError("boom"), new=RuntimeError("boom"), fallback=["f1", "gone", "f2", "f1"],
                whole={"delisted": ["gone"]})
    answer, made = front.ask(shop)
    assert items(answer) == ["f1", "f2"] and set(kinds(made).values()) == {"filler"}
    assert (made.mode, made.reason) == ("degraded", "champion error; candidate error")


def both_fail_and_nothing_is_configured(front: Front) -> None:
    answer, made = front.ask(Shop(old=RuntimeError("boom"), new=RuntimeError("boom")))
    assert (items(answer), made.mode, answer["cursor"]) == ([], "degraded", None)


def pinned(front: Front) -> None:
    pins = [PinnedSlot(1, "a1", True), PinnedSlot(3, "ad", True), PinnedSlot(9, "late")]
    shop = Shop(old=OLD, new=["b0", "a1", "late", *NEW], pinned=pins)
    answer, made = front.ask(shop, k=5)
    assert [(i["item_id"], i.get("sponsored", False)) for i in answer["items"] if i["position"] in (1, 3)] == [
        ("a1", True), ("ad", True)]
    assert [slot.kind for slot in made.slots].count("pinned") == 2
    assert {slot.owner for slot in made.slots if slot.kind == "pinned"} == {None}
    assert all("a1" not in model.items and "late" not in model.items for model in made.models)
    assert made.models[1].reason == "duplicates=1 pinned=2" or made.models[1].reason == "pinned=2 duplicates=1"
    organic = [slot.item_id for slot in made.slots if slot.kind != "pinned"]
    drafted = PairDraft().choose(made.models[0].items, made.models[1].items, 3, share=0.5, salt="exp1", unit="u42",
                                 ranking_id=made.ranking_id)
    assert organic == [slot.item_id for slot in drafted.slots], "only organic slots are drafted"


def pinned_past_the_end_is_not_moved(front: Front) -> None:
    answer, _ = front.ask(Shop(old=["a"], new=["a"], pinned=[PinnedSlot(4, "ad")]), k=5)
    assert items(answer) == ["a"]


def hidden_items_are_never_shown(front: Front) -> None:
    lists: dict[str, Any] = {"old": ["gone", "asked", "kept", "a"], "new": ["kept", "gone", "b"]}
    rest: dict[str, Any] = {"pinned": [PinnedSlot(1, "gone"), PinnedSlot(2, "kept")], "filler": True,
                            "fallback": ["gone", "asked", "kept", "f"], "whole": {"delisted": ["gone"]}}
    broken = RuntimeError("boom")
    for models in (lists, {**lists, "new": broken}, {**lists, "old": broken}, {"old": broken, "new": broken}):
        shop = Shop(**models, **rest)
        shop.exclusions["u42"] = frozenset({"kept"})
        answer, made = front.ask(shop, k=8, exclude=["asked"])
        assert not set(items(answer)) & {"gone", "asked", "kept"}, made.mode
        assert all(not set(model.items) & {"gone", "asked", "kept"} for model in made.models)
        assert items(answer), made.mode
        assert shop.models["old"].asked[0].exclude == ("asked", "kept"), "models hear of exclusions"
    assert "a" not in items(answer)


def paging_on_any_gateway(front: Front) -> None:
    pins = [PinnedSlot(2, "ad", True), PinnedSlot(7, "ad2")]
    shops = [Shop(old=OLD, new=NEW, pinned=pins) for _ in range(2)]
    first, one = front.ask(shops[0], k=5)
    second, two = front.ask(shops[1], k=5, cursor=first["cursor"])
    whole = PairDraft().choose(OLD, NEW, 8, share=0.5, salt="exp1", unit="u42", ranking_id=one.ranking_id)
    organic = [slot for slot in one.slots + two.slots if slot.kind != "pinned"]
    assert [slot.item_id for slot in organic] == [slot.item_id for slot in whole.slots]
    assert [slot.kind for slot in organic if slot.kind != "half"] == ["pair"] * 8
    assert [slot.position for slot in one.slots + two.slots] == list(range(1, 11))
    assert [(i["item_id"], i["position"]) for i in second["items"] if i["item_id"].startswith("ad")] == [("ad2", 7)]
    assert (two.page, two.offset, two.ranking_id, two.mode) == (2, 4, one.ranking_id, "interleave")
    assert two.coins[: len(one.coins)] == one.coins == coins("exp1", "u42", one.ranking_id, len(one.coins))


def paging_splits_a_pair_fairly(front: Front) -> None:
    shop = Shop(old=OLD, new=NEW)
    first, one = front.ask(shop, k=3)
    _, two = front.ask(shop, k=3, cursor=first["cursor"])
    half, rest = one.slots[-1], two.slots[0]
    assert (half.kind, rest.kind, half.pair_id) == ("half", "pair", rest.pair_id)
    assert {half.owner, rest.owner} == {"champion", "candidate"}


def paging_to_the_end(front: Front) -> None:
    shop = Shop(old=OLD, new=NEW)
    answer, _ = front.ask(shop, k=6)
    seen = items(answer)
    while answer["cursor"]:
        answer, _ = front.ask(shop, k=6, cursor=answer["cursor"])
        seen += items(answer)
    assert sorted(seen) == sorted(OLD + NEW)


def paging_after_the_lists_changed(front: Front) -> None:
    shop = Shop(old=OLD, new=NEW)
    first, _ = front.ask(shop)
    shop.models["new"].answer = ["c0", *NEW]
    second, two = front.ask(shop, cursor=first["cursor"], k=3)
    assert items(second) == [item for item in OLD if item not in items(first)][:3]
    assert (two.mode, two.reason, creditable(two), two.coins) == ("fallback", "page_changed", [], [])
    third, three = front.ask(shop, cursor=second["cursor"])
    assert (three.mode, three.reason) == ("fallback", "page_changed"), "a draft that was left cannot be taken up again"
    assert not set(items(third)) & {*items(first), *items(second)}


def paging_after_the_plan_changed(front: Front) -> None:
    shop = Shop(old=OLD, new=NEW)
    first, one = front.ask(shop)
    shop.change(experiment=msgspec.structs.replace(NO_HOLDOUT, share=0.01, stage="canary"))
    _, two = front.ask(shop, cursor=first["cursor"])
    assert (two.mode, two.plan, two.share, two.stage) == ("interleave", one.plan, 0.5, "ramp_50")
    restarted = Shop(old=OLD, new=NEW, experiment=msgspec.structs.replace(NO_HOLDOUT, share=0.01, stage="canary"))
    second, three = front.ask(restarted, cursor=first["cursor"])
    assert (three.mode, three.reason, three.plan) == ("fallback", "page_changed", restarted.plan.hash)
    assert not set(items(second)) & set(items(first))


def paging_after_a_roll_back(front: Front) -> None:
    shop = Shop(old=OLD, new=NEW)
    first, _ = front.ask(shop)
    shop.change(experiment=None)
    second, two = front.ask(shop, cursor=first["cursor"])
    assert items(second) == [item for item in OLD if item not in items(first)][:len(items(second))]
    assert (two.mode, two.reason, two.plan, creditable(two), two.coins) == (
        "champion", "page_changed", shop.plan.hash, [], [])


def ties_in_score(front: Front) -> None:
    ties = [("top", 0.9), *((f"t{n}", 0.5) for n in range(6)), ("last", 0.1)]
    orders = set()
    for n in range(8):
        shop = Shop(old=ties, new=[ties[0], *ties[6:0:-1], ties[7]])
        _, made = front.ask(shop, user_id=f"u{n}", k=8)
        assert set(kinds(made).values()) == {"shared"}, "both models' ties fall alike"
        assert (made.slots[0].item_id, made.slots[-1].item_id) == ("top", "last")
        orders.add(tuple(slot.item_id for slot in made.slots))
        assert front.ask(shop, user_id=f"u{n}", k=8)[1].slots == made.slots, "and always alike for one shopper"
    assert len(orders) > 5, "neither ids nor the order of the list decide"
    _, made = front.ask(Shop(old=["m", "c", "x", "b"], new=[], experiment=None))
    assert [slot.item_id for slot in made.slots] == ["m", "c", "x", "b"], "without scores the order is the model's own"


def candidate_equals_champion(front: Front) -> None:
    _, made = front.ask(Shop(old=OLD, new=OLD))
    assert set(kinds(made).values()) == {"shared"} and {slot.owner for slot in made.slots} == {None}


def shadow_shows_the_champion(front: Front) -> None:
    experiment = msgspec.structs.replace(NO_HOLDOUT, stage="shadow", share=0.0)
    answer, made = front.ask(Shop(old=["a"], new=NEW, experiment=experiment))
    assert (items(answer), made.mode, made.coins) == (["a"], "shadow", [])
    assert made.models[1].items == NEW, "both lists are logged"


def holdout_shows_the_champion(front: Front) -> None:
    experiment = msgspec.structs.replace(NO_HOLDOUT, holdout=0.999999)
    answer, made = front.ask(Shop(old=OLD, new=NEW, experiment=experiment))
    assert (items(answer), made.mode, made.lane) == (OLD[:4], "champion", "holdout")
    assert made.models[1].items == NEW and (made.experiment, made.salt) == ("e1", "exp1")


def outside_the_segment_the_champion(front: Front) -> None:
    experiment = msgspec.structs.replace(NO_HOLDOUT, segment={"country": ["NO"]})
    shop = Shop(old=OLD, new=NEW, experiment=experiment)
    _, made = front.ask(shop, context={"country": "SE"})
    assert (made.mode, made.lane) == ("champion", "outside")
    _, made = front.ask(shop, context={"country": "NO"})
    assert (made.mode, made.lane) == ("interleave", "interleave")


def a_declared_robot_is_outside_and_told_so(front: Front) -> None:
    rule = {key: list(patterns) for key, patterns in LimitsConfig().bots.items()}
    shop = Shop(old=OLD, new=NEW, experiment=msgspec.structs.replace(NO_HOLDOUT, bots=rule))
    for context in ({"bot": True}, {"bot": "TRUE"}, {"user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"}):
        answer, made = front.ask(shop, context=context)
        assert (items(answer), made.mode, made.lane, made.coins) == (OLD[:4], "champion", "outside", [])
        assert lane_of(made, shop.surface.experiment) == "outside: the context declares a robot"
        assert not {"pair", "half"} & set(kinds(made).values())
    for context in ({}, {"bot": False}, {"user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}):
        assert front.ask(shop, context=context)[1].lane == "interleave"
    shop.change(experiment=NO_HOLDOUT)  # limits.bots = {}
    assert front.ask(shop, context={"bot": True})[1].lane == "interleave"


def an_untested_candidate_never_stands_in(front: Front) -> None:
    for change in ({"stage": "shadow", "share": 0.0}, {"holdout": 0.999999}):
        experiment = msgspec.structs.replace(NO_HOLDOUT, **change)
        answer, made = front.ask(Shop(old=RuntimeError("boom"), new=NEW, experiment=experiment, fallback=["f"]))
        assert (items(answer), made.mode) == (["f"], "degraded")


def promoted_back_test(front: Front) -> None:
    experiment = msgspec.structs.replace(NO_HOLDOUT, stage="promoted", share=0.95)
    shop, solo = Shop(old=OLD, new=NEW, experiment=experiment), 0
    for n in range(30):
        _, made = front.ask(shop, user_id=f"u{n}")
        assert made.mode == "interleave"
        solo += sum(slot.kind == "solo" and slot.owner == "candidate" for slot in made.slots)
    assert solo > 90, "nearly all of 120 slots are the candidate's own"


def log_refuses(front: Front) -> None:
    shop = Shop(old=OLD, new=NEW, gateway={"durable": True})
    front.ask(shop)
    shop.log_error = StoreError("disk full")
    front.handler.gateway = shop.gateway
    for expected in ("interleave", "champion"):  # the first to fail could not know
        status, answer = front.door.post(ROUTE, {"surface": "home", "user_id": "u42", "k": 4})
        assert (status, answer["logged"], answer["mode"], len(answer["items"])) == (200, False, expected, 4)
    assert "disk full" in (shop.gateway.problem or "")
    shop.log_error = None
    recovered, made = front.ask(shop)
    assert (recovered["logged"], made.mode, made.reason) == (True, "champion", "log_failing")
    assert front.ask(shop)[1].mode == "interleave" and shop.gateway.problem is None


def a_thread_that_blocks(front: Front) -> None:
    def block(ask: Any, k: int) -> list[Any]:
        time.sleep(0.6)
        return []
    plan = ModelPlan("new", "callable", "x:y", "1", concurrency=2, deadline_ms=80)
    blocked = CallableModel(plan, block)
    shop = Shop(old=OLD, models={"new": blocked}, model={"deadline_ms": 80, "concurrency": 2})
    for _ in range(4):
        started = time.monotonic()
        _, made = front.ask(shop)
        assert time.monotonic() - started < 0.5
        assert made.mode == "fallback" and made.models[1].status in ("timeout", "busy")
    asyncio.run(blocked.close())


ROWS: list[Callable[[Front], None]] = [
    duplicates_in_one_list, duplicates_where_strict, same_group_other_look_is_contested,
    same_group_same_look_is_shared, unequal_lengths, fewer_than_k, fewer_than_k_filled_and_marked, one_model_fails,
    one_model_hangs, one_model_answers_garbage,
    one_model_fails_in_words_that_cannot_be_written, both_fail, both_fail_and_nothing_is_configured, pinned,
    pinned_past_the_end_is_not_moved, hidden_items_are_never_shown, paging_on_any_gateway, paging_splits_a_pair_fairly,
    paging_to_the_end, paging_after_the_lists_changed, paging_after_the_plan_changed,
    paging_after_a_roll_back, ties_in_score,
    candidate_equals_champion, shadow_shows_the_champion, holdout_shows_the_champion, outside_the_segment_the_champion,
    a_declared_robot_is_outside_and_told_so, an_untested_candidate_never_stands_in, promoted_back_test, log_refuses,
    a_thread_that_blocks,
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)
def test_edge_case(row: Callable[[Front], None], front: Front) -> None:
    row(front)
