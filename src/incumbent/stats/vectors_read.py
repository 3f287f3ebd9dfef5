"""Vectors in: NumPy, memory-mapped too, Arrow lists, DLPack or __array__ tensors and Python lists become row blocks.

No library but NumPy is imported: Arrow is known by its own methods, tensors by their protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError

Matrix = NDArray[Any]
_HOST = {1, 3, 11, 13}  # DLPack devices whose memory the processor reads: CPU, pinned CUDA, pinned ROCm, CUDA managed


def blocks(source: Any, dimension: int | None, rows: int) -> Iterator[NDArray[np.float32]]:
    """The vectors in blocks of at most `rows`, float32, in their order; nothing is copied that need not be.

    `source` is an (m, d) array or anything that `matrices` takes. A null vector of Arrow is a row of NaN, and so is a
    row of a masked array with a masked entry. Numbers beyond float32 become infinite. `DataError` for another
    dimension, mixed dimensions, complex numbers, objects, text.

    >>> [block.shape for block in blocks([[1, 2], [3, 4], [5, 6]], 2, rows=2)]
    [(2, 2), (1, 2)]
    """
    for matrix in matrices(source):
        if dimension is not None and matrix.shape[1] != dimension:
            if not len(matrix) and matrix.shape[1] == 0:
                continue  # an empty list has no dimension
            raise DataError("vectors have the wrong dimension", got=matrix.shape, expected=f"(rows, {dimension})",
                            hint="another version of the space needs a baseline of its own", field="vectors")
        for start in range(0, len(matrix), rows):
            block = matrix[start:start + rows]
            if block.dtype != np.float32:
                with np.errstate(over="ignore"):
                    block = block.astype(np.float32)
            yield block


def matrices(source: Any) -> Iterator[Matrix]:
    """The source as one or more (m, d) arrays of real numbers, each checked."""
    if isinstance(source, np.ma.MaskedArray):
        yield unmasked(_real(source))
    elif isinstance(source, np.ndarray):
        yield _real(source)
    elif type(source).__module__.partition(".")[0] == "pyarrow":
        yield from _arrow(source)
    elif hasattr(source, "__dlpack__"):
        yield _real(from_dlpack(source))
    elif hasattr(source, "to_arrow"):  # a Polars series
        yield from _arrow(source.to_arrow())
    elif hasattr(source, "__array__"):
        yield _real(_array(source))
    elif isinstance(source, list | tuple):
        yield _real(_list(source))
    else:
        raise DataError("not vectors", got=type(source).__name__, field="vectors",
                        expected="an array, an Arrow column of lists, a tensor or a list of rows")


def unmasked(array: Any) -> Matrix:
    """A masked matrix as a plain one: a row with a masked entry is a row of NaN.

    >>> unmasked(np.ma.masked_array([[1, 2], [3, 4]], [[0, 0], [1, 0]])).tolist()
    [[1.0, 2.0], [nan, nan]]
    """
    gone = np.ma.getmaskarray(array).any(axis=1)
    plain: Matrix = np.ma.getdata(array)
    if gone.any():
        plain = plain.astype(np.float32 if plain.dtype != np.float64 else np.float64)
        plain[gone] = np.nan
    return plain


def _real(array: Matrix) -> Matrix:
    if array.dtype.kind not in "fiu":
        hints = {"O": "np.stack(column) makes a matrix of a column of arrays",
                 "c": "put the real and imaginary parts side by side"}
        raise DataError("vectors are real numbers", got=f"dtype {array.dtype}", expected="float32 or another real type",
                        hint=hints.get(array.dtype.kind, "cast them to float32"), field="vectors")
    if array.ndim != 2:
        raise DataError("vectors are the rows of a matrix", got=f"shape {array.shape}", expected="(rows, dimension)",
                        hint="vector[None, :] is one row" if array.ndim == 1 else None, field="vectors")
    return array


def _list(rows: list[Any] | tuple[Any, ...]) -> Matrix:
    if not rows:
        return np.empty((0, 0), dtype=np.float32)
    try:
        array = np.asarray(rows)
    except (ValueError, TypeError):
        array = None
    if array is not None and array.dtype.kind != "O":
        return array
    sizes = [len(row) if hasattr(row, "__len__") else None for row in rows]
    odd = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
    if odd is None:
        raise DataError("vectors are real numbers", got=rows[0], expected="rows of numbers", field="vectors")
    got = rows[odd] if sizes[odd] is None else f"row {odd} of {sizes[odd]}"
    raise DataError("vectors have mixed dimensions", got=got,
                    expected=f"{sizes[0]}, as in row 0", hint="vectors of two versions of a space are two states",
                    field="vectors")


def from_dlpack(tensor: Any) -> Matrix:
    device = tensor.__dlpack_device__()[0] if hasattr(tensor, "__dlpack_device__") else 1
    hint = "tensor.detach().cpu().float()"
    if int(device) not in _HOST:
        raise DataError("the tensor is not in the processor's memory", got=f"DLPack device {int(device)}", hint=hint,
                        field="vectors")
    try:
        return np.from_dlpack(tensor)
    except (BufferError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise DataError("the tensor cannot be read", got=type(tensor).__name__, hint=f"{hint} ({error})",
                        field="vectors") from None


def _array(source: Any) -> Matrix:
    try:
        return np.asarray(source)
    except Exception as error:  # foreign code: whatever it raises is one error about the input
        raise DataError("the array cannot be read", got=type(source).__name__, hint=str(error),
                        field="vectors") from None


def _arrow(column: Any) -> Iterator[Matrix]:
    if hasattr(column, "chunks"):
        for chunk in column.chunks:
            yield from _arrow(chunk)
        return
    if hasattr(column, "storage"):  # an extension type, such as a fixed-shape tensor
        column = column.storage
    kind = str(getattr(column, "type", type(column).__name__))
    if not hasattr(column, "flatten") or "list" not in kind:
        raise DataError("not an Arrow column of vectors", got=kind, expected="fixed_size_list or list of numbers",
                        hint="pick the column: table['vector']", field="vectors")
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    flat = column.filter(column.is_valid()).flatten() if column.null_count else column.flatten()
    if not str(flat.type).startswith(("float", "double", "half", "int", "uint")):
        raise DataError("vectors are real numbers", got=kind, expected="lists of numbers", field="vectors")
    values = flat.to_numpy(zero_copy_only=False)
    size = _size(column, kind)
    if valid.all():
        yield _real(values.reshape(len(valid), size))
        return
    rows = np.full((len(valid), size), np.nan, dtype=np.float32)
    with np.errstate(over="ignore"):
        rows[valid] = values.reshape(-1, size)
    yield rows


def _size(column: Any, kind: str) -> int:
    if kind.startswith("fixed_size_list"):
        return int(column.type.list_size)
    lengths = column.drop_null().value_lengths().to_numpy(zero_copy_only=False)
    odd = np.flatnonzero(lengths != lengths[0]) if len(lengths) else lengths
    if len(odd):
        raise DataError("vectors have mixed dimensions", got=f"one of {int(lengths[odd[0]])}",
                        expected=f"{int(lengths[0])}, as in the first", field="vectors",
                        hint="vectors of two versions of a space are two states")
    return int(lengths[0]) if len(lengths) else 0
