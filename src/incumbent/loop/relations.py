"""The relational work of attribution and maturity, once: narwhals lazy expressions over an engine.

Embedded, the engine is DuckDB; the same expressions run on any frame that narwhals reads lazily. Times are integers
(microseconds since 1970), so that no engine needs a calendar. Interval joins are an equi-join and a filter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.experiments.credit import COMPETITIVE, MONEYLESS
from incumbent.experiments.maturity import EXPOSING, LANES

DAY_US = 86_400_000_000
MONEY = ("purchase", "refund")
SEPARATOR = "\x1f"

SLOT_FIELDS = {"item_id": pa.string(), "position": pa.int64(), "kind": pa.string(), "owner": pa.string(),
               "pair_id": pa.int64()}
SHOWN = ("request_id", "ranking_id", "user_id", "surface", "experiment", "stage", "lane")


class Engine(Protocol):
    """Where lazy frames are computed."""

    def frame(self, table: pa.Table) -> nw.LazyFrame[Any]:
        """A lazy frame over Arrow rows."""
        ...

    def collect(self, frame: nw.LazyFrame[Any]) -> pa.Table:
        """The rows of a lazy frame, in its order."""
        ...


class DuckEngine:
    """DuckDB in this process: no extensions, no disk but a spill directory of its own choosing.

    >>> engine = DuckEngine(threads=1)
    >>> engine.collect(engine.frame(pa.table({"a": [1, 2]})).filter(nw.col("a") > 1)).to_pylist()
    [{'a': 2}]
    """

    def __init__(self, threads: int = 2, memory_mb: int = 1024) -> None:
        import duckdb

        self._connection = duckdb.connect(config={
            "autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "threads": str(threads),
            "memory_limit": f"{memory_mb}MB", "preserve_insertion_order": "false",
        })
        self._connection.sql("set enable_progress_bar = false")

    def frame(self, table: pa.Table) -> nw.LazyFrame[Any]:
        return nw.from_native(self._connection.from_arrow(table))

    def collect(self, frame: nw.LazyFrame[Any]) -> pa.Table:
        return nw.to_native(frame).to_arrow_table()


class ArrowEngine:
    """The same expressions on Arrow's own kernels, step by step: a query costs no planning, and all of it is in memory.

    For tables of some thousand rows; DuckDB is several times faster on large ones, and bounds its memory.

    >>> engine = ArrowEngine()
    >>> engine.collect(engine.frame(pa.table({"a": [1, 2]})).filter(nw.col("a") > 1)).to_pylist()
    [{'a': 2}]
    """

    def frame(self, table: pa.Table) -> nw.LazyFrame[Any]:
        frame: nw.LazyFrame[Any] = nw.from_native(table).lazy()
        return frame

    def collect(self, frame: nw.LazyFrame[Any]) -> pa.Table:
        return frame.collect().to_arrow()


def plain(rows: pa.Table) -> pa.Table:
    """Rows as the expressions take them: times as integers."""
    return pa.table({name: rows.column(name).cast(pa.int64()) if pa.types.is_timestamp(rows.column(name).type)
                     else rows.column(name) for name in rows.column_names})


def with_pairs(rows: pa.Table) -> pa.Table:
    """Impressions with `pairs` (competitive pairs with a slot on the page, both or one) and their `pair_ids`, one a
    slot, in place of their slots, and times as integers."""
    columns = {name: rows.column(name) for name in rows.column_names if name not in ("slots", "time")}
    ids, pairs = [], []
    for chunk in rows.column("slots").chunks:
        kinds, numbers = (pc.struct_field(chunk.flatten(), name) for name in ("kind", "pair_id"))
        lengths = pc.fill_null(pc.list_value_length(chunk), 0).to_numpy(zero_copy_only=False)
        competitive = pc.fill_null(pc.is_in(kinds, pa.array(COMPETITIVE)), False)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        kept = np.concatenate([[0], np.cumsum(competitive.to_numpy(zero_copy_only=False))])[ends]
        found = numbers.filter(competitive).cast(pa.int64())
        pairs.append(pa.array(_distinct(pc.fill_null(found, -1).to_numpy(zero_copy_only=False) + 1, kept)))
        ids.append(pa.ListArray.from_arrays(pa.array(kept, pa.int32()), found))
    return pa.table({**columns, "time": rows.column("time").cast(pa.int64()),
                     "pairs": pa.chunked_array(pairs, pa.float64()),
                     "pair_ids": pa.chunked_array(ids, pa.list_(pa.int64()))})


def _distinct(ids: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.float64]:
    """How many different ids stand in each run of them."""
    keys = np.repeat(np.arange(len(ends) - 1), np.diff(ends)) * (ids.max(initial=0) + 1) + ids
    if (keys[1:] < keys[:-1]).any():  # a draft numbers its pairs as they come
        keys = np.sort(keys)
    first = keys[np.diff(keys, prepend=-1) > 0]
    return np.bincount(first // (ids.max(initial=0) + 1), minlength=len(ends) - 1).astype(np.float64)


def pair_rows(rows: pa.Table) -> pa.Table:
    """Impressions of `with_pairs`, one row per competitive pair, with `pair_id` in place of `pair_ids`."""
    flat = rows.combine_chunks().to_batches()
    found = [batch.drop_columns(["pair_ids"]).take(pc.list_parent_indices(batch.column("pair_ids"))).append_column(
        "pair_id", batch.column("pair_ids").flatten()) for batch in flat]
    return pa.Table.from_batches(found)


def touches(feedback: nw.LazyFrame[Any], exposures: nw.LazyFrame[Any], reach_days: int) -> nw.LazyFrame[Any]:
    """Every pair of a feedback row (`row`, `time`, `user_id`, `item_id`, `named_request`) and an exposure of both.

    Exposures are shown slots as `nearby` gives them; their `time` becomes `exposed_us`. They lie in the `reach_days`
    UTC days before that of the feedback, or on that day: what a rebuild of the feedback's day reads, whatever else was
    read with it.
    """
    day = (nw.col("time") // DAY_US) * DAY_US
    shown = exposures.select(*SHOWN, nw.col("time").alias("exposed_us"), *SLOT_FIELDS)
    return feedback.join(shown, on=["user_id", "item_id"], how="inner").filter(
        (nw.col("exposed_us") >= day - reach_days * DAY_US) & (nw.col("exposed_us") < day + DAY_US))


def first_exposures(impressions: nw.LazyFrame[Any], experiment: str) -> nw.LazyFrame[Any]:
    """Per unit of the experiment its first request: `user_id`, `t0`, and `first`, its id, stage and lane (`SEPARATOR`).

    The earliest time, then the least request id; only requests in the lanes that are compared, in stages past the
    shadow.
    """
    ours = _compared(impressions, experiment).select(
        "user_id", "time", nw.concat_str(["request_id", "stage", "lane"], separator=SEPARATOR).alias("first"))
    earliest = ours.group_by("user_id").agg(nw.col("time").min().alias("t0"))
    at = ours.join(earliest, on="user_id", how="inner").filter(nw.col("time") == nw.col("t0"))
    return at.group_by("user_id", "t0").agg(nw.col("first").min())


def shown_to(impressions: nw.LazyFrame[Any], units: nw.LazyFrame[Any], experiment: str) -> nw.LazyFrame[Any]:
    """Per unit, within [t0, t1], its `requests` in the experiment's lanes and `pairs`, the competitive pairs on them.

    Units have `user_id`, `t0`, `t1`; impressions are those of `with_pairs`. A half counts as one pair, and so does a
    pair of which one slot alone is known: a page of its ranking is on its way.
    """
    seen = _within(_compared(impressions, experiment).select("user_id", "time", "pairs"), units)
    return seen.group_by("user_id").agg(nw.len().alias("requests"), nw.col("pairs").sum())


def repeated_pairs(
    again: nw.LazyFrame[Any], pairs: nw.LazyFrame[Any], units: nw.LazyFrame[Any], experiment: str,
) -> nw.LazyFrame[Any]:
    """Per unit `repeated`, what `shown_to` counts too much: a pair of a ranking that was served on several pages, or
    again, as the answer was lost on its way: it is one throw of the coin.

    `again` are the impressions of rankings that were served more than once, `pairs` their `pair_rows`.
    """
    counted = _within(_compared(again, experiment).select("user_id", "time", "pairs"), units)
    told = _within(_compared(pairs, experiment).select("user_id", "time", "ranking_id", "pair_id"), units)
    once = told.select("user_id", "ranking_id", "pair_id").unique().select("user_id", pairs=nw.lit(-1.0))
    return nw.concat([counted.select("user_id", "pairs"), once]).group_by("user_id").agg(
        nw.col("pairs").sum().alias("repeated"))


def _compared(impressions: nw.LazyFrame[Any], experiment: str) -> nw.LazyFrame[Any]:
    """The experiment's requests in the lanes that are compared, in stages past the shadow."""
    return impressions.filter((nw.col("experiment") == experiment) & nw.col("lane").is_in(LANES)
                              & nw.col("stage").is_in(EXPOSING))


def credits(
    outcomes: nw.LazyFrame[Any], units: nw.LazyFrame[Any], experiment: str, actions: Mapping[Any, float],
    currency: str | None, value: bool,
) -> nw.LazyFrame[Any]:
    """Per unit `x` and `y`, the weighted credit of candidate and champion, exposure and outcome both in [t0, t1].

    An outcome weighs its action's weight times 1, or (`value`) times its value in minor units of `currency`; a refund
    weighs what its purchase does, negative.
    """
    ours = _within(outcomes.filter(nw.col("experiment") == experiment, nw.col("reason").is_null()), units)
    ours = ours.filter(nw.col("exposed_at") >= nw.col("t0"))
    if value:
        ours = ours.filter(nw.col("currency") == nw.lit(currency or ""))
    measure = nw.col("value_minor").cast(nw.Float64()) if value else nw.col("weight")
    amount = nw.lit(0.0)
    for action, weight in [*actions.items(), ("refund", actions.get("purchase", 0.0))]:
        amount = nw.when(nw.col("action") == action).then(measure * float(weight)).otherwise(amount)
    return (ours.with_columns(x=nw.col("credit_candidate") * amount, y=nw.col("credit_champion") * amount)
            .group_by("user_id").agg(nw.col("x").sum(), nw.col("y").sum()))


def values(outcomes: nw.LazyFrame[Any], units: nw.LazyFrame[Any], currency: str) -> nw.LazyFrame[Any]:
    """Per unit `value`: purchases less refunds in [t0, t1], whatever showed the item, in `currency`."""
    bought = money(outcomes).filter(nw.col("currency") == currency)
    return _within(bought, units).group_by("user_id").agg(nw.col("value_minor").sum().alias("value"))


def money(outcomes: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Each purchase and refund once (`event_id`, `user_id`, `time`, `action`, `value_minor`, `currency`), none that is barred from it."""  # noqa: E501
    kept = outcomes.filter(nw.col("action").is_in(MONEY),
                           nw.col("reason").is_null() | ~nw.col("reason").is_in(MONEYLESS))
    return kept.select("event_id", "user_id", "time", "action", "value_minor", "currency").unique()


def _within(rows: nw.LazyFrame[Any], units: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    periods = units.select("user_id", "t0", "t1")
    return (rows.join(periods, on="user_id", how="inner")
            .filter((nw.col("time") >= nw.col("t0")) & (nw.col("time") <= nw.col("t1"))))


def concat(tables: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    """The tables behind one another; an empty table of `schema` where there are none."""
    found = [table for table in tables if table.num_rows]
    return pa.concat_tables(found, promote_options="permissive") if found else schema.empty_table()
