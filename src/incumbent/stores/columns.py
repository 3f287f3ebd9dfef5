"""Events to Arrow columns and back. Columns are built whole, never row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import cache
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.clock import EPOCH
from incumbent.errors import DataError
from incumbent.events import codec
from incumbent.events.ids import user_bucket
from incumbent.events.schema import Decision, Embedding, Event, ModelAnswer, Slot
from incumbent.stores.store import Quarantined, Table
from incumbent.stores.tables import PARTITION_COLUMNS, STRUCTS, TIME, schema, table_of

_json = msgspec.json.Encoder()
_STRUCT_COLUMNS: dict[str, type[msgspec.Struct]] = {"slots": Slot, "models": ModelAnswer}
_JSON_COLUMNS = ("context", "labels", "attributes")
_MICROSECOND = EPOCH.resolution


def by_table(events: Iterable[Event | Quarantined]) -> dict[Table, list[Any]]:
    """The events grouped by the table that they belong to, in their order."""
    groups: dict[Table, list[Any]] = {}
    for event in events:
        groups.setdefault(table_of(event), []).append(event)
    return groups


def user_of(event: Any) -> str | None:
    """The user an event belongs to, None where there is none; a user's own embedding belongs to that user."""
    if isinstance(event, Embedding):
        return event.entity_id if event.entity == "user" else None
    return getattr(event, "user_id", None)


def to_arrow(table: Table, events: Sequence[Any], buckets: int) -> pa.Table:
    """The events of one table as its Arrow rows, with their UTC day and user bucket (0 without a user).

    `DataError` where a value does not fit its column (an integer over 64 bits); `refusal` tells which event it was.

    >>> from datetime import UTC, datetime
    >>> rows = to_arrow("quarantine", [Quarantined("q1", datetime(2026, 3, 1, tzinfo=UTC), b"{", "no JSON")], 16)
    >>> rows.select(["event_id", "raw", "bucket"]).to_pylist()
    [{'event_id': 'q1', 'raw': b'{', 'bucket': 0}]
    """
    whole = schema(table)
    try:
        columns = _conclusion_columns(events) if table == "conclusion" else {
            field.name: _column(field, [getattr(event, field.name) for event in events])
            for field in whole if field.name not in PARTITION_COLUMNS}
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise DataError(f"an event does not fit the columns of {table}", got=str(error)) from error
    columns["day"] = pc.cast(columns["time"], pa.date32())
    known: dict[str | None, int] = {None: 0}
    users = [user_of(event) for event in events]
    for user in set(users):
        if user is not None:
            known[user] = user_bucket(user, buckets)
    columns["bucket"] = pa.array([known[user] for user in users], pa.int32())
    return pa.table([columns[field.name] for field in whole], schema=whole)


def refusal(event: Any) -> str | None:
    """Why this one event cannot be a row, None where it can."""
    try:
        to_arrow(table_of(event), [event], 1)
    except DataError as error:
        return str(error)
    return None


def _column(field: pa.Field, values: list[Any]) -> pa.Array:
    if field.type == TIME:
        return _times(values)
    if field.name in _STRUCT_COLUMNS:
        return _structs(field.type, _STRUCT_COLUMNS[field.name], values)
    if field.name in _JSON_COLUMNS:
        values = [_json.encode(value).decode() if value else "{}" for value in values]
    elif field.name == "generated":
        values = [None if value is None else _json.encode(value).decode() for value in values]
    elif field.name == "vector":
        return _vectors(values)
    elif pa.types.is_list(field.type):
        return _lists(field.type, values)
    return pa.array(values, field.type)


def _times(values: list[Any]) -> pa.Array:
    """Aware times as microseconds since 1970; a naive one raises, as its zone would be a guess."""
    try:
        return pa.array([None if value is None else (value - EPOCH) // _MICROSECOND for value in values],
                        pa.int64()).cast(TIME)
    except TypeError:
        raise DataError("a time needs a zone", hint="append +00:00 or Z", field="time") from None


def _lists(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if any(value is None for value in values):
        return pa.array(values, kind)
    offsets = pa.array([0, *accumulate(map(len, values))], pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(list(chain.from_iterable(values)), kind.value_type), type=kind)


def _structs(kind: pa.DataType, struct: type[msgspec.Struct], values: list[Any]) -> pa.Array:
    """Lists of structs, a child column at a time."""
    rows = list(chain.from_iterable(values))
    names = struct.__struct_fields__
    children = [_column(kind.value_type.field(name), list(map(attrgetter(name), rows))) for name in names]
    offsets = pa.array([0, *accumulate(map(len, values))], pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(children, fields=list(kind.value_type)),
                                    type=kind)


def _vectors(values: list[list[float] | str]) -> pa.Array:
    return _lists(pa.list_(pa.float32()), [codec.vector_of(value) for value in values])


def _conclusion_columns(events: Sequence[Any]) -> dict[str, pa.Array]:
    kinds = [event.__struct_config__.tag for event in events]
    subjects = [event.experiment if isinstance(event, Decision) else event.subject for event in events]
    return {
        "event_id": pa.array([event.event_id for event in events], pa.string()),
        "time": _times([event.time for event in events]),
        "kind": pa.array(kinds, pa.string()),
        "subject": pa.array(subjects, pa.string()),
        "data": pa.array([codec.encode_json(event).decode() for event in events], pa.string()),
    }


def from_arrow(table: Table, rows: pa.Table) -> list[Any]:
    """The event structs of Arrow rows, as they were committed; a vector comes back as a list of float32 values.

    Rows of an older version lack columns: those take the struct's defaults. `DataError` where a row is no event.
    """
    if table in ("outcome", "latest_vector"):
        raise DataError("these rows are derived and no events", got=table, hint="read the rows themselves")
    if table == "conclusion":
        return [codec.decode_json(data) for data in rows.column("data").to_pylist()]
    struct: Callable[..., Any] = STRUCTS[table]
    names = [name for name in rows.column_names if name not in PARTITION_COLUMNS]
    plain = [dict(zip(names, row, strict=True)) for row in zip(*(values(rows[name]) for name in names), strict=True)]
    for row in plain:
        for name in _JSON_COLUMNS:
            if row.get(name) is not None:
                row[name] = msgspec.json.decode(row[name])
        for answer in row.get("models") or ():
            if answer.get("generated") is not None:
                answer["generated"] = msgspec.json.decode(answer["generated"])
        for name, inner in _STRUCT_COLUMNS.items():
            if row.get(name) is not None and (with_defaults := _defaulted(inner)):
                for nested in row[name]:
                    _present(nested, with_defaults)
    with_defaults = _defaulted(STRUCTS[table])
    try:
        return [msgspec.convert(_present(row, with_defaults), struct) for row in plain]
    except msgspec.ValidationError as error:
        raise DataError(f"a row of {table} is no event", got=str(error)) from None


def values(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    """What `to_pylist` gives; times, in `datetime.UTC`, at a fifth of the cost.

    >>> values(pa.array([86_400_000_000, None], TIME))
    [datetime.datetime(1970, 1, 2, 0, 0, tzinfo=datetime.timezone.utc), None]
    """
    if column.type != TIME:
        found: list[Any] = column.to_pylist()
        return found
    return [None if us is None else EPOCH + timedelta(microseconds=us) for us in column.cast(pa.int64()).to_pylist()]


@cache
def _defaulted(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    """The fields whose default is something else than None: where a row has null, it stands."""
    return tuple(field.name for field in msgspec.structs.fields(struct)
                 if field.default not in (msgspec.NODEFAULT, None) or field.default_factory is not msgspec.NODEFAULT)


def _present(row: dict[str, Any], with_defaults: Sequence[str]) -> dict[str, Any]:
    """The row, in place, without nulls where the struct has a default."""
    for name in with_defaults:
        if name in row and row[name] is None:
            del row[name]
    return row
