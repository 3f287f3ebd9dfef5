"""What an alarm is explained by: the items of each side, the catalogue's words, and the segments that feel it."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from msgspec import structs

from incumbent.events.schema import Embedding, Impression, Item
from incumbent.testing.drift_loop import SPRING, World, opened
from incumbent.testing.event_shop import KINDS, START
from incumbent.testing.golden import event_id


def test_examples_of_vectors_are_of_the_items_that_came_on_each_side(after_spring):
    """From a day on other hats come than before, somewhere else than before: each side is told with its own."""
    world = after_spring(watch=["embeddings"])
    old = [one for day in range(12, SPRING) for one in world.shop.day(day) if isinstance(one, Embedding)]
    world.commit(old)  # the lake still holds the baseline's rows
    for day in range(SPRING, SPRING + 8):
        rows = [one for one in world.shop.day(day) if isinstance(one, Embedding)]
        world.commit([world.shop.vector(
            f"n{day}-{n}", one.time, f"new {one.entity_id}" if "hat" in one.entity_id else one.entity_id,
            np.array(one.vector) + 2.5 * ("hat" in one.entity_id)) for n, one in enumerate(rows)])
    world.clock.set(START + timedelta(days=SPRING + 8, hours=1))
    found = opened(world.look(), "embeddings/titles/item/v1")[0]
    told = found.evidence["explanation"]
    assert told["method"] == "counted"
    before = {title for one in told["clusters"] for title in one["before"]}
    after = {title for one in told["clusters"] for title in one["after"]}
    assert any("hat number" in title for title in before) and not any("new hat" in title for title in before)
    assert any("new hat" in title for title in after) and not any("hat number" in title for title in after)
    (items,) = (one for one in told["breakdowns"] if one["by"] == "item")
    gone = {one["name"]: one["reference"] for one in items["changes"] if one["name"].startswith("hat number")}
    assert gone
    for name, share in gone.items():
        mine = "hat-" + name.rpartition(" ")[2]
        assert share == pytest.approx(sum(one.entity_id == mine for one in old) / len(old))


def test_items_are_told_by_brand_price_band_and_segment(after_spring):
    """From a day on telephones alone are shown candles only; candles are of one brand."""
    world = after_spring(watch=["items"], requests=80)
    brand = {kind: "Wax & Co" if kind == "candle" else "Others Ltd" for kind in KINDS}
    world.commit([structs.replace(one, event_id=event_id(f"b{one.item_id}", one.time), brand=brand[one.category])
                  for one in world.shop.catalogue(START - timedelta(minutes=5))])
    for day in range(SPRING - 7, SPRING):  # the lake still holds a week of the baseline's requests
        world.commit(world.shop.day(day))
    candles = [world.shop.name(n) for n in range(48) if "candle" in world.shop.name(n)]

    def shown(one):
        if not isinstance(one, Impression) or one.context["device"] != "phone" or not one.models[0].items:
            return one
        return structs.replace(one, models=[structs.replace(one.models[0], items=candles[:6])])
    for day in range(SPRING, SPRING + 6):
        world.commit([shown(one) for one in world.shop.day(day)])
    world.clock.set(START + timedelta(days=SPRING + 6, hours=1))
    found = opened(world.look(), "items/home/popular")[0]
    told = found.evidence["explanation"]
    by = {one["by"]: one for one in told["breakdowns"]}
    assert set(by) == {"cell", "item", "brand", "price band", "category"}
    (wax,) = (one for one in by["brand"]["changes"] if one["name"] == "Wax & Co")
    (candle,) = (one for one in by["category"]["changes"] if one["name"] == "candle")
    assert wax["current"] > 2 * wax["reference"] and wax["current"] == pytest.approx(candle["current"])
    first, second = told["segments"]
    assert first["segment"] == "phone" and first["part"] > 0.95 and first["js"] > 10 * abs(second["js"])
    assert second["segment"] == "desktop" and "segment phone: " in told["text"]
    assert told["split"]["within"] > 10 * abs(told["split"]["mix"]), "not another mix of devices"
    assert told["split"]["mix"] + told["split"]["within"] == pytest.approx(told["split"]["js"])


def came(world, at):
    """Twenty items that come to the catalogue, of a category, brand and price that it never had."""
    world.commit([Item(event_id=event_id(f"new{n}", at), time=at, item_id=f"new-{n}", title=f"lantern {n}",
                       category="lantern", brand="nova", price_minor=9900, currency="EUR") for n in range(20)])


def told_of_new(world):
    days = [list(world.shop.day(day)) for day in range(SPRING, SPRING + 4)]
    for events in days:
        world.commit(events)
    world.clock.set(START + timedelta(days=SPRING + 4, hours=1))
    found = opened(world.look(), "items/home/popular")[0]
    day = (datetime.fromisoformat(found.evidence["window"]["start"]) - START).days
    shown = [item for one in days[day - SPRING] if isinstance(one, Impression) for item in one.models[0].items]
    share = sum(item.startswith("new-") for item in shown) / len(shown)
    told = found.evidence["explanation"]
    return told, {one["by"]: {c["name"]: c for c in one["changes"]} for one in told["breakdowns"]}, share


def test_items_that_came_since_are_told_by_what_the_catalogue_says_of_them(after_spring):
    world = after_spring(watch=["items"], requests=80, faults={"new_items": SPRING})
    world.commit([structs.replace(one, event_id=event_id(f"b{one.item_id}", one.time), brand="Others Ltd")
                  for one in world.shop.catalogue(START - timedelta(minutes=5))])
    came(world, START + timedelta(days=SPRING))
    told, by, share = told_of_new(world)
    assert share > 0.1
    for table, name in (("category", "lantern (new)"), ("brand", "nova (new)")):
        assert by[table][name]["reference"] == 0 and by[table][name]["current"] == pytest.approx(share)
    (band,) = (one for one in by["price band"].values() if one["name"].endswith("or more"))
    assert band["current"] - share < band["reference"] < 0.5
    assert not {"(unknown)", "all others"} & {*by["category"], *by["brand"], *by["price band"]}
    (cell,) = (one for one in told["cells"] if one["cell"] == "new")
    assert cell["current"] == pytest.approx(share), "the statistic keeps its frozen cells"
    assert "lantern (new)" in told["text"] and "nova (new)" in told["text"]


def test_new_items_of_a_known_brand_are_counted_with_it_and_those_nothing_is_known_of_stay(after_spring):
    world = after_spring(watch=["items"], requests=80, faults={"new_items": SPRING})
    world.commit([structs.replace(one, event_id=event_id(f"b{one.item_id}", one.time), brand="Others Ltd")
                  for one in world.shop.catalogue(START - timedelta(minutes=5))])
    _, by, share = told_of_new(world)  # without a word of them in the catalogue
    assert by["category"]["(unknown)"]["current"] == pytest.approx(share)
    assert by["brand"]["all others"]["current"] == pytest.approx(share)


def test_a_space_without_vectors_of_items_is_told_by_the_numbers_of_its_clusters():
    world = World(watch=["embeddings"], drift={"false_alarms_per_month": 6}, requests=1, vectors=80,
                  faults={"vectors": 30})

    def live(first, last):
        for day in range(first, last):
            world.commit([structs.replace(one, space="queries", entity="query") if isinstance(one, Embedding) else one
                          for one in world.shop.day(day)])
        world.clock.set(START + timedelta(days=last, hours=1))
    live(0, 30)
    world.build(0, 30)
    live(30, 36)
    told = opened(world.look(), "embeddings/queries/query/v1")[0].evidence["explanation"]
    first = told["clusters"][0]
    assert first["part"] > 0.05 and first["reference"] != first["current"] and told["picture"]["points"]
    assert (f"{first['reference']:6.2%} -> {first['current']:6.2%} {first['part']:5.0%}  cluster {first['cluster']}"
            in told["text"])
    assert "clusters by number" in told["text"] and "no items\n" not in told["text"]
