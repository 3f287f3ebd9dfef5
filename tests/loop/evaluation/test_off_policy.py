"""Off-policy evaluation over logged propensities: drafts of the real policy, and shoppers whose taste is known."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from incumbent import cli
from incumbent.clock import ManualClock
from incumbent.config import load
from incumbent.errors import DataError, NotFoundError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Feedback, Impression, ModelAnswer
from incumbent.experiments.pair_draft import PairDraft
from incumbent.loop.evaluation.held_out import period_of
from incumbent.loop.evaluation.off_policy import FOLDS, contested
from incumbent.stats.buckets import bucket_of
from incumbent.stores.memory_lake import MemoryLake

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
PERIOD = period_of("2026-03-02")
CLICKS = {"champion": 0.1, "candidate": 0.3}  # of a slot, by the model whose item it shows


def log(users=300, share=0.3, seed=1, experiment="e1", requests=4):
    """Impressions drafted at a share over disjoint lists, clicked at the rate of the item's model."""
    rng, ids, draft = random.Random(seed), EventIds(ManualClock(T0)), PairDraft()
    champion, candidate = [f"c{n}" for n in range(8)], [f"t{n}" for n in range(8)]
    events = []
    for n in range(users * requests):
        event_id, user = ids.new(), f"u{n % users}"
        slots = draft.choose(champion, candidate, 6, share=share, salt=experiment, unit=user,
                             ranking_id=f"r{seed}-{n}").slots
        events.append(Impression(
            event_id=event_id, request_id=event_id, ranking_id=event_id, time=T0, user_id=user, surface="home",
            mode="interleave", lane="interleave", plan="0" * 16, slots=slots, experiment=experiment, stage="ramp_25",
            share=share, models=[ModelAnswer("champion", "a", "1", "ok", 2.0, 8, champion)]))
        events += [Feedback(event_id=ids.new(), time=T0 + timedelta(hours=1), user_id=user, item_id=slot.item_id,
                            action="click", request_id=event_id)
                   for slot in slots if rng.random() < CLICKS[slot.owner]]
    return events


def lake_of(*events):
    lake = MemoryLake(4)
    lake.commit([event for part in events for event in part], "w", 0)
    return lake


@pytest.fixture(scope="module")
def found():
    return contested(lake_of(log()), PERIOD, surface="home")


class TestEstimates:
    @pytest.mark.parametrize(("share", "truth"), [(0.0, 0.1), (1.0, 0.3), (0.5, 0.2)])
    def test_each_model_alone(self, found, share, truth):
        """The intervals hold the click rates that the shoppers were made with, and are narrow enough to mean it."""
        made = found.at(share).estimates()
        for name in ("ips", "snips", "doubly_robust"):
            assert made[name].low <= truth <= made[name].high and made[name].high - made[name].low < 0.05
        assert made["mean_weight"].low <= 1 <= made["mean_weight"].high

    def test_the_logged_share_is_what_was_seen(self, found):
        made = found.at(0.3)
        assert made.estimates()["ips"].value == pytest.approx(made.estimates()["on_policy"].value)
        assert made.state.effective_rows == pytest.approx(found.counts["slots"])

    def test_no_slot_is_predicted_by_its_own_user(self, found):
        """The prediction of a user's slots does not move with what that user did."""
        user = found.user_id[0]
        other = [1.0 - reward if who == user else reward
                 for who, reward in zip(found.user_id, found.reward, strict=True)]
        changed = replace(found, reward=other)
        mine = np.array([who == user for who in found.user_id])
        for before, after in zip(found.predictions, changed.predictions, strict=True):
            assert (before[mine] == after[mine]).all() and (before[~mine] != after[~mine]).any()

    def test_predictions_by_plain_python(self, found):
        """The other folds' mean at the position, drawn by 20 slots towards their mean over all positions."""
        folds = bucket_of(found.user_id, FOLDS).tolist()
        rows = list(zip(folds, found.candidate, found.position, found.reward, strict=True))
        for n in (0, 17, 4000):
            fold, _, position, _ = rows[n]
            for side, prediction in enumerate(found.predictions):
                others = [(at, reward) for f, own, at, reward in rows if f != fold and own == bool(side)]
                overall = sum(reward for _, reward in others) / len(others)
                here = [reward for at, reward in others if at == position]
                assert prediction[n] == pytest.approx((sum(here) + 20 * overall) / (len(here) + 20))

    def test_a_model_of_positions_takes_variance_off(self, found):
        made = found.at(1.0).estimates()
        assert made["doubly_robust"].se < made["ips"].se

    def test_counts(self, found):
        assert found.counts["requests"] == 1200 and found.counts["users"] == 300
        assert found.counts["slots"] == 7200 and found.counts["acted_on"] == sum(found.reward) > 800

    def test_a_canary_says_nothing_of_the_candidate_alone(self):
        """At a share of 1 % the effective sample is 1 % of the slots, of few users: refused; the champion's is not."""
        small = contested(lake_of(log(users=60, share=0.01)), PERIOD, surface="home")
        assert "effective sample is too small" in small.at(1.0).refused
        assert small.at(0.0).refused is None


class TestWhatCounts:
    def test_feedback_of_others_is_none(self):
        """Another user's, another item's, of no request, barred, too late: no slot is acted on."""
        events = [event for event in log(users=30, requests=1) if isinstance(event, Impression)]
        ids, shown = EventIds(ManualClock(T0)), events[0]
        item = shown.slots[0].item_id

        def act(**change):
            return Feedback(**{"event_id": ids.new(), "time": T0 + timedelta(hours=1), "user_id": shown.user_id,
                               "item_id": item, "action": "click", "request_id": shown.request_id, **change})

        wrong = [act(user_id="x"), act(item_id="x"), act(request_id=None), act(marks=["forged"]),
                 act(time=T0 + timedelta(days=9)), act(action="view"), act(time=T0 + timedelta(days=7, hours=1)),
                 act(time=T0 - timedelta(hours=1))]
        assert contested(lake_of(events, wrong), PERIOD, surface="home").counts["acted_on"] == 0
        assert contested(lake_of(events, [act(), act(action="purchase")]), PERIOD,
                         surface="home").counts["acted_on"] == 1

    def test_what_its_shopper_excluded_is_none(self):
        events = [event for event in log(users=30, requests=1) if isinstance(event, Impression)]
        ids, shown = EventIds(ManualClock(T0)), events[0]
        acts = [Feedback(event_id=ids.new(), time=T0 + timedelta(hours=1), user_id=shown.user_id, item_id=slot.item_id,
                         action="click", request_id=shown.request_id) for slot in shown.slots[:2]]
        lake = lake_of(events, acts)
        assert contested(lake, PERIOD, surface="home", left_out={acts[0].event_id}).counts["acted_on"] == 1
        assert contested(lake, PERIOD, surface="home").counts["acted_on"] == 2

    def test_errors_name_what_there_is(self):
        with pytest.raises(DataError, match="no experiment in the period"):
            contested(MemoryLake(4), PERIOD, surface="home")
        both = lake_of(log(users=5), log(users=5, experiment="e2", seed=2))
        with pytest.raises(DataError, match="several experiments"):
            contested(both, PERIOD, surface="home")
        with pytest.raises(NotFoundError, match="one of e1, e2"):
            contested(both, PERIOD, surface="home", experiment="e3")
        assert contested(both, PERIOD, surface="home", experiment="e2").experiment == "e2"
        with pytest.raises(DataError, match=r"share must be in \[0, 1\]"):
            contested(both, PERIOD, surface="home", experiment="e2").at(1.5)
        shadow = [event for event in log(users=5, share=0.0) if isinstance(event, Impression)]
        alone = contested(lake_of(shadow), PERIOD, surface="home")
        assert "the effective sample is too small" in alone.at(1.0).refused  # no slot was ever the candidate's


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    from incumbent.commands.common import stores

    monkeypatch.chdir(tmp_path)
    (tmp_path / "incumbent.toml").write_text(
        '[models.a]\ntarget = "m:a"\n[surfaces.home]\nchampion = "a"\n')
    with stores(load("incumbent.toml"), make=True) as held:
        held.lake.commit(log(users=150, requests=2), "w", 0)

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main(["evaluate", "--off-policy", "--data", "2026-03-02", *arguments])
        return end.value.code, *capsys.readouterr()

    code, out, _ = run()
    assert code == 0 and "champion alone: effective sample" in out and "candidate alone" in out and "snips" in out
    code, out, _ = run("--share", "1", "--json")
    made = json.loads(out)["shares"]["1"]
    assert code == 0 and made["estimates"]["snips"]["low"] < 0.3 < made["estimates"]["snips"]["high"]
    code, _, err = run("--share", "2")
    assert code == 2 and "share must be in [0, 1]" in err
    code, _, err = run("--data", "bought.csv")
    assert code == 2 and "off-policy evaluation reads the log" in err
