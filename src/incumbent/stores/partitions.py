"""Rows and the partitions (UTC day, user bucket) that they lie in."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from incumbent.errors import DataError
from incumbent.events.ids import user_bucket
from incumbent.stores.store import Partition
from incumbent.stores.tables import PARTITION_COLUMNS


def split(rows: pa.Table) -> dict[Partition, pa.Table]:
    """Rows by their partition, in the order of partitions; the order of rows within one is kept."""
    if (one := _only(rows)) is not None:
        return {one: rows}
    order = pc.sort_indices(rows.select(list(PARTITION_COLUMNS)), [(name, "ascending") for name in PARTITION_COLUMNS])
    rows = rows.take(order).combine_chunks()
    days, buckets = rows["day"].combine_chunks(), rows["bucket"].combine_chunks()
    key = pc.add(pc.multiply(days.cast(pa.int32()).cast(pa.int64()), 2**32), buckets.cast(pa.int64()))
    parts, start = {}, 0
    for end in pc.run_end_encode(key).run_ends.to_pylist() if rows.num_rows else []:
        parts[Partition(days[start].as_py(), buckets[start].as_py())] = rows.slice(start, end - start)
        start = end
    return parts


def _only(rows: pa.Table) -> Partition | None:
    """The partition of all rows, where there is only one."""
    if not rows.num_rows:
        return None
    days, buckets = pc.min_max(rows["day"]).as_py(), pc.min_max(rows["bucket"]).as_py()
    same = days["min"] == days["max"] and buckets["min"] == buckets["max"]
    return Partition(days["min"], buckets["min"]) if same else None


def within(partition: Partition, rows: pa.Table, buckets: int) -> pa.Table:
    """Rows that all lie in the partition, its columns filled in; `DataError` where a column or user says otherwise."""
    users = rows["user_id"].unique().to_pylist() if "user_id" in rows.column_names else []
    for user in users:
        if user is not None and user_bucket(user, buckets) != partition.bucket:
            raise DataError("a row lies in another bucket than its user", got=user_bucket(user, buckets),
                            expected=str(partition.bucket))
    for name, value in (("day", partition.day), ("bucket", partition.bucket)):
        other = set(rows[name].unique().to_pylist()) - {None, value}
        if other:
            raise DataError(f"a row lies in another {name}", got=sorted(map(str, other))[0], expected=str(value))
        at = rows.column_names.index(name)
        rows = rows.set_column(at, rows.field(at), pa.repeat(pa.scalar(value, rows.field(at).type), rows.num_rows))
    return rows
