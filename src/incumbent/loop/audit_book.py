"""audit_book: the coin audit over the whole lake, kept up shard by shard, so that a look costs only what is new.

Per (day, user bucket) shard the book holds how many rows it has read, up to which time, and their tally. A shard that
changed is read on from that time; where the numbers do not add up (late or erased rows) it is read again, whole. The
book stands in Control under the cursor ``audit/EXPERIMENT``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import add

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from incumbent.events.window import Window
from incumbent.experiments.audit import Auditor, Tally
from incumbent.stores.columns import from_arrow
from incumbent.stores.store import Control, Lake, Partition

_TICK = timedelta(microseconds=1)


class Shard(Struct, frozen=True):
    """One shard as it was read: all its rows (also those of other experiments), up to a time, and the tally."""

    rows: int = 0
    until: datetime | None = None  # exclusive
    tally: Tally = Tally()


class Book(Struct, frozen=True):
    """The shards by ``DAY/BUCKET``, as of one version of the lake's impressions."""

    version: int = -1
    shards: dict[str, Shard] = {}

    @property
    def tally(self) -> Tally:
        """The totals over all shards."""
        return reduce(add, (shard.tally for shard in self.shards.values()), Tally())


def bring_up(lake: Lake, control: Control, experiment: str) -> Tally:
    """Audit what the lake has new of one experiment, keep the book, and return the totals over everything."""
    name = f"audit/{experiment}"
    kept = control.cursor(name)
    book = Book() if kept is None else msgspec.json.decode(kept, type=Book)
    version, changed = lake.changes("impression", book.version)
    if changed or version != book.version:
        auditor = Auditor(experiment, control.plan)
        shards = dict(book.shards)
        for partition in sorted(changed):
            key = f"{partition.day}/{partition.bucket}"
            shard = _read(lake, auditor, partition, shards.get(key, Shard()))
            shards.pop(key, None)
            if shard.rows:
                shards[key] = shard
        book = Book(version, shards)
        control.set_cursor(name, msgspec.json.encode(book).decode())
    return book.tally


def users_per_lane(lake: Lake, experiment: str, since: datetime, until: datetime) -> Mapping[str, int]:
    """Distinct users of each lane among the experiment's impressions in [since, until)."""
    counts: dict[str, int] = {}
    for bucket in range(lake.buckets):
        rows = lake.scan("impression", Window(since, until), [bucket], columns=["user_id", "lane", "experiment"])
        ours = rows.filter(pc.equal(rows["experiment"], experiment))
        for row in ours.group_by(["lane"]).aggregate([("user_id", "count_distinct")]).to_pylist():
            counts[row["lane"]] = counts.get(row["lane"], 0) + row["user_id_count_distinct"]
    return counts


def _read(lake: Lake, auditor: Auditor, partition: Partition, before: Shard) -> Shard:
    day = Window.of_day(partition.day)
    total = lake.scan("impression", day, [partition.bucket], columns=["event_id"]).num_rows
    if before.until is not None:
        fresh = lake.scan("impression", Window(before.until, day.end), [partition.bucket])
        if before.rows + fresh.num_rows == total:
            return _add(auditor, before, fresh)
    return _add(auditor, Shard(), lake.scan("impression", day, [partition.bucket]))


def _add(auditor: Auditor, before: Shard, rows: pa.Table) -> Shard:
    if not rows.num_rows:
        return before
    ours = rows.filter(pc.equal(rows["experiment"], auditor.experiment))
    last: datetime = pc.max(rows["time"]).as_py()
    tally = before.tally + auditor.audit(from_arrow("impression", ours))
    return Shard(before.rows + rows.num_rows, last.astimezone(UTC) + _TICK, tally)
