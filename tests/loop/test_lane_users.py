"""Users per lane and stage as the audit's book counts them, against a count from the log's own words."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict

import pytest

from incumbent.loop import audit_book
from incumbent.loop.decide import latest
from incumbent.testing.judge import Shop

RAMP = [("canary", 0.1), ("ramp_10", 0.4), ("ramp_50", 1.0)]
STAGES = [{"stage": stage, "share": 0.5, "lane_share": lane, "min_units": 10, "min_days": 1} for stage, lane in RAMP]


def climb(shop, stage):
    shop.measure()
    shop.advance(8)
    shop.mature(20, 0.3, stage=stage)
    assert shop.decider.run_once().judged["e1"].verdict == "advance"
    shop.actor.run_once()


@pytest.fixture(scope="module")
def ramped():
    """300 shoppers known from the first day, some of whom come again on every rung, and 40 new ones on each."""
    shop = Shop(stages=STAGES)
    shop.run()
    made, known, books = [], [f"shopper-{n}" for n in range(300)], {}
    for at, (stage, _) in enumerate(RAMP):
        shop.clock.advance(seconds=3600)
        made += shop.serve(len(known[at::2]), units=known[at::2]) + shop.serve(40)
        for _ in range(6):  # some buckets at each look
            book = audit_book.bring_up(shop.lake, shop.control, shop.row())
        books[stage] = book, {each.user_id for each in made}
        if at < 2:
            climb(shop, stage)
    shop.decider.run_once()
    assert shop.row().stage == "ramp_50"
    return shop, made, books


def test_users_are_counted_where_they_are_met_until_the_candidate_may_have_touched_them(ramped):
    shop, made, _ = ramped
    wanted = defaultdict(Counter)
    for user in {each.user_id for each in made}:
        before = None
        for stage, _ in RAMP:
            lanes = {each.lane for each in made if each.user_id == user and each.stage == stage}
            assert len(lanes) <= 1
            if lanes:
                (lane,) = lanes
                wanted[stage if before is None else f"{before}>{stage}"][lane] += 1
                before = stage
                if lane == "interleave":
                    break
    book = audit_book.bring_up(shop.lake, shop.control, shop.row())
    assert book.groups == {group: dict(lanes) for group, lanes in wanted.items()}
    assert {"canary", "canary>ramp_50", "ramp_10", "ramp_50"} <= book.groups.keys()
    assert "interleave" in book.groups["canary>ramp_50"]
    check = next(c for c in latest(shop.control, "e1").evidence["checks"] if c["name"] == "sample_ratio")
    assert check["status"] == "ok" and set(check["numbers"]["stages"]) == {stage for stage, _ in RAMP}
    assert check["n"] == sum(map(sum, (lanes.values() for lanes in wanted.values())))


@pytest.mark.parametrize(("stage", "share"), RAMP)
def test_everybody_who_was_met_so_far_is_in_a_lane_of_the_present_rung(ramped, stage, share):
    """Those who never came back too: the lane of the present rung is a matter of the hash alone."""
    book, everybody = ramped[2][stage]
    wanted = Counter()
    for user in everybody:
        digest = hashlib.blake2b(f"e1\x1f{user}".encode(), digest_size=16, person=b"lane").digest()
        holdout, lane = (int.from_bytes(half, "big") / 2**64 for half in (digest[:8], digest[8:]))
        wanted["holdout" if holdout < 0.2 else "interleave" if lane < share else "rest"] += 1
    found = book.assigned(stage)
    assert {lane: int(users.rows.sum()) for lane, users in found.items()} == dict(wanted)
    assert all((users.sums[:, 0] == users.rows).all() for users in found.values())
