"""Lanes: stable, independent of the ramp, the same kind of users on both sides."""

from collections import Counter
from typing import Any

import pytest

from incumbent.events.plan import ExperimentPlan
from incumbent.experiments.assignment import assign, in_segment, lane_points

USERS = [f"user-{n}" for n in range(4000)]


def plan(**changes: Any) -> ExperimentPlan:
    return ExperimentPlan(**{"name": "e", "candidate": "new", "salt": "e", "stage": "ramp_50", "share": 0.5, **changes})


def lanes(**changes: Any) -> dict[str, str]:
    return {user: assign(plan(**changes), user, {}) for user in USERS}


def of(found: dict[str, str], lane: str) -> set[str]:
    return {user for user, where in found.items() if where == lane}


@pytest.mark.parametrize(("holdout", "lane_share"), [(0.1, 1.0), (0.1, 0.3), (0.5, 0.5), (0.0, 0.25), (0.25, 0.0)])
def test_lanes_have_their_sizes(holdout: float, lane_share: float) -> None:
    found = Counter(lanes(holdout=holdout, lane_share=lane_share).values())
    expected = {"holdout": holdout, "interleave": (1 - holdout) * lane_share, "rest": (1 - holdout) * (1 - lane_share)}
    for lane, part in expected.items():
        assert abs(found[lane] / 4000 - part) <= 4 * (part * (1 - part) / 4000) ** 0.5, (lane, found)


def test_a_wider_lane_moves_nobody_but_into_it() -> None:
    narrow, wide = lanes(lane_share=0.05), lanes(lane_share=0.6)
    assert of(narrow, "holdout") == of(wide, "holdout")
    assert of(narrow, "interleave") < of(wide, "interleave")


def test_a_larger_holdout_keeps_the_smaller_one() -> None:
    assert of(lanes(holdout=0.05), "holdout") < of(lanes(holdout=0.2), "holdout")


@pytest.mark.parametrize("stage", ["shadow", "canary", "ramp_50", "promoted"])
def test_stage_and_share_move_nobody(stage: str) -> None:
    assert lanes(stage=stage, share=0.01) == lanes()


def test_another_salt_is_another_draw() -> None:
    one, two = of(lanes(salt="e"), "holdout"), of(lanes(salt="f"), "holdout")
    expected = len(one) * 0.1
    assert abs(len(one & two) - expected) < 4 * expected**0.5


def test_lanes_are_independent_of_the_coins_domain() -> None:
    points = [lane_points("e", user) for user in USERS]
    quadrant = sum(h < 0.5 and lane < 0.5 for h, lane in points) / 4000
    assert abs(quadrant - 0.25) < 4 * (0.1875 / 4000) ** 0.5


def test_the_segment_comes_before_the_hash() -> None:
    segment = {"country": ["NO", "SE"], "device": ["app"]}
    inside, outside = {"country": "NO", "device": "app"}, {"country": "NO", "device": "web"}
    for user in USERS[:200]:
        assert assign(plan(segment=segment), user, inside) == assign(plan(), user, {})
        assert assign(plan(segment=segment), user, outside) == "outside"
        assert assign(plan(segment=segment), user, {}) == "outside"


def test_values_that_are_no_text_compare_as_their_text() -> None:
    assert in_segment({"store": ["12"], "member": ["true"]}, {"store": 12, "member": True})
    assert not in_segment({"member": ["1"]}, {"member": True})
    assert not in_segment({"member": ["None"]}, {"member": None})


def test_no_experiment_no_lane() -> None:
    assert assign(None, "u", {}) == "none"
    assert assign(plan(stage="ended"), "u", {}) == "none"


def test_known_points_do_not_move() -> None:
    """Frozen: a change here would move every user of every running experiment."""
    holdout, lane = lane_points("exp1", "u42")
    assert (round(holdout, 12), round(lane, 12)) == (0.537188430903, 0.879017219132)
