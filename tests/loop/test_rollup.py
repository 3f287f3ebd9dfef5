"""States from impressions and outcomes: a day worked out by hand, and a naive recomputation over random logs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from incumbent import registry
from incumbent.clock import ManualClock
from incumbent.config import ExperimentConfig
from incumbent.events.schema import Feedback, Impression, ModelAnswer
from incumbent.events.window import Window, day_of
from incumbent.loop import keys
from incumbent.loop.attribute import Attributor
from incumbent.loop.relations import ArrowEngine
from incumbent.loop.rollup import Rollup, pieces, total
from incumbent.stats.buckets import Buckets
from incumbent.stats.counts import Counts
from incumbent.stats.log_histogram import LogHistogram
from incumbent.stores.columns import from_arrow
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.stores.store import Partition
from incumbent.testing.faults import failing
from incumbent.testing.golden import event_id, impression, moment

START = moment("2026-03-01T00:00")
CONFIG = {"e": ExperimentConfig(surface="home", candidate="new", currency="EUR")}


class Run:
    def __init__(self, buckets: int = 2) -> None:
        self.lake, self.control = MemoryLake(buckets), MemoryControl()
        self.clock = ManualClock(START + timedelta(days=9))
        self.sequence = 0

    def commit(self, events: Sequence[Any]) -> None:
        self.sequence += 1
        self.lake.commit(list(events), "g1", self.sequence)

    def rollup(self) -> Rollup:
        return Rollup(self.lake, self.control, self.clock, lambda: CONFIG)

    def run(self) -> Any:
        Attributor(self.lake, self.control, self.clock, lambda: CONFIG, engine=ArrowEngine()).run_once()
        return self.rollup().run_once()

    def counts(self, key: str) -> dict[str, int]:
        state = total(self.control, Counts, key)
        return {} if state is None else state.counts

    def sums(self, key: str, variable: str | None = None) -> Any:
        state = total(self.control, Buckets, key)
        if state is None:
            return None
        if variable is None:
            return int(state.rows.sum())
        return float(state.sums[:, state.variables.index(variable)].sum())


def shown(name: str, time: str, user: str, where: str, slots: list[str], status: str = "ok") -> Impression:
    made = impression(name, moment(time), user, "home", where, slots)
    models = [ModelAnswer("champion", "popular", "1", "ok", 10.0, 20, items=["a"]),
              ModelAnswer("candidate", "new", "1", status, 30.0, 20 if status == "ok" else 0)]  # type: ignore[arg-type]
    return msgspec.structs.replace(made, models=models, latency_ms=40.0)


def told(name: str, time: str, user: str, item: str, action: str, value: int | None = None, currency: str = "EUR",
         **more: Any) -> Feedback:
    at = moment(time)
    return Feedback(event_id=event_id(name, at), time=at, user_id=user, item_id=item,
                    action=action,  # type: ignore[arg-type]
                    value_minor=value, currency=currency if value is not None else None, **more)


DAY = [
    shown("r1", "2026-03-01T10:00", "u1", "e/canary/interleave", ["a:pair0:T", "b:pair0:C", "c:shared"]),
    shown("r2", "2026-03-01T12:00", "u1", "e/ramp_50/interleave", ["a:pair0:T", "b:pair0:C"], "timeout"),
    shown("r3", "2026-03-01T12:00", "u2", "e/ramp_50/holdout", ["a:solo:C"], "error"),
    shown("r4", "2026-03-02T12:00", "u1", "e/ramp_50/interleave", ["a:pair0:C", "d:pair0:T"]),
    shown("r5", "2026-03-01T13:00", "u3", "-", ["a:uncontested:C"]),
    told("f1", "2026-03-01T10:05", "u1", "a", "click", request_id="r1"),
    told("f2", "2026-03-01T11:00", "u1", "b", "purchase", 500),  # in the canary: before the ramp's request
    told("f3", "2026-03-01T12:30", "u1", "a", "purchase", 300),
    told("f4", "2026-03-01T12:31", "u1", "zzz", "purchase", 70),  # never shown: of the lane, not the surface
    told("f5", "2026-03-01T12:32", "u1", "b", "purchase", 900, "USD"),
    told("f6", "2026-03-01T13:00", "u1", "a", "refund", 100, refers_to=event_id("f3", moment("2026-03-01T12:30"))),
    told("f7", "2026-03-01T11:00", "u2", "a", "purchase", 1000),  # before u2's first request that day: still u2's day
    told("f8", "2026-03-01T12:33", "u1", "b", "purchase", 9999, marks=["unserved"]),
    told("f9", "2026-03-03T09:00", "u1", "d", "purchase", 40),  # no request that day, shown the day before: counts
    told("g1", "2026-03-03T09:01", "u1", "yyy", "purchase", 7_000),  # no request that day, never shown: in no lane
    told("g2", "2026-03-04T09:00", "u1", "d", "refund", 15, refers_to=event_id("f9", moment("2026-03-03T09:00"))),
]


def test_a_day_by_hand() -> None:
    run = Run()
    run.commit(DAY)
    run.run()
    assert run.counts("requests/home") == {"interleave/interleave": 3, "champion/holdout": 1, "champion/none": 1}
    assert run.counts("slots/home") == {"pair/candidate": 3, "pair/champion": 3, "shared/none": 1, "solo/champion": 1,
                                        "uncontested/champion": 1}
    assert run.counts("status/home/model=new/role=candidate") == {"ok": 3, "timeout": 1, "error": 1}
    assert run.counts("list_size/home/model=new/role=candidate") == {"20": 3}
    latency = total(run.control, LogHistogram, "latency_ms/home/model=popular/role=champion")
    assert latency.total == 5 and latency.quantile(0.5).value == pytest.approx(10, rel=0.01)
    assert total(run.control, LogHistogram, "answer_ms/home").quantile(0.5).value == pytest.approx(40, rel=0.01)

    lane = "guardrail/e/stage={}/lane={}".format
    canary, ramp, holdout = lane("canary", "interleave"), lane("ramp_50", "interleave"), lane("ramp_50", "holdout")
    assert [run.sums(key) for key in (canary, ramp, holdout)] == [1, 4, 1]  # user-days
    assert [run.sums(key, "requests") for key in (canary, ramp, holdout)] == [1, 2, 1]
    assert [run.sums(key, "revenue") for key in (canary, ramp, holdout)] == [500, 300 + 70 - 100 + 40 - 15, 1000]
    assert [run.sums(key, "conversions") for key in (canary, ramp, holdout)] == [1, 2, 1]
    assert [run.sums(key, "other_currency") for key in (canary, ramp, holdout)] == [0, 1, 0]

    model = "model/e/stage=ramp_50/lane={}/role=candidate/model=new".format
    assert [run.sums(model("interleave"), name) for name in keys.MODEL] == [1, 1, 60]
    assert [run.sums(model("holdout"), name) for name in (None, *keys.MODEL)] == [1, 1, 0, 30]
    assert run.sums("model/e/stage=ramp_50/lane=interleave/role=champion/model=popular", "errors") == 0

    surface = "engagement/home"
    assert [run.sums(surface, name) for name in keys.ENGAGEMENT] == [5, 9, 0, 1, 0, 4]  # f2, f3, f5, f9
    assert run.sums("value/home/currency=EUR", "value_minor") == 500 + 300 - 100 + 40 - 15
    assert run.sums("value/home/currency=USD", "value_minor") == 900
    assert run.counts("outcomes/home") == {"click/credited": 1, "purchase/credited": 4, "refund/credited": 2,
                                           "purchase/before_exposure": 1}
    assert run.counts("outcomes/none") == {"purchase/no_exposure": 2, "purchase/unserved": 1}


def test_states_are_registered_and_keys_parse() -> None:
    run = Run()
    run.commit(DAY)
    run.run()
    rows = run.control.range("")
    assert len(rows) > 20
    for row in rows:
        kind = registry.load("states", row.state)
        assert kind.from_bytes(row.data).config_hash == row.config_hash
        assert keys.parts(row.key)["measure"] in {
            "requests", "slots", "shown", "answer_ms", "status", "latency_ms", "list_size", "engagement", "value",
            "outcomes", "guardrail", "model"}
    assert keys.parts("model/e/stage=canary/lane=holdout/role=champion/model=a")["role"] == "champion"


def history(seed: int) -> list[Any]:
    rng = random.Random(seed)
    events: list[Any] = []
    for n in range(40):
        time = START + timedelta(seconds=rng.randrange(3 * 86400))
        where = rng.choice(["-", "e/canary/interleave", "e/ramp_50/interleave", "e/ramp_50/holdout", "e/shadow/rest"])
        slots = ["a:pair0:T", "b:pair0:C", "c:shared"] if where.endswith("interleave") else ["a:solo:C", "b:solo:C"]
        events.append(shown(f"r{n}", time.replace(tzinfo=None).isoformat(), f"u{rng.randrange(6)}", where, slots,
                            rng.choice(["ok", "ok", "timeout", "invalid"])))
    for n in range(50):
        time = START + timedelta(seconds=rng.randrange(3 * 86400))
        events.append(told(f"f{n}", time.replace(tzinfo=None).isoformat(), f"u{rng.randrange(6)}",
                           rng.choice(["a", "b", "q"]), rng.choice(["click", "purchase", "purchase", "refund"]),
                           rng.choice([None, 100, 250]), rng.choice(["EUR", "EUR", "USD"]),
                           marks=rng.choice([[], [], [], ["forged"], ["foreign_user"]])))
    return events


def naive_guardrails(events: Sequence[Any]) -> dict[tuple[str, str], list[float]]:
    """(stage, lane) -> user-days, requests, conversions, revenue, other currency; loops over events."""
    days: dict[tuple[Any, str, str, str], list[float]] = {}
    requests = [e for e in events if isinstance(e, Impression) and e.experiment]
    for e in requests:
        days.setdefault((day_of(e.time), e.user_id, e.stage, e.lane), [1.0, 0, 0, 0, 0])[1] += 1
    for f in events:
        if not isinstance(f, Feedback) or f.action not in ("purchase", "refund") or "forged" in f.marks:
            continue
        mine = sorted((e.time, e.request_id, e.stage, e.lane) for e in requests
                      if e.user_id == f.user_id and day_of(e.time) == day_of(f.time))
        if not mine and f.action == "purchase" and "foreign_user" not in f.marks:  # refunds here name no purchase
            mine = sorted((e.time, e.request_id, e.stage, e.lane) for e in requests if e.user_id == f.user_id
                          and e.time <= f.time and f.item_id in [slot.item_id for slot in e.slots])[-1:]
        if not mine:
            continue
        *_, stage, lane = ([m for m in mine if m[0] <= f.time] or mine[:1])[-1]
        row = days.setdefault((day_of(f.time), f.user_id, stage, lane), [1.0, 0, 0, 0, 0])
        if f.action == "purchase":
            row[2] = 1
        if f.value_minor is not None and f.currency == "EUR":
            row[3] += f.value_minor if f.action == "purchase" else -f.value_minor
        elif f.value_minor is not None and f.action == "purchase":
            row[4] += 1
    out: dict[tuple[str, str], list[float]] = {}
    for (_, _, stage, lane), row in days.items():
        out[stage, lane] = [a + b for a, b in zip(out.get((stage, lane), [0.0] * 5), row, strict=True)]
    return out


@given(seed=st.integers(0, 10**6), buckets=st.sampled_from([1, 4]), order=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=4, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_guardrails_equal_a_naive_recomputation(seed: int, buckets: int, order: random.Random) -> None:
    events = history(seed)
    arriving = [*events, *events[:5]]
    order.shuffle(arriving)
    run = Run(buckets)
    for half in (arriving[::2], arriving[1::2]):
        run.commit(half)
        run.run()
    for (stage, lane), wanted in naive_guardrails(events).items():
        key = keys.of_lane("guardrail", "e", stage, lane)
        assert [run.sums(key), *(run.sums(key, name) for name in keys.GUARDRAIL)] == wanted
    requests = Counter(f"{e.mode}/{e.lane}" for e in events if isinstance(e, Impression))
    assert run.counts("requests/home") == dict(requests)
    wrong = Counter((e.stage, e.lane) for e in events if isinstance(e, Impression) and e.experiment
                    and e.models[1].status != "ok")
    for (stage, lane), count in wrong.items():
        assert run.sums(keys.of_lane("model", "e", stage, lane, "role=candidate", "model=new"), "errors") == count


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=3, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_adding_what_came_equals_a_whole_rebuild(seed: int) -> None:
    """Runs between commits in any order, late and repeated events, erasures, crashes between two shards."""
    rng, run, other = random.Random(seed), Run(2), Run(2)
    arriving = [*history(seed), *history(seed)[:9]]
    rng.shuffle(arriving)
    gone = set[str]()
    while arriving:
        size = rng.randint(8, 40)
        run.commit(arriving[:size])
        del arriving[:size]
        if rng.random() < 0.2:
            gone.add(f"u{rng.randrange(6)}")
            run.lake.erase(gone)
        if rng.random() < 0.3:
            with suppress(RuntimeError), failing("after:incumbent.stores.memory_control.MemoryControl.put",
                                                 RuntimeError("died"), rng.randint(1, 3)):
                run.run()
        run.run()
    other.commit([e for table in ("impression", "feedback") for e in from_arrow(table, run.lake.scan(table))])
    other.run()
    assert run.control.range("") == other.control.range("")


def test_only_what_came_is_read_again() -> None:
    run = Run(1)
    run.commit(DAY[:3])
    assert run.run().added == 0
    run.commit([shown("r9", "2026-03-01T15:00", "u9", "e/ramp_50/interleave", ["a:pair0:T", "b:pair0:C"])])
    assert run.run().added == 1
    run.commit(DAY)  # a day more; the one before the newest is remembered still, and two had outcomes alone
    more = run.run()
    assert (more.shards, more.added) == (4, 3)
    run.commit([shown("r10", "2026-03-05T15:00", "u9", "-", ["a:solo:C"])])
    run.run()
    run.commit([shown("r11", "2026-03-01T16:00", "u9", "-", ["a:solo:C"])])  # a late one, days behind
    late = run.run()  # beside it the outcomes of later days are rebuilt: their impressions have not changed
    assert late.shards - late.added >= 1 and '"2026-03-01/0"' not in run.control.cursor("rollup")
    run.lake.erase(["u9"])
    run.run()
    assert run.counts("requests/home")["champion/none"] == 1


def test_late_feedback_of_an_old_day_reads_no_list() -> None:
    run, read = Run(1), []
    run.commit([*DAY, shown("r9", "2026-03-08T15:00", "u9", "-", ["a:solo:C"])])
    run.run()
    assert '"2026-03-01/0"' not in run.control.cursor("rollup")
    lists = run.lake.fresh
    run.lake.fresh = lambda *where: read.append(where) or lists(*where)  # type: ignore[method-assign,func-returns-value]
    run.commit([told("late", "2026-03-01T10:06", "u1", "b", "click", request_id="r1")])
    done = run.run()
    assert done.shards == done.added >= 1 and read == []
    assert run.sums("engagement/home", "clicks") == 2 and run.sums("engagement/home", "requests") == 6
    key = "slow/e/stage=ramp_50/lane=holdout/role=candidate/model=new"
    for n, (limit, again, over) in enumerate([  # counted again once, when what is slow is known, and when it changes
            (20.0, True, 1), (20.0, False, 1), (2000.0, True, 0), (2000.0, False, 0), (20.0, True, 1)]):
        frozen = ExperimentConfig.model_validate({**CONFIG["e"].model_dump(mode="json"), "guardrails": [
            {"metric": "latency_p95", "margin": 0.02, "slow_ms": limit}]})
        run.commit([told(f"later{n}", f"2026-03-01T10:{10 + n}", "u1", "b", "click", request_id="r1")])
        Attributor(run.lake, run.control, run.clock, lambda: CONFIG, engine=ArrowEngine()).run_once()
        Rollup(run.lake, run.control, run.clock, {"e": frozen}.copy).run_once()
        assert (bool(read), run.sums(key, "over_p95")) == (again, over)
        read.clear()


def test_what_is_slow_is_counted_again_once_it_is_frozen() -> None:
    run, frozen = Run(1), ExperimentConfig.model_validate({
        **CONFIG["e"].model_dump(mode="json"),
        "guardrails": [{"metric": "latency_p95", "margin": 0.02, "slow_ms": 20.0}]})
    run.commit(DAY)
    run.run()
    assert run.control.range("slow/") == []
    run.commit([shown("r9", "2026-03-01T15:00", "u9", "e/ramp_50/interleave", ["a:pair0:T", "b:pair0:C"])])
    assert Rollup(run.lake, run.control, run.clock, lambda: {"e": frozen}).run_once().added == 0
    key = "slow/e/stage=ramp_50/lane={}/role=candidate/model=new".format
    assert [run.sums(key(lane), "over_p95") for lane in ("interleave", "holdout")] == [2, 1]


def test_shards_change_only_where_something_changed() -> None:
    run = Run()
    run.commit(DAY)
    first = run.run()
    before = [msgspec.structs.asdict(row) for row in run.control.range("")]
    assert run.rollup().run_once().shards == 0
    run.lake.erase(["u1"])
    again = run.run()
    assert 0 < again.shards <= first.shards
    assert run.sums("guardrail/e/stage=canary/lane=interleave") is None
    assert run.sums("guardrail/e/stage=ramp_50/lane=holdout", "revenue") == 1000
    fresh = Run()
    fresh.commit([e for e in DAY if e.user_id != "u1"])
    fresh.run()
    assert run.control.range("") == fresh.control.range("")
    assert before != [msgspec.structs.asdict(row) for row in run.control.range("")]


def test_a_crash_before_the_cursor_only_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    run.commit(DAY)
    Attributor(run.lake, run.control, run.clock, lambda: CONFIG, engine=ArrowEngine()).run_once()
    real, calls = run.control.put, []

    def put(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise RuntimeError("died")
        real(*args)

    monkeypatch.setattr(run.control, "put", put)
    with pytest.raises(RuntimeError):
        run.rollup().run_once()
    monkeypatch.undo()
    assert run.control.cursor("rollup").startswith('{"impression":-1,"outcome":-1')
    run.rollup().run_once()
    fresh = Run()
    fresh.commit(DAY)
    fresh.run()
    assert run.control.range("") == fresh.control.range("")


def test_large_shards_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = Run(1), Run(1)
    for run in (whole, parts):
        run.commit(DAY)
    whole.run()
    monkeypatch.setattr("incumbent.loop.rollup.PIECE_ROWS", 1)
    assert len(pieces(Window.of_day(day_of(START)), 4)) == 4
    parts.run()
    assert parts.control.range("") == whole.control.range("")


def test_the_lease_is_held() -> None:
    run = Run()
    run.commit(DAY)
    run.control.acquire("rollup", "somebody else", 60, run.clock.now())
    assert run.rollup().run_once().stopped == "another process holds the lease"
    assert run.control.range("") == []


def test_shards_are_sorted_partitions() -> None:
    run = Run(3)
    run.commit(DAY)
    run.run()
    held = {Partition(row.day, row.bucket) for row in run.control.range("requests/")}
    assert held == set(run.lake.changes("impression", -1)[1])
