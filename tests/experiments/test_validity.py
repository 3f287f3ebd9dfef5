"""Validity: published sample-ratio figures, parity, overlap; the audit against a draft written from its text."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from incumbent.config import ExperimentConfig, StageConfig
from incumbent.events.plan import ExperimentPlan, ModelPlan, ServingPlan, SurfacePlan
from incumbent.events.schema import Impression, ModelAnswer, Slot
from incumbent.experiments.audit import Auditor, Rankings, Tally
from incumbent.experiments.validity import coin_audit, overlap, overlap_of, parity, sample_ratio

T0 = datetime(2026, 3, 1, tzinfo=UTC)
CONFIG = ExperimentConfig(surface="home", candidate="new")
AT_ONCE = CONFIG.model_copy(update={"stages": (StageConfig(stage="ramp_50", share=0.5),)})


def plan_with(coin="round", share=0.5, holdout=0.1):
    experiment = ExperimentPlan("e1", "new", "salt", "ramp_50", share, holdout=holdout, coin=coin)
    models = {name: ModelPlan(name, "callable", "m:f", "1") for name in ("old", "new")}
    return ServingPlan(1, None, {"home": SurfacePlan("home", "old", experiment)}, models)


PLAN = plan_with()


def word(salt, unit, ranking, i):
    """Coin i, straight from the definition."""
    digest = hashlib.shake_128("\x1f".join([salt, unit, ranking]).encode()).digest(8 * (i + 1))
    return int.from_bytes(digest[8 * i:], "big") / 2**64


def in_lane(unit, holdout=0.1):
    digest = hashlib.blake2b(f"salt\x1f{unit}".encode(), digest_size=16, person=b"lane").digest()
    return int.from_bytes(digest[:8], "big") / 2**64 >= holdout


def draft(champion, candidate, k, unit, ranking, offset=0, one_coin=False):
    """The pair draft at share 1/2 for disjoint or identical lists, written from the definition alone."""
    slots, coins, r = [], [], 0
    while len(slots) < k:
        c, t = champion[r] if r < len(champion) else None, candidate[r] if r < len(candidate) else None
        if c is None:
            break
        if c == t:
            slots.append(Slot(len(slots) + 1, c, "shared", None, None, r + 1, r + 1))
            r += 1
            continue
        coins = [word("salt", unit, ranking, i) for i in range(2 * r + 2)]
        first = coins[1 if one_coin else 2 * r + 1] < 0.5
        kind = "pair" if k - len(slots) > 1 else "half"
        both = [Slot(0, c, kind, "champion", r, r + 1, None), Slot(0, t, kind, "candidate", r, None, r + 1)]
        for slot in (both[::-1] if first else both)[:k - len(slots)]:
            slots.append(msgspec.structs.replace(slot, position=len(slots) + 1))
        r += 1
    return slots[offset:], coins


def impression(i, *, plan=PLAN, champion=None, candidate=None, k=4, offset=0, **changes):
    experiment = plan.surfaces["home"].experiment
    unit = next(f"u{i}-{j}" for j in range(50) if in_lane(f"u{i}-{j}"))
    champion = champion if champion is not None else [f"c{j}" for j in range(8)]
    candidate = candidate if candidate is not None else [f"t{j}" for j in range(8)]
    slots, coins = draft(champion, candidate, offset + k, unit, f"r{i}", offset, experiment.coin == "list")
    whole = Impression(
        event_id=f"00000000-0000-7000-8000-{i:012d}", request_id=f"q{i}", ranking_id=f"r{i}", time=T0, user_id=unit,
        surface="home", mode="interleave", lane="interleave", plan=plan.hash, slots=slots, k=k, offset=offset,
        page=2 if offset else 1, experiment="e1", stage="ramp_50", share=experiment.share, policy="pair_draft",
        salt="salt", coins=coins,
        models=[ModelAnswer("champion", "old", "1", "ok", 1.0, len(champion), champion),
                ModelAnswer("candidate", "new", "1", "ok", 1.0, len(candidate), candidate)])
    return msgspec.structs.replace(whole, **changes)


def audit(*impressions, plan=PLAN):
    return Auditor("e1", {plan.hash: plan}.get).audit(impressions)


# ------------------------------------------------------------------------------------------------------- coin audit
def test_what_the_draft_served_agrees():
    tally = audit(*(impression(i, k=3 + i % 4) for i in range(60)))
    assert (tally.impressions, tally.interleaved, tally.mismatches) == (60, 60, 0), tally.examples
    assert coin_audit(tally).status == "ok"


def test_second_pages_and_one_coin_per_list_agree():
    assert audit(*(impression(i, offset=2, k=3) for i in range(20))).mismatches == 0
    plan = plan_with(coin="list")
    assert audit(*(impression(i, plan=plan) for i in range(20)), plan=plan).mismatches == 0


def test_pins_and_filler_are_no_part_of_the_draft():
    one = impression(1, k=3)
    slots = [Slot(1, "ad", "pinned"), *(msgspec.structs.replace(s, position=s.position + 1) for s in one.slots)]
    assert audit(msgspec.structs.replace(one, slots=slots, k=4)).mismatches == 0


def swap_owner(one):
    flip = {"champion": "candidate", "candidate": "champion"}
    return [msgspec.structs.replace(s, owner=flip[s.owner]) for s in one.slots]


@pytest.mark.parametrize(("change", "words"), [
    (lambda i: {"coins": [0.5] * len(i.coins)}, "coins"),
    (lambda i: {"slots": i.slots[::-1]}, "position"),
    (lambda i: {"slots": swap_owner(i)}, "owner"),
    (lambda i: {"slots": i.slots[:-1]}, "slots were shown"),
    (lambda i: {"share": 0.25}, "share"),
    (lambda i: {"stage": "ramp_5"}, "stage"),
    (lambda i: {"salt": "pepper"}, "salt"),
    (lambda i: {"plan": "f" * 16}, "plan"),
    (lambda i: {"ranking_id": "another"}, "coins"),
    (lambda i: {"lane": "holdout"}, "lane"),
    (lambda i: {"user_id": "somebody"}, "coins"),
    (lambda i: {"slots": [msgspec.structs.replace(i.slots[0], item_id="t7"), *i.slots[1:]]}, "item_id"),
])
def test_every_tampering_is_found_and_voids(change, words):
    good = impression(5)
    tally = audit(impression(4), msgspec.structs.replace(good, **change(good)))
    assert tally.mismatches == 1
    check = coin_audit(tally)
    assert check.status == "void"
    assert "q5" in check.reason and words in check.reason


def test_a_holdout_user_who_was_shown_the_candidate_is_found():
    unit = next(f"h{j}" for j in range(200) if not in_lane(f"h{j}"))
    one = impression(1)
    slots, coins = draft(one.models[0].items, one.models[1].items, 4, unit, "r1")
    bad = msgspec.structs.replace(one, user_id=unit, slots=slots, coins=coins)
    assert "lane" in audit(bad).examples[0]


def test_other_modes_are_counted_and_other_experiments_left_out():
    fallback = impression(1, mode="fallback", coins=[], slots=[])
    tally = audit(fallback, impression(2, experiment="e2"))
    assert (tally.impressions, tally.interleaved, tally.mismatches) == (1, 0, 0)
    assert coin_audit(tally).status == "no_data"


def test_tallies_add():
    parts = [impression(i) for i in range(30)]
    both, whole = audit(*parts[:11]) + audit(*parts[11:]), audit(*parts)
    for name in Tally.__struct_fields__:
        assert getattr(both, name) == pytest.approx(getattr(whole, name), abs=1e-9), name


def test_examples_are_few():
    tally = audit(*(impression(i, share=0.1) for i in range(40)))
    assert tally.mismatches == 40 and len(tally.examples) == 20


# ----------------------------------------------------------------------------------------------------- sample ratio
@pytest.mark.parametrize(("counts", "holdout", "e", "p", "status"), [
    ((5000, 5200), 0.5, 0.088157, 0.0476704, "ok"),
    ((10000, 10400), 0.5, 0.442966, 0.0051014, "ok"),
    ((9600, 400), 0.05, 384.17, 4.46839e-06, "ok"),
    ((9000, 400), 0.05, None, None, "ok"),
    ((9000, 700), 0.05, None, None, "void"),
])
def test_sample_ratio_of_the_reference(counts, holdout, e, p, status):
    config = AT_ONCE.model_copy(update={"holdout": holdout})
    check = sample_ratio({"ramp_50": {"interleave": counts[0], "holdout": counts[1]}}, config)
    assert check.status == status
    if e is not None:  # the mean over ramp_50 and the promotion that is yet to come
        assert check.numbers["stages"]["ramp_50"]["e"] == pytest.approx(e, rel=1e-4)
        assert (check.e_value, check.p_value) == pytest.approx(((e + 1) / 2, p), rel=1e-4)


def test_sample_ratio_needs_two_lanes_and_users():
    assert sample_ratio({}, CONFIG).status == "no_data"
    alone = AT_ONCE.model_copy(update={"holdout": 0.0, "guardrails": ()})
    assert sample_ratio({"ramp_50": {"interleave": 500}}, alone).status == "ok"
    assert sample_ratio({"ramp_50": {"interleave": 500, "holdout": 3}}, alone).status == "void"
    three = AT_ONCE.model_copy(update={"holdout": 0.1, "lane_share": 0.5})
    assert sample_ratio({"ramp_50": {"interleave": 450, "holdout": 100, "rest": 450}}, three).status == "ok"
    assert sample_ratio({"ramp_50": {"interleave": 700, "holdout": 100, "rest": 200}}, three).status == "void"


# ----------------------------------------------------------------------------------------------------------- parity
def test_parity_counts_and_p_values():
    tally = audit(*(impression(i) for i in range(400)))
    first = sum(1 if s.owner == "candidate" else -1 for i in range(400) for s in impression(i).slots
                if s.position in (1, 3))
    check = parity(tally)
    assert check.status == "ok" and check.n == 800
    assert check.numbers["first"]["s"] == first and check.numbers["first"]["v"] == 800
    assert check.numbers["first"]["p"] == pytest.approx(math.erfc(abs(first) / math.sqrt(800) / math.sqrt(2)))
    a = sum((1 if i.slots[j].owner == "candidate" else -1) * (1 / (j + 1) - 1 / (j + 2))
            for i in (impression(n) for n in range(400)) for j in (0, 2))
    assert check.numbers["rank"]["s"] == pytest.approx(a)


def test_a_biased_coin_voids():
    tally = Tally(impressions=1000, interleaved=1000, first=(400.0, 4000.0))
    check = parity(tally)
    assert check.status == "void" and "shown first" in check.reason and check.e_value > 1000


def again(one, n):
    """The same ranking once more: as a new request, with a new event id."""
    return msgspec.structs.replace(one, event_id=f"00000000-0000-7000-9000-{n:012d}", request_id=f"again{n}")


@pytest.mark.parametrize("coin", ["round", "list"])
def test_a_ranking_that_comes_again_throws_no_new_coins(coin):
    """A shop that sends the same ranking id all day: sound, and it must stay so."""
    plan = plan_with(coin=coin)
    once = [impression(i, plan=plan) for i in range(20)]
    often = [again(one, 1000 * i + n) for i, one in enumerate(once) for n in range(200)]
    single, many = audit(*once, plan=plan), audit(*once, *often, plan=plan)
    assert many.mismatches == 0 and many.interleaved == 20 * 201
    assert (many.first, many.rank, many.shown) == (single.first, single.rank, single.shown)
    assert parity(many).status == "ok"
    every = sum((Auditor("e1", {plan.hash: plan}.get).one(one) for one in (*once, *often)), Tally())
    assert parity(every).e_value > 1000 > parity(many).e_value  # what counting all of them would have said


def test_rankings_that_callers_name_are_remembered_up_to_a_number():
    first, second, third = (impression(i) for i in range(3))
    known = Rankings(room=2)
    assert [known(first), known(again(first, 1)), known(second), known(third)] == [True, False, True, False]
    own = msgspec.structs.replace(first, ranking_id=first.event_id)
    assert known(own) and len(known.seen) == 2  # the gateway's own names need no memory
    known.forget("2026-03-01")
    assert known(first) and not any("u" in digest or "r" in digest for digest in known.seen)


def test_parity_says_what_it_leaves_out():
    """Callers name more rankings than are remembered: parity stands on the first ones, and says so."""
    plan = plan_with()
    shown = [impression(i) for i in range(30)]
    known = Rankings(room=20)
    auditor = Auditor("e1", {plan.hash: plan}.get)
    tally = auditor.audit(shown[:15], known) + auditor.audit([*shown[15:], again(shown[0], 1)], known)
    alone = audit(*shown[:20])
    assert tally.uncounted == 10 and len(known.seen) == 20 and tally.interleaved == 31 and tally.mismatches == 0
    check = parity(tally)
    assert (check.status, check.warning, check.numbers["uncounted"]) == ("ok", True, 10)
    assert "without 10 pages" in check.reason and check.numbers["first"] == parity(alone).numbers["first"]
    assert not parity(alone).warning and "uncounted" not in parity(alone).numbers
    biased = parity(tally + Tally(first=(400.0, 4000.0)))
    assert biased.status == "void" and "without 10 pages" in biased.reason


def of_mode(mode, owner="champion", kind="solo", *, lane="interleave", share=0.5, failed=(), items=None):
    """A page that was not drafted: one list in its own order."""
    plan = plan_with(share=share)
    one = impression(3, plan=plan, mode=mode, coins=[], lane=lane)
    answers = [msgspec.structs.replace(a, status="timeout", items=[]) if a.role in failed else a for a in one.models]
    shown = items or next(a for a in one.models if a.role == (owner or "champion")).items[:4]
    slots = [Slot(n, item, kind, owner) for n, item in enumerate(shown, 1)]
    return audit(msgspec.structs.replace(one, slots=slots, models=answers), plan=plan)


@pytest.mark.parametrize("tally", [
    of_mode("shadow"),
    of_mode("fallback", "candidate", "uncontested", failed=("champion",)),
    of_mode("fallback", "champion", "uncontested", failed=("candidate",)),
    of_mode("degraded", None, "filler", failed=("champion", "candidate")),
], ids=["shadow", "candidate stands in", "champion stands in", "degraded"])
def test_who_may_stand_on_a_page_that_was_not_drafted(tally):
    assert tally.mismatches == 0 and tally.interleaved == 0, tally.examples


@pytest.mark.parametrize(("tally", "words"), [
    (of_mode("shadow", "candidate"), "the candidate owns"),
    (of_mode("champion", "candidate"), "the candidate owns"),
    (of_mode("shadow", "champion", "pair"), "competitive"),
    (of_mode("shadow", items=["c0", "t0", "c1", "c2"]), "not in its list"),
    (of_mode("fallback", "candidate", "uncontested", failed=("candidate",)), "the candidate owns"),
    (of_mode("fallback", "candidate", "uncontested", failed=("champion",), share=0.0), "served as fallback"),
    (of_mode("degraded", "champion", failed=("champion", "candidate")), "the champion owns"),
])
def test_a_stranger_on_a_page_that_was_not_drafted_voids(tally, words):
    assert coin_audit(tally).status == "void" and words in tally.examples[0]


def test_parity_alarms_are_rare_however_often_one_looks():
    """Fair coins, a look after every fifty pairs: of 2,000 services at most one in 1,000 may ever alarm."""
    rng = np.random.default_rng(23)
    alarms = 0
    for signs in rng.choice([-1.0, 1.0], (2_000, 5_000)):
        walk = np.cumsum(signs)[49::50]
        looks = [parity(Tally(first=(float(s), float(50 * (i + 1))))).status
                 for i, s in enumerate(walk) if abs(s) > 2.5 * math.sqrt(50 * (i + 1))]
        alarms += "void" in looks
    print(f"parity alarms: {alarms} of 2000 services")
    assert alarms <= 8  # P(more | 1/1000) < 2e-4


# ---------------------------------------------------------------------------------------------------------- overlap
def test_overlap():
    same = [f"c{j}" for j in range(8)]
    tally = audit(*(impression(i, candidate=same) for i in range(10)))
    check = overlap(tally)
    assert tally.mismatches == 0 and overlap_of(tally) == 1.0
    assert check.warning and check.status == "ok" and "overlap = 1.0" in check.reason
    near = [*same[:7], "t7"]
    low = overlap(audit(*(impression(i, candidate=near, k=7 + i % 20 // 19) for i in range(20))))
    assert low.warning and "low power" in low.reason
    fine = overlap(audit(*(impression(i) for i in range(5))))
    assert not fine.warning and fine.numbers["candidate_share"] == pytest.approx(0.5)
    assert overlap(Tally()).status == "no_data" and overlap_of(Tally()) is None
