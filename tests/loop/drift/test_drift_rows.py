"""Rows as streams, against plain Python over the events; windows of days whose clocks change."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.clock import EPOCH, ManualClock
from incumbent.events.schema import Feedback, Impression, Item, ModelAnswer
from incumbent.events.window import Window
from incumbent.loop.attribute import Attributor
from incumbent.loop.drift import names
from incumbent.loop.drift.facts import Catalogue
from incumbent.loop.drift.grid import Grid, micros, moment_of
from incumbent.loop.drift.responses import OUTCOME_COLUMNS, Waits, of_responses
from incumbent.loop.drift.rows import of_context, of_embeddings, of_recommended
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.testing.event_shop import START, EventShop
from incumbent.testing.golden import event_id, impression

GRID = Grid("hour")


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def told(table: pa.Table, *columns: str) -> Counter:
    """(window's start, values ...) -> rows."""
    rows = zip(table["start"].to_pylist(), *(table[name].to_pylist() for name in columns), strict=True)
    return Counter((EPOCH + timedelta(microseconds=start), *rest) for start, *rest in rows)


def lake_of(events) -> MemoryLake:
    lake = MemoryLake(1)
    lake.commit(list(events), "w", 1)
    return lake


def test_what_was_recommended_is_what_plain_python_counts():
    shop = EventShop(requests=60)
    events = shop.day(0)
    shown = [e for e in events if isinstance(e, Impression)]
    changed = [msgspec.structs.replace(shown[0], page=2), msgspec.structs.replace(shown[1], k=2),
               msgspec.structs.replace(shown[2], models=[msgspec.structs.replace(
                   shown[2].models[0], scores=[0.5])]), *shown[3:]]
    lake = lake_of([*shop.catalogue(), *changed])
    found = of_recommended(lake.scan("impression"), GRID, Catalogue(lake).at(START + timedelta(days=1)))
    facts = {item.item_id: item for item in shop.catalogue()}
    wanted: Counter = Counter()
    prices: Counter = Counter()
    scores: Counter = Counter()
    for e in changed:
        for answer in e.models:
            if e.page == 1 and answer.status == "ok":
                for place, item in enumerate(answer.items[:e.k]):
                    wanted[hour_of(e.time), item, facts[item].category] += 1
                    prices[hour_of(e.time), float(facts[item].price_minor), "EUR"] += 1
                    if answer.scores is not None and len(answer.scores) == len(answer.items):
                        scores[hour_of(e.time), answer.scores[place]] += 1
    assert told(found["items/home/popular"], "id", "category") == wanted
    assert told(found["prices/home/popular"], "number", "currency") == prices
    assert told(found["scores/home/popular/1"], "number") == scores


def test_facts_are_those_of_their_time():
    def item(name: str, day: int, **more) -> Item:
        at = START + timedelta(days=day)
        return Item(event_id=event_id(name, at), time=at, item_id="a", **more)

    lake = lake_of([item("x", 0, title="old", price_minor=5), item("y", 2, title="new"), item("z", 4, listed=False)])
    catalogue = Catalogue(lake)
    ids = pa.array(["a", "b", None])
    titles = [catalogue.at(START + timedelta(days=day)).of(ids, "title").to_pylist() for day in (0, 1, 3)]
    assert titles == [[None, None, None], ["old", None, None], ["new", None, None]]
    assert catalogue.at(START + timedelta(days=3)).of(ids, "price_minor").to_pylist() == [None, None, None]
    assert [catalogue.at(START + timedelta(days=day)).delisted for day in (3, 5)] == [frozenset(), frozenset("a")]
    assert catalogue.at(START + timedelta(days=5)).titles(["a", "q"]) == {"a": "a", "q": "q"}


def test_context_fields_and_their_absence():
    def asked(n: int, context) -> Impression:
        made = impression(f"r{n}", START + timedelta(minutes=n), "u", "home", "-", ["a:solo:C"])
        return msgspec.structs.replace(made, context=context)

    contexts = [{"age": 30, "device": "phone"}, {"age": None, "device": "tv"}, {"age": "old"}, {}, {"on": True}]
    rows = lake_of([asked(n, c) for n, c in enumerate(contexts)]).scan("impression")
    found = of_context(rows, GRID, {"home": ["age", "absent"]})
    assert sorted(found) == ["context/home/absent", "context/home/age", "context/home/device", "context/home/on"]
    assert told(found["context/home/age"], "number", "text") == Counter(
        {(START, 30.0, "30"): 1, (START, None, None): 3, (START, None, "old"): 1})
    assert found["context/home/absent"]["text"].null_count == 5
    assert told(found["context/home/on"], "text")[(START, "true")] == 1


def test_embeddings_by_space_entity_and_version():
    shop = EventShop(vectors=30)
    events = [e for e in shop.day(0) if not isinstance(e, Impression | Feedback)]
    other = [shop.vector(f"x{n}", START, "i", np.zeros(3), "v/2") for n in range(4)]
    found = of_embeddings(lake_of([*events, *other]).scan("embedding"), Grid("day"))
    assert {name: rows.num_rows for name, rows in found.items()} == {
        "embeddings/titles/item/v1": 30, "embeddings/titles/item/v%2F2": 4}


def test_responses_are_what_plain_python_counts():
    shop = EventShop(requests=80, faults={})
    events = [e for day in range(3) for e in shop.day(day)]
    late = Feedback(event_id=event_id("late", START + timedelta(days=3)), time=START + timedelta(days=3), user_id="u1",
                    item_id=next(e for e in events if isinstance(e, Impression)).slots[0].item_id, action="click",
                    request_id=next(e for e in events if isinstance(e, Impression)).request_id)
    lake = lake_of([*shop.catalogue(), *events, late])
    Attributor(lake, MemoryControl(), ManualClock(START + timedelta(days=20)), dict).run_once()
    day = Window(START, START + timedelta(days=1))
    found = of_responses(lake.scan("impression", day), lake.scan("outcome", columns=OUTCOME_COLUMNS), GRID,
                         Waits(click_hours=1, conversion_days=2, segment="device"))
    requests = {e.request_id: e for e in events if isinstance(e, Impression)}
    credited = [(row["request_id"], row["item_id"], row["action"], row["time"])
                for row in lake.scan("outcome").to_pylist() if row["request_id"] in requests and row["exposed_at"]]
    clicks = {(r, item) for r, item, action, time in credited
              if action == "click" and time - requests[r].time <= timedelta(hours=1)}
    bought = {r: min(1 + (time - requests[r].time).days for one, _, action, time in credited
                     if one == r and action == "purchase")
              for r, _, action, _ in credited if action == "purchase"}
    wanted, slots = Counter(), Counter()
    for e in requests.values():
        if e.time in day:
            wanted[hour_of(e.time), any(r == e.request_id for r, _ in clicks), bought.get(e.request_id, 99) <= 2,
                   e.models[0].status != "ok", e.context["device"]] += 1
            for slot in e.slots:
                slots[hour_of(e.time), slot.score, float((e.request_id, slot.item_id) in clicks),
                      slot.position - 1] += 1
    assert told(found["response/home"], "clicked", "converted", "failed", "segment") == wanted
    assert told(found["calibration/home/popular/1"], "score", "label", "group") == slots
    gains = Counter()
    for e in requests.values():
        if e.time in day:
            places = sorted(slot.position for slot in e.slots if (e.request_id, slot.item_id) in clicks)
            best = sum(1 / math.log2(n + 2) for n in range(len(places)))
            gains[hour_of(e.time), e.user_id, round(sum(1 / math.log2(n + 1) for n in places) / best if places else 0.0,
                                                    9)] += 1
    ndcg = found["ndcg/home"]
    assert Counter((start, user, round(value, 9)) for start, user, value in zip(
        map(moment_of, ndcg["start"].to_pylist()), ndcg["user"].to_pylist(), ndcg["ndcg"].to_pylist(), strict=True)
    ) == gains and len({value for _, _, value in gains}) > 10
    assert sum(wanted.values()) == 80 and sum(n for key, n in wanted.items() if key[2]) > 10
    assert Counter(found["delay/home"]["late"].to_pylist()) == Counter(
        bought.get(r, 0) if bought.get(r, 99) <= 2 else 0 for r, e in requests.items() if e.time in day)


def test_a_shard_without_rows_has_no_streams():
    lake = MemoryLake(1)
    empty = lake.scan("impression")
    assert of_recommended(empty, GRID, Catalogue(lake).at(START)) == {} == of_context(empty, GRID, {})
    assert of_responses(empty, lake.scan("outcome"), GRID, Waits()) == {} == of_embeddings(lake.scan("embedding"), GRID)


def test_answers_that_are_empty_or_odd_are_no_error():
    shown = impression("r", START, "u", "home", "-", ["a:solo:C"])
    answers = [ModelAnswer("champion", "m", "1", "ok", 1.0, 0, items=[], scores=[]),
               ModelAnswer("candidate", "n", "1", "error", 1.0, 0)]
    lake = lake_of([msgspec.structs.replace(shown, models=answers, k=5)])
    assert of_recommended(lake.scan("impression"), GRID, Catalogue(lake).at(START)) == {}


@settings(deadline=None, max_examples=60)
@given(st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)), st.sampled_from(["hour", "day"]),
       st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Australia/Lord_Howe"]))
def test_every_moment_lies_in_one_window_and_windows_follow_one_another(naive, length, zone):
    moment, grid = naive.replace(tzinfo=UTC), Grid(length, zone)
    window = grid.window(moment)
    assert moment in window and grid.window(window.start) == window
    after = grid.window(window.end)
    assert after.start == window.end and grid.window(after.start - timedelta(microseconds=1)) == window
    starts = grid.starts(np.array([micros(moment), micros(window.end)], dtype=np.int64))
    assert starts.tolist() == [micros(window.start), micros(window.end)]
    assert grid.inside(Window(window.start, after.end)) == [window, after]


def test_names_stay_apart_whatever_is_in_them():
    assert names.stream("context", "a/b", "c") != names.stream("context", "a", "b/c")
    long = [names.stream("context", "home", "x" * 500 + end) for end in "ab"]
    assert long[0] != long[1] and len(long[0]) < 200
    assert names.parts_of(names.stream("items", "a/b@c", "d%")) == ["items", "a/b@c", "d%"]
