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

from incumbent.experiments.credit import MONEYLESS
from incumbent.experiments.maturity import EXPOSING, LANES

DAY_US = 86_400_000_000
MONEY = ("purchase", "refund")
SEPARATOR = "\x1f"

SLOT_FIELDS = {"item_id": pa.string(), "position": pa.int64(), "kind": pa.string(), "owner": pa.string(),
               "pair_id": pa.int64()}
SHOWN = ("request_id", "ranking_id", "user_id", "surface", "experiment", "stage", "lane")
_SLOTS = pa.list_(pa.struct(list(SLOT_FIELDS.items())))


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


def plain(rows: pa.Table) -> pa.Table:
    """Rows as the expressions take them: times as integers, of the slots what credit needs; nothing is copied."""
    columns = {}
    for name in rows.column_names:
        column = rows.column(name)
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        elif name == "slots":
            column = pa.chunked_array([_slim(chunk) for chunk in column.chunks], _SLOTS)
        columns[name] = column
    return pa.table(columns)


def _slim(slots: pa.ListArray) -> pa.ListArray:
    values = slots.values  # whole children with whole offsets: a slice of a table keeps its meaning
    fields = [values.field(values.type.get_field_index(name)).cast(kind) for name, kind in SLOT_FIELDS.items()]
    struct = pa.StructArray.from_arrays(fields, fields=list(_SLOTS.value_type))
    return pa.ListArray.from_arrays(slots.offsets, struct, type=_SLOTS)


def with_pairs(rows: pa.Table) -> pa.Table:
    """Impressions with `pairs` (competitive pairs on the page: two slots each, or a half) and their `pair_ids` in place
    of their slots, and times as integers."""
    columns = {name: rows.column(name) for name in rows.column_names if name not in ("slots", "time")}
    ids, pairs = [], []
    for chunk in rows.column("slots").chunks:
        kinds, numbers = (pc.struct_field(chunk.flatten(), name) for name in ("kind", "pair_id"))
        lengths = pc.fill_null(pc.list_value_length(chunk), 0).to_numpy(zero_copy_only=False)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        both, half = (pc.fill_null(pc.equal(kinds, kind), False).to_numpy(zero_copy_only=False)
                      for kind in ("pair", "half"))
        kept = np.concatenate([[0], np.cumsum(both | half)])[ends]
        pairs.append(pa.array(np.diff(np.concatenate([[0.0], np.cumsum(both * 0.5 + half)])[ends])))
        ids.append(pa.ListArray.from_arrays(pa.array(kept, pa.int32()),
                                            numbers.filter(pa.array(both | half)).cast(pa.int64())))
    return pa.table({**columns, "time": rows.column("time").cast(pa.int64()),
                     "pairs": pa.chunked_array(pairs, pa.float64()),
                     "pair_ids": pa.chunked_array(ids, pa.list_(pa.int64()))})


def exposures(impressions: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """One row per slot of an impression; the impression's own time becomes `exposed_us`."""
    slot = nw.col("slots").struct
    return impressions.explode("slots").select(
        *SHOWN, nw.col("time").alias("exposed_us"), *[slot.field(name).alias(name) for name in SLOT_FIELDS])


def touches(feedback: nw.LazyFrame[Any], impressions: nw.LazyFrame[Any], reach_days: int) -> nw.LazyFrame[Any]:
    """Every pair of a feedback row (`row`, `time`, `user_id`, `item_id`, `named_request`) and an exposure of both.

    The exposure lies in the `reach_days` UTC days before that of the feedback, or on that day: what a rebuild of the
    feedback's day reads, whatever else was read with it.
    """
    day = (nw.col("time") // DAY_US) * DAY_US
    shown = exposures(impressions.join(feedback.select("user_id"), on="user_id", how="semi"))
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

    Units have `user_id`, `t0`, `t1`; impressions are those of `with_pairs`. A half counts as one pair.
    """
    seen = _within(_compared(impressions, experiment).select("user_id", "time", "pairs"), units)
    return seen.group_by("user_id").agg(nw.len().alias("requests"), nw.col("pairs").sum())


def repeated_pairs(impressions: nw.LazyFrame[Any], units: nw.LazyFrame[Any], experiment: str) -> nw.LazyFrame[Any]:
    """Per unit `repeated`, what `shown_to` counts too much: a pair of a ranking with pages that is on two of them."""
    seen = _within(_compared(impressions, experiment), units)
    paged = seen.filter(nw.col("page") > 1).select("ranking_id").unique()
    several = seen.join(paged, on="ranking_id", how="semi")
    told = (several.select("user_id", "ranking_id", "pair_ids").explode("pair_ids")
            .filter(~nw.col("pair_ids").is_null()).unique().select("user_id", nw.lit(-1.0).alias("pairs")))
    counted = several.select("user_id", "pairs")
    return nw.concat([counted, told]).group_by("user_id").agg(nw.col("pairs").sum().alias("repeated"))


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
