"""latest_vectors: the newest vector of each entity in each version of a space, kept in the lake.

Derived from the table `embedding`: for comparing two versions by the items that have a vector in both, for the age of
what an index serves, and for explanations. All rows lie in one day (`DAY`) and in the bucket of their entity's id, so
that an erasure finds those of users.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from itertools import groupby

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from incumbent.clock import EPOCH, Clock
from incumbent.events.ids import user_bucket
from incumbent.events.schema import Finding
from incumbent.events.window import Window
from incumbent.loop.drift.rewrites import Rewrites
from incumbent.loop.leases import Held
from incumbent.loop.rollup import pieces
from incumbent.stores.store import Control, Lake, Partition
from incumbent.stores.tables import LATEST_VECTOR

CURSOR = "latest_vectors"
DAY: date = EPOCH.date()
KEYS = ["space", "version", "entity", "entity_id"]
COLUMNS = ["event_id", "time", *KEYS, "vector"]


class Kept(Struct, frozen=True):
    """What a run did: entities whose vector is another, and what was found of those; `stopped` says why not."""

    changed: int = 0
    stopped: str | None = None
    findings: tuple[Finding, ...] = ()


class LatestVectors:
    """Keeps the table; one at a time, under the lease `latest_vectors`. A run that is repeated changes nothing."""

    def __init__(self, lake: Lake, control: Control, clock: Clock, *, holder: str = "loop",
                 lease_s: float = 30.0) -> None:
        self._lake, self._control, self._clock = lake, control, clock
        self._holder, self._lease_s = holder, lease_s
        self._rewrites = Rewrites(lake, control, clock)

    def run_once(self) -> Kept:
        """Bring the table up to the embeddings that the lake holds now."""
        seen = self._control.cursor(CURSOR)
        version, shards = self._lake.changes("embedding", -1 if seen is None else int(seen))
        if not shards:
            return Kept()
        with Held(self._control, self._clock, CURSOR, self._holder, self._lease_s) as lease:
            changed, findings = 0, list[Finding]()
            if lease.renew():
                self._rewrites.load()
            for _, days in groupby(sorted(shards), key=lambda shard: shard.day):
                for rows in (rows for shard in days for rows in self._read(shard)):
                    if not lease.renew():
                        return Kept(changed, "another process holds the lease", tuple(findings))
                    changed += self._merge(rows)
                findings += self._rewrites.judged()
            self._control.set_cursor(CURSOR, msgspec.json.encode(version).decode())
        return Kept(changed, findings=tuple(findings))

    def _read(self, shard: Partition) -> Iterator[pa.Table]:
        whole = Window.of_day(shard.day)
        rows = self._lake.scan("embedding", whole, [shard.bucket], ["time"]).num_rows
        for piece in pieces(whole, rows):
            yield self._lake.scan("embedding", piece, [shard.bucket], COLUMNS)

    def _merge(self, rows: pa.Table) -> int:
        """Put what is newer in the place of what stands, bucket by bucket; how many entities changed."""
        fresh = newest(rows)
        ids = fresh["entity_id"].to_pylist()
        where = np.array([user_bucket(one, self._lake.buckets) for one in ids], dtype=np.int64)
        changed = 0
        for bucket in sorted(set(where.tolist())):
            shard = Partition(DAY, int(bucket))
            stands = self._lake.scan("latest_vector", buckets=[int(bucket)], columns=COLUMNS)
            added = fresh.filter(pa.array(where == bucket))
            merged = newest(pa.concat_tables([stands, added]))
            taken = merged.filter(pc.invert(pc.is_in(merged["event_id"], value_set=_one(stands["event_id"]))))
            if moved := taken.num_rows:
                self._rewrites.add(stands, taken)
                last = self._lake.replaced("latest_vector", [shard], CURSOR)
                self._lake.replace("latest_vector", shard, merged, CURSOR, (last or 0) + 1)
            changed += moved
        return changed


def newest(rows: pa.Table) -> pa.Table:
    """Of each entity in each version of a space the row of the latest time, then of the greatest event id."""
    rows = rows.combine_chunks()
    order = pc.sort_indices(rows.select([*KEYS, "time", "event_id"]),
                            [(name, "ascending") for name in (*KEYS, "time", "event_id")])
    sorted_keys = [rows[name].take(order).combine_chunks().dictionary_encode() for name in KEYS]
    codes = np.stack([np.asarray(part.indices) for part in map(_one, sorted_keys)]) if rows.num_rows else np.zeros(
        (len(KEYS), 0))
    last = np.append((codes[:, 1:] != codes[:, :-1]).any(axis=0), True)[:rows.num_rows]
    return rows.take(order.filter(pa.array(last, pa.bool_()))).select(COLUMNS)


def latest(lake: Lake, space: str, version: str, entity: str) -> pa.Table:
    """`entity_id`, `time` and `vector` of a version of a space, by `entity_id`."""
    rows = lake.scan("latest_vector", columns=[*KEYS, "time", "vector"])
    mask = pc.and_(pc.and_(pc.equal(rows["space"], space), pc.equal(rows["version"], version)),
                   pc.equal(rows["entity"], entity))
    return rows.filter(mask).select(["entity_id", "time", "vector"]).sort_by("entity_id").combine_chunks()


def versions(lake: Lake) -> list[tuple[str, str, str, datetime]]:
    """Every (space, entity, version) that has vectors, and the time of its last one."""
    rows = lake.scan("latest_vector", columns=["space", "entity", "version", "time"])
    found = rows.group_by(["space", "entity", "version"]).aggregate([("time", "max")]).to_pylist()
    return sorted((row["space"], row["entity"], row["version"], row["time_max"]) for row in found)


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return column


assert LATEST_VECTOR.names[:len(COLUMNS)] == COLUMNS
