"""Reading a numeric column: floats, and how many rows hold no value at all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError


def column(values: Any, field: str = "values") -> tuple[NDArray[np.float64], int]:
    """The values that are there as float64 (m,), and the number of missing ones.

    Missing are None in a list or an object array, a masked entry, and a null of an Arrow array. NaN is a value that is
    not a number and stays in. `DataError` for text, dates, complex numbers and more than one dimension.

    >>> column([1, None, 2.5])
    (array([1. , 2.5]), 1)
    """
    missing = 0
    if hasattr(values, "drop_null") and isinstance(getattr(values, "null_count", None), int):  # Arrow
        missing, values = int(values.null_count), values.drop_null()
    elif isinstance(values, np.ma.MaskedArray):
        missing, values = int(np.ma.getmaskarray(values).sum()), values.compressed()
    array = np.asarray(values)
    if array.ndim != 1:
        raise DataError("a column has one dimension", got=array.shape, expected="(m,)", field=field)
    if array.dtype.kind == "O":
        there = [value for value in array if value is not None]
        missing, array = missing + len(array) - len(there), np.asarray(there if there else [], dtype=None)
        if not there:
            return np.zeros(0), missing
    if len(array) and array.dtype.kind not in "iufb":
        raise DataError("a numeric column holds numbers or None", got=str(array.dtype), field=field,
                        hint="text and ids are counted by incumbent.stats.items")
    return np.asarray(array, dtype=np.float64), missing
