"""NDCG as a bounded risk: clicks that sink down the list page though as many come; a page is a shopper's day."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest
from msgspec import structs

from incumbent.errors import DataError
from incumbent.events.schema import Feedback, Impression
from incumbent.loop.drift import names
from incumbent.loop.drift import status as drift_status
from incumbent.loop.drift.baselines import active
from incumbent.loop.drift.frames import fit
from incumbent.testing.drift_loop import SPRING, opened
from incumbent.testing.event_shop import START


def sunk(events):
    """The same events, with what was clicked at the foot of its list."""
    clicked = {(one.request_id, one.item_id) for one in events if isinstance(one, Feedback) and one.action == "click"}
    out = []
    for one in events:
        if isinstance(one, Impression):
            order = sorted(one.slots, key=lambda slot: ((one.request_id, slot.item_id) in clicked, slot.position))
            one = structs.replace(one, slots=[structs.replace(slot, position=p) for p, slot in enumerate(order, 1)])
        out.append(one)
    return out


def test_clicks_that_sink_page_though_as_many_come(after_spring):
    world = after_spring(watch=["response", "ndcg"], drift={"false_alarms_per_month": 4})
    for day in range(SPRING, SPRING + 14):
        events = world.shop.day(day)
        world.commit(sunk(events) if day >= SPRING + 2 else events)
    world.clock.set(START + timedelta(days=SPRING + 14, hours=1))
    findings = world.look()
    (found,) = opened(findings, "ndcg/home")
    assert (found.status, found.severity, found.check) == ("drift", "page", "drift:ndcg")
    assert "the NDCG of the clicks is 0." in found.reason and "worse than" in found.reason
    assert found.evidence["window"]["start"] >= (START + timedelta(days=SPRING + 2)).isoformat()
    assert "mean NDCG of the clicks 0." in found.evidence["explanation"]["text"]
    assert opened(findings, "response/home/clicked") == []


def test_it_waits_for_the_clicks(after_spring):
    """A window is judged once its clicks can have come, and not before."""
    world = after_spring(watch=["response", "ndcg"])
    world.lived(SPRING, SPRING + 2)
    rows = drift_status.status(world.control, world.config, world.clock.now())["monitors"]
    assert {row["name"]: len(row["recent"]) for row in rows} == {
        "ndcg/home": 1, "response/home/clicked": 1, "response/home/failed": 2, "response/home/converted": 0}
    assert len(active(world.control).windows("ndcg/home")) == SPRING


def test_a_row_is_a_shoppers_day():
    rows = pa.table({"start": [0] * 4, "user": ["a", "a", "a", "b"], "ndcg": [1.0, 0.0, 0.5, 0.25]})
    state = fit(names.stream(names.NDCG, "home"), rows, None, seed=1, ages=7).state(rows, None)
    with pytest.raises(DataError, match="nobody clicked"):
        fit(names.stream(names.NDCG, "home"), rows.set_column(2, "ndcg", [[0.0] * 4]), None, seed=1, ages=7)
    assert int(state.n) == 2 and state.mean("x").value == pytest.approx((0.5 + 0.25) / 2)
