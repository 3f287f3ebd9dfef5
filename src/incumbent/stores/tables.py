"""The Arrow schema of every lake table: the fields of its event struct, then the partition columns `day` and `bucket`.

Columns are derived from the structs, so that a new field of an event is a new column, here and nowhere else. Times are
``timestamp[us, UTC]``; maps are JSON text; slots and model answers are lists of structs; a vector is ``list<float32>``.
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pyarrow as pa
from msgspec import inspect

from incumbent.errors import DataError, NotFoundError, shorten
from incumbent.events.schema import (
    Alert,
    Audit,
    Decision,
    Embedding,
    Feedback,
    Finding,
    Generated,
    Impression,
    Item,
    Measurement,
)
from incumbent.stores.store import Quarantined, Table

TIME = pa.timestamp("us", tz="UTC")
PARTITIONS = (pa.field("day", pa.date32()), pa.field("bucket", pa.int32()))
PARTITION_COLUMNS = ("day", "bucket")

#: table -> the struct whose fields are its columns
STRUCTS: dict[Table, type[msgspec.Struct]] = {
    "impression": Impression, "feedback": Feedback, "embedding": Embedding, "item": Item,
    "measurement": Measurement, "quarantine": Quarantined,
}
CONCLUSIONS = (Finding, Decision, Alert, Audit)
_TABLE_OF: dict[type, Table] = {
    **{struct: table for table, struct in STRUCTS.items()}, **dict.fromkeys(CONCLUSIONS, "conclusion"),
}


def table_of(event: Any) -> Table:
    """The lake table of an event; `DataError` where it is none.

    >>> table_of(Quarantined("q1", None, b"", "not JSON"))
    'quarantine'
    """
    table = _TABLE_OF.get(type(event))
    if table is None:
        raise DataError("not an event", got=shorten(event), expected="a struct of incumbent.events.schema")
    return table


def arrow_type(info: inspect.Type) -> pa.DataType:
    """The Arrow type of a struct field, from msgspec's description of it; None is left out of unions."""
    match info:
        case inspect.UnionType():
            kinds = [kind for kind in info.types if not isinstance(kind, inspect.NoneType)]
            if len(kinds) != 1:
                raise TypeError(f"a column needs one type, got {kinds}")
            return arrow_type(kinds[0])
        case inspect.Metadata():
            return arrow_type(info.type)
        case inspect.StrType() | inspect.DictType():
            return pa.string()
        case inspect.LiteralType():
            return pa.string()
        case inspect.IntType():
            return pa.int64()
        case inspect.FloatType():
            return pa.float64()
        case inspect.BoolType():
            return pa.bool_()
        case inspect.BytesType():
            return pa.binary()
        case inspect.DateTimeType():
            return TIME
        case inspect.ListType():
            return pa.list_(arrow_type(info.item_type))
        case inspect.StructType() if info.cls is Generated:
            return pa.string()  # JSON: deep, rare, and read whole
        case inspect.StructType():
            return pa.struct([pa.field(field.name, arrow_type(field.type)) for field in info.fields])
    raise TypeError(f"no column type for {info}")


def _columns(struct: type[msgspec.Struct]) -> pa.Schema:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    special = {"vector": pa.list_(pa.float32())} if struct is Embedding else {}
    fields = [pa.field(f.name, special[f.name] if f.name in special else arrow_type(f.type)) for f in info.fields]
    return pa.schema([*fields, *PARTITIONS])


#: one credited action of a shopper, or why it has no credit: written by the attribution, one row per outcome and slot
OUTCOME = pa.schema([
    ("event_id", pa.string()), ("time", TIME),  # of the feedback
    ("user_id", pa.string()), ("item_id", pa.string()), ("action", pa.string()),
    ("quantity", pa.int64()), ("value_minor", pa.int64()), ("currency", pa.string()),  # refunds are negative
    ("request_id", pa.string()), ("exposed_at", TIME), ("surface", pa.string()),
    ("experiment", pa.string()), ("stage", pa.string()), ("lane", pa.string()),
    ("kind", pa.string()), ("owner", pa.string()), ("pair_id", pa.int64()), ("position", pa.int64()),
    ("credit_champion", pa.float64()), ("credit_candidate", pa.float64()), ("weight", pa.float64()),
    ("rule", pa.string()), ("reason", pa.string()),  # why it has no credit
    *PARTITIONS,
])

#: findings, decisions, alerts and audits: `data` is the event as JSON
CONCLUSION = pa.schema([
    ("event_id", pa.string()), ("time", TIME), ("kind", pa.string()), ("subject", pa.string()), ("data", pa.string()),
    *PARTITIONS,
])

#: the newest vector of each entity in each version of a space, derived from `embedding`; all of one day, buckets by id
LATEST_VECTOR = pa.schema([
    ("event_id", pa.string()), ("time", TIME),  # of the embedding
    ("space", pa.string()), ("version", pa.string()), ("entity", pa.string()), ("entity_id", pa.string()),
    ("vector", pa.list_(pa.float32())), *PARTITIONS,
])

SCHEMAS: dict[Table, pa.Schema] = {
    **{table: _columns(struct) for table, struct in STRUCTS.items()}, "outcome": OUTCOME, "conclusion": CONCLUSION,
    "latest_vector": LATEST_VECTOR,
}
TABLES: tuple[Table, ...] = get_args(Table)
#: tables whose rows belong to a user: their rows fall into buckets, and erasure visits them
USER_TABLES: tuple[Table, ...] = tuple(t for t in TABLES if "user_id" in SCHEMAS[t].names)


def schema(table: str) -> pa.Schema:
    """The schema of a table with its partition columns; `NotFoundError` for an unknown table.

    >>> [field.name for field in schema("conclusion")]
    ['event_id', 'time', 'kind', 'subject', 'data', 'day', 'bucket']
    """
    try:
        return SCHEMAS[table]  # type: ignore[index]
    except KeyError:
        raise NotFoundError("no such lake table", got=table, expected="one of " + ", ".join(TABLES)) from None


def empty(table: str, columns: list[str] | None = None) -> pa.Table:
    """A table without rows, of the right schema."""
    whole = schema(table)
    return (whole if columns is None else pa.schema([whole.field(name) for name in columns])).empty_table()


def conform(table: str, rows: pa.Table) -> pa.Table:
    """`rows` with exactly the columns of `table` in their order: absent ones null, types cast, others refused.

    A table written by an older version has fewer columns, and structs of fewer fields; they read as null.
    """
    whole = schema(table)
    unknown = [name for name in rows.column_names if name not in whole.names]
    if unknown:
        raise DataError("unknown column", got=unknown[0], expected="one of " + ", ".join(whole.names))
    columns = [_cast(rows.column(field.name), field.type) if field.name in rows.column_names
               else pa.nulls(rows.num_rows, field.type) for field in whole]
    return pa.table(columns, schema=whole)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column if column.type == kind else column.cast(kind)
