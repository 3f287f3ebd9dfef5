"""door_states: data quality of what came in, as states of every (day, user bucket) shard, rebuilt whole.

Key ``door/TABLE/metric=CHECK``. Shards add over days and buckets like those of `rollup`; a late event rebuilds the day
on which it happened, so a day's share of late events goes on growing for a while. Feedback is joined with its own
user's impressions and with the catalogue as they stand when its shard is rebuilt.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from incumbent.clock import Clock
from incumbent.events.ids import id_time
from incumbent.events.window import Window, day_of
from incumbent.loop.door.checks import COLUMNS, Check, checks_of, per_currency
from incumbent.loop.leases import Held
from incumbent.loop.rollup import state_row
from incumbent.metrics.metric import Batch, Side
from incumbent.stores.store import Control, Lake, Partition, StateRow, Table

LEASE = "door"
PREFIX = "door/"
REACH_DAYS = 30  # how old a request may be that feedback is joined with
_SIDE = Side()


class Doored(Struct, frozen=True):
    """What a run did; `stopped` says why not all, None where it did all."""

    shards: int = 0
    states: int = 0
    stopped: str | None = None


class DoorStates:
    """Keeps the states of data quality; one at a time, under the lease `door`."""

    def __init__(self, lake: Lake, control: Control, clock: Clock, *, late_s: float = 3600.0, holder: str = "loop",
                 lease_s: float = 30.0) -> None:
        self._lake, self._control, self._clock, self._late_s = lake, control, clock, late_s
        self._holder, self._lease_s = holder, lease_s

    def run_once(self) -> Doored:
        """Bring the states up to what the lake holds now."""
        with Held(self._control, self._clock, LEASE, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return Doored(stopped="another process holds the lease")
            shards = made = 0
            catalogue = _Catalogue(self._lake)
            for table in COLUMNS:
                cursor = f"door/{table}"
                version, changed = self._lake.changes(table, int(self._control.cursor(cursor) or -1))
                touched = sorted(changed)
                for i, shard in enumerate(touched):
                    states = list(self._states(table, shard, catalogue))
                    if not lease.renew():
                        return Doored(shards, made, "the lease went to another process")
                    self._control.put(shard.day, shard.bucket, f"door/{table}", states,
                                      (cursor, str(version)) if i == len(touched) - 1 else None)
                    made += len(states)
                if not touched:
                    self._control.set_cursor(cursor, str(version))
                shards += len(touched)
            return Doored(shards, made)

    def _states(self, table: Table, shard: Partition, catalogue: _Catalogue) -> Iterator[StateRow]:
        rows = self._lake.scan(table, Window.of_day(shard.day), [shard.bucket], COLUMNS[table])
        if not rows.num_rows:
            return
        checks = checks_of(table, self._late_s)
        if "currency" in rows.column_names:
            checks += per_currency(table, sorted(pc.unique(rows["currency"]).drop_null().to_pylist()))
        if table == "feedback":
            rows = rows.append_column("joined_request", self._requested(rows, shard)).append_column(
                "joined_item", catalogue.holds(rows["item_id"]))
        for check in checks:
            state = observed(check, rows)
            if not state.empty:
                yield state_row(key_of(table, check.name), shard, state)

    def _requested(self, rows: pa.Table, shard: Partition) -> pa.Array:
        """Of each row that names a request, whether that was served to its user; null of the others."""
        names = rows["request_id"].to_pylist()
        days = {day_of(at) for name in names if (at := _time_of(name)) is not None}
        first = shard.day - timedelta(days=REACH_DAYS)
        served: set[tuple[str, str]] = set()
        for day in sorted(day for day in days if first <= day <= shard.day + timedelta(days=1)):
            seen = self._lake.scan("impression", Window.of_day(day), [shard.bucket], ["request_id", "user_id"])
            served.update(zip(seen["request_id"].to_pylist(), seen["user_id"].to_pylist(), strict=True))
        users = rows["user_id"].to_pylist()
        return pa.array([None if not name else (name, user) in served
                         for name, user in zip(names, users, strict=True)], pa.bool_())


class _Catalogue:
    """The item ids that the lake knows, read once and only where they are asked for."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._ids: pa.Array | None = None

    def holds(self, items: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
        """Whether each item is known; null where the catalogue was never sent."""
        if self._ids is None:
            self._ids = pc.unique(self._lake.scan("item", None, columns=["item_id"])["item_id"])
        if not len(self._ids):
            return pa.nulls(len(items), pa.bool_())
        return pc.is_in(items, value_set=self._ids)


def observed(check: Check, rows: pa.Table) -> Any:
    """The state of a check over rows."""
    chosen = rows if check.select is None else check.select(rows)
    return check.metric.state().update(*check.metric.observe(Batch(chosen), _SIDE))


def key_of(table: str, name: str) -> str:
    """The key of a check's states.

    >>> key_of("feedback", "null[session_id]")
    'door/feedback/metric=null[session_id]'
    """
    return f"{PREFIX}{table}/metric={name}"


def named(key: str) -> tuple[str, str]:
    """Table and check of a key.

    >>> named("door/feedback/metric=null[session_id]")
    ('feedback', 'null[session_id]')
    """
    table, _, name = key.removeprefix(PREFIX).partition("/metric=")
    return table, name


def _time_of(request_id: str | None) -> Any:
    try:
        return id_time((request_id or "").partition(".")[0])
    except ValueError:
        return None
