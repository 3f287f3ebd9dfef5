"""Excluded interactions are no history and nothing wanted, in what is measured and in what is evaluated offline."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from incumbent.clock import ManualClock
from incumbent.events.ids import EventIds
from incumbent.loop.left_out import excluded_events, without
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
    from dataclasses import replace

    from incumbent.loop.metrics import sides as metric_sides
    from incumbent.loop.metrics.shard import Known

    ids = EventIds(ManualClock(T0))
    events = [ids.new(), ids.new()]
    micros = int((T0 - timedelta(days=1)).timestamp() * 1_000_000)
    outcomes = pa.table({
        "event_id": events, "time": pa.array([micros, micros], pa.int64()), "user_id": ["u", "u"],
        "item_id": ["a", "b"], "action": ["purchase", "purchase"], "reason": pa.nulls(2, pa.string()),
        "surface": ["home", "home"], "placed": [True, True]})
    known = Known(config=None, catalogue=None, ages=None, budget=None, popular=None, excluded={})
    held = metric_sides.history(without(outcomes, replace(known, left_out=frozenset(events[:1])).left_out),
                                T0.date(), 28)
    whole = metric_sides.history(without(outcomes, known.left_out), T0.date(), 28)
    assert held["item_id"].to_pylist() == ["b"] and sorted(whole["item_id"].to_pylist()) == ["a", "b"]


def test_nor_does_what_is_counted_as_popular():
    from incumbent.loop.metrics import sides as metric_sides

    control, ids = MemoryControl(), EventIds(ManualClock(T0))
    events = [ids.new(), ids.new()]

    class Lake:
        def scan(self, table, window, columns):
            assert table == "outcome" and "event_id" in columns
            return pa.table({"event_id": events, "item_id": ["a", "b"], "action": ["purchase", "purchase"]})

    control.exclude("u", events[0], T0, kind="event")
    found = metric_sides.popularity(Lake(), control, T0.date(), ["purchase"])
    assert found.to_pydict() == {"item_id": ["b"], "count": [1]}
