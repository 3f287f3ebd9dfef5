"""A model that was never served, by the log of those that were: drafts of known shoppers, and a real log."""

from __future__ import annotations

import csv
import gzip
import json
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

from incumbent import cli
from incumbent.clock import ManualClock
from incumbent.config import load
from incumbent.errors import DataError
from incumbent.events.ids import EventIds
from incumbent.events.plan import ModelPlan
from incumbent.events.schema import Feedback, Impression, ModelAnswer
from incumbent.experiments.pair_draft import PairDraft
from incumbent.loop.evaluation.held_out import period_of
from incumbent.loop.evaluation.off_policy_model import depth, of_file, of_model, of_period, rounds
from incumbent.stores.memory_lake import MemoryLake

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
PERIOD = period_of("2026-03-02")
CLICKS = {"c": 0.1, "t": 0.3, "s": 0.5}  # of a slot, by the first letter of its item
CHAMPION, CANDIDATE = ["s0", *(f"c{n}" for n in range(7))], ["s0", *(f"t{n}" for n in range(7))]
OBD = Path(__file__).resolve().parents[4] / "shared" / "data" / "obd"
needs_obd = pytest.mark.skipif(not OBD.exists(), reason="the Open Bandit Dataset sample is not there")


def mixed(request, k):
    """The champion's list to shoppers of even number, the candidate's to the others."""
    return [(item, None) for item in (CANDIDATE if int(request.user_id[1:]) % 2 else CHAMPION)[:k]]


def strange(request, k):
    return [(f"x{n}", None) for n in range(k)]


def third(request, k):
    """Now and then something that was never shown."""
    return [("x", None)] if int(request.user_id[1:]) % 3 == 0 else mixed(request, k)


def down(request, k):
    raise RuntimeError("down")


def by_feature(request, k):
    """A fixed item for each value of the first feature."""
    return [(str(int(str(request.context["user_feature_0"])[:6], 16) % 34), None)]


@pytest.fixture(autouse=True)
def module(monkeypatch):
    made = ModuleType("unserved_models")
    for function in (mixed, strange, third, down, by_feature):
        setattr(made, function.__name__, function)
    monkeypatch.setitem(sys.modules, "unserved_models", made)


def log(users=250, share=0.4, requests=3):
    rng, ids, draft = random.Random(4), EventIds(ManualClock(T0)), PairDraft()
    events = []
    for n in range(users * requests):
        event_id, user = ids.new(), f"u{n % users}"
        slots = draft.choose(CHAMPION, CANDIDATE, 6, share=share, salt="e1", unit=user, ranking_id=f"r{n}").slots
        events.append(Impression(
            event_id=event_id, request_id=event_id, ranking_id=event_id, time=T0, user_id=user, surface="home",
            mode="interleave", lane="interleave", plan="0" * 16, slots=slots, experiment="e1", stage="ramp_50",
            share=share, models=[ModelAnswer("champion", "a", "1", "ok", 2.0, 8, CHAMPION),
                                 ModelAnswer("candidate", "b", "1", "ok", 2.0, 8, CANDIDATE)]))
        events += [Feedback(event_id=ids.new(), time=T0 + timedelta(hours=1), user_id=user, item_id=slot.item_id,
                            action="click", request_id=event_id)
                   for slot in slots if rng.random() < CLICKS[slot.item_id[0]]]
    return events


@pytest.fixture(scope="module")
def logged():
    lake = MemoryLake(4)
    lake.commit(log(), "w", 0)
    return of_period(lake, PERIOD, surface="home")


def judged(logged, name):
    plan = ModelPlan(name, "callable", f"unserved_models:{name}", "1", deadline_ms=5000)
    return of_model(logged, plan, ManualClock(T0), k=depth(logged))


class TestPeriods:
    def test_a_mixture_of_the_two_is_what_its_items_are_worth(self, logged):
        """First slots of rounds: one shared one a request, then the mixture's own, half at 0.1, half at 0.3."""
        made, met = judged(logged, "mixed")
        own = len(logged.actions) / logged.counts["requests"] - 1  # rounds after the shared one
        truth = (0.5 + own * 0.2) / (1 + own)
        found = made.estimates()
        assert made.refused is None and met["out_of_reach"] == 0 and met["without_item"] == 0
        assert found["mean_weight"].low <= 1 <= found["mean_weight"].high
        for name in ("ips", "snips", "doubly_robust"):
            assert found[name].low <= truth <= found[name].high and found[name].high - found[name].low < 0.08

    def test_what_the_log_could_not_show_is_refused_with_its_part(self, logged):
        made, met = judged(logged, "strange")
        assert met["out_of_reach"] == len(logged.actions) and made.state.support == 0
        assert "could not have shown 100% of what the target policy does" in made.refused
        made, _ = judged(logged, "third")
        assert made.state.support == pytest.approx(166 / 250) and "could not have shown 34%" in made.refused
        assert all(made.estimates()[name].value is None for name in ("ips", "snips", "doubly_robust"))

    def test_a_model_that_fails_shows_nothing(self, logged):
        made, met = judged(logged, "down")
        assert met["without_item"] == len(logged.actions) and made.refused is not None

    def test_lists_that_were_cleaned_are_left_out_and_counted(self):
        events = [event for event in log(users=8, requests=1) if isinstance(event, Impression)]
        cleaned = [Impression(**{name: getattr(event, name) for name in event.__struct_fields__ if name != "models"},
                              models=[*event.models[:1], ModelAnswer("candidate", "b", "1", "ok", 2.0, 8, CANDIDATE,
                                                                     reason="duplicates=1 delisted=2")])
                   for event in events[:3]]
        lake = MemoryLake(4)
        lake.commit([*cleaned, *events[3:]], "w", 0)
        found = of_period(lake, PERIOD, surface="home")
        assert (found.counts["requests"], found.counts["requests_with_items_taken_out"]) == (5, 3)


def test_the_beginnings_of_rounds_by_the_frequencies_of_many_drafts():
    """Whatever stands above, each item that could begin a round does so as often as its chance says, no other does."""
    draft, seen, times = PairDraft(), {}, 4000
    champion, candidate = ["a", "b", "c", "d", "e"], ["c", "a", "x", "b", "y"]
    for n in range(times):
        slots = draft.choose(champion, candidate, 4, share=0.3, salt="s", unit="u", ranking_id=str(n)).slots
        plain = [{name: getattr(slot, name) for name in slot.__struct_fields__} for slot in slots]
        for slot, above, reach, chance in rounds(plain, {"champion": champion, "candidate": candidate}):
            assert slot["item_id"] in reach and not above & reach
            key = tuple(one.item_id for one in slots[:slot["position"] - 1])
            seen.setdefault((key, reach), []).append((slot["item_id"], chance))
    often = {key: found for key, found in seen.items() if len(found) > 300}
    assert len(often) >= 5
    for (_, reach), found in often.items():
        for item in reach:
            chances = {chance for one, chance in found if one == item}
            assert len(chances) == 1
            [chance] = chances
            part = sum(one == item for one, _ in found) / len(found)
            assert abs(part - chance) <= 4 * (chance * (1 - chance) / len(found)) ** 0.5


def written(folder, policy, campaign):
    with gzip.open(OBD / policy / campaign / f"{campaign}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    path = folder / "log.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "item_id", "reward", "propensity", "position", "user_feature_0"])
        for row in rows:
            writer.writerow(["/".join(row[f"user_feature_{n}"] for n in range(4)), row["item_id"], row["click"],
                             row["propensity_score"], row["position"], row["user_feature_0"]])
    return path, rows


@needs_obd
class TestOpenBandit:
    def test_from_a_uniform_log_it_is_the_mean_of_the_rows_that_it_would_have_chosen(self, tmp_path):
        path, rows = written(tmp_path, "random", "men")
        made, met = judged(of_file(path), "by_feature")
        mine = [int(row["click"]) for row in rows
                if row["item_id"] == str(int(row["user_feature_0"][:6], 16) % 34)]
        found = made.estimates()
        assert made.refused is None and met["matched"] == len(mine) == pytest.approx(made.state.effective_rows)
        assert found["snips"].value == pytest.approx(sum(mine) / len(mine))
        assert found["snips"].low <= 0.0046 <= found["snips"].high  # what the uniform policy itself had

    def test_from_a_log_that_hardly_showed_them_it_is_refused(self, tmp_path):
        path, _ = written(tmp_path, "bts", "women")
        made, met = judged(of_file(path), "by_feature")
        assert "the effective sample is too small: 9.4 of 10000 rows" in made.refused and met["matched"] == 41


def test_a_file_without_a_propensity_is_named(tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id,reward\nu,a,1\n")
    with pytest.raises(DataError, match="logged lack columns propensity"):
        of_file(tmp_path / "log.csv")


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    from incumbent.commands.common import stores

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "incumbent.toml").write_text('[models.a]\ntarget = "m:a"\n[surfaces.home]\nchampion = "a"\n')
    with stores(load("incumbent.toml"), make=True) as held:
        held.lake.commit(log(users=150, requests=2), "w", 0)

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main(["evaluate", "--off-policy", "--data", "2026-03-02", *arguments])
        return end.value.code, *capsys.readouterr()

    code, out, _ = run("--candidate", "unserved_models:mixed")
    assert code == 0 and "unserved_models:mixed, never served: support 100%, effective sample" in out and "snips" in out
    code, out, _ = run("--candidate", "unserved_models:strange", "--json")
    told = json.loads(out)
    assert code == 5 and told["support"] == 0 and "could not have shown 100%" in told["refused"]
    code, _, err = run("--candidate", "unserved_models:mixed", "--share", "0.5")
    assert code == 2 and "a share is of the experiment's own candidate" in err
