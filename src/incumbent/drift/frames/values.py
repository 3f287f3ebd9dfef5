"""What is done to a batch's column, be it NumPy or Arrow: choose rows, read ids, read times."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError

Whole = NDArray[np.int64]
_GONE = "\0missing"
UNDATED = np.iinfo(np.int64).min  # a time that is missing


def length(column: Any) -> int:
    """Rows."""
    return len(column)


def chosen(column: Any, rows: Whole) -> Any:
    """Some rows of a column, in the order given."""
    if isinstance(column, np.ndarray):
        return column[rows]
    import pyarrow as pa

    return column.take(pa.array(rows))


def ids(column: Any) -> tuple[list[str | None], Whole]:
    """The different values as text, and which of them each row holds; None for a missing one.

    Whole numbers keep no decimals, so that 7 and 7.0 are one id.

    >>> ids(np.array(["b", "a", "b"], dtype=object))
    (['a', 'b'], array([1, 0, 1]))
    """
    if not isinstance(column, np.ndarray):
        if column.null_count == len(column):
            return [None], np.zeros(len(column), dtype=np.int64)
        if hasattr(column, "dictionary_decode"):
            column = column.dictionary_decode()
        coded = column.dictionary_encode(null_encoding="encode")
        values = coded.dictionary.to_pylist()
        return [_text(one) for one in values], coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    if column.dtype.kind == "O":
        texts = [_GONE if (text := _text(one)) is None else text for one in column.tolist()]
        column = np.array(texts, dtype=object).astype(str)
    values, index = np.unique(column, return_inverse=True)
    return [None if one == _GONE else _text(one) for one in values.tolist()], index.astype(np.int64)


def times(column: Any, name: str) -> Whole:
    """Microseconds since 1970 UTC; `UNDATED` where missing. Text is read as ISO 8601. `DataError` for anything else."""
    if isinstance(column, np.ndarray):
        if column.dtype.kind not in "MUO":
            raise _no_time(name, column.dtype)
        try:
            return column.astype("datetime64[us]").astype(np.int64)  # NaT is the least whole number
        except (ValueError, TypeError):
            raise _no_time(name, column[:1]) from None
    import pyarrow as pa

    try:
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            raise _no_time(name, column.type)
        stamps = column.cast(pa.timestamp("us"), safe=False) if not pa.types.is_timestamp(column.type) or \
            column.type.tz is None else column.cast(pa.timestamp("us", "UTC"), safe=False)
        whole = stamps.cast(pa.int64()).fill_null(UNDATED)
    except pa.ArrowException:
        raise _no_time(name, column.type) from None
    read: Whole = whole.to_numpy(zero_copy_only=False)
    return read


def _text(value: Any) -> str | None:
    if value is None or value != value:
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _no_time(name: str, got: Any) -> DataError:
    return DataError(f"column {name} holds no times", got=str(got), field="time",
                     expected="timestamps, dates or ISO 8601 text", hint="pandas.to_datetime, pyarrow.compute.strptime")
