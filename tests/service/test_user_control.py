"""What a shopper excludes is never shown: through HTTP, over every way in which a page is made."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from incumbent.clock import ManualClock, SystemClock
from incumbent.config import LimitsConfig
from incumbent.errors import DataError, StoreError
from incumbent.events.ids import EventIds, Signer
from incumbent.events.plan import PinnedSlot, ServingPlan
from incumbent.events.schema import Audit, Item
from incumbent.loop.catalogue import Cataloguer
from incumbent.loop.ingest import Ingest
from incumbent.loop.requests import RecommendationRequest
from incumbent.loop.shoppers import Shoppers, excluded_by
from incumbent.service.auth import Keys
from incumbent.service.events import EventsHandler
from incumbent.service.exclusions import ROUTE, Exclusions, decode
from incumbent.service.follow import Follower
from incumbent.service.metrics import Meter
from incumbent.service.recommendations import Recommendations
from incumbent.service.shim import Route, Shim
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.testing.gateway import Shop, served

T0 = datetime(2026, 3, 1, tzinfo=UTC)
ITEMS = [f"i{n}" for n in range(12)]
CATEGORY = {item: f"c{n % 4}" for n, item in enumerate(ITEMS) if n != 11}  # i11 is in none


def control_with(categories):
    """A Control that has read this catalogue."""
    control, lake, clock = MemoryControl(), MemoryLake(2), ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
    ids = EventIds(clock)
    lake.commit([Item(event_id=ids.new(), time=clock.now(), item_id=item, category=category)
                 for item, category in categories.items()], "w", 0)
    Cataloguer(lake, control, clock, lambda: ServingPlan(0, None, {}, {})).run_once()
    return control


class House:
    """One gateway over HTTP on a Control that others may share."""

    def __init__(self, control=None, **shop):
        self.control = control or control_with(CATEGORY)
        self.shoppers = Shoppers()
        self.shop = Shop(old=ITEMS[:9], new=ITEMS[::-1][:9], gateway={"shoppers": self.shoppers}, **shop)
        clock = SystemClock()
        self.follower = Follower(self.control, clock, Meter(None, "front", clock), None, self.shop.exclusions,
                                 shoppers=self.shoppers)
        self.app = Shim({
            "/v1/recommendations": Route(Recommendations(self.shop.gateway), "serve", "recommendations"),
            "/v1/events": Route(EventsHandler(self.ingest(clock), Meter(None, "front", clock), batch_events=100),
                                "events", "events"),
            ROUTE: Route(Exclusions(self.follower, clock), "events", "exclusions")}, self._nothing, keys=Keys({}),
            meter=Meter(None, "front", clock), clock=clock, body_bytes=10**6)

    def ingest(self, clock):
        return Ingest(self.shop.log, clock=clock, ids=EventIds(clock), signer=Signer(b"shop"), limits=LimitsConfig(),
                      exclude=self.follower.exclude)

    async def _nothing(self, scope, receive, send):
        raise AssertionError(scope["path"])


def pages(door, user, k, exclude=()):
    """All items of up to three pages."""
    shown, cursor = [], None
    for _ in range(3):
        status, page = door.post("/v1/recommendations", {
            "surface": "home", "user_id": user, "k": k, "cursor": cursor, "exclude": list(exclude),
            "ranking_id": f"r-{user}"})
        assert status == 200, page
        shown += [item["item_id"] for item in page["items"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    return shown


steps = st.lists(st.tuples(
    st.one_of(st.tuples(st.just("item_id"), st.sampled_from(ITEMS)),
              st.tuples(st.just("category"), st.sampled_from(["c0", "c1", "c2", "c3"]))),
    st.booleans()), min_size=1, max_size=5)
ways = st.sampled_from(["both", "champion down", "candidate down", "both down", "no experiment"])


@pytest.fixture(scope="module")
def houses():
    """One running house per way in which a page can be made."""
    pins, more = [PinnedSlot(2, "i3"), PinnedSlot(4, "i8")], {"fallback": ITEMS, "filler": True}
    made = {"both": House(pinned=pins, **more), "champion down": House(pinned=pins, **more),
            "candidate down": House(**more), "both down": House(pinned=pins, **more),
            "no experiment": House(experiment=None, **more)}
    for way, broken in (("champion down", ["old"]), ("candidate down", ["new"]), ("both down", ["old", "new"])):
        for name in broken:
            made[way].shop.models[name].answer = RuntimeError("down")
    doors = {way: served(house.app) for way, house in made.items()}
    yield {way: SimpleNamespace(house=made[way], door=doors[way].__enter__()) for way in made}
    for door in doors.values():
        door.__exit__(None, None, None)


USERS = iter(range(10**6))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ways, steps, st.integers(1, 6), st.lists(st.sampled_from(ITEMS), max_size=2))
def test_nothing_excluded_is_ever_shown_and_what_is_taken_back_may_be(houses, way, done, k, now):
    door, user = houses[way].door, f"u{next(USERS)}"
    begun = pages(door, user, k)
    items, categories = set(), set()
    for (name, value), excluded in done:
        status, told = door.post(ROUTE, {"user_id": user, name: value, "excluded": excluded})
        held = items if name == "item_id" else categories
        (held.add if excluded else held.discard)(value)
        assert status == 200 and (told["items"], told["categories"]) == (sorted(items), sorted(categories))
        barred = items | {item for item in ITEMS if CATEGORY.get(item) in categories} | set(now)
        shown = pages(door, user, k, now)
        assert not barred & set(shown), (way, shown)
        assert len(set(shown)) == len(shown)
    for name, held in (("item_id", items), ("category", categories)):
        for value in list(held):
            door.post(ROUTE, {"user_id": user, name: value, "excluded": False})
    assert pages(door, user, k) == begun


def test_an_exclude_that_is_sent_again_or_late_does_not_undo_an_undo():
    house, ids = House(), EventIds(SystemClock())

    def exclude(ago_s):
        time = (SystemClock().now() - timedelta(seconds=ago_s)).isoformat()
        return {"type": "feedback", "event_id": ids.new(), "time": time, "user_id": "u1", "item_id": "i3",
                "action": "exclude"}

    def excluded(door):
        return door.post(ROUTE, {"user_id": "u1"})[1]["items"]

    with served(house.app) as door:
        first = exclude(0)
        assert door.post("/v1/events", [first])[1]["accepted"] == 1 and excluded(door) == ["i3"]
        assert door.post(ROUTE, {"user_id": "u1", "item_id": "i3", "excluded": False})[1]["items"] == []
        for again, outcome in ((first, "duplicate"), (exclude(5), "accepted")):
            assert door.post("/v1/events", [again])[1][outcome] == 1
            assert excluded(door) == [] and house.control.exclusions()[1].get("u1", frozenset()) == frozenset()
        house.shop.log_error = StoreError("disk full")
        assert door.post("/v1/events", [{**exclude(0), "item_id": "i4"}])[0] == 503 and excluded(door) == []
        house.shop.log_error = None
        assert door.post("/v1/events", [exclude(0)])[1]["accepted"] == 1 and excluded(door) == ["i3"]


def test_a_page_that_goes_on_after_an_exclusion_does_not_show_it():
    house = House(fallback=ITEMS)
    with served(house.app) as door:
        ask = {"surface": "home", "user_id": "u1", "k": 3}
        first = door.post("/v1/recommendations", ask)[1]
        door.post(ROUTE, {"user_id": "u1", "category": "c1"})
        shown = {item["item_id"] for item in door.post("/v1/recommendations", {**ask, "cursor": first["cursor"]})[1][
            "items"]}
    assert shown and not any(CATEGORY.get(item) == "c1" for item in shown)


def test_models_are_told_and_past_interactions_travel():
    house = House()
    event = EventIds(SystemClock()).new()
    with served(house.app) as door:
        for body in ({"item_id": "i1"}, {"category": "c2"}, {"event_id": event}):
            door.post(ROUTE, {"user_id": "u1", **body})
        door.post("/v1/recommendations", {"surface": "home", "user_id": "u1", "k": 3})
        listed = door.post(ROUTE, {"user_id": "u1"})[1]
        assert listed == {"items": ["i1"], "categories": ["c2"], "events": [event]}
        assert door.post(ROUTE, {"user_id": "u2"})[1] == {"items": [], "categories": [], "events": []}
    for model in ("old", "new"):
        ask = house.shop.models[model].asked[-1]
        assert (ask.exclude, ask.exclude_categories, ask.ignore_events) == (("i1",), ("c2",), (event,))
    assert excluded_by(house.control, "u1") == listed


def test_another_gateway_hears_of_it_at_its_next_look_and_of_an_erasure_too():
    here = House()
    there = House(control=here.control)
    ask = RecommendationRequest(surface="home", user_id="u1", k=9)

    async def talk():
        await there.follower.poll()
        await here.follower.set_exclusion("u1", "category", "c0", datetime(2026, 3, 1, tzinfo=UTC), excluded=True)
        await there.follower.poll()
        shown = [item.item_id for item in (await there.shop.gateway.recommend(ask)).items]
        assert shown and not any(CATEGORY.get(item) == "c0" for item in shown)
        audit = Audit(event_id=EventIds(SystemClock()).new(), time=datetime(2026, 3, 2, tzinfo=UTC), actor="a",
                      action="user.erase", subject="user:x", reason="asked")
        here.control.erase(["u1"], audit)
        await there.follower.poll()
        assert there.follower.excluded("u1")["categories"] == []
        again = [item.item_id for item in (await there.shop.gateway.recommend(ask)).items]
        assert any(CATEGORY.get(item) == "c0" for item in again)

    asyncio.run(talk())


def test_a_category_of_a_catalogue_that_came_later_holds_too():
    control = MemoryControl()
    house = House(control=control)

    async def talk():
        await house.follower.set_exclusion("u1", "category", "c0", datetime(2026, 3, 1, tzinfo=UTC), excluded=True)
        fresh = control_with(CATEGORY)
        for name, text in sorted(fresh.cursors("catalogue/categor").items(), reverse=True):
            control.set_cursor(name, text)
        await house.follower.poll()
        shown = (await house.shop.gateway.recommend(RecommendationRequest(surface="home", user_id="u1", k=9))).items
        assert shown and not any(CATEGORY.get(item.item_id) == "c0" for item in shown)

    asyncio.run(talk())


def test_only_categories_that_somebody_excludes_are_loaded_and_only_where_their_items_changed():
    control, lake, clock = MemoryControl(), MemoryLake(2), ManualClock(T0)
    job = Cataloguer(lake, control, clock, lambda: ServingPlan(0, None, {}, {}))
    ids, commits, shoppers = EventIds(clock), iter(range(99)), Shoppers()
    seen, read = 0, []

    class Watched:
        def __getattr__(self, name):
            return getattr(control, name)

        def cursor(self, name):
            read.append(name)
            return control.cursor(name)

    def commit(*items):
        clock.advance(1)
        lake.commit([Item(event_id=ids.new(), time=clock.now(), item_id=item, category=category, price_minor=price,
                          currency="EUR") for item, category, price in items], "w", next(commits))
        job.run_once()

    def look():
        nonlocal seen
        read.clear()
        version = control.exclusions()[0]
        shoppers.take(shoppers.look(Watched(), seen, changed=version != seen))
        seen = version
        return len([name for name in read if name.startswith("catalogue/category/")]), len(read)

    def barred(user):
        held = shoppers.barred(user, frozenset())
        return {item for item in ("a", "b", "c", "d") if item in held}

    commit(("a", "shoes", 1), ("b", "hats", 1))
    assert look() == (0, 0)  # nobody excludes a category
    control.exclude("u", "shoes", T0, kind="category")
    assert look()[0] == 1 and barred("u") == {"a"}
    before = control.cursors("catalogue/categor")
    commit(("a", "shoes", 2))
    assert control.cursors("catalogue/categor") == before and look() == (0, 1)  # a price is none of its business
    commit(("c", "hats", 1))
    assert look()[0] == 0 and barred("u") == {"a"}
    commit(("d", "shoes", 1), ("a", "hats", 2))
    assert look()[0] == 1 and barred("u") == {"d"}
    control.exclude("v", "hats", T0, kind="category")
    assert look()[0] == 1 and barred("v") == {"a", "b", "c"} and barred("u") == {"d"}
    commit(("d", None, 1))
    assert look()[0] == 0 and barred("u") == set()  # the category is gone, and needs no reading
    control.exclude("u", "shoes", T0, excluded=False, kind="category")
    look()
    commit(("d", "shoes", 1))
    look()
    control.exclude("u", "shoes", T0, kind="category")
    assert look()[0] == 1 and barred("u") == {"d"}  # what came while nobody asked


@pytest.mark.parametrize(("body", "field"), [
    ({}, "user_id"), ({"user_id": ""}, "user_id"), ({"user_id": "u", "item_id": ""}, "item_id"),
    ({"user_id": "u", "item_id": "a", "category": "b"}, None), ({"user_id": "u", "event_id": "e"}, "event_id"),
    ({"user_id": "u", "item": "a"}, "item"), ({"user_id": "u", "category": 7}, "category"),
])
def test_what_cannot_be_excluded_is_a_clear_422(body, field):
    house = House()
    reply = asyncio.run(Exclusions(house.follower, SystemClock()).handle(json.dumps(body).encode(), "application/json"))
    told = json.loads(reply.body)["error"]
    assert reply.status == 422 and told["field"] == field and told["what"]
    assert excluded_by(house.control, "u") == {"items": [], "categories": [], "events": []}


def test_what_control_refuses_is_not_excluded_here_either():
    house = House()

    def refuse(*arguments, **named):
        raise StoreError("disk full")

    house.control.exclude = refuse
    body = json.dumps({"user_id": "u1", "category": "c0"}).encode()
    reply = asyncio.run(Exclusions(house.follower, SystemClock()).handle(body, "application/json"))
    assert reply.status == 503 and house.follower.excluded("u1")["categories"] == []


@pytest.mark.parametrize(("body", "field", "hint", "what"), [
    (b'{"user_id": "u1", "itemid": "a"}', "itemid", "did you mean 'item_id'?", "unknown field"),
    (b'{"user_id": "u1", "brand": "x"}', "brand", None, "unknown field"),
    (b'{"item_id": "a"}', "user_id", None, "required field"),
    (b'{"user_id": "u1", "category": 5}', "category", None, "Expected `str"),
])
def test_what_is_wrong_with_an_exclusion_is_named(body, field, hint, what):
    with pytest.raises(DataError) as raised:
        decode(body)
    told = raised.value.to_dict()["error"]
    assert (told["field"], told["hint"]) == (field, hint) and what in told["what"]
    if what == "unknown field":
        assert told["expected"] == "one of user_id, item_id, category, event_id, excluded"
