"""Faults of outcomes in the loop: purchases that stop, scores that lie; and what is said before the labels come."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec import structs

from incumbent.events.schema import Feedback, Impression
from incumbent.loop.drift import status as drift_status
from incumbent.testing.drift_loop import SPRING, opened
from incumbent.testing.event_shop import START
from incumbent.testing.golden import event_id

SCORES = "calibration/home/popular/1"


def test_purchases_that_stop_page_once_they_can_have_come(after_spring):
    world = after_spring(watch=["response"], faults={"purchases": SPRING + 1})
    findings = world.lived(SPRING, SPRING + 24)
    (found,) = opened(findings, "response/home/converted")
    assert found.severity == "page" and found.reason.startswith("the share bought is 0.")
    told = found.evidence["explanation"]
    assert told["current"] < 0.5 * told["reference"]
    assert not [one for one in findings if one.severity == "page" and one is not found]


def test_scores_that_promise_too_much_are_a_ticket(after_spring):
    world = after_spring(watch=["calibration"], faults={"miscalibrated": SPRING + 2})
    findings = world.lived(SPRING, SPRING + 14)
    (found,) = opened(findings, SCORES)
    assert found.severity == "ticket" and found.check == "drift:calibration"
    ratio = {side: found.evidence["explanation"][side]["observed_expected"]["value"] for side in (
        "reference", "current")}
    assert ratio["reference"] == pytest.approx(1, abs=0.1) and ratio["current"] < 0.75
    assert not opened(findings, f"loss/{SCORES}"), "fewer clicks are easier to foretell"


def test_a_loss_that_is_worse_than_the_baseline_pages(after_spring):
    """From a day on every score is turned round."""
    world = after_spring(watch=["calibration"])
    for day in range(SPRING, SPRING + 8):
        world.commit([one if day < SPRING + 2 or not isinstance(one, Impression) else structs.replace(
            one, slots=[structs.replace(slot, score=1 - slot.score) for slot in one.slots])
            for one in world.shop.day(day)])
    world.clock.set(START + timedelta(days=SPRING + 8, hours=1))
    (found,) = opened(world.look(), f"loss/{SCORES}")
    assert (found.severity, found.check) == ("page", "drift:calibration")
    assert found.reason.startswith("the Brier loss of the scores is 0.")
    assert found.evidence["window"]["start"] >= (START + timedelta(days=SPRING + 2)).isoformat()
    brier = {side: found.evidence["explanation"][side]["brier"]["value"] for side in ("reference", "current")}
    assert brier["current"] > 2 * brier["reference"] and "Brier loss" in found.evidence["explanation"]["text"]


def test_a_loss_by_more_clicks_than_were_foretold_is_no_page(after_spring):
    """From a day on every slot is clicked."""
    world = after_spring(watch=["calibration"])
    for day in range(SPRING, SPRING + 8):
        events = world.shop.day(day)
        world.commit(events)
        if day >= SPRING + 2:
            world.commit([Feedback(
                event_id=event_id(f"more {one.request_id} {slot.item_id}", one.time), user_id=one.user_id,
                time=one.time + timedelta(minutes=3), item_id=slot.item_id, action="click", request_id=one.request_id)
                for one in events if isinstance(one, Impression) for slot in one.slots])
    world.clock.set(START + timedelta(days=SPRING + 8, hours=1))
    (found,) = opened(world.look(), f"loss/{SCORES}")
    assert found.severity == "ticket"
    assert found.evidence["explanation"]["current"]["observed_expected"]["value"] > 3


def test_quality_is_estimated_while_clicks_may_still_come(after_spring):
    world = after_spring(watch=["calibration"])
    world.live(SPRING, SPRING + 2)
    world.measure()
    scores = [slot.score for one in world.shop.day(SPRING + 1) if isinstance(one, Impression) for slot in one.slots]
    (told,) = drift_status.status(world.control, world.config, world.clock.now())["before_labels"]
    assert told["stream"] == SCORES and told["method"].startswith("estimated before labels")
    assert told["start"] == (START + timedelta(days=SPRING + 1)).isoformat()
    assert told["rate"]["n"] == len(scores)
    assert told["rate"]["low"] < sum(scores) / len(scores) < told["rate"]["high"]
    assert told["brier"]["value"] == pytest.approx(sum(s * (1 - s) for s in scores) / len(scores), rel=0.15)
    world.clock.advance(86_400.0)
    assert drift_status.status(world.control, world.config, world.clock.now())["before_labels"] == [], "they came"
