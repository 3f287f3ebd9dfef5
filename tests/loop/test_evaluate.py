"""The release gate: requests of a file and of the lake, two models, and every outcome against plain recomputation."""

from __future__ import annotations

import asyncio
import csv
import math
import sys
from datetime import UTC, datetime, timedelta
from types import ModuleType

import pytest

from incumbent.clock import ManualClock, SystemClock
from incumbent.errors import ConfigError, DataError, NotFoundError
from incumbent.events.ids import EventIds
from incumbent.events.plan import ModelPlan
from incumbent.events.schema import Feedback, Impression, Item, ModelAnswer, Slot
from incumbent.loop.evaluate import evaluate
from incumbent.loop.evaluation.held_out import by_category, period_of, whole_users
from incumbent.loop.evaluation.held_out_file import from_files
from incumbent.loop.evaluation.held_out_lake import from_lake
from incumbent.loop.left_out import Standing
from incumbent.metrics.expectation_file import parse_gate
from incumbent.models.recommender import Answer
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
ITEMS = [f"i{n}" for n in range(20)]
CLOCK = ManualClock(T0)


def same(request, k):
    return [(item, 1.0 - n / 100) for n, item in enumerate(ITEMS[:k])]


async def careful(request, k):
    """Leaves out what is excluded, begins at the user's own place."""
    start = int(request.user_id[1:]) % 10 if request.user_id[1:].isdigit() else 0
    turned = [item for item in ITEMS[start:] + ITEMS[:start] if item not in request.exclude]
    return [(item, None) for item in turned[:k]]


_calls = {"n": 0}


def moody(request, k):
    """Another list each time, some items made up, and an error for every fifth shopper."""
    _calls["n"] += 1
    if request.user_id.endswith("5"):
        raise RuntimeError("down")
    return [(f"made-{_calls['n']}", 1.0), *same(request, k - 1)]


def down(request, k):
    raise RuntimeError("down")


async def slow(request, k):
    await asyncio.sleep(5)


def numbered(request, k):
    """Ids that are numbers."""
    return [(n, 1.0) for n in range(k)]


def recent(request, k):
    """Builds on the history in the context alone."""
    return [(f"{item}-next", 1.0) for item in str(request.context.get("recent", "")).split(",") if item][:k]


@pytest.fixture(autouse=True)
def module(monkeypatch):
    made = ModuleType("gate_models")
    for function in (same, careful, moody, down, slow, recent, numbered):
        setattr(made, function.__name__, function)
    monkeypatch.setitem(sys.modules, "gate_models", made)


def plan(name, **settings):
    return ModelPlan(name, "callable", f"gate_models:{name}", "1", **{"deadline_ms": 5000, **settings})


def table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def gate_of(*expectations, **settings):
    head = "".join(f"{key} = {value!r}\n" for key, value in settings.items())
    return parse_gate(head + "".join("[[expect]]\n" + "".join(
        f"{key} = {value!r}\n" if not isinstance(value, dict) else f"slice = {{{', '.join(f'{k} = {v!r}' for k, v in value.items())}}}\n"  # noqa: E501
        for key, value in one.items()) for one in expectations))


def held_of(tmp_path, rows, k=5, requests=1000, **files):
    return from_files(table(tmp_path / "data.csv", rows), k=k, requests=requests, **{
        name: table(tmp_path / f"{name}.csv", found) for name, found in files.items()})


ROWS = [{"user_id": f"u{n}", "item_id": ITEMS[(n * 3 + j) % 20], "country": "DE" if n % 3 else "FR"}
        for n in range(40) for j in range(2)]


def run(held, candidate, *expectations, champion="same", clock=None, **settings):
    gate = gate_of(*expectations, k=held.asks[0].k, **settings)
    return evaluate(held, plan(champion), plan(candidate), gate, clock or CLOCK)


class TestNumbers:
    def test_recall_by_plain_python(self, tmp_path):
        """Recall at 5 of both models and its difference, worked out with sets."""
        done = run(held_of(tmp_path, ROWS), "careful", {"metric": "recall@5", "compare": "difference", "at_least": 0})
        wanted: dict[str, set[str]] = {}
        for row in ROWS:
            wanted.setdefault(row["user_id"], set()).add(row["item_id"])

        def recall(turn):
            found = []
            for user, items in wanted.items():
                start = int(user[1:]) % 10 if turn else 0
                found.append(len(items & set((ITEMS + ITEMS)[start:start + 5])) / len(items))
            return found

        before, after = recall(False), recall(True)
        [one] = done.outcomes
        assert one.champion.value == pytest.approx(sum(before) / 40)
        assert one.candidate.value == pytest.approx(sum(after) / 40)
        rest = [b - a for a, b in zip(before, after, strict=True)]
        mean = sum(rest) / 40
        assert one.estimate.value == pytest.approx(mean)
        assert one.estimate.se == pytest.approx(math.sqrt(sum((x - mean) ** 2 for x in rest) / 39 / 40))
        assert one.users == 40 and done.counts["requests"] == 40

    def test_slices_are_the_rows_of_that_value(self, tmp_path):
        done = run(held_of(tmp_path, ROWS), "careful", {"metric": "recall@5", "at_least": 0, "slice": {"country": "*"}},
                   {"metric": "recall@5", "at_least": 0, "slice": {"country": "FR"}},
                   {"metric": "recall@5", "at_least": 0}, least_users=5)
        germany, france, again, whole = done.outcomes
        assert (germany.expectation.title, france.users) == ("recall@5 [country=DE]", 14)
        assert france.estimate == again.estimate
        assert whole.estimate.value * 40 == pytest.approx(germany.estimate.value * 26 + france.estimate.value * 14)

    def test_small_and_unknown_slices_are_no_number(self, tmp_path):
        rows = [*ROWS, {"user_id": "u99", "item_id": "i1", "country": "AT"}]
        done = run(held_of(tmp_path, rows), "careful", {"metric": "recall@5", "at_least": 0, "slice": {"country": "*"}},
                   {"metric": "recall@5", "at_least": 0, "slice": {"country": "AT"}},
                   {"metric": "recall@5", "at_least": 0, "slice": {"city": "Rome"}, "missing": "pass"}, least_users=5)
        assert [one.status for one in done.outcomes] == ["passed", "passed", "missing", "missing"]
        assert "1 users, at least 5" in done.outcomes[2].message and not done.outcomes[2].ok
        assert "no request has the context key 'city'; there are country" in done.outcomes[3].message
        assert done.outcomes[3].ok and any("1 of 3 values are not judged" in note for note in done.notes)

    def test_a_model_against_itself_differs_by_nothing(self, tmp_path):
        done = run(held_of(tmp_path, ROWS), "same", {"metric": "ndcg_achievable@5", "compare": "difference",
                                                     "at_least": 0, "at_most": 0},
                   {"metric": "personalisation@5", "compare": "difference", "at_least": 0, "at_most": 0})
        assert done.ok and done.outcomes[0].estimate.low == 0 == done.outcomes[0].estimate.high

    def test_numbers_are_the_same_each_time(self, tmp_path):
        """Asked, sampled and drawn as before; a clock that stands still makes every latency 0."""
        asked = ({"metric": "recall@5", "compare": "relative", "at_least": 0}, {"metric": "latency_p95", "at_most": 1},
                 {"metric": "behaviour.determinism", "at_least": 1})
        held = held_of(tmp_path, ROWS)
        first, second = (run(held, "careful", *asked, requests=20, probes=5).to_dict() for _ in range(2))
        assert first == second and first["outcomes"][2]["estimate"]["n"] == 5

    def test_nothing_wanted_is_no_number_not_zero(self, tmp_path):
        """A gain of 0 is nothing wanted; a wish that no list meets is a 0."""
        rows = [{"user_id": "u1", "item_id": "i1", "gain": 1}, {"user_id": "u2", "item_id": "i2", "gain": 0},
                {"user_id": "u3", "item_id": "unheard of", "gain": 2}]
        [one] = run(held_of(tmp_path, rows), "careful", {"metric": "recall@5", "at_least": 0}).outcomes
        assert (one.champion.value, one.champion.n) == (0.5, 2)

    def test_how_alike_the_lists_of_both_models_are(self, tmp_path):
        """The champion shows i0 to i4 to everybody; who begins at n shares 5 - n of them, and none from 5 on."""
        done = run(held_of(tmp_path, ROWS), "careful", {"metric": "overlap@5", "at_least": 0},
                   {"metric": "kendall_tau@5", "at_least": -1, "holds": "point"}, {"metric": "overlap@5", "at_most": 1})
        alike = [max(5 - int(f"{n}"[-1]), 0) / 5 for n in range(40)]
        assert done.ok and done.outcomes[0].estimate.value == pytest.approx(sum(alike) / 40)
        assert done.outcomes[1].estimate.value == 1.0 and 16 <= done.outcomes[1].estimate.n < 40

    def test_what_the_side_lacks_is_no_number(self, tmp_path):
        """Novelty without a history, categories without a catalogue: marked, named, and the rest goes on."""
        done = run(held_of(tmp_path, ROWS), "careful", {"metric": "novelty@5", "at_least": 0},
                   {"metric": "coverage@5", "at_least": 0}, {"metric": "behaviour.popular", "at_most": 1},
                   {"metric": "recall@5", "at_least": 0})
        assert [one.status for one in done.outcomes] == ["missing"] * 3 + ["passed"]
        assert "side.popularity" in done.outcomes[0].message and "side.catalogue" in done.outcomes[1].message
        assert "Hint: --history FILE" in done.outcomes[0].message and done.outcomes[1].message.endswith(
            "coverage@5 needs the catalogue, which a row does not hold (side.catalogue). "
            "Hint: --catalogue FILE, or a period with item events in the lake")

    def test_failures_of_a_model_are_counted_not_hidden(self, tmp_path):
        """Shoppers u5, u15 ...: no list where something was wanted is a recall of 0."""
        done = run(held_of(tmp_path, ROWS), "moody", {"metric": "error_rate", "at_most": 0.2},
                   {"metric": "timeout_rate", "at_most": 0}, {"metric": "recall@5", "at_least": 0})
        assert done.statuses["candidate"] == {"error": 4, "ok": 36}
        assert done.outcomes[0].candidate.value == 0.1 and done.outcomes[2].estimate.n == 40

    def test_nothing_is_as_good_as_a_champion_that_never_answers(self, tmp_path):
        held = held_of(tmp_path, [{"user_id": f"u{n}", "item_id": "i1"} for n in range(30)])
        expect = [{"metric": name, "compare": compare, "at_least": -1.0}
                  for name in ("recall@5", "latency_p95") for compare in ("difference", "relative")]
        done = run(held, "same", *expect, {"metric": "recall@5", "at_least": 0.5}, champion="down")
        assert [one.status for one in done.outcomes] == ["missing"] * 4 + ["passed"]
        assert {one.estimate.reason for one in done.outcomes[:4]} == {
            "the champion answered no request, so there is nothing to compare with"}
        assert done.outcomes[0].candidate.value == 1.0 and done.outcomes[0].champion.value == 0.0

    def test_one_reason_of_each_failure_is_told(self, tmp_path):
        done = run(held_of(tmp_path, ROWS), "moody", {"metric": "recall@5", "at_least": 0})
        assert "candidate error, such as: RuntimeError: down" in done.notes
        done = run(held_of(tmp_path, ROWS), "numbered", {"metric": "error_rate", "at_most": 0.5})
        assert done.statuses["candidate"] == {"invalid": 40} and not done.ok
        assert any("item of rank 1 is '0', expected text" in note for note in done.notes)

    def test_under_a_loop_of_somebody_else(self, tmp_path):
        """In a notebook, where a loop runs already."""
        async def cell():
            return run(held_of(tmp_path, ROWS), "careful", {"metric": "recall@5", "at_least": 0})

        assert asyncio.run(cell()).outcomes[0].estimate.n == 40

    def test_a_late_model_is_a_timeout(self, tmp_path):
        done = run(held_of(tmp_path, ROWS[:12]), "slow", {"metric": "timeout_rate", "at_most": 0.5},
                   {"metric": "latency_p50", "at_least": 15, "holds": "point"}, deadline_ms=20, clock=SystemClock())
        assert done.statuses["candidate"] == {"timeout": 6} and done.outcomes[0].status == "failed"
        assert done.outcomes[1].status == "passed" and not done.ok

    def test_a_k_over_the_length_of_the_list_just_ends(self, tmp_path):
        done = run(held_of(tmp_path, ROWS, k=50), "same", {"metric": "recall@50", "at_least": 1},
                   {"metric": "precision@50", "at_least": 0.04, "holds": "point"})
        assert done.ok


class TestBehaviour:
    def both(self, tmp_path, candidate, name, bound=1.0, **settings):
        catalogue = [{"item_id": item, "category": "a"} for item in ITEMS]
        history = [{"user_id": f"u{n}", "item_id": ITEMS[n % 5]} for n in range(40)]
        held = held_of(tmp_path, ROWS, catalogue=catalogue, history=history)
        [one] = run(held, candidate, {"metric": f"behaviour.{name}", "at_least": bound}, **settings).outcomes
        return one

    def test_determinism(self, tmp_path):
        assert self.both(tmp_path, "careful", "determinism").status == "passed"
        one = self.both(tmp_path, "moody", "determinism")
        assert one.status == "failed" and one.candidate.value == 0 and one.champion.value == 1

    def test_cold_start(self, tmp_path):
        assert self.both(tmp_path, "careful", "cold_start").status == "passed"
        one = self.both(tmp_path, "recent", "cold_start")
        assert one.candidate.value == 0 and one.status == "failed"

    def test_exclusions(self, tmp_path):
        assert self.both(tmp_path, "careful", "exclusions").status == "passed"
        assert self.both(tmp_path, "same", "exclusions").candidate.value == 0

    def test_catalogue(self, tmp_path):
        assert self.both(tmp_path, "careful", "catalogue").status == "passed"
        assert self.both(tmp_path, "moody", "catalogue").candidate.value == 0

    def test_popular(self, tmp_path):
        """The five items of the history are the champion's whole list."""
        one = self.both(tmp_path, "careful", "popular", 0.0)
        assert one.champion.value == 1.0 and 0 < one.candidate.value < 1

    def test_perturbed_history(self, tmp_path):
        rows = [{"user_id": f"u{n}", "item_id": "i1", "recent": f"a{n},b{n},c{n},d{n}"} for n in range(10)]
        [one] = run(held_of(tmp_path, rows), "recent", {"metric": "behaviour.perturbed_history", "at_least": 0.5},
                    history_key="recent").outcomes
        assert one.candidate.value == 0.75 and one.champion.value == 1.0  # one of four items goes
        assert "history_key" in self.both(tmp_path, "careful", "perturbed_history").message


class TestFiles:
    def test_bad_rows_are_counted(self, tmp_path):
        rows = [{"user_id": "007", "item_id": "1"}, {"user_id": "007", "item_id": "1"}, {"user_id": "", "item_id": "2"},
                {"user_id": "8", "item_id": ""}]
        held = held_of(tmp_path, rows)
        assert held.counts["rows_without_id"] == 2 and held.counts["pairs_twice"] == 1
        assert [ask.user_id for ask in held.asks] == ["007"]  # text stays text: no zero is lost

    def test_users_unknown_to_either_side_are_counted(self, tmp_path):
        """No history of u2; of the stranger only how popular their item is."""
        held = held_of(tmp_path, [{"user_id": "u1", "item_id": "a"}, {"user_id": "u2", "item_id": "b"}],
                       history=[{"user_id": "u1", "item_id": "c"}, {"user_id": "stranger", "item_id": "d"},
                                {"user_id": "", "item_id": "e"}])
        assert {held.counts[name] for name in ("users_without_history", "history_rows_of_others",
                                               "history_rows_without_id")} == {1}
        assert held.side.history["item_id"].to_pylist() == ["c"]
        assert sorted(held.side.popularity["item_id"].to_pylist()) == ["c", "d"]

    def test_ids_of_no_type(self, tmp_path):
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table({"user_id": [1.5], "item_id": ["a"]}), tmp_path / "d.parquet")
        with pytest.raises(DataError, match="ids must be text or whole numbers"):
            from_files(tmp_path / "d.parquet", k=3, requests=10)

    def test_parquet_with_whole_numbers(self, tmp_path):
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table({"user_id": [1, 2], "item_id": [3.0, None], "n": [1, 2]}), tmp_path / "d.parquet")
        held = from_files(tmp_path / "d.parquet", k=3, requests=10)
        assert [(ask.user_id, ask.context) for ask in held.asks] == [("1", {"n": 1})]
        assert held.side.relevant["item_id"].to_pylist() == ["3"]

    @pytest.mark.parametrize(("text", "error", "part"), [
        ("user,item\n1,2\n", DataError, "interactions lack columns user_id, item_id"),
        ("user_id,item_id\n", DataError, "no interactions"),
        ("user_id,item_id,gain\na,b,much\n", DataError, "a gain must be a number"),
        ("user_id,item_id,gain\na,b,1\na,c,\n", DataError, "a gain is missing or not finite. Got '1 rows'"),
        ("user_id,user_id,item_id\na,a,b\n", DataError, "interactions hold columns twice: user_id")])
    def test_bad_files(self, tmp_path, text, error, part):
        (tmp_path / "d.csv").write_text(text)
        with pytest.raises(error, match=part):
            from_files(tmp_path / "d.csv", k=3, requests=10)

    def test_no_file_and_no_format(self, tmp_path):
        with pytest.raises(NotFoundError, match="no file of interactions"):
            from_files(tmp_path / "none.csv", k=3, requests=10)
        (tmp_path / "d.xls").write_text("x")
        with pytest.raises(DataError, match="no known format"):
            from_files(tmp_path / "d.xls", k=3, requests=10)

    def test_users_are_taken_whole_and_the_same_ones(self):
        users = [f"u{n % 30}" for n in range(300)]
        few, more = whole_users(users, 50), whole_users(users, 100)
        assert len(few) == 50 and set(few) < set(more)
        assert {users[n] for n in few} & {users[n] for n in set(range(300)) - set(few)} == set()

    def test_a_wrong_target_is_said_before_anybody_is_asked(self, tmp_path):
        with pytest.raises(ConfigError, match="nobody"):
            run(held_of(tmp_path, ROWS), "nobody", {"metric": "recall@5", "at_least": 0})


class TestPeriods:
    def test_periods(self):
        assert (period_of("2026-03-01..2026-03-02").end - period_of("2026-03-01").start).days == 2
        assert period_of("data.parquet") is None
        for bad in ("2026-13-01", "2026-03-05..2026-03-01"):
            with pytest.raises(DataError, match="not a period"):
                period_of(bad)


class Lake:
    """Ten shoppers of a day, what they did before and after, and a catalogue."""

    def __init__(self):
        self.ids, self.lake = EventIds(ManualClock(T0)), MemoryLake(4)
        self.control, self.events = MemoryControl(), []

    def show(self, user, at, surface="home", page=1):
        event_id = self.ids.new()
        self.events.append(Impression(
            event_id=event_id, request_id=event_id, ranking_id=event_id, time=at, user_id=user, surface=surface,
            mode="champion", lane="none", plan="0" * 16, slots=[Slot(1, "i0", "solo", "champion")], page=page,
            models=[ModelAnswer("champion", "a", "1", "ok", 2.0, 1, ["i0"])], context={"country": "SE"}))

    def act(self, user, item, at, action="click", **more):
        self.events.append(Feedback(event_id=self.ids.new(), time=at, user_id=user, item_id=item, action=action,
                                    **more))

    def list(self, item, at, listed=True, category="c"):
        self.events.append(Item(event_id=self.ids.new(), time=at, item_id=item, listed=listed, category=category))

    def held(self, period="2026-03-02", **settings):
        self.lake.commit(self.events, "w", 0)
        gate = gate_of({"metric": "recall@5", "at_least": 0}, k=5, **settings)
        return from_lake(self.lake, period_of(period), gate, surface="home", excluded=Standing.of(self.control))

    def exclude(self, user, name, at, **more):
        self.control.exclude(user, name, at, **more)


class TestLake:
    def test_what_is_wanted_known_and_hidden(self):
        """After the request and within the horizon: wanted. Before: history. Marks that bar credit: neither."""
        lake, hour = Lake(), timedelta(hours=1)
        lake.show("u1", T0)
        lake.act("u1", "early", T0 - hour)
        lake.act("u1", "wanted", T0 + hour, "purchase")
        lake.act("u1", "seen", T0 + hour, "view")
        lake.act("u1", "forged", T0 + hour, marks=["forged"])
        lake.act("u1", "late", T0 + timedelta(days=8))
        lake.exclude("u1", "hidden", T0 - hour)
        lake.exclude("u1", "hidden_later", T0 + hour)
        lake.exclude("u1", "back", T0 - 2 * hour)
        lake.exclude("u1", "back", T0 - hour, excluded=False)
        lake.act("u1", "back", T0 - 2 * hour, "exclude")  # taken back since
        lake.exclude("u1", "hats", T0 - hour, kind="category")
        lake.exclude("u1", "e1", T0 - hour, kind="event")
        lake.act("u2", "other", T0 + hour)
        lake.act("u2", "popular", T0 - timedelta(days=3))
        lake.act("u2", "ancient", T0 - timedelta(days=300))
        for item, listed in (("wanted", True), ("gone", True), ("gone", False)):
            lake.list(item, T0 if listed else T0 + hour, listed)
        lake.show("u9", T0)
        held = lake.held()
        assert held.counts["requests_without_wishes"] == 1
        assert held.side.relevant["item_id"].to_pylist() == ["wanted"]
        assert held.side.history["item_id"].to_pylist() == ["early"]
        assert held.side.popularity["item_id"].to_pylist() == ["popular"]  # "early" is of the period itself
        assert held.asks[0].exclude_categories == ("hats",) and held.asks[0].ignore_events == ("e1",)
        assert held.asks[0].exclude == ("hidden",) and held.asks[0].context == {"country": "SE"}
        assert dict(zip(held.side.catalogue["item_id"].to_pylist(), held.side.catalogue["delisted_at"].to_pylist(),
                        strict=True)) == {"wanted": None, "gone": (T0 + hour).timestamp()}

    def test_an_item_of_an_excluded_category_is_an_excluded_one(self):
        """Of the four slots of the two answers to the only shopper who excludes shoes, one each holds a shoe."""
        lake = Lake()
        for user in ("u1", "u2"):
            lake.show(user, T0)
        for item, category in (("boot", "shoes"), ("cap", "hats")):
            lake.list(item, T0 - timedelta(days=1), category=category)
        lake.exclude("u1", "shoes", T0 - timedelta(hours=1), kind="category")
        held = lake.held()
        answers = [[Answer("ok", items, None, 1.0, len(items)) for items in lists] for lists in (
            (["boot", "cap"], ["boot"]), (["cap", "boot"], ["cap"]))]
        found = by_category(held, answers).side.excluded.to_pylist()
        first = [ask.user_id for ask in held.asks].index("u1")
        assert found == [{"user_id": first, "item_id": "boot", "since": T0.timestamp()}]
        assert held.side.excluded.num_rows == 0

    def test_only_first_pages_of_the_surface_in_the_period(self):
        lake = Lake()
        lake.show("u1", T0)
        lake.show("u1", T0, page=2)
        lake.show("u1", T0, surface="cart")
        lake.show("u1", T0 + timedelta(days=1))
        assert len(lake.held().asks) == 1

    def test_an_empty_period_is_one_error(self):
        lake = Lake()
        lake.show("u1", T0)
        with pytest.raises(DataError, match=r"no request in the period. Got '2026-04-01..2026-04-01'"):
            lake.held("2026-04-01")

    def test_a_gate_on_logged_requests(self):
        lake = Lake()
        for n in range(60):
            lake.show(f"u{n % 30}", T0 + timedelta(minutes=n))
            lake.act(f"u{n % 30}", ITEMS[n % 10], T0 + timedelta(minutes=n + 1))
        for item in ITEMS:
            lake.list(item, T0 - timedelta(days=1))
        held = lake.held()
        done = run(held, "careful", {"metric": "recall@5", "compare": "difference", "at_least": 0},
                   {"metric": "invented_share", "at_most": 0}, {"metric": "delisted_share", "at_most": 0},
                   {"metric": "coverage@5", "compare": "difference", "at_least": 0.1})
        assert done.ok, [one.message for one in done.outcomes]
        assert done.outcomes[0].estimate.n == 60 and done.outcomes[0].users == 30
