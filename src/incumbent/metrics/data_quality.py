"""Data quality of events as shares of rows: nulls, duplicates, late, out of order, joined. Counts, so they add exactly.

The interval is of independent rows and says how precise the share is, not how much it varies: whether a day is unusual
is asked of the days before it (`data_quality_baseline`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.frames import columns
from incumbent.metrics.metric import Batch, Direction, Grain, Level, Side, no_settings
from incumbent.stats.counts import Counts
from incumbent.stats.estimate import Estimate

WHAT = "events"
KEYS = ["hit", "miss"]
#: per row: True is a hit, False is none, null is not asked of this row
Flags = Callable[[dict[str, pa.Array]], pa.Array]


@dataclass(frozen=True)
class EventShare:
    """The share of rows that `flags` marks, of the rows that it is asked of; rows with null are left out.

    >>> share = null_rate(column="session_id")
    >>> rows = Batch({"session_id": ["s", None, None, "t"]})
    >>> share.estimate(share.state().update(*share.observe(rows, Side()))).value
    0.5
    """

    name: str
    flags: Flags
    columns: tuple[str, ...]
    direction: Direction = "down"
    unit: str = "of events"
    level: Level = "health"
    grain: Grain = "event"

    def state(self, config: Mapping[str, Any] | None = None) -> Counts:
        """No rows yet. There is nothing that a baseline freezes: any key is a `DataError`."""
        no_settings(self.name, config)
        return Counts.zero(keys=KEYS)

    def observe(self, batch: Batch, side: Side) -> tuple[list[str], list[int]]:
        """How many rows are hits, and how many are none."""
        flags = self.flags(columns(batch.rows, WHAT, self.columns))
        hits = pc.sum(flags.cast(pa.int64())).as_py() or 0
        return KEYS, [hits, len(flags) - flags.null_count - hits]

    def estimate(self, state: Counts) -> Estimate:
        """The share; missing without rows that it is asked of."""
        if not state.total:
            return Estimate.missing("no events", method="Clopper-Pearson", unit=self.unit)
        return state.share("hit", unit=self.unit)


def null_rate(*, column: str = "request_id") -> EventShare:
    """The share of rows without a value in `column`; an empty text is none."""

    def flags(rows: dict[str, pa.Array]) -> pa.Array:
        found = rows[column]
        absent = pc.is_null(found, nan_is_null=pa.types.is_floating(found.type))
        if pa.types.is_string(found.type) or pa.types.is_large_string(found.type):
            absent = pc.or_(absent, pc.fill_null(pc.equal(found, ""), False))
        return absent

    return EventShare(f"null_rate[{column}]", flags, (column,))


def resent_share(*, of: tuple[str, ...] = ("user_id", "item_id", "action", "time")) -> EventShare:
    """The share of rows that are equal in `of` to a row before them: the same thing sent again under another id.

    Of k equal rows k - 1 are hits. Rows without a value in one of the columns are compared like others.

    >>> share = resent_share(of=("user_id", "time"))
    >>> batch = Batch({"user_id": ["u", "u", "u", "v"], "time": [1, 1, 2, 1]})
    >>> share.estimate(share.state().update(*share.observe(batch, Side()))).value
    0.25
    """

    def flags(rows: dict[str, pa.Array]) -> pa.Array:
        table = pa.table({name: rows[name] for name in of})
        again = table.num_rows - table.group_by(list(of)).aggregate([]).num_rows
        return pa.array(np.arange(table.num_rows) < again)

    return EventShare("resent_share", flags, of)


def late_share(*, after_s: float = 3600.0) -> EventShare:
    """The share of rows that came in more than `after_s` seconds after they happened (`received` - `time`).

    Rows of which nobody wrote down when they came in are left out.
    """

    def flags(rows: dict[str, pa.Array]) -> pa.Array:
        return pc.greater(delays(rows), after_s)

    return EventShare("late_share", flags, ("time", "received"))


def out_of_order_share(*, tolerance_s: float = 60.0) -> EventShare:
    """The share of a user's rows that came in after one that happened more than `tolerance_s` later.

    Rows are taken in the order in which they came in, of one moment in that in which they happened. A user's first row
    is asked like others and is never a hit.

    >>> share = out_of_order_share(tolerance_s=1.0)
    >>> batch = Batch({"user_id": ["u", "u", "u"], "time": [10.0, 30.0, 20.0], "received": [11.0, 31.0, 32.0]})
    >>> share.estimate(share.state().update(*share.observe(batch, Side()))).value
    0.3333333333333333
    """

    def flags(rows: dict[str, pa.Array]) -> pa.Array:
        there = pc.and_(pc.is_valid(rows["user_id"]), pc.and_(pc.is_valid(rows["time"]), pc.is_valid(rows["received"])))
        kept = {name: column.filter(there) for name, column in rows.items()}
        times, came = seconds(kept["time"]), seconds(kept["received"])
        users = kept["user_id"].dictionary_encode().indices.to_numpy(zero_copy_only=False)
        order = np.lexsort((times, came, users))
        users, times = users[order], times[order]
        behind = np.zeros(len(times), bool)
        for start, end in _runs(users):
            behind[start:end] = np.maximum.accumulate(times[start:end]) - times[start:end] > tolerance_s
        return pa.array(behind)

    return EventShare("out_of_order_share", flags, ("user_id", "time", "received"))


def join_rate(*, column: str = "joined") -> EventShare:
    """The share of rows that found their other half, by a truth value per row; null where none was looked for."""

    def flags(rows: dict[str, pa.Array]) -> pa.Array:
        found = rows[column]
        if not (pa.types.is_boolean(found.type) or pa.types.is_null(found.type)):
            raise DataError("joined is no truth value", got=str(found.type), field=f"{WHAT}.{column}", expected="bool")
        return found.cast(pa.bool_())

    return EventShare(f"join_rate[{column}]", flags, (column,), "up")


def delays(rows: dict[str, pa.Array]) -> pa.Array:
    """Seconds from `time` to `received`, null where one is absent."""
    took = seconds(rows["received"]) - seconds(rows["time"])
    return pa.array(took, mask=np.isnan(took))


def seconds(column: pa.Array) -> NDArray[np.float64]:
    """Times, or numbers taken as seconds, as float64; NaN where absent."""
    if pa.types.is_timestamp(column.type):
        column = pc.divide(column.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.int64()).cast(pa.float64()), 1e6)
    found: NDArray[np.float64] = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(float)
    return found


def _runs(codes: NDArray[Any]) -> list[tuple[int, int]]:
    """Start and end of each run of equal codes."""
    edges = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1, [len(codes)]]) if len(codes) else np.zeros(1, int)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
