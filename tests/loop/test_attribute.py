"""Attribution against a naive recomputation, however the log arrives, is sharded, repeated or interrupted."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from incumbent.clock import ManualClock
from incumbent.config import ExperimentConfig
from incumbent.events.schema import Feedback, Impression
from incumbent.events.window import Window, day_of
from incumbent.loop.attribute import Attributor, read_cursor, within
from incumbent.loop.definitions import reach_days
from incumbent.loop.relations import ArrowEngine, DuckEngine, Engine
from incumbent.stores.control import SqlControl
from incumbent.stores.lake import DeltaLake
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.stores.store import Partition
from incumbent.testing import naive
from incumbent.testing.golden import event_id, impression, moment

START = moment("2026-03-01T00:00")
DEFINITIONS = {
    "last": ExperimentConfig(surface="s1", candidate="new", attribution_window_days=2, maturity_window_days=3),
    "skip": ExperimentConfig(surface="s2", candidate="new", attribution_window_days=1.5, skip_neutral=True),
    "part": ExperimentConfig(surface="s1", candidate="new", attribution="share", attribution_window_days=3),
    "all": ExperimentConfig(surface="s2", candidate="new", attribution="all_touch", attribution_window_days=1),
    "first": ExperimentConfig(surface="s3", candidate="new", attribution="first_touch", attribution_window_days=2),
    "named": ExperimentConfig(surface="s3", candidate="new", attribution="impression", attribution_window_days=2),
}
TERMS = {name: (d.attribution, d.attribution_window_days, d.skip_neutral) for name, d in DEFINITIONS.items()}
REACH = 8


def history(seed: int, users: int = 4, days: float = 6, requests: int = 40, told: int = 60) -> list[Any]:
    """A random log: few users and items, so that exposures, outcomes, windows and refunds really meet."""
    rng = random.Random(seed)
    events: list[Any] = []
    for n in range(requests):
        user, time = f"u{rng.randrange(users)}", START + timedelta(seconds=rng.randrange(int(days * 86400)))
        name = rng.choice([*DEFINITIONS, None])
        surface = DEFINITIONS[name].surface if name else rng.choice(["s1", "s2"])
        where = f"{name}/{rng.choice(['shadow', 'canary', 'ramp_50'])}/interleave" if name else "-"
        events.append(impression(f"r{n}", time, user, surface, where, slots(rng)))
    events = continued(events, random.Random(f"pages {seed}"))
    shown = list(events)
    bought: list[Feedback] = []
    for n in range(told):
        time = START + timedelta(seconds=rng.randrange(int(days * 86400)))
        seen = rng.choice(shown)
        if rng.random() < 0.3:
            time = seen.time  # exactly at the edge of a window, or of an exposure
            time += timedelta(days=rng.choice([0, 1, 1.5, 2, 3]))
        event = Feedback(
            event_id=event_id(f"f{n}", time), time=time, user_id=rng.choice([seen.user_id, f"u{rng.randrange(users)}"]),
            item_id=rng.choice([seen.slots[0].item_id, f"i{rng.randrange(5)}"]),
            action=rng.choice(["click", "view", "purchase", "purchase"]),
            request_id=rng.choice([seen.request_id, None, None, "r999"]),
            order_id=rng.choice(["o1", "o2", None]), line_id=rng.choice(["l1", "l2", None]),
            quantity=rng.choice([None, 0, 1, 2]), value_minor=rng.choice([None, 0, 100, 250]),
            currency=rng.choice(["EUR", "EUR", "USD", None]),  # none of either is taken, and may be on record
            marks=rng.choice([[], [], [], [], [], ["unserved"], ["no_request"], ["foreign_user"],
                              ["foreign_user", "forged"], ["bot", "no_request"]]))
        events.append(event)
        bought += [event] if event.action == "purchase" else []
    for n in range(told // 4):
        of = rng.choice(bought)
        time = of.time + timedelta(seconds=rng.randrange(-3600, int(days * 86400)))
        events.append(Feedback(
            event_id=event_id(f"b{n}", time), time=time, user_id=of.user_id, item_id=of.item_id, action="refund",
            refers_to=rng.choice([of.event_id, None]), order_id=rng.choice([of.order_id, "o1"]),
            line_id=rng.choice([of.line_id, None]), quantity=rng.choice([None, 1]),
            value_minor=rng.choice([None, of.value_minor, 50]), currency=of.currency,
            request_id=rng.choice([None, None, of.request_id, rng.choice(shown).request_id]),
            marks=rng.choice([[], [], [], ["foreign_user"], ["forged"]])))
    return events


def continued(events: Sequence[Impression], rng: random.Random) -> list[Any]:
    """Some answers are a further page of an earlier ranking of theirs, whatever they show."""
    made: list[Any] = []
    for event in events:
        earlier = [e for e in made if e.user_id == event.user_id and e.surface == event.surface]
        if earlier and rng.random() < 0.3:
            event = msgspec.structs.replace(event, ranking_id=rng.choice(earlier).ranking_id, page=2)
        made.append(event)
    return made


def slots(rng: random.Random) -> list[str]:
    """Two pairs in random order, then neutral slots, of five items."""
    items = rng.sample(["i0", "i1", "i2", "i3", "i4"], 5)
    coins = [rng.choice(["TC", "CT"]) for _ in range(2)]
    pairs = [f"{items[2 * p + at]}:pair{p}:{coins[p][at]}" for p in range(2) for at in range(2)]
    half = f"{items[4]}:{rng.choice(['half2:T', 'half2:C', 'shared', 'pinned', 'solo:C'])}"
    return rng.choice([[*pairs, half], [*pairs[:2], half], [f"{items[0]}:solo:C", *pairs[2:]]])


def comparable(rows: Sequence[dict[str, Any]]) -> list[str]:
    keys = ("event_id", "surface", "experiment", "request_id", "position", "time", "user_id", "item_id", "action",
            "quantity", "value_minor", "currency", "exposed_at", "stage", "lane", "kind", "owner", "pair_id", "reason")
    return sorted(repr([str(row[key]) for key in keys] + [round(row[key], 9) + 0.0 for key in (
        "credit_champion", "credit_candidate", "weight")]) for row in rows)


class Run:
    """A lake, a control and an attributor over them."""

    def __init__(self, buckets: int, engine: Engine | None = None) -> None:
        self.lake, self.control, self.engine = MemoryLake(buckets), MemoryControl(), engine or ArrowEngine()
        self.clock = ManualClock(START + timedelta(days=30))
        self.sequence = 0

    def commit(self, events: Sequence[Any]) -> None:
        self.sequence += 1
        self.lake.commit(list(events), "g1", self.sequence)

    def attributor(self) -> Attributor:
        return Attributor(self.lake, self.control, self.clock, lambda: DEFINITIONS, engine=self.engine)

    def rows(self) -> list[dict[str, Any]]:
        return self.lake.scan("outcome").to_pylist()


def oracle(events: Sequence[Any]) -> list[str]:
    return comparable(naive.outcomes([e for e in events if isinstance(e, Impression)],
                                     [e for e in events if isinstance(e, Feedback)], TERMS, REACH))


@given(seed=st.integers(0, 10**6), buckets=st.sampled_from([1, 3, 16]), order=st.randoms(use_true_random=False),
       cuts=st.integers(1, 3), engine=st.sampled_from([ArrowEngine(), DuckEngine(threads=1)]))
@settings(deadline=None, max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_any_arrival_equals_the_naive_recomputation(
    seed: int, buckets: int, order: random.Random, cuts: int, engine: Engine,
) -> None:
    events = history(seed)
    arriving = [*events, *order.sample(events, 10)]  # ten of them twice
    order.shuffle(arriving)
    run, attributor = Run(buckets, engine), None
    for at in range(cuts):
        run.commit(arriving[at * len(arriving) // cuts:(at + 1) * len(arriving) // cuts])
        attributor = attributor or run.attributor()
        attributor.run_once()
    assert comparable(run.rows()) == oracle(events)


@pytest.mark.parametrize(("named", "bought", "credit"), [
    ("p2", "a", ("p1", "impression", 1.0)),  # page 1 showed it
    ("p1", "c", ("p2", "impression", 1.0)),  # and the other way round
    ("p2", "c", ("p2", "impression", 1.0)),
    ("p2", "x", (None, None, 0.0)),  # no page of this ranking did, but another answer: not its own
    ("r9", "a", (None, None, 0.0)),
])
def test_a_click_that_names_another_page_of_its_ranking_belongs_to_the_page_that_showed_the_item(
        named: str, bought: str, credit: tuple[str | None, str | None, float]) -> None:
    where, at = "last/ramp_50/interleave", START + timedelta(hours=1)
    pages = [impression("p1", at, "u1", "s1", where, ["a:pair0:T", "b:pair0:C"]),
             impression("p2", at + timedelta(minutes=1), "u1", "s1", where, ["c:pair1:T", "d:pair1:C"], page=2,
                        ranking="p1"),
             impression("r9", at, "u1", "s1", where, ["x:pair0:T", "y:pair0:C"])]
    click = Feedback(event_id=event_id("f", at), time=at + timedelta(minutes=2), user_id="u1", item_id=bought,
                     action="click", request_id=named)
    for pieces in ([[*pages, click]], [[click], [pages[1]], [pages[0], pages[2]]]):
        run = Run(2)
        for piece in pieces:
            run.commit(piece)
            run.attributor().run_once()
        row, = run.rows()
        assert (row["request_id"], row["rule"] if row["reason"] is None else None, row["credit_candidate"]) == credit
        assert row["reason"] == (None if credit[0] else "other_request")
        assert comparable(run.rows()) == oracle([*pages, click])


def test_the_reach_is_the_longest_window_and_a_day() -> None:
    assert reach_days(DEFINITIONS) == REACH
    assert reach_days({"x": ExperimentConfig(surface="s", candidate="c", attribution_window_days=9.5)}) == 11


def test_histories_hold_every_reason_and_rule() -> None:
    rows = [row for seed in range(8) for row in naive.outcomes(
        [e for e in history(seed) if isinstance(e, Impression)], [e for e in history(seed) if isinstance(e, Feedback)],
        TERMS, REACH)]
    assert {row["reason"] for row in rows} == {
        None, "no_exposure", "before_exposure", "outside_window", "neutral", "not_named", "unserved", "no_purchase",
        "late_refund", "foreign_user", "forged", "other_request", "bot"}
    assert {row["rule"] for row in rows if row["reason"] is None} == {
        "impression", "last_touch", "first_touch", "all_touch", "share"}
    assert any(0 > row["weight"] > -1 for row in rows)


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=3, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_swapping_the_teams_swaps_the_credits(seed: int) -> None:

    other = {"champion": "candidate", "candidate": "champion", None: None}
    events = history(seed)
    swapped = [msgspec.structs.replace(e, slots=[msgspec.structs.replace(s, owner=other[s.owner]) for s in e.slots])
               if isinstance(e, Impression) else e for e in events]
    rows = []
    for log in (events, swapped):
        run = Run(2)
        run.commit(log)
        run.attributor().run_once()
        rows.append(run.rows())
    back = [{**row, "owner": other[row["owner"]], "credit_champion": row["credit_candidate"],
             "credit_candidate": row["credit_champion"]} for row in rows[1]]
    assert comparable(back) == comparable(rows[0])


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=3, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_rows_of_a_user_depend_on_nobody_else_but_whom_it_names(seed: int) -> None:
    events = history(seed)
    whole, alone = Run(1), Run(1)
    whole.commit(events)
    named = {e.request_id for e in events if isinstance(e, Feedback) and e.user_id == "u1"}
    alone.commit([e for e in events if e.user_id == "u1" or (isinstance(e, Impression) and e.request_id in named)])
    for run in (whole, alone):
        run.attributor().run_once()
    assert comparable(alone.rows()) == comparable(
        [row for row in whole.rows() if row["user_id"] == "u1"])


class Crash(Exception):
    pass


class Failing:
    """A store that dies before or after its nth call of one verb."""

    def __init__(self, store: Any, verb: str, nth: int, after: bool) -> None:
        self._store, self._verb, self._left, self._after = store, verb, nth, after

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._store, name)
        if name != self._verb:
            return inner

        def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._after:
                raise Crash
            out = inner(*args, **kwargs)
            if self._left == 0:
                raise Crash
            return out

        return call


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("verb", "nth"), [("set_cursor", 1), ("set_cursor", 2), *(("replace", n) for n in (1, 2, 5))])
def test_a_crash_anywhere_is_made_good_by_the_next_run(verb: str, nth: int, after: bool) -> None:
    events = history(7)
    run = Run(2)
    run.commit(events[::2])
    run.attributor().run_once()
    run.commit(events[1::4])
    control = Failing(run.control, verb, nth, after) if verb == "set_cursor" else run.control
    lake = Failing(run.lake, verb, nth, after) if verb == "replace" else run.lake
    with pytest.raises(Crash):
        Attributor(lake, control, run.clock, lambda: DEFINITIONS, engine=ArrowEngine()).run_once()
    run.commit(events[3::4])  # more arrives before the restart: the plan that is carried out again is older than it
    run.attributor().run_once()
    run.attributor().run_once()
    assert comparable(run.rows()) == oracle(events)


def test_a_second_run_has_nothing_to_do_and_a_late_event_rebuilds_what_it_touches() -> None:
    events = [msgspec.structs.replace(e, request_id=None) if isinstance(e, Feedback) else e
              for e in history(3, days=20, requests=120, told=100)]  # a stranger's name wakes the days of its feedback
    run = Run(4)
    run.commit(events)
    first = run.attributor().run_once()
    assert first.partitions > 20
    assert first.rows == len(run.rows())
    assert run.attributor().run_once().partitions == 0
    late = next(e for e in history(11, days=20) if isinstance(e, Impression))
    late = impression("late", late.time, late.user_id, "s1", "last/ramp_50/interleave", ["i0:pair0:T", "i1:pair0:C"])
    run.commit([late])
    again = run.attributor().run_once()
    assert 0 < again.partitions <= 2 * REACH + 1
    assert comparable(run.rows()) == oracle([*events, late])


def test_a_rebuild_that_changes_nothing_writes_nothing() -> None:
    events = [msgspec.structs.replace(e, request_id=None) if isinstance(e, Feedback) else e
              for e in history(3, days=20, requests=120, told=100)]
    run = Run(1)
    run.commit(events)
    run.attributor().run_once()
    version, _ = run.lake.changes("outcome", -1)
    told = next(e for e in history(11, days=3) if isinstance(e, Feedback) and e.action == "click")
    run.commit([msgspec.structs.replace(told, request_id=None)])  # of a day behind which others have feedback too
    again = run.attributor().run_once()
    assert again.partitions > 3
    assert run.lake.changes("outcome", version)[1] == {Partition(day_of(told.time), 0)}
    assert comparable(run.rows()) == oracle([*events, msgspec.structs.replace(told, request_id=None)])


def test_erased_users_go_from_the_outcomes() -> None:
    events = history(5)
    run = Run(2)
    run.commit(events)
    run.attributor().run_once()
    run.lake.erase(["u1"])
    run.attributor().run_once()
    assert comparable(run.rows()) == oracle([e for e in events if e.user_id != "u1"])


@pytest.mark.parametrize(("stale", "crash"), [("after a run", 0), ("after a run", 1), ("in the middle of one", 2)])
def test_an_older_control_is_no_reason_for_older_outcomes(tmp_path: Path, stale: str, crash: int) -> None:
    """control.sqlite is put back from a copy, while the lake has gone on: the sequences of the copy are taken."""
    events, clock = history(9), ManualClock(START + timedelta(days=30))
    lake, control = DeltaLake(tmp_path / "lake", 2), SqlControl.in_directory(tmp_path / "data")
    file, copy = tmp_path / "data" / "control.sqlite", tmp_path / "copy.sqlite"

    def run(lake: Any = lake) -> None:
        Attributor(lake, control, clock, lambda: DEFINITIONS, engine=ArrowEngine()).run_once()

    lake.commit(events[:60], "g1", 0)
    run()
    if stale == "in the middle of one":
        lake.commit(events[60:80], "g1", 1)
        with pytest.raises(Crash):
            run(Failing(lake, "replace", 2, True))
    control.close()
    shutil.copy(file, copy)
    control = SqlControl.in_directory(tmp_path / "data")
    for n, cut in enumerate(range(60, 100, 20)):
        lake.commit(events[cut:cut + 20], "g1", n + 1)
        run()
    control.close()
    shutil.copy(copy, file)
    control = SqlControl.in_directory(tmp_path / "data")
    lake.commit(events[100:], "g1", 3)
    if crash:
        with pytest.raises(Crash):
            run(Failing(lake, "replace", crash, False))
    run()
    run()
    assert comparable(lake.scan("outcome").to_pylist()) == oracle(events)


def test_days_past_retention_stay_as_they_are() -> None:
    events = history(5)
    run = Run(2)
    run.commit(events)
    run.attributor().run_once()
    before = comparable(run.rows())
    run.clock.set(START + timedelta(days=400))
    run.lake.expire("impression", day_of(START) + timedelta(days=3))
    Attributor(run.lake, run.control, run.clock, lambda: DEFINITIONS, retention_days=397).run_once()
    assert comparable(run.rows()) == before


def test_only_the_holder_of_the_lease_writes() -> None:
    run = Run(1)
    run.commit(history(1))
    run.control.acquire("attribute", "somebody else", 60, run.clock.now())
    assert run.attributor().run_once().stopped == "another process holds the lease"
    assert run.rows() == [] and read_cursor(run.control).at is None
    run.clock.advance(61)
    assert run.attributor().run_once().stopped is None
    assert read_cursor(run.control).at == run.clock.now()


def test_partitions_belong_to_days_and_buckets() -> None:
    run = Run(3)
    run.commit(history(2))
    run.attributor().run_once()
    for partition in run.lake.changes("outcome", -1)[1]:
        rows = run.lake.scan("outcome", Window.of_day(partition.day), [partition.bucket]).to_pylist()
        assert rows and {(row["day"], row["bucket"]) for row in rows} == {(partition.day, partition.bucket)}


def test_within_looks_forward_only_in_the_same_bucket() -> None:
    day = day_of(START)
    held = frozenset(Partition(day + timedelta(days=n), b) for n in range(4) for b in range(2))
    found = within(held, frozenset({Partition(day + timedelta(days=1), 1)}), 1)
    assert sorted(found) == [Partition(day + timedelta(days=1), 1), Partition(day + timedelta(days=2), 1)]
