"""What an alarm is explained by: the items of each side, the catalogue's words, and the segments that feel it."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from msgspec import structs

from incumbent.events.schema import Embedding, Impression
from incumbent.testing.drift_loop import SPRING, opened
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
