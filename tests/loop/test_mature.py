"""Maturity against a naive recomputation; seals that never move; restatements that show what changed."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import msgspec
import pyarrow.compute as pc
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from incumbent.clock import ManualClock
from incumbent.config import ExperimentConfig
from incumbent.events.schema import Decision, Feedback, Impression
from incumbent.events.window import Window, day_of
from incumbent.loop import units, watermark
from incumbent.loop.attribute import Attributor
from incumbent.loop.definitions import currency_of, definitions
from incumbent.loop.mature import Maturer, expire_units
from incumbent.loop.readings import Meter
from incumbent.loop.relations import ArrowEngine, DuckEngine, Engine
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.stores.store import ExperimentRow, Matured, seal_hash
from incumbent.testing import naive
from incumbent.testing.golden import event_id, impression, moment

START = moment("2026-03-01T00:00")
GRACE = 1800.0


def definition(**changes: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({
        "surface": "home", "candidate": "new", "attribution_window_days": 2, "maturity_window_days": 3,
        "actions": {"purchase": 1.0, "click": 0.25}, **changes})


class Run:
    """One experiment over stores in memory."""

    def __init__(self, config: ExperimentConfig, buckets: int = 2, engine: Engine | None = None) -> None:
        self.config, self.engine = config, engine or ArrowEngine()
        self.lake, self.control = MemoryLake(buckets), MemoryControl()
        self.clock = ManualClock(START)
        self.maturers: dict[int, Maturer] = {}
        self.sequence = 0
        self.control.conclude(
            Decision(event_id=event_id("start", START), time=START, experiment="e", verdict="start", reason="test",
                     by="test"),
            experiment=ExperimentRow("e", "canary", START, START, False, None, 1, config.model_dump(mode="json")))

    def commit(self, events: list[Any]) -> None:
        self.sequence += 1
        self.lake.commit(events, "g1", self.sequence)

    def at(self, text: str) -> None:
        self.clock.set(moment(text))
        self.sealed()
        self.attribute()
        self.mature()

    def sealed(self, until: str | None = None, source: str = "local") -> None:
        """A sealer says that all that was acknowledged until then is in the lake."""
        now = self.clock.now()
        watermark.record(self.control, source, moment(until) if until else now, now)

    def attribute(self) -> None:
        Attributor(self.lake, self.control, self.clock, lambda: definitions(self.control),
                   engine=self.engine).run_once()

    def mature(self) -> Any:
        """One maturer all along, on one Control: what it remembers of earlier runs must not show."""
        made = Maturer(self.lake, self.control, self.clock, grace_s=GRACE, engine=self.engine)
        return self.maturers.setdefault(id(self.control), made).run_once()

    def expected(self, events: list[Any]) -> dict[str, dict[str, Any]]:
        """All units by the naive recomputation, matured or not."""
        config = self.config
        shown = [event for event in events if isinstance(event, Impression)]
        told = [event for event in events if isinstance(event, Feedback)]
        rows = naive.outcomes(shown, told, {"e": (config.attribution, config.attribution_window_days,
                                                  config.skip_neutral)}, 8)
        return naive.units(shown, rows, "e", maturity_days=config.maturity_window_days, actions=dict(config.actions),
                           value=config.outcome == "value", currency=config.currency or "EUR")


def history(seed: int) -> list[Any]:
    """Ten users over eight days, some in a holdout, some with a second page, some only in the shadow."""
    rng = random.Random(seed)
    events: list[Any] = []
    for n in range(60):
        user = rng.randrange(10)
        time = START + timedelta(seconds=rng.randrange(8 * 86400))
        stage = rng.choice(["shadow", "canary", "ramp_50", "ramp_50"])
        lane = "holdout" if user < 3 else rng.choice(["interleave"] * 5 + ["outside", "rest"])
        where = rng.choice([f"e/{stage}/{lane}"] * 5 + ["-"])
        items = rng.sample([f"i{n}" for n in range(6)], 6)
        if lane == "interleave":
            last = rng.choice(["half2:T", "pair2:C", "shared"])
            first = [f"{items[0]}:pair0:T", f"{items[1]}:pair0:C", f"{items[2]}:pair1:C", f"{items[3]}:pair1:T",
                     f"{items[4]}:{last}"]
            if last == "pair2:C":
                first.append(f"{items[5]}:pair2:T")
        else:
            first = [f"{item}:solo:C" for item in items[:4]]
        events.append(impression(f"r{n}", time, f"u{user}", "home", where, first))
        if n % 7 == 0:  # asked for again
            events.append(impression(f"r{n}a", time + timedelta(seconds=9), f"u{user}", "home", where, first,
                                     ranking=f"r{n}"))
        if lane == "interleave" and first[-1].endswith("half2:T") and rng.random() < 0.7:
            # the second page of the same ranking shows the other half of the pair
            events.append(impression(f"r{n}b", time + timedelta(minutes=1), f"u{user}", "home", where,
                                     [f"{items[5]}:pair2:C", "x:shared"], page=2, ranking=f"r{n}"))
    shown = list(events)
    for n in range(80):
        seen = rng.choice(shown)
        time = rng.choice([seen.time + timedelta(seconds=rng.randrange(4 * 86400)), seen.time + timedelta(days=3)])
        events.append(Feedback(
            event_id=event_id(f"f{n}", time), time=time, user_id=seen.user_id, item_id=rng.choice(seen.slots).item_id,
            action=rng.choice(["click", "purchase", "purchase", "refund"]), order_id=rng.choice(["o1", "o2"]),
            value_minor=rng.choice([None, 100, 300]), currency=rng.choice(["EUR", "EUR", "USD", None]),
            request_id=rng.choice([None, seen.request_id]),
            marks=rng.choice([[], [], [], ["foreign_user"], ["forged"]])))
    return events


def test_a_page_in_rest_is_no_exposure() -> None:
    """The unit's clock starts with the first page in the interleave lane, at the rung that let the shopper in."""
    run = Run(definition())
    pages = [impression("r1", START + timedelta(hours=1), "u1", "home", "e/canary/rest", ["a:solo:C", "b:solo:C"]),
             impression("r2", START + timedelta(days=1), "u1", "home", "e/ramp_10/interleave",
                        ["a:pair0:T", "b:pair0:C"]),
             impression("r3", START + timedelta(hours=2), "u2", "home", "e/canary/rest", ["a:solo:C"])]
    run.commit(pages)
    run.clock.set(START + timedelta(days=20))
    run.sealed()
    run.attribute()
    run.mature()
    (unit,) = run.control.matured("e")
    assert (unit.unit, unit.stage, unit.lane, unit.exposed_at) == (
        "u1", "ramp_10", "interleave", START + timedelta(days=1))


def one_pair() -> Impression:
    return impression("r1", START + timedelta(hours=1), "u1", "home", "e/canary/interleave", ["a:pair0:T", "b:pair0:C"])


def test_a_ranking_that_is_asked_for_again_counts_its_pairs_once() -> None:
    """The answer was lost on its way, and the shop asked again under the same ranking id: the coins are the same."""
    run, where = Run(definition()), "e/canary/interleave"
    again = [impression(f"r{n}", START + timedelta(hours=n), "u1", "home", where,
                        ["a:pair0:T", "b:pair0:C", "c:pair1:C", "d:pair1:T"], ranking="mine") for n in range(1, 5)]
    other = impression("q", START + timedelta(hours=2), "u2", "home", where, ["a:pair0:T", "b:pair0:C"], ranking="mine")
    run.commit([*again, other, impression("r9", START + timedelta(hours=9), "u1", "home", where, ["x:half0:T"])])
    run.clock.set(START + timedelta(days=20))
    run.sealed()
    run.attribute()
    run.mature()
    units = {unit.unit: (unit.n, unit.requests) for unit in run.control.matured("e")}
    assert units == {"u1": (3.0, 5), "u2": (1.0, 1)}


def numbers(unit: Matured) -> dict[str, Any]:
    return {"exposed_at": unit.exposed_at, "lane": unit.lane, "stage": unit.stage, "x": unit.x, "y": unit.y,
            "n": unit.n, "value": unit.value, "requests": unit.requests}


def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(found[k] == (pytest.approx(wanted[k], abs=1e-9) if isinstance(wanted[k], float) else wanted[k])
               for k in wanted)


@given(seed=st.integers(0, 10**6), outcome=st.sampled_from(["count", "value"]),
       attribution=st.sampled_from(["last_touch", "share"]), late=st.integers(0, 40),
       engine=st.sampled_from([ArrowEngine(), DuckEngine(threads=1)]))
@example(seed=261, outcome="count", attribution="share", late=25, engine=ArrowEngine())  # page 2 known before page 1
@settings(deadline=None, max_examples=6, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_sealed_and_restated_equal_the_naive_recomputation(
    seed: int, outcome: str, attribution: str, late: int, engine: Engine,
) -> None:
    events = history(seed)
    run = Run(definition(outcome=outcome, attribution=attribution, currency="EUR"), engine=engine)
    known = events[late:]
    run.commit(known)
    run.at("2026-03-09T00:00")
    wanted = run.expected(known)
    sealed = {unit.unit: unit for unit in run.control.matured("e")}
    # of 2026-03-07 and before: the 8th ended at midnight, without its grace
    matured = {user for user, unit in wanted.items()
               if unit["exposed_at"] + timedelta(days=3) < moment("2026-03-08T00:00")}
    assert set(sealed) == matured
    for user in matured:
        assert same(numbers(sealed[user]), wanted[user]), (numbers(sealed[user]), wanted[user])
    assert run.control.restated("e") == []

    run.commit(events[:late])
    run.at("2026-03-16T00:00")
    now = run.expected(events)
    judged = {unit.unit: unit for unit in run.control.matured("e")}
    restated = {unit.unit: unit for unit in run.control.restated("e")}
    assert all(judged[user] == unit for user, unit in sealed.items())
    assert set(judged) == {user for user, unit in now.items()
                           if unit["exposed_at"] + timedelta(days=3) < moment("2026-03-15T00:00")} | set(sealed)
    assert set(restated) == {user for user in sealed if not same(numbers(judged[user]), now[user])}
    assert all(same(numbers(restated.get(user, unit)), now[user]) for user, unit in judged.items())


def test_histories_matter() -> None:
    found = [unit for seed in range(5) for unit in Run(definition()).expected(history(seed)).values()]
    assert {unit["lane"] for unit in found} == {"holdout", "interleave"}
    assert any(unit["x"] > 0 for unit in found) and any(unit["value"] < 0 for unit in found)
    assert any(unit["n"] > 5 for unit in found) and all(unit["n"] == int(unit["n"]) for unit in found)


def test_a_day_is_sealed_once_it_is_over_and_attributed() -> None:
    run = Run(definition())
    run.commit([one_pair()])
    run.at("2026-03-05T00:29")  # the day of maturity is over, its grace is not
    assert run.control.seals("e") == []
    run.clock.set(moment("2026-03-05T00:31"))
    run.mature()  # attribution has not run since
    assert run.control.seals("e") == []
    run.sealed()
    run.attribute()
    assert run.mature().sealed == {"e": 1}
    [seal] = run.control.seals("e")
    assert (seal.day.isoformat(), seal.units) == ("2026-03-04", 1)
    assert seal.hash == seal_hash(run.control.matured("e"))


def test_days_without_units_have_no_seal() -> None:
    run = Run(definition())
    run.commit([impression("r1", START + timedelta(days=4), "u1", "home", "e/canary/holdout", ["a:solo:C"])])
    run.at("2026-03-20T00:00")
    assert [seal.day.isoformat() for seal in run.control.seals("e")] == ["2026-03-08"]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_crash_between_seals_seals_the_rest_later(nth: int) -> None:
    class Died(Exception):
        pass

    class Dying(MemoryControl):
        left = nth

        def seal(self, *args: Any) -> Any:
            Dying.left -= 1
            if Dying.left == 0:
                raise Died
            return super().seal(*args)

    run = Run(definition())
    run.control = Dying()
    other = Run(definition())
    run.control.conclude(Decision(event_id=event_id("start", START), time=START, experiment="e", verdict="start",
                                  reason="test", by="test"), experiment=other.control.experiment("e"))
    events = history(4)
    run.commit(events)
    other.commit(events)
    run.clock.set(moment("2026-03-20T00:00"))
    run.sealed()
    run.attribute()
    with pytest.raises(Died):
        run.mature()
    run.clock.advance(60)
    run.mature()
    other.at("2026-03-20T00:00")
    assert run.control.matured("e") == other.control.matured("e")
    assert [seal.hash for seal in run.control.seals("e")] == [seal.hash for seal in other.control.seals("e")]


def test_values_need_one_currency_and_keep_it() -> None:
    run = Run(definition())
    row = run.control.experiment("e")
    assert row is not None
    bought = [Feedback(event_id=event_id(f"f{n}", START + timedelta(hours=n)), time=START + timedelta(hours=n),
                       user_id="u1", item_id="a", action="purchase", value_minor=100, currency=currency, marks=marks)
              for n, (currency, marks) in enumerate([("USD", ["unserved"]), ("SEK", []), ("EUR", [])])]
    assert currency_of(run.control, "e", run.config, run.lake) == ""
    run.commit(bought[::2])
    run.at("2026-03-02T00:00")
    assert currency_of(run.control, "e", run.config, run.lake) == "EUR"  # the barred one does not count
    run.commit(bought[1:2])
    run.at("2026-03-02T01:00")
    assert currency_of(run.control, "e", run.config, run.lake) == "EUR"
    assert currency_of(run.control, "e", definition(currency="SEK"), run.lake) == "SEK"


def test_an_ended_experiment_still_matures_its_last_units() -> None:
    run = Run(definition())
    run.commit([one_pair()])
    row = run.control.experiment("e")
    assert row is not None
    run.control.conclude(
        Decision(event_id=event_id("end", START), time=START, experiment="e", verdict="discard", reason="test", by="t"),
        experiment=msgspec.structs.replace(row, stage="ended", ended_at=START + timedelta(hours=2), version=2))
    run.at("2026-03-06T00:00")
    assert [unit.unit for unit in run.control.matured("e")] == ["u1"]


def test_the_units_of_an_experiment_long_over_expire_once_nothing_more_is_sealed_of_it() -> None:
    run, other = Run(definition()), Run(definition())
    for one in (run, other):
        one.commit([one_pair()])
    row = run.control.experiment("e")
    assert row is not None
    run.control.conclude(
        Decision(event_id=event_id("end", START), time=START, experiment="e", verdict="discard", reason="test", by="t"),
        experiment=msgspec.structs.replace(row, stage="ended", ended_at=START + timedelta(hours=2), version=2))
    for text, retention_days, gone in (
        ("2026-03-06T00:00", 1, {}),  # its last units may mature until 2026-03-04, and late ones for 30 days more
        ("2026-04-03T23:00", 20, {}), ("2026-04-06T00:00", 40, {}), ("2026-04-06T00:00", 20, {"e": 1})):
        for one in (run, other):
            one.at(text)
        assert [unit.unit for unit in run.control.matured("e")] == ["u1"]
        assert expire_units(run.control, run.clock.now(), retention_days) == gone
        assert expire_units(other.control, other.clock.now(), retention_days) == {}, "it runs: all of it is judged"
    assert run.control.matured("e") == [] and expire_units(run.control, run.clock.now(), 20) == {}
    seals = run.control.seals("e")
    assert sum(seal.units for seal in seals) == 1 and [unit.unit for unit in other.control.matured("e")] == ["u1"]
    run.commit([impression("r2", START + timedelta(minutes=30), "u1", "home", "e/canary/interleave", ["a:pair0:T"])])
    run.at("2026-04-10T00:00")
    assert run.control.matured("e") == [] == run.control.restated("e") and run.control.seals("e") == seals


def test_the_lease_is_held() -> None:
    run = Run(definition())
    run.commit(history(1))
    run.clock.set(moment("2026-03-20T00:00"))
    run.sealed()
    run.attribute()
    run.control.acquire("mature", "somebody else", 60, run.clock.now())
    assert run.mature().stopped == "another process holds the lease"
    assert run.control.seals("e") == []


def test_units_are_those_of_their_days() -> None:
    run = Run(definition())
    events = history(9)
    run.commit(events)
    run.at("2026-03-20T00:00")
    at = 0
    for seal in run.control.seals("e"):
        rows = run.control.matured("e")[at:at + seal.units]
        at += seal.units
        assert all(row.matured_at in Window.of_day(seal.day) for row in rows)
        assert all(day_of(row.exposed_at) == seal.day - timedelta(days=3) for row in rows)
    assert at == len(run.expected(events))


def test_a_unit_that_is_what_it_was_is_restated_no_more() -> None:
    run = Run(definition())
    click = Feedback(event_id=event_id("f1", START), time=START + timedelta(hours=2), user_id="u1", item_id="a",
                     action="click")
    run.commit([one_pair()])
    run.at("2026-03-05T01:00")
    run.commit([click])
    run.at("2026-03-05T02:00")
    [late] = run.control.restated("e")
    assert late.x == 0.25
    back = msgspec.structs.replace(one_pair(), event_id=event_id("r0", START), request_id="r0", surface="cart",
                                   experiment=None, stage=None)
    run.lake = without(run.lake, "f1")
    run.commit([back])  # its partition changes, and the click has gone
    run.at("2026-03-05T03:00")
    assert run.control.restated("e") == [] and [unit.x for unit in run.control.matured("e")] == [0.0]


def without(lake: MemoryLake, name: str) -> MemoryLake:
    """The lake as if an event had never been, at later versions: what an erasure does to one event."""
    rows = lake._tables["feedback"]
    for partition, parts in list(rows.parts.items()):
        rows.put(partition, [part.filter(pc.not_equal(part["event_id"], event_id(name, START))) for part in parts])
        rows.touch([partition])
    return lake


class Counting(MemoryControl):
    """Counts the sealed units that are read."""

    read = 0

    def matured(self, experiment: str, **how: Any) -> list[Matured]:
        rows = super().matured(experiment, **how)
        self.read += len(rows)
        return rows


def test_a_pass_reads_the_units_that_it_needs() -> None:
    run = Run(definition())
    run.control = Counting()
    run.control.conclude(
        Decision(event_id=event_id("start", START), time=START, experiment="e", verdict="start", reason="test",
                 by="test"),
        experiment=ExperimentRow("e", "canary", START, START, False, None, 1, run.config.model_dump(mode="json")))
    for day in range(20):
        time = START + timedelta(days=day, hours=1)
        run.commit([impression(f"r{day}-{n}", time, f"u{day}-{n}", "home", "e/canary/interleave",
                               ["a:pair0:T", "b:pair0:C"]) for n in range(5)])
    run.at("2026-03-24T00:31")
    assert len(run.control.seals("e")) == 20
    run.control.read = 0
    run.at("2026-03-24T00:41")
    assert run.control.read == 0  # nothing changed
    late = START + timedelta(days=18, hours=2)
    run.commit([Feedback(event_id=event_id("late", late), time=late, user_id="u18-1", item_id="a", action="click")])
    run.at("2026-03-24T00:51")
    assert [unit.unit for unit in run.control.restated("e")] == ["u18-1"] and 0 < run.control.read <= 25
    run.control.read = 0
    time = START + timedelta(days=20, hours=3)
    run.commit([impression("new", time, "u20", "home", "e/canary/interleave", ["a:pair0:T", "b:pair0:C"]),
                impression("known-late", START + timedelta(hours=5), "v", "home", "e/canary/holdout", ["a:solo:C"])])
    run.at("2026-03-25T00:31")
    assert run.control.seals("e")[-1].units == 2 and {"u20", "v"} <= {unit.unit for unit in run.control.matured("e")}


def test_first_exposures_are_read_once_and_anew_where_a_day_before_changes() -> None:
    run = Run(definition())
    scope = units.Scope("e", run.config, "", day_of(START))
    read: list[Window] = []
    scan = run.lake.scan
    run.lake.scan = lambda table, period=None, *rest, **more: (  # type: ignore[method-assign]
        read.append(period), scan(table, period, *rest, **more))[1]
    known = units.FirstExposures(run.lake)

    def look(until: str) -> tuple[list[str], set[Any]]:
        read.clear()
        made = known.of(run.engine, scope, [0, 1], day_of(moment(until)), Meter())
        days = sorted({f"{period.start:%m-%d}" for period in read})
        anew = units.first_exposures(run.lake, run.engine, scope, [0, 1], day_of(moment(until)), Meter())
        assert sorted(made.to_pylist(), key=str) == sorted(anew.to_pylist(), key=str)
        return days, {row["user_id"] for row in made.to_pylist()}

    def show(user: str, at: str) -> None:
        run.commit([impression("r" + user + at, moment(at), user, "home", "e/canary/interleave", ["a:pair0:C"])])

    show("u1", "2026-03-01T10:00")
    show("u2", "2026-03-03T10:00")
    assert look("2026-03-02T00:00")[1] == {"u1"}
    show("u1", "2026-03-03T11:00")
    days, users = look("2026-03-03T00:00")
    assert (days, users) == (["03-03"], {"u1", "u2"}) and look("2026-03-03T23:00")[0] == []
    show("u3", "2026-03-01T12:00")  # late: what stands of its bucket is read anew
    assert look("2026-03-04T00:00")[1] == {"u1", "u2", "u3"}
    run.lake.erase(["u1"])
    assert look("2026-03-04T00:00")[1] == {"u2", "u3"} and look("2026-03-02T00:00")[1] == {"u3"}
    few = units.FirstExposures(run.lake, most=0)
    assert few.of(run.engine, scope, [0, 1], day_of(START), Meter()).num_rows == 1
    assert not any(one.num_rows for _, _, one in few._known.values())


def test_of_a_shopper_who_is_erased_and_an_experiment_that_is_over_no_first_exposure_stays() -> None:
    run = Run(definition())
    run.commit([impression(f"r{user}", moment("2026-03-01T10:00"), user, "home", "e/canary/interleave", ["a:pair0:C"])
                for user in ("u1", "u2", "u3", "u4")])
    run.at("2026-03-05T00:31")
    (maturer,) = run.maturers.values()

    def held() -> set[str]:
        return {user for *_, table in maturer._firsts._known.values() for user in table["user_id"].to_pylist()}

    assert held() == {"u1", "u2", "u3", "u4"}
    maturer.forget("u1")
    assert "u1" not in held() and held()
    row = msgspec.structs.replace(run.control.experiments()[0], stage="ended", ended_at=run.clock.now(), version=2)
    run.control.conclude(Decision(event_id=event_id("end", START), time=START, experiment="e", verdict="roll_back",
                                  reason="test", by="test"), experiment=row)
    run.at("2026-03-06T00:31")  # late units may still come
    assert held()
    run.at("2026-05-01T00:31")  # its last days are dealt with
    run.at("2026-05-01T00:41")
    assert not held()


def test_first_exposures_that_are_too_many_are_read_together_and_those_that_fit_kept() -> None:
    run = Run(definition(), buckets=4)
    run.commit([impression(f"r{n}", moment("2026-03-01T10:00"), f"u{n}", "home", "e/canary/interleave", ["a:pair0:C"])
                for n in range(40)])
    scope, day = units.Scope("e", run.config, "", day_of(START)), day_of(moment("2026-03-02T00:00"))
    for most, readings in ((0, {(0, 1, 2, 3)}), (40, set()), (20, {(3,), (2, 3), (1, 2, 3)})):
        read: list[tuple[int, ...]] = []
        scan, known = run.lake.scan, units.FirstExposures(run.lake, most=most)
        for _ in range(2):
            read.clear()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(run.lake, "scan", lambda table, period, buckets, *rest, **more: (
                    read.append(tuple(buckets)), scan(table, period, buckets, *rest, **more))[1])  # noqa: B023
                made = known.of(run.engine, scope, [0, 1, 2, 3], day, Meter())
            assert sorted(made["user_id"].to_pylist()) == sorted(f"u{n}" for n in range(40))
        assert set(read) <= readings and bool(read) is (most < 40)
        assert sum(table.num_rows for *_, table in known._known.values()) <= most
