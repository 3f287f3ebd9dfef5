"""Parquet files and folders, CSV files, and data frames (pandas, Polars, PyArrow by narwhals), as Arrow columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from incumbent.drift.frames.source import BATCH, Batch, Column
from incumbent.errors import DataError

_CSV_BLOCK = 8 << 20  # bytes of text read at a time


@contextmanager
def _readable(name: str, what: str) -> Iterator[None]:
    """Whatever Arrow says of a file or frame as one `DataError`."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, TypeError, NotImplementedError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{name} cannot be read as {what}", got=first[:160], field=name,
                        hint="is it whole, and of that kind?") from None


class ArrowSource:
    """Arrow batches that `read(names, rows)` gives, of a schema."""

    def __init__(self, name: str, what: str, schema: Any, rows: int | None,
                 read: Callable[[Sequence[str], int], Iterator[Any]]) -> None:
        self.name, self.rows, self._what, self._read = name, rows, what, read
        twice = sorted({one for one in schema.names if schema.names.count(one) > 1})
        if twice:
            raise DataError(f"{name} has columns of one name", got=twice[0], expected="a name each", field=name)
        self.columns: Mapping[str, Column] = {field.name: _column(field.type) for field in schema}

    def batches(self, names: Sequence[str], rows: int = BATCH) -> Iterator[Batch]:
        """The columns in batches; `DataError` where a file ends in the middle or changes its mind about a type."""
        with _readable(self.name, self._what):
            for batch in self._read(list(names), rows):
                yield {one: _plain(batch.column(one)) for one in names}


def parquet(path: Path) -> ArrowSource:
    """A Parquet file, or the Parquet files of a folder in the order of their names, read by row group."""
    paths = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not paths:
        raise DataError("the folder has no Parquet files", got=path.name, expected="*.parquet")
    with _readable(path.name, "Parquet"):
        files = [pq.ParquetFile(one) for one in paths]
        schema = files[0].schema_arrow
        total = sum(one.metadata.num_rows for one in files)
        for one in files:
            one.close()

    def read(names: Sequence[str], rows: int) -> Iterator[Any]:
        for one in paths:
            with pq.ParquetFile(one) as file:
                missing = [name for name in names if name not in file.schema_arrow.names]
                if missing:
                    raise DataError("the files of a folder differ", got=f"no {missing[0]} in {one.name}",
                                    expected=f"the columns of {paths[0].name}")
                yield from file.iter_batches(rows, columns=list(names))

    return ArrowSource(path.name, "Parquet", schema, total, read)


def csv(path: Path) -> ArrowSource:
    """A CSV file with a header line (gzip too), or tab-separated values (``.tsv``), streamed; types from its first
    8 MB."""
    delimiter = "\t" if ".tsv" in path.suffixes else ","

    def stream(names: Sequence[str] | None) -> Any:
        return pcsv.open_csv(
            path, read_options=pcsv.ReadOptions(block_size=_CSV_BLOCK),
            parse_options=pcsv.ParseOptions(delimiter=delimiter),
            convert_options=pcsv.ConvertOptions(include_columns=None if names is None else list(names),
                                                strings_can_be_null=True))

    with _readable(path.name, "CSV"), stream(None) as opened:
        schema = opened.schema

    def read(names: Sequence[str], rows: int) -> Iterator[Any]:
        with stream(names) as opened:
            for batch in opened:
                for start in range(0, batch.num_rows, rows):
                    yield batch.slice(start, rows)

    return ArrowSource(path.name, "CSV", schema, None, read)


def frame(data: Any, name: str) -> ArrowSource:
    """A pandas, Polars or PyArrow data frame (anything that narwhals takes), converted a slice at a time."""
    import narwhals as nw

    try:
        wrapped = nw.from_native(data)
        if isinstance(wrapped, nw.LazyFrame):
            wrapped = wrapped.collect()
    except nw.exceptions.DuplicateError:
        twice = Counter(str(one) for one in getattr(data, "column_names", data.columns)).most_common(1)[0][0]
        raise DataError(f"{name} has columns of one name", got=twice, expected="a name each", field=name) from None
    except TypeError:
        raise DataError(f"{name} is nothing that can be compared", got=type(data).__name__, field=name, expected=(
            "a path to Parquet, CSV or NumPy, a data frame, an array, or a mapping of arrays")) from None
    with _readable(name, "a data frame"):
        rows = len(wrapped)
        schema = wrapped.to_arrow().schema if rows <= BATCH else _schema(wrapped)

    def read(names: Sequence[str], size: int) -> Iterator[Any]:
        chosen = wrapped.select(list(names))
        for start in range(0, rows, size):
            table = chosen[start:start + size].to_arrow()
            yield from table.cast(_narrowed(schema, names)).combine_chunks().to_batches()

    return ArrowSource(name, "a data frame", schema, rows, read)


def _schema(wrapped: Any) -> Any:
    """The schema of a frame from its ends and middle; a column that is empty there is of type null."""
    pieces = [wrapped[start:start + 1000].to_arrow().schema.remove_metadata()
              for start in (0, len(wrapped) // 2, max(len(wrapped) - 1000, 0))]
    return pa.unify_schemas(pieces, promote_options="permissive")


def _narrowed(schema: Any, names: Sequence[str]) -> Any:
    return pa.schema([schema.field(name) for name in names])


def _column(kind: Any) -> Column:
    """What an Arrow type is to a comparison."""
    types = pa.types
    while types.is_dictionary(kind) or isinstance(kind, pa.BaseExtensionType):
        kind = kind.value_type if types.is_dictionary(kind) else kind.storage_type
    text = str(kind)
    if types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind):
        numbers = types.is_floating(kind.value_type) or types.is_integer(kind.value_type)
        size = kind.list_size if types.is_fixed_size_list(kind) else None
        return Column("vector", text, size) if numbers else Column("other", text)
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return Column("number", text)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return Column("text", text)
    return Column("time" if types.is_timestamp(kind) or types.is_date(kind) else "other", text)


def _plain(column: Any) -> Any:
    """Without dictionaries, extensions, decimals and chunks."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column
