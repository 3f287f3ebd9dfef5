"""Reading rows out of a snapshot of a Delta table: files are pruned by partition and statistics, columns projected."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from incumbent.errors import DataError, StoreError
from incumbent.events.window import Window, day_of
from incumbent.stores.delta_log import DataFile, Snapshot
from incumbent.stores.erase import VECTORS
from incumbent.stores.tables import PARTITION_COLUMNS, schema

_FORMAT = ds.ParquetFileFormat(default_fragment_scan_options=ds.ParquetFragmentScanOptions(pre_buffer=False))
_FILES = LocalFileSystem()
Result = TypeVar("Result")


def pruned(snapshot: Snapshot, period: Window | None = None, buckets: Collection[int] | None = None) -> list[DataFile]:
    """The files that may hold rows of a period and of some buckets, in the order of their partitions and ids."""
    chosen = [file for file in snapshot.files.values()
              if (buckets is None or file.partition.bucket in buckets) and (period is None or _touches(file, period))]
    return sorted(chosen, key=lambda file: (file.partition, file.ids or ("", ""), file.path))


def _touches(file: DataFile, period: Window) -> bool:
    if period.start == period.end:
        return False
    if not day_of(period.start) <= file.partition.day <= day_of(period.end - timedelta(microseconds=1)):
        return False
    return file.times is None or (file.times[0] < period.end and file.times[1] >= period.start)


def read(root: Path, table: str, files: Iterable[DataFile], columns: Sequence[str] | None = None,
         where: Any = None) -> pa.Table:
    """The rows of data files that meet a condition, with the columns of the table's schema as it is today.

    A column that a file of an older version lacks reads as null. `FileNotFoundError` where a vacuum was faster.
    """
    whole, files = schema(table), list(files)
    names = list(whole.names if columns is None else columns)
    marked = not set(PARTITION_COLUMNS).isdisjoint(names)  # costs a quarter of the time, where files are small
    fragments = [_FORMAT.make_fragment(f"{root}/{file.path}", filesystem=_FILES,
                                       partition_expression=_expression(file) if marked else None) for file in files]
    try:
        return ds.FileSystemDataset(fragments, whole, _FORMAT, _FILES).to_table(columns=names, filter=where)
    except pa.ArrowInvalid as error:
        raise StoreError(f"a data file of lake table {table} cannot be read", got=str(error),
                         hint=f"restore {', '.join(_damaged(root, files)) or root}, or remove it and run deltalake's "
                              "repair") from error


def _damaged(root: Path, files: Iterable[DataFile]) -> list[str]:
    """The files that are no Parquet."""
    broken = []
    for file in files:
        try:
            pq.read_metadata(root / file.path)
        except (pa.ArrowException, OSError):
            broken.append(str(root / file.path))
    return broken


def _expression(file: DataFile) -> Any:
    day, bucket = pa.scalar(file.partition.day, pa.date32()), pa.scalar(file.partition.bucket, pa.int32())
    return (ds.field("day") == day) & (ds.field("bucket") == bucket)


def condition(table: str, period: Window | None, users: Collection[str] | None, user_column: str | None) -> Any:
    """What a row has to meet, as an expression over its columns; None where there is no condition."""
    parts = []
    if period is not None:
        start, end = (pa.scalar(moment, pa.timestamp("us", tz="UTC")) for moment in (period.start, period.end))
        parts.append((ds.field("time") >= start) & (ds.field("time") < end))
    if users is not None and user_column is not None:
        parts.append(pc.is_in(ds.field(user_column), value_set=pa.array(sorted(users), pa.string())))
        if table in VECTORS:  # an item may have the name of a user
            parts.append(ds.field("entity") == "user")
    return reduce(and_, parts) if parts else None


def with_retries(attempt: Callable[[], Result], table: str, attempts: int = 5) -> Result:
    """The result of an attempt on a fresh snapshot, again where a vacuum deleted a file under it."""
    for _ in range(attempts - 1):
        try:
            return attempt()
        except FileNotFoundError:
            continue
    try:
        return attempt()
    except FileNotFoundError as error:
        raise StoreError(f"lake table {table} names a file that is not there", got=str(error),
                         hint="restore it, or take it out with deltalake's repair") from error


def checked_columns(table: str, columns: Sequence[str] | None) -> list[str] | None:
    """The columns asked for; `DataError` where the table has no such column, `NotFoundError` for no such table."""
    names = schema(table).names
    if columns is None:
        return None
    for name in columns:
        if name not in names:
            raise DataError(f"no such column of {table}", got=name, expected="one of " + ", ".join(names))
    return list(columns)
