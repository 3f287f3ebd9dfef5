"""Which segments feel a drift of numbers, of vectors and of missing values: who is hit is told, and who is not."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from incumbent.events.schema import Embedding, Impression
from incumbent.events.window import Window
from incumbent.loop.drift.felt import Feeler
from incumbent.loop.drift.felt_told import told as felt_told
from incumbent.loop.drift.felt_vectors import newest
from incumbent.loop.drift.frames import Frame
from incumbent.loop.drift.judges import judges
from incumbent.loop.drift.shards import Reader
from incumbent.stats.vectors import Vectors
from incumbent.testing.drift_loop import SPRING, World, opened
from incumbent.testing.event_shop import START

FROM, LAST = SPRING + 1, SPRING + 8


def lived(world: World, change: Any) -> list[Any]:
    """A week before, which the lake still holds, and a week whose requests are changed from a day on."""
    for day in range(SPRING - 7, LAST):
        events = world.shop.day(day)
        world.commit([change(one, day) for one in events])
    world.clock.set(START + timedelta(days=LAST, hours=1))
    return world.look()


def by_name(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["segment"]: one for one in told["segments"]}


def test_numbers_are_told_by_segment_with_mix_and_within(after_spring):
    """Telephones are twelve years older from a day on, desktops as they were."""
    def change(one, day):
        old = isinstance(one, Impression) and one.context["device"] == "phone" and "age" in one.context and day >= FROM
        return structs.replace(one, context={**one.context, "age": one.context["age"] + 12}) if old else one

    world = after_spring(watch=["context"], drift={"false_alarms_per_month": 6}, requests=300)
    found = opened(lived(world, change), "context/home/age")[0]
    told = found.evidence["explanation"]
    segments = by_name(told)
    phone, desktop = segments["phone"], segments["desktop"]
    assert told["segments"][0] is phone and phone["part"] > 0.9 and told["as"] == "figure"
    assert phone["current_rate"] - phone["reference_rate"] == pytest.approx(12, abs=2.5)
    assert desktop["current_rate"] - desktop["reference_rate"] == pytest.approx(0, abs=3)
    means = told["means"]
    assert told["within"] > 5 and abs(told["mix"]) < 1
    assert told["mix"] + told["within"] == pytest.approx(
        means["current"]["value"] - means["reference"]["value"], abs=2.5)
    assert told["split"]["within"] > 3 * abs(told["split"]["mix"])
    assert "by the mix of device" in told["text"] and "segment phone: " in told["text"]


def test_vectors_of_items_are_felt_by_whom_they_are_recommended_to(after_spring):
    """Hats move in the space, and hats are recommended on telephones alone."""
    hats = [f"hat-{n}" for n in range(48) if n % 6 == 2]
    others = [f"mug-{n}" for n in range(48) if n % 6 == 1]

    def change(one, day):
        if not isinstance(one, Impression) or not one.models[0].items:
            return one
        shown = hats if one.context["device"] == "phone" else others
        return structs.replace(one, models=[structs.replace(one.models[0], items=shown[:6])])

    world = after_spring(watch=["embeddings"], faults={"vectors": FROM}, requests=60)
    found = opened(lived(world, change), "embeddings/titles/item/v1")[0]
    told = found.evidence["explanation"]
    segments = by_name(told)
    assert set(segments) == {"phone", "desktop"} and told["segments"][0]["segment"] == "phone"
    assert segments["phone"]["part"] > 0.9 and segments["phone"]["n"] >= 100
    assert told["split"]["within"] > 0.05 > abs(told["split"]["mix"])
    assert told["picture"] and told["clusters"], "the rest of the explanation stands"


def test_what_is_missing_is_told_by_segment(after_spring):
    def change(one, day):
        gone = isinstance(one, Impression) and one.context["device"] == "desktop" and day >= FROM
        return structs.replace(one, context={"device": "desktop"}) if gone else one

    world = after_spring(watch=["missing", "context"], drift={"false_alarms_per_month": 8})
    found = opened(lived(world, change), "missing/context/home/age")[0]
    told = found.evidence["explanation"]
    segments = by_name(told)
    assert told["as"] == "share"
    assert segments["desktop"]["current_rate"] > 0.95 > 0.05 > segments["phone"]["current_rate"]
    assert told["within"] == pytest.approx(0.4, abs=0.2)


def test_no_segments_are_said_where_nothing_is_left_of_the_past(after_spring):
    world = after_spring(watch=["items"], faults={"mix": SPRING})
    told = opened(world.lived(SPRING, SPRING + 8), "items/home/popular")[0].evidence["explanation"]
    assert told["segments"] == [] and "no segments: the lake holds no requests of the matched windows" in told["text"]


# -------------------------------------------------------------------------------------------- vectors and their owners
def test_the_newest_sound_vector_before_a_moment_stands():
    world = World()
    zero = Vectors.fit(np.random.default_rng(0).normal(size=(200, 4)), seed=1, centroids=4)
    centres = zero.frame.centroids + zero.frame.center
    at = lambda hour: START + timedelta(hours=hour)  # noqa: E731
    rows = [("a", 1, centres[0]), ("a", 30, centres[1]), ("a", 60, centres[2]), ("b", 2, centres[3]),
            ("b", 31, np.full(4, np.nan)), ("c", 3, centres[0])]
    world.commit([world.shop.vector(f"{one}{hour}", at(hour), one, row) for one, hour, row in rows])
    asked = lambda hour: newest(world.lake, "embeddings/titles/item/v1", zero.frame, at(hour), ["a", "b", "no"])  # noqa: E731
    assert asked(50) == {"a": 1, "b": 3} and asked(70) == {"a": 2, "b": 3} and asked(20) == {"a": 0, "b": 3}


def test_vectors_of_users_are_felt_where_the_users_were(built):
    """Users of telephones move from one end of their space to the other; those of desktops stay."""
    world = World(requests=200, vectors=0)
    zero = Vectors.fit(np.random.default_rng(0).normal(size=(200, 4)), seed=1, centroids=4)
    centres = zero.frame.centroids + zero.frame.center
    device: dict[str, str] = {}
    for day in (0, 1):
        events = [one for one in world.shop.day(day) if isinstance(one, Impression)]
        events = [structs.replace(one, user_id=f"{one.context['device']}-{one.user_id}") for one in events]
        device |= {one.user_id: one.context["device"] for one in events}
        world.commit([*events, *(Embedding(
            event_id=world.shop.vector(f"{day}{user}", START, "x", centres[0]).event_id, space="people", version="v1",
            entity="user", entity_id=user, time=START + timedelta(days=day),
            vector=centres[3 if day and where == "phone" else 0].tolist()) for user, where in device.items())])
    stream = "embeddings/people/user/v1"
    spring: Any = SimpleNamespace(
        frames={stream: Frame("vectors", {"config": zero.config}),
                "response/home": Frame("response", {"segments": ["desktop", "phone"]})},
        about={stream: SimpleNamespace(carried_from=None)},
        row=SimpleNamespace(window="day", time_zone="UTC", definition={}))
    reader = Reader.of(world.lake, world.config.drift)
    days = [Window(START + timedelta(days=day), START + timedelta(days=day + 1)) for day in (0, 1)]
    felt = Feeler(reader, spring, world.config.drift, stream).felt(days[1], days[:1])
    assert felt.current["phone"][0] == 0 < felt.current["phone"][3]
    assert felt.current["desktop"][0] > 0 == felt.current["desktop"][3]
    told = felt_told(felt, next(judges(stream)), "vectors", "device")
    assert {one["segment"] for one in told["segments"]} == {"desktop", "phone"}
    assert told["split"]["within"] > 0.1
