"""What a comparison is given, opened: by the kind of object, by a file's name, by its first bytes."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from incumbent.drift.frames import arrays
from incumbent.drift.frames.source import Source, grouped
from incumbent.errors import DataError

_TEXT = (".csv", ".tsv", ".txt")


def opened(data: Any, name: str) -> Source:
    """A source of a path, data frame, array or mapping of arrays; `name` is what errors call it.

    Paths: Parquet (a file or a folder), CSV, .npy and .npz. Numbered columns become vectors (`source.grouped`).
    `DataError` for a file that is absent, empty, truncated or of another kind, and for other objects.
    """
    if isinstance(data, str | PathLike):
        return grouped(_file(Path(data)))
    if arrays.tensor(data) or isinstance(data, np.ndarray | list | tuple | Mapping):
        return grouped(arrays.arrays(data, name))
    if callable(getattr(data, "batches", None)) and hasattr(data, "columns") and not hasattr(data, "to_batches"):
        made: Source = data
        return made
    from incumbent.drift.frames import arrow

    return grouped(arrow.frame(data, name))


def _file(path: Path) -> Source:
    if not path.exists():
        raise DataError("there is no such file", got=path.name, expected="Parquet, CSV, .npy or .npz",
                        hint=f"looked in {path.parent}", field=path.name)
    if path.is_file() and not path.stat().st_size:
        raise DataError(f"{path.name} is empty", got="0 bytes", field=path.name)
    suffixes = [one.lower() for one in path.suffixes]
    head = b"PAR1" if path.is_dir() else _head(path)
    if head.startswith(b"\x93NUMPY"):
        return arrays.npy(path)
    if head.startswith(b"PK\x03\x04"):
        return arrays.npz(path)
    from incumbent.drift.frames import arrow

    if head.startswith(b"PAR1"):
        return arrow.parquet(path)
    if any(one in _TEXT for one in suffixes[-2:]):
        return arrow.csv(path)
    wanted = {".parquet": "Parquet", ".pq": "Parquet", ".npy": "NumPy", ".npz": "NumPy"}.get((suffixes or [""])[-1])
    raise DataError(f"{path.name} is no {wanted or 'file that can be compared'}", field=path.name,
                    got=f"a file that begins with {head[:8]!r}", expected="Parquet, CSV, .npy or .npz")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)
