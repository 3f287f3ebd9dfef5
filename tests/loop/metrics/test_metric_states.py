"""Measured states: a day by hand, plain Python over random logs, and that shards, late events and cuts add up."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from functools import reduce
from typing import Any

import msgspec
import pytest

from incumbent.clock import ManualClock
from incumbent.config import MetricsConfig
from incumbent.errors import NotFoundError
from incumbent.events.schema import Feedback, Impression, Item, ModelAnswer
from incumbent.events.window import Window
from incumbent.loop.attribute import Attributor
from incumbent.loop.metrics.desk import Trees
from incumbent.loop.metrics.keys import Cell, unpacked
from incumbent.loop.metrics.set import measured
from incumbent.loop.metrics.states import CURSOR, MetricStates, cursor_of
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.testing.golden import event_id, impression, moment

CONFIG = MetricsConfig(k=3, slice_keys=2, currency="EUR", shard_buckets=1)
#: without what stands on popularity, which is frozen when it is asked for first
UNFROZEN = CONFIG.model_copy(update={"without": ("novelty", "popularity", "unexpectedness", "serendipity",
                                                 "cold_item_share")})
DAY = date(2026, 3, 1)


class Run:
    def __init__(self, config: MetricsConfig = CONFIG, buckets: int = 2) -> None:
        self.lake, self.control, self.config = MemoryLake(buckets), MemoryControl(), config
        self.clock = ManualClock(moment("2026-03-20T00:00"))
        self.sequence = 0

    def commit(self, events: Sequence[Any]) -> None:
        self.sequence += 1
        self.lake.commit(list(events), "g1", self.sequence)

    def run(self) -> Any:
        Attributor(self.lake, self.control, self.clock, dict).run_once()
        return MetricStates(self.lake, self.control, self.clock, lambda: self.config).run_once()

    def states(self, cell: Cell, day: date = DAY) -> dict[str, Any]:
        rows = [row for row in self.control.range(cell.day_key, Window.of_day(day))
                if row.key == cell.day_key and row.day == day]
        return unpacked(rows[0]) if rows else {}

    def value(self, name: str, cell: Cell = Cell("home"), day: date = DAY) -> float | None:
        metric, states = measured(self.config, "EUR").all()[name], self.states(cell, day)
        return metric.estimate(states[name]).value if name in states else None


def shown(name: str, time: str, user: str, items: str, where: str = "-", *, k: int = 3, mode: str = "champion",
          context: dict[str, Any] | None = None, lists: dict[str, Any] | None = None) -> Impression:
    made = impression(name, moment(time), user, "home", where, items.split())
    models = [ModelAnswer(role, f"{role}-model", "1", "ok" if listed is not None else "timeout", 20.0,  # type: ignore[arg-type]
                          len(listed or []), items=list(listed or []), cost=0.5,
                          reason="duplicates=1" if role == "candidate" else None)
              for role, listed in (lists or {}).items()]
    return msgspec.structs.replace(made, models=models, latency_ms=40.0, k=k, mode=mode,
                                   context=context or {}, session_id=f"s-{user}")


def told(name: str, time: str, user: str, item: str, action: str, value: int | None = None, **more: Any) -> Feedback:
    at = moment(time)
    return Feedback(event_id=event_id(name, at), time=at, user_id=user, item_id=item, action=action,  # type: ignore[arg-type]
                    value_minor=value, currency="EUR" if value is not None else None, **more)


def item(name: str, time: str, category: str | None = None, price: int | None = None, *, listed: bool = True) -> Item:
    at = moment(time)
    return Item(event_id=event_id(name + time, at), time=at, item_id=name, category=category, price_minor=price,
                listed=listed)


LOG = [
    *(item(name, "2026-02-01T00:00", "shoes" if name in "ab" else "hats", 500 if name in "ac" else 30_000)
      for name in "abcd"),
    item("d", "2026-03-01T11:30", listed=False),
    shown("r0", "2026-02-27T09:00", "u1", "a b"),
    told("p0", "2026-02-27T09:10", "u1", "b", "purchase", 700, request_id="r0", order_id="o0"),
    shown("r1", "2026-03-01T10:00", "u1", "a b c", context={"country": "DE"},
          lists={"champion": "abc", "candidate": "cx"}),
    shown("r2", "2026-03-01T12:00", "u1", "a d x", context={"country": "DE"},
          lists={"champion": "adx", "candidate": None}),
    shown("r3", "2026-03-01T12:00", "u2", "", mode="fallback", context={"country": "FR"}),
    shown("r4", "2026-03-01T13:00", "u3", "a c", context={"country": "IT"}),
    shown("r5", "2026-03-02T13:00", "u2", "a b c"),
    told("f1", "2026-03-01T10:05", "u1", "b", "click", request_id="r1"),
    told("f2", "2026-03-01T10:06", "u1", "zzz", "click", request_id="r1"),  # off the list
    told("f3", "2026-03-01T10:07", "u1", "c", "add_to_cart", request_id="r1"),
    told("f4", "2026-03-01T10:08", "u1", "c", "purchase", 1000, request_id="r1", order_id="o1"),
    told("f5", "2026-03-01T10:08", "u1", "a", "purchase", 500, request_id="r1", order_id="o1"),
    told("f6", "2026-03-01T10:09", "u1", "c", "refund", 200, refers_to=event_id("f4", moment("2026-03-01T10:08"))),
    told("f7", "2026-03-01T10:10", "u1", "a", "dwell", seconds=55.0, context={"length_s": 60}),
    told("f8", "2026-03-01T11:00", "u1", "d", "exclude"),
    told("f9", "2026-03-01T13:05", "u3", "c", "click"),  # names no request: matched to r4
    told("g1", "2026-03-02T09:00", "u3", "a", "purchase", 300, order_id="o2"),
    told("g2", "2026-03-01T10:11", "u1", "a", "click", request_id="r1", marks=["forged"]),
]


@pytest.fixture(scope="module")
def day() -> Run:
    run = Run()
    run.commit(LOG)
    run.control.exclude("u1", "d", moment("2026-03-01T11:00"))
    assert run.run().shards
    return run


@pytest.mark.parametrize(("name", "value"), [
    ("empty_share", 1 / 4), ("short_share", 1 / 4), ("duplicate_share", 0.0), ("bought_again_share", 1 / 8),
    ("shown_again_share", 1 / 8), ("invented_share", 1 / 8), ("delisted_share", 1 / 8), ("excluded_share", 1 / 8),
    ("fallback_share", 1 / 4), ("cold_user_share", 2 / 4), ("off_list_share", 1 / 3), ("click_rank@50", 2.0),
    ("click_through", 2 / 8), ("add_to_cart", 1 / 4), ("conversion", 1 / 3), ("orders_per_request", 1 / 4),
    ("revenue_per_user", 1300 / 3), ("revenue_per_slot", 1300 / 8), ("order_value", 1500.0),
    ("refund_share", 0.2 / 1.5), ("dismissals", 0.0), ("time_spent", 55 / 3), ("completion_0.9", 1.0),
    ("latency_p50", 40.0),
    # u1: a, b, c and zzz are relevant, the lists hold 3 and 1 of them; u3: c and, a day later, a
    ("recall@3", (3 / 4 + 1 / 4 + 1) / 3), ("precision@3", (1 + 1 / 3 + 2 / 3) / 3)])
def test_a_day_by_hand(day: Run, name: str, value: float) -> None:
    assert day.value(name) == pytest.approx(value, rel=0.011 if name.startswith("latency") else 1e-9)


@pytest.mark.parametrize("other", ["SEK", None])
def test_money_that_nobody_knows_is_counted_and_not_taken_for_nothing(other: str | None) -> None:
    """u3 buys for nobody knows what, u5 in another currency, u4 dwells for nobody knows how long; u1 is as before."""
    run, kinds = Run(), measured(CONFIG, "EUR").all()
    foreign = told("n2", "2026-03-01T13:06", "u5", "a", "purchase", 900, request_id="r6")
    run.commit([*LOG, told("n1", "2026-03-01T13:06", "u3", "a", "purchase", request_id="r4"),
                shown("r6", "2026-03-01T13:00", "u5", "a c"), msgspec.structs.replace(foreign, currency=other),
                shown("r7", "2026-03-01T13:00", "u4", "a c"),
                told("n3", "2026-03-01T13:07", "u4", "a", "dwell", request_id="r7")])
    run.run()
    states = run.states(Cell("home"))
    for name, value, n, missing in (("revenue_per_user", 1300 / 3, 3, 2), ("order_value", 1500.0, 3, 2),
                                    ("time_spent", 55 / 4, 4, 1), ("conversion", 3 / 5, 5, 0)):
        made = kinds[name].estimate(states[name])
        assert (made.value, made.n) == (pytest.approx(value), n), name
        assert (f"{missing} missing rows left out" in made.method) == bool(missing), made.method


def test_negatives_that_stand_in_the_lake_are_left_out_and_stop_nothing() -> None:
    """Older versions took them. Beside one of each, what else the day holds is measured as it was without it."""
    run, kinds = Run(), measured(CONFIG, "EUR").all()
    odd = shown("r8", "2026-03-01T13:00", "u5", "a c", lists={"champion": "ac"})
    minus = msgspec.structs.replace(odd.models[0], latency_ms=-1.0, cost=-0.5, reason="duplicates=-3")
    run.commit([*LOG, msgspec.structs.replace(odd, latency_ms=-1.0, models=[minus]),
                told("m1", "2026-03-01T13:06", "u5", "a", "purchase", -900, request_id="r8"),
                told("m2", "2026-03-01T13:07", "u5", "c", "dwell", seconds=-4.0, request_id="r8"),
                told("m3", "2026-03-01T13:08", "u5", "c", "click", seconds=-4.0, request_id="r8")])
    assert run.run().shards
    champion = Cell("home", model="champion-model", role="champion")
    for cell, name, value, n in ((Cell("home"), "latency_p50", 40.0, 4), (champion, "latency_p50", 20.0, 2),
                                 (champion, "cost_per_thousand", 500.0, 2), (Cell("home"), "dwell", 55.0, 1),
                                 (Cell("home"), "time_spent", 55 / 3, 3), (Cell("home"), "order_value", 1500.0, 3),
                                 (Cell("home"), "completion_0.9", 1.0, 1)):
        made = kinds[name].estimate(run.states(cell)[name])
        assert (made.value, made.n) == (pytest.approx(value, rel=0.011), n), name
        assert "1 missing " in made.method, made.method
    assert run.value("removed_share", champion) == 0


def test_a_past_day_goes_by_what_was_excluded_then() -> None:
    """Excluded, taken back and excluded again: at 12:00 `d` was excluded, on that day the purchase of `b` was."""
    run, bought = Run(), event_id("p0", moment("2026-02-27T09:10"))
    run.commit(LOG)
    for at, excluded in (("03-01T11:00", True), ("03-01T12:30", False), ("03-05T10:00", True)):
        run.control.exclude("u1", "d", moment(f"2026-{at}"), excluded=excluded)
    for at, excluded in (("03-01T05:00", True), ("03-03T05:00", False)):
        run.control.exclude("u1", bought, moment(f"2026-{at}"), excluded=excluded, kind="event")
    run.run()
    assert run.value("excluded_share") == 1 / 8 and run.value("bought_again_share") == 0.0


def test_an_answer_of_the_instant_of_an_exclusion_was_decided_before_it() -> None:
    """Under a replay clock both may be of one instant: r2 shows `d` at 12:00."""
    for at, share in (("12:00:00", 0.0), ("11:59:59", 1 / 8)):
        run = Run()
        run.commit(LOG)
        run.control.exclude("u1", "d", moment(f"2026-03-01T{at}"))
        run.run()
        assert run.value("excluded_share") == share


def test_every_metric_can_be_cut_and_its_cells_add_up_to_the_whole() -> None:
    config = CONFIG.model_copy(update={"sliced": ("all",), "item_sliced": ("all",), "slice_keys": 3})
    run = Run(config)
    run.commit(LOG)
    run.run()
    kinds, whole = measured(config, "EUR"), run.states(Cell("home"))
    cells = [run.states(Cell("home", by="country", value=value)) for value in ("DE", "FR", "IT", "unknown")]
    for metric in (*kinds.lists, *kinds.answers, *kinds.clicks, *kinds.dwells):
        parts = [states[metric.name] for states in cells if metric.name in states]
        assert (metric.name in whole) == bool(parts), metric.name
        if parts:
            made, known = metric.estimate(reduce(lambda one, other: one.merge(other), parts)), whole[metric.name]
            assert made.n == metric.estimate(known).n and made.value == pytest.approx(metric.estimate(known).value)
    germany = Cell("home", by="country", value="DE")
    assert run.value("latency_p50", germany) == pytest.approx(40.0, rel=0.011)
    assert run.states(germany)["coverage@3"].counts == {"a": 2, "b": 1, "c": 1, "d": 1}
    assert run.value("orders_per_request", germany) == 1 / 2 and run.value("time_spent", germany) == 55.0
    assert run.value("off_list_share", germany) == 1 / 2 and run.value("dwell", germany) == 55.0
    assert run.value("click_rank@50", Cell("home", by="country", value="IT")) == 2.0
    assert run.value("revenue_per_slot", Cell("home", by="category", value="hats")) == 800 / 2  # of d nobody says
    assert "conversion" in run.states(Cell("home", by="category", value="shoes"))
    with pytest.raises(NotFoundError, match="did you mean 'click_through'"):
        measured(CONFIG.model_copy(update={"sliced": ("clik_through",)}))


def test_models_by_hand(day: Run) -> None:
    champion, candidate = (Cell("home", model=f"{role}-model", role=role) for role in ("champion", "candidate"))
    assert day.value("error_rate", candidate) == 0.5 and day.value("timeout_rate", candidate) == 0.5
    assert day.value("error_rate", champion) == 0.0 and day.value("cost_per_thousand", champion) == 500.0
    assert day.value("removed_share", candidate) == pytest.approx(2 / 4)
    assert day.value("overlap@3", candidate) == pytest.approx(1 / 3), "of r1 alone: a b c and c x"
    assert day.value("invented_share", champion) == pytest.approx(1 / 6)
    assert day.value("recall@3", champion) == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert day.value("empty_share", candidate) == 0.5


def test_cuts_by_hand_and_that_they_add_up_to_the_whole(day: Run) -> None:
    assert day.value("click_through", Cell("home", by="country", value="DE")) == pytest.approx(1 / 6)
    assert day.value("click_through", Cell("home", by="country", value="other")) == pytest.approx(1 / 2)  # IT: no room
    assert day.value("revenue_per_slot", Cell("home", by="category", value="hats")) == pytest.approx(400)  # d has none
    assert day.value("click_through", Cell("home", by="price_band", value="below 1000")) == pytest.approx(1 / 5)
    assert day.value("empty_share", Cell("home", by="visitor", value="new")) == pytest.approx(1 / 2)
    for by, metric in (("country", "click_through"), ("country", "empty_share"), ("visitor", "revenue_per_user"),
                       ("category", "click_through"), ("price_band", "dismissals"), ("country", "recall@3")):
        cells = {Cell.of(row.key) for row in day.control.range(f"metric_day/home/by={by}/", Window.of_day(DAY))}
        parts = [day.states(cell)[metric] for cell in cells if metric in day.states(cell)]
        whole = day.states(Cell("home"))[metric]
        assert sum(part.sums.sum(axis=0) for part in parts) == pytest.approx(whole.sums.sum(axis=0)), (by, metric)


def cohort(state: Any) -> dict[str, int]:
    """The sums of all users that are not 0."""
    return {name: int(total) for name, total in zip(state.variables, state.sums.sum(axis=0), strict=True) if total}


def test_who_comes_back_and_what_is_bought_later(day: Run) -> None:
    first, second = (day.states(Cell("home"), DAY + timedelta(days=more)) for more in (0, 1))
    assert cohort(first["cohort:users_returned"]) == {"all": 3, "2": 1}
    assert cohort(second["cohort:users_returned"]) == {"all": 1, "1": 1}
    assert cohort(first["cohort:slots_bought"]) == {"all": 8, "0": 2}
    assert cohort(second["cohort:slots_bought"]) == {"all": 3, "1": 1}
    bought = first["cohort:slots_bought"]
    for user, slots, came in (("u1", 6, 2), ("u3", 2, 0)):  # a user's slots and purchases stand in the user's bucket
        at = int.from_bytes(hashlib.blake2b(user.encode(), digest_size=8).digest(), "big") % 128
        assert bought.sums[at].tolist() == [slots, came, *[0] * 7]


def test_who_comes_from_another_surface_has_not_come_back_to_this_one() -> None:
    """10 users here and 100 elsewhere; the next day 2 of the 10 and all 100 are here, the day after all of them."""
    here, there = [f"h{n}" for n in range(10)], [f"t{n}" for n in range(100)]
    visits = [("2026-03-01", "home", here), ("2026-03-01", "cart", there),
              ("2026-03-02", "home", [*here[:2], *there]), ("2026-03-03", "home", [*here, *there])]
    run = Run()
    run.commit([msgspec.structs.replace(shown(f"{on}{where}{user}", f"{on}T10:00", user, "a b"), surface=where)
                for on, where, users in visits for user in users])
    run.run()
    first, second, third = (run.states(Cell("home"), DAY + timedelta(days=n)) for n in range(3))
    assert cohort(first["cohort:users_returned"]) == {"all": 10}
    assert cohort(second["cohort:users_returned"]) == {"all": 102, "1": 2}
    assert cohort(third["cohort:users_returned"]) == {"all": 110, "1": 102, "2": 8}
    came = [state["cohort:users_returned"].sums for state in (second, third)]
    assert (came[0][:, 2] + came[1][:, 3] <= first["cohort:users_returned"].sums[:, 0]).all()
    # a visitor is new to the shop, not to a surface
    assert run.value("empty_share", Cell("home", by="visitor", value="new"), DAY + timedelta(days=1)) is None


def _rows(control: MemoryControl) -> dict[Any, Any]:
    return {(row.key, row.day, row.bucket): {name: state.to_bytes() for name, state in unpacked(row).items()}
            for family in ("metric/", "metric_day/") for row in control.range(family)}


def test_late_events_give_what_one_reading_of_everything_gives() -> None:
    whole, pieces = Run(UNFROZEN), Run(UNFROZEN)
    whole.commit(LOG)
    whole.run()
    items, late = [one for one in LOG if isinstance(one, Item)], [one for one in LOG if not isinstance(one, Item)]
    random.Random(4).shuffle(late)
    late.sort(key=lambda one: not isinstance(one, Impression) or one.context == {})  # cells are first come, first kept
    pieces.commit(items)
    for at in range(0, len(late), 7):
        pieces.commit(late[at:at + 7])
        pieces.run()
    assert pieces.run().shards == 0
    assert _rows(pieces.control) == _rows(whole.control)


def test_an_erased_user_is_in_no_state() -> None:
    erased, never = Run(), Run()
    erased.commit(LOG)
    erased.run()
    erased.lake.erase(["u1"])
    erased.run()
    never.commit([one for one in LOG if getattr(one, "user_id", "") != "u1"])
    never.run()
    for name in ("click_through", "empty_share", "recall@3", "conversion"):
        assert erased.value(name) == never.value(name)


def test_a_changed_setting_measures_the_last_days_anew() -> None:
    run = Run()
    run.commit(LOG)
    run.run()
    run.config = CONFIG.model_copy(update={"k": 1, "rebuild_days": 2})
    assert run.run().shards == 2 * run.lake.buckets
    assert "recall@1" in run.states(Cell("home")) and "recall@3" not in run.states(Cell("home"))
    assert "recall@3" in run.states(Cell("home"), date(2026, 2, 27))


def test_wider_shards_hold_the_same_and_a_change_of_width_counts_nothing_twice() -> None:
    narrow, wide, changed = Run(), Run(CONFIG.model_copy(update={"shard_buckets": 2})), Run()
    for run in (narrow, wide, changed):
        run.commit(LOG)
        run.run()
    assert {row.bucket for row in wide.control.range("metric/")} == {0}
    changed.config = wide.config
    changed.run()
    for day in (DAY, DAY + timedelta(days=1)):
        states = narrow.states(Cell("home"), day)
        assert states.keys() == wide.states(Cell("home"), day).keys()
        for name in ("click_through", "recall@3", "coverage@3", "cohort:users_returned", "cohort:slots_bought",
                     "latency_p50"):
            assert states[name] == wide.states(Cell("home"), day)[name] == changed.states(Cell("home"), day)[name]


def test_a_day_is_measured_when_it_is_over() -> None:
    run = Run()
    run.clock = ManualClock(moment("2026-03-01T23:00"))
    run.commit([one for one in LOG if one.time < moment("2026-03-02T00:00")])
    run.run()
    assert run.states(Cell("home")) == {} and run.value("click_through", day=date(2026, 2, 27)) is not None
    assert run.run().shards == 0
    run.clock = ManualClock(moment("2026-03-02T00:01"))
    assert run.run().shards > 0
    assert run.value("click_through") == pytest.approx(2 / 8)


def test_the_tree_tells_of_a_day_only_once_its_states_are_there() -> None:
    """Attribution goes ahead of the states; of the days between them nobody is told that they were quiet."""
    run = Run()
    run.clock = ManualClock(moment("2026-03-02T00:01"))
    run.commit([one for one in LOG if one.time < moment("2026-03-02T00:00")])
    run.run()
    trees = Trees(run.lake, run.control, run.config)
    run.clock = ManualClock(moment("2026-03-20T00:01"))
    run.commit([one for one in LOG if one.time >= moment("2026-03-02T00:00")])
    Attributor(run.lake, run.control, run.clock, dict).run_once()
    before = trees.of("home", run.clock.now(), 7)
    assert (before.until, before.quiet_since) == (DAY, None)
    run.run()
    after = trees.of("home", run.clock.now(), 7)
    assert (after.until, after.quiet_since) == (date(2026, 3, 2), date(2026, 3, 2))
    kept = run.control.cursor(CURSOR)
    run.clock = ManualClock(moment("2026-03-20T09:00"))
    run.run()
    assert run.control.cursor(CURSOR) == kept  # nothing came: what was read off the states stands


def test_caps_are_frozen_after_a_week_and_then_stand_in_every_state() -> None:
    rng = random.Random(2)
    run = Run(CONFIG.model_copy(update={"attributes": (), "context": ()}))
    amounts = [int(rng.paretovariate(1.1) * 100) for _ in range(150)]
    run.commit([event for n, amount in enumerate(amounts) for event in (
        shown(f"r{n}", f"2026-03-0{n % 7 + 1}T10:00", f"u{n}", "a b"),
        told(f"p{n}", f"2026-03-0{n % 7 + 1}T10:05", f"u{n}", "a", "purchase", amount, request_id=f"r{n}"))])
    run.clock = ManualClock(moment("2026-03-07T23:00"))
    run.run()
    assert cursor_of(run.control).caps == {}
    run.clock = ManualClock(moment("2026-03-08T00:00"))
    run.run()
    cap = cursor_of(run.control).caps["home"]["value"]
    ranked = sorted(amounts)
    assert ranked[-3] <= cap <= ranked[-1]
    total = sum(run.states(Cell("home"), date(2026, 3, n))["revenue_per_user"].sums[:, 0].sum() for n in range(1, 8))
    assert total == pytest.approx(sum(min(amount, cap) for amount in amounts))


def test_a_small_shop_has_its_cap_once_its_first_weeks_hold_a_hundred() -> None:
    run = Run(CONFIG.model_copy(update={"attributes": (), "context": ()}))
    events: list[Any] = []
    for n in range(160):  # 40 purchases a week
        at = moment("2026-03-01T10:00") + timedelta(days=n % 28)
        day = at.date().isoformat()
        events += [shown(f"r{n}", f"{day}T10:00", f"u{n}", "a b"),
                   told(f"p{n}", f"{day}T10:05", f"u{n}", "a", "purchase", 100 + n, request_id=f"r{n}")]
    run.commit(events)
    caps: dict[int, dict[str, float]] = {}
    for day in (7, 8, 15, 22, 29):
        run.clock = ManualClock(moment(f"2026-03-{day:02}T01:00"))
        run.run()
        caps[day] = cursor_of(run.control).caps.get("home", {})
    first = sorted(100 + n for n in range(160) if n % 28 < 21)
    assert [sorted(caps[day]) for day in caps] == [[], [], [], ["value"], ["value"]]
    assert first[-3] <= caps[22]["value"] <= first[-1] and caps[29] == caps[22]
    assert run.states(Cell("home"), date(2026, 3, 3))["revenue_per_user"].config["cap"] == caps[22]["value"]
    cursor = cursor_of(run.control)
    assert cursor.weeks == 4 and "value" not in cursor.below.get("home", {})


def test_random_logs_against_plain_python() -> None:
    rng = random.Random(9)
    events: list[Any] = []
    lists: dict[str, tuple[str, list[str], int]] = {}
    clicks: Counter[int] = Counter()
    slots: Counter[int] = Counter()
    for n in range(120):
        day, user = rng.randrange(4), f"u{rng.randrange(12)}"
        chosen = rng.sample("abcdefgh", rng.randrange(1, 4))
        lists[f"r{n}"] = user, chosen, day
        slots[day] += len(chosen)
        events.append(shown(f"r{n}", f"2026-03-0{day + 1}T{rng.randrange(10):02}:00", user, " ".join(chosen)))
    for n in range(80):
        request, (user, chosen, day) = rng.choice(sorted(lists.items()))
        events.append(told(f"f{n}", f"2026-03-0{day + 1}T{rng.randrange(10, 20)}:00", user, rng.choice(chosen), "click",
                           request_id=request))
        clicks[day] += 1
    run = Run(buckets=4)
    run.commit(events)
    run.run()
    for day in range(4):
        found = run.value("click_through", day=DAY + timedelta(days=day))
        assert found == pytest.approx(clicks[day] / slots[day])
        users = {user for user, _, on in lists.values() if on == day}
        before = {user: max((on for other, _, on in lists.values() if other == user and on < day), default=None)
                  for user in users}
        gaps = Counter(str(day - last) for last in before.values() if last is not None)
        assert cohort(run.states(Cell("home"), DAY + timedelta(days=day))["cohort:users_returned"]) == {
            "all": len(users), **gaps}
