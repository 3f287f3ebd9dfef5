"""Excluded interactions are no history and nothing wanted, in what is measured and in what is evaluated offline."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from incumbent.clock import ManualClock
from incumbent.events.ids import EventIds
from incumbent.loop.left_out import Standing, excluded_events, without
from incumbent.stores.memory_control import MemoryControl

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def test_what_was_excluded_is_left_out_until_it_is_taken_back():
    control, ids = MemoryControl(), EventIds(ManualClock(T0))
    events = [ids.new() for _ in range(3)]
    rows = pa.table({"event_id": events, "item_id": ["a", "b", "c"]})
    assert without(rows, excluded_events(control)) is rows
    control.exclude("u1", events[0], T0, kind="event")
    control.exclude("u2", events[2], T0, kind="event")
    control.exclude("u2", events[1], T0)  # an item of that name is no interaction
    assert without(rows, excluded_events(control))["item_id"].to_pylist() == ["b"]
    control.exclude("u1", events[0], T0, excluded=False, kind="event")
    assert without(rows, excluded_events(control))["item_id"].to_pylist() == ["a", "b"]


def test_the_histories_of_metrics_do_not_have_it():
    from incumbent.loop.metrics import sides as metric_sides

    ids = EventIds(ManualClock(T0))
    events = [ids.new(), ids.new()]
    micros = int((T0 - timedelta(days=1)).timestamp() * 1_000_000)
    outcomes = pa.table({
        "event_id": events, "time": pa.array([micros, micros], pa.int64()), "user_id": ["u", "u"],
        "item_id": ["a", "b"], "action": ["purchase", "purchase"], "reason": pa.nulls(2, pa.string()),
        "surface": ["home", "home"], "placed": [True, True]})
    standing = Standing(events={"u": {events[0]: ((0, None),)}})
    held = metric_sides.history(without(outcomes, standing.left_out()), T0.date(), 28)
    whole = metric_sides.history(without(outcomes, Standing().left_out()), T0.date(), 28)
    assert held["item_id"].to_pylist() == ["b"] and sorted(whole["item_id"].to_pylist()) == ["a", "b"]


def test_nor_does_what_is_counted_as_popular():
    from incumbent.loop.metrics import sides as metric_sides

    control, ids = MemoryControl(), EventIds(ManualClock(T0))
    events = [ids.new(), ids.new()]

    class Lake:
        def scan(self, table, window, columns):
            assert table == "outcome" and "event_id" in columns
            return pa.table({"event_id": events, "item_id": ["a", "b"], "action": ["purchase", "purchase"]})

    control.exclude("u", events[0], T0 - timedelta(days=7), kind="event")
    control.exclude("u", events[1], T0 - timedelta(days=2), kind="event")  # after the Monday from which it is frozen
    found = metric_sides.popularity(Lake(), control, T0.date(), ["purchase"])
    assert found.to_pydict() == {"item_id": ["b"], "count": [1]}


def test_what_is_excluded_over_http_counts_since_then_by_item_and_by_category():
    from incumbent.loop.metrics import sides as metric_sides

    control, second = MemoryControl(), timedelta(seconds=1)
    control.exclude("u", "a", T0)
    control.exclude("u", "back", T0)
    control.exclude("u", "back", T0 + 2 * second, excluded=False)
    control.exclude("u", "back", T0 + 4 * second)
    control.exclude("u", "shoes", T0 + second, kind="category")
    control.exclude("away", "a", T0)
    standing, micros = Standing.of(control), int(T0.timestamp()) * 1_000_000
    assert standing.at("u", micros - 1) == ((), (), ()) and standing.at("u", micros) == (("a", "back"), (), ())
    assert standing.at("u", micros + 1_000_000) == (("a", "back"), ("shoes",), ())
    assert standing.at("u", micros + 2_000_000) == (("a",), ("shoes",), ()), "taken back"
    assert standing.at("u", micros + 4_000_000)[0] == ("a", "back") and standing.at("x", micros) == ((), (), ())
    facts = pa.table({"item_id": ["s1", "h1", "n"], "category": ["shoes", "hats", None]})
    found = metric_sides.excluded(pa.array(["u", "x", "u"]), standing, facts)
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("u", "a", micros, None), ("u", "back", micros, micros + 2_000_000), ("u", "back", micros + 4_000_000, None),
        ("u", "s1", micros + 1_000_000, None)]
    assert metric_sides.excluded(pa.array(["u"]), standing, None)["item_id"].to_pylist() == ["a", "back", "back"]


def test_a_past_interaction_is_left_out_of_what_was_measured_while_it_was_excluded():
    """Excluded, taken back, excluded again: a day goes by what held at its end, a training export by what holds now."""
    control, ids, day = MemoryControl(), EventIds(ManualClock(T0)), timedelta(days=1)
    event = ids.new()
    for at, excluded in ((1, True), (3, False), (5, True)):
        control.exclude("u", event, T0 + at * day, excluded=excluded, kind="event")
    standing = Standing.of(control)
    held = [at for at in range(8) if event in standing.left_out(int((T0 + at * day).timestamp()) * 1_000_000)]
    assert held == [1, 2, 5, 6, 7]
    assert standing.left_out() == excluded_events(control) == {event}
    control.exclude("u", event, T0 + 6 * day, excluded=False, kind="event")
    assert Standing.of(control).left_out() == excluded_events(control) == frozenset()
