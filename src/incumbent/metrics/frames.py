"""Frames: any frame or mapping of columns as checked Arrow columns, and ids as whole numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from narwhals.exceptions import DuplicateError
from numpy.typing import NDArray

from incumbent.errors import DataError

Codes = NDArray[np.int64]
_UNREADABLE = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeError)


def columns(frame: Any, what: str, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, pa.Array]:
    """The named columns of a pandas, Polars or PyArrow frame or a mapping of arrays, as Arrow arrays of one length.

    `DataError` names every column that is absent or there twice, a column of mixed types, and columns of different
    lengths. An optional column that is absent is left out.

    >>> columns({"user_id": ["u", "v"], "rank": [1, 2]}, "recommendations", ["user_id"])["user_id"].to_pylist()
    ['u', 'v']
    >>> columns({"user": ["u"]}, "recommendations", ["user_id", "rank"])
    Traceback (most recent call last):
    ...
    incumbent.errors.DataError: recommendations lack columns user_id, rank. Got ['user']. Expected user_id, rank.
    """
    if isinstance(frame, Mapping):
        there: Any = frame
        known = list(frame)
    else:
        there = _native(frame, what)
        known = list(there.column_names)
    twice = sorted({name for name in (*names, *optional) if known.count(name) > 1})
    if twice:
        raise DataError(f"{what} hold columns twice: {', '.join(twice)}", got=known, field=f"{what}.{twice[0]}")
    absent = [name for name in names if name not in known]
    if absent:
        raise DataError(f"{what} lack columns {', '.join(absent)}", got=known, expected=", ".join(names),
                        field=f"{what}.{absent[0]}")
    found = {name: _array(there[name], f"{what}.{name}") for name in (*names, *optional) if name in known}
    lengths = {name: len(column) for name, column in found.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"columns of {what} differ in length", got=lengths, field=what)
    return found


def _unreadable(error: Exception, what: str, path: str) -> DataError:
    if isinstance(error, UnicodeError):
        return DataError(f"{what} holds text that is no Unicode", got=str(error), field=path)
    if isinstance(error, OverflowError):
        return DataError(f"{what} holds a whole number beyond 64 bits", got=str(error), field=path,
                         hint="cast ids to text")
    if isinstance(error, pa.ArrowNotImplementedError):
        return DataError(f"{what} is of a type that Arrow does not have", got=str(error), field=path)
    return DataError(f"{what} holds mixed types", got=str(error), field=path, hint="cast ids to text, in every frame")


def _native(frame: Any, what: str) -> pa.Table:
    if isinstance(frame, pa.Table | pa.RecordBatch):
        return pa.Table.from_batches([frame]) if isinstance(frame, pa.RecordBatch) else frame
    try:
        return nw.from_native(frame, eager_only=True).to_arrow()
    except _UNREADABLE as error:
        raise _unreadable(error, f"a column of {what}", what) from None
    except DuplicateError as error:
        raise DataError(f"{what} hold columns twice", got=str(error), field=what) from None
    except TypeError:
        raise DataError(f"{what} are no frame", got=type(frame).__name__, field=what,
                        expected="pandas, Polars, PyArrow, or a mapping of columns",
                        hint="collect it first" if hasattr(frame, "collect") else None) from None


def _array(column: Any, path: str) -> pa.Array:
    if isinstance(column, str | bytes) or not hasattr(column, "__len__"):
        raise DataError("a column must be a sequence of values", got=column, field=path)
    if isinstance(column, np.ndarray) and column.ndim != 1:
        return _rows_of(column, path)
    try:
        made = column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column, from_pandas=True)
        if isinstance(made, pa.ChunkedArray):  # one chunk is taken as it is: combining would copy it
            made = made.chunk(0) if made.num_chunks == 1 else made.combine_chunks()
        if isinstance(made, pa.ChunkedArray):  # more text than one array can hold
            made = made.cast(pa.large_string()).combine_chunks()
        return made.dictionary_decode() if pa.types.is_dictionary(made.type) else made
    except _UNREADABLE as error:
        raise _unreadable(error, "a column", path) from None
    except TypeError as error:
        raise DataError("a column holds mixed types", got=str(error), field=path, hint="cast it to one type") from None


def _rows_of(matrix: NDArray[Any], path: str) -> pa.Array:
    """A matrix as a column of lists, one per row."""
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise DataError("an array must have one dimension, or be a matrix with a list in every row",
                        got=f"shape {matrix.shape} of {matrix.dtype}", field=path)
    return pa.FixedSizeListArray.from_arrays(_array(matrix.reshape(-1), path), matrix.shape[1])


def as_ids(column: pa.Array, path: str) -> pa.Array:
    """An id column as int64 or large text; whole floats (integers beside nulls in pandas) become integers.

    >>> as_ids(pa.array([1.0, None]), "relevant.item_id").to_pylist()
    [1, None]
    """
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(pa.large_string())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:
            pass
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.large_string())
    raise DataError("ids must be text or whole numbers", got=str(kind), field=path, hint="cast ids to text")


def code_together(parts: Mapping[str, pa.Array]) -> tuple[list[Codes], int]:
    """Ids of several columns as whole numbers in [0, size), equal where the ids are equal; a null is -1.

    Integers of a narrow range keep their distance from the least one: nothing is hashed. `DataError` where one column
    holds text and another integers.

    >>> (a, b), size = code_together({"left.id": pa.array(["x", "y"]), "right.id": pa.array(["y", None])})
    >>> a.tolist(), b.tolist(), size
    ([0, 1], [1, -1], 2)
    """
    ids = {path: as_ids(column, path) for path, column in parts.items()}
    kinds = {path: column.type for path, column in ids.items() if len(column) > column.null_count}
    if len(set(kinds.values())) > 1:
        raise DataError("mixed id types", got={path: str(kind) for path, kind in kinds.items()},
                        expected="all text or all whole numbers", field=next(iter(kinds)), hint="cast ids to text")
    if not kinds:
        return [np.full(len(column), -1) for column in ids.values()], 0
    kind, total = next(iter(kinds.values())), sum(len(column) for column in ids.values())
    arrays = [column.cast(kind) for column in ids.values()]
    if pa.types.is_integer(kind):
        ends = [pc.min_max(column).as_py() for column in arrays]
        low = min(end["min"] for end in ends if end["min"] is not None)
        size = max(end["max"] for end in ends if end["max"] is not None) - low + 1
        if size <= 4 * total + 1024:
            return [_whole(column, low) for column in arrays], size
    coded = pa.concat_arrays(arrays).dictionary_encode()
    codes = _whole(coded.indices.cast(pa.int64()), 0)
    cuts = np.cumsum([len(column) for column in arrays])[:-1]
    return list(np.split(codes, cuts)), len(coded.dictionary)


def _whole(column: pa.Array, low: int) -> Codes:
    if column.null_count:
        there = pc.is_valid(column).to_numpy(zero_copy_only=False)
        filled: Codes = column.fill_null(low).to_numpy(zero_copy_only=False)
        return np.where(there, filled - low, -1)
    values: Codes = column.to_numpy(zero_copy_only=False)
    return np.subtract(values, low) if low else values


def small(codes: Codes, most: int) -> NDArray[Any]:
    """Codes below `most` as 32-bit numbers where those hold them: half the memory to walk through."""
    return codes.astype(np.int32, copy=False) if most < 2**31 else codes


def runs(codes: NDArray[Any]) -> Codes:
    """Where each run of equal codes begins, and the length at the end.

    >>> runs(np.array([3, 3, 1])).tolist(), runs(np.array([])).tolist()
    ([0, 2, 3], [0])
    """
    return np.concatenate([[0], np.flatnonzero(codes[1:] != codes[:-1]) + 1, [len(codes)]]) if len(codes) else (
        np.zeros(1, np.int64))


def rising(values: NDArray[Any], starts: Codes) -> bool:
    """Whether values rise in every run."""
    falls = values[1:] <= values[:-1]
    falls[starts[1:-1] - 1] = False
    return not falls.any()


def numbers(column: pa.Array, path: str) -> NDArray[np.float64]:
    """A numeric column as floats (rounded beyond 2^53), NaN for null; `DataError` where it is not numeric.

    Times and dates are microseconds since 1970, without a zone as of UTC.

    >>> from datetime import date
    >>> numbers(pa.array([date(1970, 1, 2), None]), "rows.time").tolist()
    [86400000000.0, nan]
    """
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise DataError(f"column {path} must hold numbers", got=str(kind), field=path)
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
