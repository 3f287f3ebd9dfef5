"""NumPy files and arrays: .npy mapped into memory, .npz as columns (mapped where not compressed), mappings."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.drift.frames.source import BATCH, Batch, Column, Kind
from incumbent.errors import DataError
from incumbent.stats.vectors_read import from_dlpack, unmasked

Array = NDArray[Any]


class ArraySource:
    """Columns that are arrays of one length: (m, d) vectors, (m,) numbers, text or times."""

    def __init__(self, name: str, arrays: Mapping[str, Array]) -> None:
        self.name, self._arrays = name, dict(arrays)
        lengths = {len(array) if array.ndim else None for array in self._arrays.values()}
        if not self._arrays or None in lengths or len(lengths) != 1:
            raise DataError(f"{name} is not columns of one length", got={k: v.shape for k, v in self._arrays.items()},
                            expected="arrays with a row each", field=name)
        self.rows: int | None = lengths.pop()
        self.columns: Mapping[str, Column] = {key: _column(array) for key, array in self._arrays.items()}

    def batches(self, names: Sequence[str], rows: int = BATCH) -> Iterator[Batch]:
        """Slices, which read a mapped file as they are used."""
        for start in range(0, self.rows or 0, rows):
            yield {name: self._arrays[name][start:start + rows] for name in names}


def npy(path: Path) -> ArraySource:
    """A .npy file, mapped: a matrix is the column ``vector``, one dimension is the column ``value``."""
    array = _load(path)
    return ArraySource(path.name, {"vector" if array.ndim == 2 else "value": array})


def npz(path: Path) -> ArraySource:
    """A .npz file: an array each is a column; mapped where it was stored without compression."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        arrays = {member.filename.removesuffix(".npy"): _mapped(path, member) for member in members}
        with np.load(path) as stored:
            return ArraySource(path.name, {key: stored[key] if array is None else array
                                           for key, array in arrays.items()})
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise _unreadable(path, error) from None


def arrays(data: Any, name: str) -> ArraySource:
    """A matrix, a column, or a mapping of names to either."""
    if isinstance(data, Mapping):
        return ArraySource(name, {str(key): _array(column, f"{name}.{key}") for key, column in data.items()})
    array = _array(data, name)
    return ArraySource(name, {"vector" if array.ndim == 2 else "value": array})


def tensor(data: Any) -> bool:
    """Is it read through DLPack? Arrow's arrays, which may hold nulls, are not."""
    return hasattr(data, "__dlpack__") and not isinstance(data, np.ndarray) and not hasattr(data, "__arrow_c_array__")


def _array(data: Any, name: str) -> Array:
    if isinstance(data, np.ma.MaskedArray):
        return _unmasked(data)
    if tensor(data):
        return from_dlpack(data)
    try:
        return np.asarray(data)
    except ValueError:
        raise DataError("vectors have mixed dimensions", got=name, field=name, expected="rows of one length",
                        hint="vectors of two versions of a space are two comparisons") from None


def _unmasked(data: Any) -> Array:
    """What is masked is missing: None in a column, NaT among times, a row of NaN among vectors."""
    if data.ndim == 2 and data.dtype.kind in "fiu":
        return unmasked(data)
    if not np.ma.getmaskarray(data).any():
        return np.asarray(data)
    plain: Array = np.array(data.data, dtype=None if data.dtype.kind == "M" else object)
    plain[np.ma.getmaskarray(data)] = np.datetime64("NaT") if data.dtype.kind == "M" else None
    return plain


def _load(path: Path) -> Array:
    try:
        array = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path, error) from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path.name} cannot be read as NumPy", got=type(array).__name__, expected=".npy")
    return array


def _mapped(path: Path, member: zipfile.ZipInfo) -> Array | None:
    """An array of an archive that is not compressed, mapped; None where it is."""
    if member.compress_type != zipfile.ZIP_STORED or not member.filename.endswith(".npy"):
        return None
    with path.open("rb") as file:
        file.seek(member.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
        file.seek(name + extra, 1)
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file)
        if dtype.hasobject or 0 in shape:
            return None
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")


def _column(array: Array) -> Column:
    if array.ndim == 2 and array.dtype.kind in "fiu":
        return Column("vector", f"{array.dtype} ({array.shape[1]})", int(array.shape[1]))
    kinds: dict[str, Kind] = {"f": "number", "i": "number", "u": "number", "b": "number", "U": "text", "M": "time"}
    if array.ndim == 1 and array.dtype.kind == "O":
        there = [one for one in array[:1000] if one is not None]
        return Column("text" if there and all(isinstance(one, str) for one in there) else
                      "number" if there and all(isinstance(one, int | float) for one in there) else "other", "object")
    return Column(kinds.get(array.dtype.kind, "other") if array.ndim == 1 else "other", f"{array.dtype} {array.shape}")


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path.name} cannot be read as NumPy", got=str(error)[:160], field=path.name,
                     hint="arrays of objects are not read; np.stack makes a matrix of a column of arrays")
