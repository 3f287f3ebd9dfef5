"""The gateway in process: what it asks, what it puts on record, what it does where plan or log misbehave."""

import asyncio
import time
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from incumbent.clock import ManualClock
from incumbent.errors import ConfigError, DataError, StoreError
from incumbent.events.ids import Signer, hash_user, id_time
from incumbent.events.plan import ExperimentPlan, ModelPlan, PinnedSlot, ServingPlan
from incumbent.events.schema import Impression
from incumbent.experiments.assignment import assign
from incumbent.experiments.audit import Auditor
from incumbent.experiments.pair_draft import PairDraft
from incumbent.loop.requests import RecommendationAnswer, RecommendationRequest
from incumbent.loop.serve import PLANS_KEPT
from incumbent.models.recommender import Ask
from incumbent.testing.gateway import NO_HOLDOUT, Shop

OLD, NEW = [f"a{n}" for n in range(8)], [f"b{n}" for n in range(8)]


def ask(shop: Shop, **request: Any) -> RecommendationAnswer:
    asked = RecommendationRequest(**{"surface": "home", "user_id": "u42", "k": 4, **request})
    return asyncio.run(shop.gateway.recommend(asked))


def last(shop: Shop, **request: Any) -> Impression:
    ask(shop, **request)
    return shop.impressions()[-1]


# ---------------------------------------------------------------------------------------------------------- record
def test_everything_about_a_request_is_on_record() -> None:
    clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
    shop = Shop(old=[("a", 0.9), ("b", 0.1)], new=[("b", 7.0), ("c", 6.0)], clock=clock, depth=2,
                model={"embedding_version": "e7", "cost_per_request": 0.002})
    made = last(shop, k=3, session_id="s1", context={"country": "NO", "n": 2}, exclude=["z"])
    assert (made.user_id, made.surface, made.session_id, made.k, made.page, made.offset) == (
        "u42", "home", "s1", 3, 1, 0)
    assert (made.experiment, made.stage, made.share, made.policy, made.salt, made.lane) == (
        "e1", "ramp_50", 0.5, "pair_draft", "exp1", "interleave")
    assert made.context == {"country": "NO", "n": 2} and made.plan == shop.plan.hash
    assert made.time == clock.now() and id_time(made.event_id) == clock.now()
    assert Signer(b"shop").verify(made.request_id) == made.event_id
    champion, candidate = made.models
    assert (champion.role, champion.name, champion.items) == ("champion", "old", ["a", "b"])
    assert champion.scores == [0.9, 0.1]
    assert (candidate.role, candidate.n_items, candidate.version, candidate.embedding_version, candidate.cost) == (
        "candidate", 2, "1", "e7", 0.002)
    scores = {("a", "champion"): 0.9, ("b", "candidate"): 7.0, ("c", "candidate"): 6.0}
    for slot in made.slots:
        assert slot.score == scores.get((slot.item_id, slot.owner))
        assert slot.champion_rank == {"a": 1, "b": 2}.get(slot.item_id)
        assert slot.candidate_rank == {"b": 1, "c": 2}.get(slot.item_id)


def test_the_choice_can_be_recomputed_from_the_record() -> None:
    shop = Shop(old=OLD, new=NEW, experiment=msgspec.structs.replace(NO_HOLDOUT, share=0.25, holdout=0.2))
    interleaved = 0
    for n in range(60):
        made = last(shop, user_id=f"u{n}", k=7)
        experiment = shop.plan.surfaces["home"].experiment
        assert experiment is not None and made.lane == assign(experiment, made.user_id, made.context)
        if made.mode == "interleave":
            interleaved += 1
            choice = PairDraft(experiment.coin).choose(
                made.models[0].items, made.models[1].items, 7, share=made.share or 0, salt=made.salt or "",
                unit=made.user_id, ranking_id=made.ranking_id)
            assert (choice.slots, choice.coins) == (made.slots, made.coins)
    assert 30 < interleaved < 60


def test_lists_are_asked_and_logged_to_the_depth() -> None:
    shop = Shop(old=[f"i{n}" for n in range(50)], new=[f"j{n}" for n in range(5)], depth=10)
    made = last(shop)
    assert [len(model.items) for model in made.models] == [10, 5]
    assert [(model.n_items, model.truncated) for model in made.models] == [(50, True), (5, False)]
    assert shop.models["old"].asked[0].k == 10


def test_the_answer_names_no_owner_unless_asked() -> None:
    shop = Shop(old=OLD, new=NEW)
    plain = msgspec.json.encode(ask(shop))
    for word in (b"champion", b"candidate", b"owner", b"pair", b"exp1", b"lane"):
        assert word not in plain
    debug = ask(shop, debug=True).debug
    assert debug is not msgspec.UNSET and [slot.owner for slot in debug.slots].count("candidate") == 2
    assert (debug.lane, debug.share, debug.models) == ("interleave", 0.5, {"champion": "ok", "candidate": "ok"})


def test_a_ranking_id_of_the_shop_makes_the_answer_repeatable() -> None:
    shop = Shop(old=OLD, new=NEW)
    orders = {tuple(item.item_id for item in ask(shop, ranking_id="load-7").items) for _ in range(5)}
    others = {tuple(item.item_id for item in ask(shop).items) for _ in range(40)}
    assert len(orders) == 1 and len(others) == 4


def test_hashed_users_are_hashed_on_record_and_plain_to_the_models() -> None:
    shop = Shop(old=OLD, new=NEW, gateway={"user_secret": b"key"})
    logged = hash_user("u42", b"key")
    shop.exclusions[logged] = frozenset({"a0"})
    made = last(shop)
    assert made.user_id == logged and shop.models["old"].asked[0].user_id == "u42"
    choice = PairDraft().choose(OLD[1:], NEW, 4, share=0.5, salt="exp1", unit=logged, ranking_id=made.ranking_id)
    assert made.slots == choice.slots and made.coins == choice.coins


def test_observers_see_each_impression() -> None:
    seen: list[Impression] = []
    shop = Shop(old=OLD, new=NEW, gateway={"observe": seen.append})
    assert last(shop) == seen[0]


# ------------------------------------------------------------------------------------------------------------ asking
@pytest.mark.parametrize("change", [{"stage": "shadow", "share": 0.0}, {"holdout": 0.999999}, {"lane_share": 0.0},
                                    {"segment": {"country": ["NO"]}}, {}])
def test_both_models_are_asked_on_every_request(change: dict[str, Any]) -> None:
    shop = Shop(old=OLD, new=NEW, experiment=msgspec.structs.replace(NO_HOLDOUT, **change))
    made = last(shop)
    assert len(shop.models["new"].asked) == 1 and made.models[1].items == NEW


@pytest.mark.parametrize("experiment", [None, msgspec.structs.replace(NO_HOLDOUT, stage="ended")])
def test_without_an_experiment_the_champion_alone_is_asked(experiment: Any) -> None:
    shop = Shop(old=OLD, new=NEW, experiment=experiment)
    made = last(shop)
    assert (made.mode, made.lane, made.experiment, len(made.models)) == ("champion", "none", None, 1)
    assert shop.models["new"].asked == []


def test_models_are_asked_at_once() -> None:
    async def slow(ask: Ask, k: int) -> list[str]:
        await asyncio.sleep(0.3)
        return [f"{ask.surface}-{n}" for n in range(k)]
    started = time.monotonic()
    made = last(Shop(old=slow, new=slow, depth=5, deadline_ms=3000, model={"deadline_ms": 2900}))
    assert time.monotonic() - started < 0.55 and made.mode == "interleave", "two of 0.3 s, in turn, take 0.6 s"


@pytest.mark.parametrize(("asked_ms", "surface_ms"), [(400, 5000), (None, 400)])
def test_the_answer_comes_within_the_deadline(asked_ms: int | None, surface_ms: int) -> None:
    over = []

    async def hang(ask: Ask, k: int) -> list[str]:
        while not over:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                continue  # not even cancelling it helps
        return []

    async def talk() -> tuple[float, RecommendationAnswer]:
        shop = Shop(old=hang, new=OLD, deadline_ms=surface_ms, model={"deadline_ms": 10_000})
        request = RecommendationRequest(surface="home", user_id="u", k=2, deadline_ms=asked_ms)
        started = time.monotonic()
        answer = await shop.gateway.recommend(request)
        took = time.monotonic() - started
        over.append(True)
        return took, answer
    took, answer = asyncio.run(talk())
    assert 0.38 < took < 0.45, "the deadline, and what a busy machine needs to wake up"
    assert answer.mode == "fallback" and len(answer.items) == 2


# -------------------------------------------------------------------------------------------------------------- plan
def test_a_plan_with_a_missing_model_leaves_the_old_one() -> None:
    shop = Shop(old=OLD, new=NEW)
    before = shop.gateway.plan
    with pytest.raises(ConfigError, match="not running"):
        shop.change(champion="nobody")
    assert shop.gateway.plan is before and ask(shop).mode == "interleave"


def test_old_rankings_go_on_only_while_their_models_are_the_same() -> None:
    shop = Shop(old=OLD, new=NEW)
    cursor = ask(shop).cursor
    shop.change(k_max=50)
    assert last(shop, cursor=cursor).reason is None
    shop.change(whole={"models": {**shop.plans, "new": ModelPlan("new", "callable", "scripted:new", "2")}})
    assert last(shop, cursor=cursor).reason == "page_changed"


OVER = {"rolled back": None, "another": msgspec.structs.replace(NO_HOLDOUT, name="e2", salt="exp2"),
        "not shown": msgspec.structs.replace(NO_HOLDOUT, stage="shadow", share=0.0)}


@pytest.mark.parametrize("experiment", OVER.values(), ids=OVER)
@pytest.mark.parametrize("history", [False, True])
def test_an_experiment_that_is_over_is_over_for_open_rankings_too(
    experiment: ExperimentPlan | None, history: bool,
) -> None:
    shop = Shop(old=OLD, new=NEW)
    begun, first = shop.plan, ask(shop)
    assert shop.impressions()[-1].mode == "interleave"
    shop.change(experiment=experiment)
    if history:
        shop.gateway.use(shop.plan, shop.guards, history=[begun])
    made = last(shop, cursor=first.cursor, k=20)
    assert (made.page, made.reason, made.plan) == (2, "page_changed", shop.plan.hash)
    assert (made.mode, made.coins) == ("champion" if experiment is None else "shadow" if experiment.share == 0
                                       else "fallback", [])
    shown = {item.item_id for item in first.items}
    assert [slot.item_id for slot in made.slots] == [item for item in OLD if item not in shown]
    assert made.ranking_id == first.ranking_id and not {"pair", "half"} & {slot.kind for slot in made.slots}
    tally = Auditor("e1", {plan.hash: plan for plan in (begun, shop.plan)}.get).audit(shop.impressions())
    assert tally.mismatches == 0, tally.examples


def test_an_experiment_that_climbs_a_rung_goes_on_in_open_rankings() -> None:
    shop = Shop(old=OLD, new=NEW, experiment=msgspec.structs.replace(NO_HOLDOUT, stage="canary", share=0.01))
    cursor = ask(shop).cursor
    shop.change(experiment=NO_HOLDOUT)
    made = last(shop, cursor=cursor)
    assert (made.mode, made.reason, made.stage, made.share) == ("interleave", None, "canary", 0.01)


def test_old_plans_are_forgotten_in_the_end_but_history_recalls_them() -> None:
    shop = Shop(old=OLD, new=NEW)
    first, cursor = shop.plan, ask(shop).cursor
    for n in range(PLANS_KEPT + 1):
        shop.change(k_max=50 + n)
    assert last(shop, cursor=cursor).reason == "page_changed"
    shop.gateway.use(shop.plan, shop.guards, history=[first])
    assert last(shop, cursor=cursor).reason is None


def test_what_is_delisted_now_is_hidden_also_from_rankings_begun_before() -> None:
    shop = Shop(old=OLD, new=NEW, pinned=[PinnedSlot(6, "ad")])
    first = ask(shop)
    gone = next(item for item in OLD if item not in {shown.item_id for shown in first.items})
    shop.change(whole={"delisted": [gone, "ad"]})
    made = last(shop, cursor=first.cursor, k=20)
    assert not {gone, "ad"} & {slot.item_id for slot in made.slots}


@pytest.mark.parametrize("change", [{"stage": "shadow", "share": 0.0}, {"holdout": 0.999999}, {"share": 0.0}])
def test_the_champion_alone_is_paged_to_its_end(change: dict[str, Any]) -> None:
    shop = Shop(old=OLD, new=NEW, experiment=msgspec.structs.replace(NO_HOLDOUT, **change))
    seen, cursor = [], None
    for page in (1, 2, 3):
        answer = ask(shop, k=3, cursor=cursor)
        made = shop.impressions()[-1]
        assert (made.page, made.reason, made.coins) == (page, None, [])
        assert made.mode == ("champion" if "holdout" in change else "shadow")
        seen, cursor = seen + [(item.item_id, item.position) for item in answer.items], answer.cursor
    assert seen == [(item, n) for n, item in enumerate(OLD, 1)] and cursor is None


def test_a_ranking_keeps_its_lane_where_a_later_page_says_less() -> None:
    shop = Shop(old=OLD, new=NEW, experiment=msgspec.structs.replace(NO_HOLDOUT, segment={"country": ["NO"]}))
    first = ask(shop, context={"country": "NO"})
    made = last(shop, cursor=first.cursor)
    assert (made.lane, made.mode, made.page) == ("interleave", "interleave", 2)


def test_a_ranking_begun_in_rest_stays_there_when_the_next_rung_lets_the_shopper_in() -> None:
    narrow = msgspec.structs.replace(NO_HOLDOUT, stage="canary", lane_share=0.01)
    shop = Shop(old=OLD, new=NEW, experiment=narrow)
    first = ask(shop)
    assert shop.impressions()[-1].lane == "rest"
    shop.change(experiment=msgspec.structs.replace(NO_HOLDOUT, stage="ramp_5", lane_share=1.0))
    made = last(shop, cursor=first.cursor)
    assert (made.lane, made.mode, made.stage, made.page, made.reason) == ("rest", "champion", "canary", 2, None)
    assert [slot.item_id for slot in made.slots] == OLD[len(first.items):][:len(made.slots)]
    assert (last(shop).lane, last(shop).mode) == ("interleave", "interleave")
    plans = {plan.hash: plan for plan in (shop.plan, *shop.gateway._plans.values())}
    tally = Auditor("e1", plans.get).audit(shop.impressions())
    assert tally.mismatches == 0, tally.examples


def test_a_shopper_excludes_between_pages() -> None:
    shop = Shop(old=OLD, new=NEW)
    first = ask(shop)
    gone = next(item for item in OLD if item not in {shown.item_id for shown in first.items})
    shop.exclusions["u42"] = frozenset({gone})
    made = last(shop, cursor=first.cursor, k=20)
    assert (made.reason, made.mode) == ("page_changed", "fallback")
    assert gone not in {slot.item_id for slot in made.slots}


def test_a_policy_that_raises_costs_nobody_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("no")
    monkeypatch.setattr(PairDraft, "choose", broken)
    made = last(Shop(old=OLD, new=NEW))
    assert (made.mode, made.reason) == ("fallback", "policy failed: ZeroDivisionError: no")
    assert [slot.item_id for slot in made.slots] == OLD[:4]


def test_pins_that_contradict_each_other() -> None:
    pins = [PinnedSlot(1, "x"), PinnedSlot(1, "y"), PinnedSlot(3, "x")]
    made = last(Shop(old=["y", "a", "b"], new=[], pinned=pins, experiment=None))
    assert [slot.item_id for slot in made.slots] == ["x", "y", "a", "b"]


def test_a_hash_names_the_plan_that_served() -> None:
    shop = Shop(old=OLD, new=NEW)
    plan = ServingPlan(9, datetime(2026, 1, 1, tzinfo=UTC), shop.plan.surfaces, shop.plan.models)
    assert last(shop).plan == plan.hash


# --------------------------------------------------------------------------------------------------------------- log
class Stuck:
    """A log whose commits take for ever."""

    error = None

    def __init__(self) -> None:
        self.futures: list[asyncio.Future[list[bool]]] = []

    def append_async(self, records: Any, *, max_delay_s: float = 0.0) -> asyncio.Future[list[bool]]:
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    def append(self, records: Any, *, max_delay_s: float = 0.0) -> Future[list[bool]]:
        raise AssertionError("not used")


def test_a_disk_that_does_not_come_back_does_not_hold_the_answer() -> None:
    shop = Shop(old=OLD, new=NEW, gateway={"durable": True})
    shop.gateway._log = Stuck()  # type: ignore[assignment]
    started = time.monotonic()
    answer = ask(shop, deadline_ms=100)
    assert 0.05 < time.monotonic() - started < 0.2
    assert not answer.logged and len(answer.items) == 4


def test_durable_means_on_record_when_answered() -> None:
    async def talk() -> tuple[bool, bool]:
        shop = Shop(old=OLD, new=NEW, gateway={"durable": True})
        log = Stuck()
        shop.gateway._log = log  # type: ignore[assignment]
        request = RecommendationRequest(surface="home", user_id="u", k=2, deadline_ms=5000)
        task = asyncio.create_task(shop.gateway.recommend(request))
        await asyncio.sleep(0.05)
        early = task.done()
        log.futures[0].set_result([True])
        return early, (await task).logged
    assert asyncio.run(talk()) == (False, True)


@pytest.mark.parametrize("durable", [True, False])
def test_a_refusing_log_stops_the_experiment_not_the_shop(durable: bool) -> None:
    shop = Shop(old=OLD, new=NEW, gateway={"durable": durable})
    shop.log_error = StoreError("disk full")
    answers = [ask(shop) for _ in range(3)]
    assert [answer.logged for answer in answers] == [False] * 3
    assert [answer.mode for answer in answers] == ["interleave", "champion", "champion"]
    assert shop.gateway.problem and "disk full" in shop.gateway.problem
    shop.log_error = None
    assert [ask(shop).mode for _ in range(2)] == ["champion", "interleave"]
    assert shop.gateway.problem is None
    assert len(shop.impressions()) == 2, "and nothing is claimed that is not there"


def test_what_the_disk_refused_is_queued_to_be_tried_again() -> None:
    class Refusing(Stuck):
        posted: tuple[Any, ...] = ()

        def append_async(self, records: Any, *, max_delay_s: float = 0.0) -> asyncio.Future[list[bool]]:
            future = super().append_async(records)
            future.set_exception(StoreError("disk full"))
            return future

        def post(self, records: Any, *, max_delay_s: float = 0.02) -> None:
            self.posted += tuple(records)
    shop, log = Shop(old=OLD, new=NEW, gateway={"durable": True}), Refusing()
    shop.gateway._log = log  # type: ignore[assignment]
    answer = ask(shop)
    assert not answer.logged
    assert [Signer(b"shop").verify(answer.request_id)] == [record.event_id for record in log.posted]


def test_a_closed_log_is_a_refusing_log() -> None:
    shop = Shop(old=OLD, new=NEW)
    shop.log.close()
    answer = ask(shop)
    assert (answer.logged, len(answer.items)) == (False, 4)


def test_a_cursor_is_for_one_user_and_one_surface() -> None:
    shop = Shop(old=OLD, new=NEW)
    cursor = ask(shop).cursor
    with pytest.raises(DataError, match="another ranking"):
        ask(shop, cursor=cursor, user_id="u43")
    shop.plan.surfaces["cart"] = msgspec.structs.replace(shop.surface, name="cart")
    shop.gateway.use(shop.plan, shop.guards)
    with pytest.raises(DataError, match="another ranking"):
        ask(shop, cursor=cursor, surface="cart")
