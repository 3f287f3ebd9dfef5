"""The newest vector of each entity: against plain Python, over late events, repeats and erasure; Delta and memory."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from incumbent.clock import ManualClock
from incumbent.events.schema import Embedding
from incumbent.loop.drift.latest_vectors import DAY, LatestVectors, latest, versions
from incumbent.stores.lake import DeltaLake
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.testing.golden import event_id

START = datetime(2026, 3, 1, tzinfo=UTC)


def vector(name: str, hours: float, entity_id: str, value: float, version: str = "v1", entity: str = "item"):
    at = START + timedelta(hours=hours)
    return Embedding(event_id=event_id(name, at), time=at, space="titles", version=version,
                     entity=entity, entity_id=entity_id, vector=[value, 1.0])  # type: ignore[arg-type]


@pytest.fixture(params=["memory", "delta"])
def lake(request, tmp_path):
    return MemoryLake(4) if request.param == "memory" else DeltaLake(tmp_path / "lake", 4)


def test_it_keeps_what_plain_python_keeps(lake):
    rng = random.Random(3)
    clock = ManualClock(START + timedelta(days=9))
    job = LatestVectors(lake, MemoryControl(), clock)
    kept: dict[tuple[str, str, str], tuple[datetime, str, float]] = {}
    for step in range(4):
        events = [vector(f"{step}-{n}", rng.randrange(100), f"i{rng.randrange(8)}", rng.randrange(1000),
                         rng.choice(["v1", "v2"]), rng.choice(["item", "user"])) for n in range(25)]
        for one in events:
            place = (one.entity, one.version, one.entity_id)
            kept[place] = max(kept.get(place, (START - timedelta(days=1), "", 0.0)), (one.time, one.event_id,
                                                                                      one.vector[0]))
        lake.commit(events, "w", step)
        assert job.run_once().changed > 0
        assert job.run_once().changed == 0, "nothing new, nothing changed"
        for entity in ("item", "user"):
            for version in ("v1", "v2"):
                found = latest(lake, "titles", version, entity)
                wanted = {place[2]: row for place, row in kept.items() if place[:2] == (entity, version)}
                assert dict(zip(found["entity_id"].to_pylist(), [v[0] for v in found["vector"].to_pylist()],
                                strict=True)) == {one: row[2] for one, row in wanted.items()}
    assert {row[:3]: row[3] for row in versions(lake)} == {("titles", entity, version): max(
        row[0] for place, row in kept.items() if place[:2] == (entity, version)) for entity, version, _ in kept}
    assert {p.day for p in lake.changes("latest_vector", -1)[1]} == {DAY}


def test_a_run_that_died_before_its_cursor_is_done_again(lake):
    control = MemoryControl()
    lake.commit([vector("a", 1, "i1", 1.0)], "w", 0)
    LatestVectors(lake, control, ManualClock(START)).run_once()
    lake.commit([vector("b", 2, "i1", 2.0)], "w", 1)
    again = LatestVectors(lake, MemoryControl(), ManualClock(START))  # as if no cursor had been kept
    assert again.run_once().changed == 1 and again.run_once().changed == 0
    assert latest(lake, "titles", "v1", "item")["vector"].to_pylist() == [[2.0, 1.0]]


def test_an_erased_user_is_gone_and_an_item_of_that_name_stays(lake):
    lake.commit([vector("a", 1, "x", 1.0, entity="user"), vector("b", 1, "x", 2.0)], "w", 0)
    job = LatestVectors(lake, MemoryControl(), ManualClock(START))
    job.run_once()
    assert lake.erase(["x"])["latest_vector"] == 1
    assert job.run_once().stopped is None
    assert not latest(lake, "titles", "v1", "user").num_rows
    assert latest(lake, "titles", "v1", "item")["entity_id"].to_pylist() == ["x"]
