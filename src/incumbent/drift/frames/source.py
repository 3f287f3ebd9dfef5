"""Source: columns that can be read in batches, more than once, whatever they are stored in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np

from incumbent.errors import DataError, near

Kind = Literal["vector", "number", "text", "time", "other"]
Batch = Mapping[str, Any]  # column -> NumPy array or Arrow array, all of one length
BATCH = 32_768  # rows at a time
GROUP = 8  # numbered columns that make a vector


@dataclass(frozen=True)
class Column:
    """What a column holds; `type` is its type as the file calls it, `dimension` that of vectors where it is known."""

    kind: Kind
    type: str
    dimension: int | None = None


class Source(Protocol):
    """Named columns in batches; `rows` where it is known before reading."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    @property
    def rows(self) -> int | None:
        """How many rows there are; None where only reading tells."""
        ...

    @property
    def columns(self) -> Mapping[str, Column]:
        """What there is."""
        ...

    def batches(self, names: Sequence[str], rows: int = BATCH) -> Iterator[Batch]:
        """These columns, at most `rows` rows at a time, from the first row on at every call."""
        ...


class Grouped:
    """A source in which numbered columns (``emb_0 ... emb_383``) are one vector column (``emb``)."""

    def __init__(self, inner: Source, groups: Mapping[str, Sequence[str]]) -> None:
        self._inner, self._groups = inner, dict(groups)
        inside = {name for members in self._groups.values() for name in members}
        self.columns: Mapping[str, Column] = {
            **{name: column for name, column in inner.columns.items() if name not in inside},
            **{name: Column("vector", f"{len(members)} columns", len(members))
               for name, members in self._groups.items()}}

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self._inner.name

    @property
    def rows(self) -> int | None:
        """How many rows there are, where it is known."""
        return self._inner.rows

    def batches(self, names: Sequence[str], rows: int = BATCH) -> Iterator[Batch]:
        """The columns, numbered ones side by side."""
        wanted = [member for name in names for member in self._groups.get(name, (name,))]
        for batch in self._inner.batches(wanted, rows):
            yield {name: np.column_stack([_floats(batch[member]) for member in self._groups[name]])
                   if name in self._groups else batch[name] for name in names}


def grouped(source: Source) -> Source:
    """The source with every run of `GROUP` or more numbered numeric columns as one vector column.

    A run is ``NAME0 ... NAMEn`` or ``NAME1 ... NAMEn`` without a gap; the separator before the number is dropped.
    """
    runs: dict[str, dict[int, str]] = {}
    for name, column in source.columns.items():
        found = re.fullmatch(r"(.*?)[_.\-\[ ]?(\d+)\]?", name)
        if column.kind == "number" and found:
            runs.setdefault(found[1] or "vector", {})[int(found[2])] = name
    groups = {prefix: [run[i] for i in sorted(run)] for prefix, run in runs.items()
              if len(run) >= GROUP and min(run) in (0, 1) and prefix not in source.columns
              and all(b - a == 1 for a, b in pairwise(sorted(run)))}
    return Grouped(source, groups) if groups else source


def known(names: Iterable[str], source: Source, field: str) -> None:
    """`DataError` for a column that a source does not have, with those nearest to it."""
    for name in names:
        if name not in source.columns:
            some = ", ".join(list(source.columns)[:12]) + (" ..." if len(source.columns) > 12 else "")
            raise DataError(f"{source.name} has no column {name!r}", got=name, expected=f"one of {some}", field=field,
                            hint=near(name, source.columns))


def _floats(column: Any) -> Any:
    """A numeric column as float32, what is missing as NaN."""
    if hasattr(column, "to_numpy") and not isinstance(column, np.ndarray):
        column = column.to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        return np.asarray(column).astype(np.float32)
