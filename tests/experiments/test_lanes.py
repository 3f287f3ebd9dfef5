"""Lanes that widen along the ramp: nobody leaves, whom a stage meets anew, and the sample ratio of each stage."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.config import ExperimentConfig, StageConfig
from incumbent.events.plan import ExperimentPlan
from incumbent.experiments.assignment import assign
from incumbent.experiments.experiment import lane_share_of, lane_shares
from incumbent.experiments.lanes import entries_of, groups_of, lane_at
from incumbent.experiments.validity import sample_ratio

CONFIG = ExperimentConfig(surface="home", candidate="new", holdout=0.1)
STAGES = [stage.stage for stage in CONFIG.stages]
SHARES = [stage.lane_share for stage in CONFIG.stages]


# ---------------------------------------------------------------------------------------------------- nobody leaves
@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([None, 0.01, 0.05, 0.2, 0.5, 0.99, 1.0]), min_size=6, max_size=6),
       st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([0.3, 1.0]), st.text(min_size=1, max_size=5))
def test_nobody_leaves_the_interleave_lane_as_stages_rise(own, holdout, most, salt):
    declared = [most if share is None else share for share in own]
    own = own if declared == sorted(declared) else sorted(declared)
    stages = tuple(StageConfig(stage=stage, share=0.0, lane_share=share)
                   for stage, share in zip(STAGES, own, strict=True))
    config = ExperimentConfig(surface="home", candidate="new", holdout=holdout, lane_share=most, stages=stages)
    plans = [ExperimentPlan("e", "new", salt, stage, 0.5, holdout=holdout, lane_share=lane_share_of(config, stage))
             for stage in (*STAGES, "promoted")]
    for user in (f"u{n}" for n in range(60)):
        lanes = [assign(plan, user, {}) for plan in plans]
        steps = {step for step in pairwise(lanes) if step[0] != step[1]}
        assert steps <= {("rest", "interleave")}
        (entry,) = entries_of({STAGES[0]: lanes[:1]}, user, salt, lane_shares(config))
        assert [lane_at(entry, plan.stage) for plan in plans] == lanes  # all of it told from the first stage


def test_a_user_counts_until_the_candidate_may_have_touched_them():
    assert list(groups_of({"ramp_5": ["holdout"], "shadow": ["holdout"], "ramp_50": ["holdout"]})) == [
        ("shadow", "holdout"), ("shadow>ramp_5", "holdout"), ("ramp_5>ramp_50", "holdout")]
    assert list(groups_of({"canary": ["outside"], "ramp_5": ["interleave"], "promoted": ["interleave"]})) == [
        ("ramp_5", "interleave")]
    assert list(groups_of({"ended": ["rest"]})) == []
    assert entries_of({"canary": ["outside"]}, "u1", "e", lane_shares(CONFIG)) == []


# ----------------------------------------------------------------------------------------------------- sample ratio

def ramp(seed, *, users=8_000, served=None, stays=1.0, newcomers=0, looks=1):
    """The groups after each look of a ramp through which all shoppers come back now and then: counted from the words of
    the definition, one shopper at a time. `served` are the lane shares that the gateways use; of those who were in the
    interleave lane such a part `stays`."""
    rng = np.random.default_rng(seed)
    h, lane = rng.random((2, users + newcomers * len(STAGES)))
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    last, touched, gone, found = {}, set(), set(), []
    for at, (stage, share) in enumerate(zip(STAGES, served or SHARES, strict=True)):
        for part in np.array_split(rng.permutation(users + newcomers * (at + 1)), looks):
            for user in part:
                if user in gone or rng.random() < 0.4:
                    continue
                where = "holdout" if h[user] < 0.1 else "interleave" if lane[user] < share else "rest"
                if user not in touched:
                    groups[f"{last[user]}>{stage}" if user in last else stage][where] += 1
                last[user] = stage
                if where == "interleave":
                    touched.add(user)
                    if rng.random() > stays:
                        gone.add(user)
            found.append({group: dict(lanes) for group, lanes in groups.items()})
    return found


@pytest.mark.parametrize("stays", [1.0, 0.3], ids=["all come back", "the candidate drives shoppers away"])
def test_a_sound_ramp_of_an_established_shop_stays_quiet(stays):
    for groups in ramp(3, stays=stays, newcomers=300):
        check = sample_ratio(groups, CONFIG)
        assert check.status == "ok" and check.e_value < 20 and check.p_value > 1e-3, check.reason
    assert check.n > 8_000 and set(check.numbers["stages"]) == set(STAGES)


def test_users_per_stage_counted_without_regard_to_what_they_met_would_alarm():
    """Why those who were interleaved before count no more: that they stay away is the candidate's doing."""
    rng = np.random.default_rng(5)
    h, lane = rng.random((2, 8_000))
    came = (rng.random(8_000) < 0.6) & ((h < 0.1) | (lane >= 0.5) | (rng.random(8_000) < 0.3))
    where = np.where(h < 0.1, "holdout", "interleave")[came]
    counted = {"ramp_50": {name: int((where == name).sum()) for name in ("holdout", "interleave")}}
    assert sample_ratio(counted, CONFIG).status == "void"


@pytest.mark.parametrize("wrong", range(6), ids=STAGES)
def test_a_wrong_lane_share_in_one_stage_alone_is_found(wrong):
    """The gateways interleave 1.6 times the planned part (of the last rung 0.9), before and after as planned."""
    served = [share * (1.6 if share < 1 else 0.9) if at == wrong else share for at, share in enumerate(SHARES)]
    looks = ramp(11, served=served)
    assert sample_ratio(looks[wrong], CONFIG).status == "void"
    assert wrong == 0 or sample_ratio(looks[wrong - 1], CONFIG).status == "ok"
    assert sample_ratio(looks[wrong], CONFIG).reason.startswith("users") and STAGES[wrong] in sample_ratio(
        looks[wrong], CONFIG).reason


def test_alarms_are_as_rare_as_promised_however_often_one_looks():
    """Sound ramps, five looks a stage: the mean over the stages exceeds 20 in at most one of twenty."""
    ramps = 120
    alarms = sum(max(sample_ratio(groups, CONFIG).e_value or 0.0 for groups in ramp(1_000 + i, users=250, looks=5,
                                                                                    newcomers=20)) > 20
                 for i in range(ramps))
    print(f"e > 20 in {alarms} of {ramps} sound ramps")
    assert alarms <= 14  # P(more | 1/20) < 1e-3


def test_one_lane_share_for_all_stages_asks_newcomers_alone():
    flat = CONFIG.model_copy(update={"stages": tuple(s.model_copy(update={"lane_share": None}) for s in CONFIG.stages)})
    groups = {"canary": {"interleave": 900, "holdout": 100}, "canary>ramp_5": {"holdout": 80}}
    check = sample_ratio(groups, flat)
    assert check.status == "ok" and check.e_value == pytest.approx(
        (6 + check.numbers["stages"]["canary"]["e"]) / 7) and check.numbers["stages"]["ramp_5"]["e"] == 1
    assert sample_ratio({**groups, "canary>ramp_5": {"interleave": 1}}, flat).status == "void"


def test_the_hash_of_the_entry_is_that_of_the_assignment():
    for n in range(400):
        digest = hashlib.blake2b(f"exp1\x1fu{n}".encode(), digest_size=16, person=b"lane").digest()
        point = int.from_bytes(digest[8:], "big") / 2**64
        stage = next(stage for stage, share in zip(STAGES, SHARES, strict=True) if point < share)
        assert entries_of({"shadow": ["rest"]}, f"u{n}", "exp1", lane_shares(CONFIG)) == [stage]
