"""When the vectors of items came and of which version they were: what an index served at any moment.

The table of latest vectors says what is newest now; a window of the past, and so a baseline, needs what was newest
then. So times and versions are read from the embeddings themselves, without the vectors, and again only where the lake
has new ones. Items' embeddings alone: no user's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.events.window import Window
from incumbent.stores.store import Lake, Partition

COLUMNS = ["time", "space", "entity", "entity_id", "version"]


@dataclass(frozen=True, eq=False)
class SpaceTimes:
    """One space: a row per vector, by item and then by time. `keys` are ``code (T + 1) + rank`` of the row's time."""

    ids: pa.Array
    times: NDArray[np.int64]  # all of them once, rising: T
    keys: NDArray[np.int64]
    codes: NDArray[np.int64]  # of the row's item in `ids`
    made: NDArray[np.int64]  # microseconds since 1970
    versions: pa.Array

    @classmethod
    def of(cls, rows: pa.Table) -> SpaceTimes:
        """From `time`, `entity_id`, `version`; of two vectors of one moment the greater version counts as the newer."""
        rows = rows.sort_by([("version", "ascending")])
        ids = _one(rows["entity_id"]).dictionary_encode()
        made = np.asarray(rows["time"].cast(pa.int64()))
        times, codes = np.unique(made), np.asarray(ids.indices, dtype=np.int64)
        keys = _keys(codes, times, made)
        order = np.argsort(keys, kind="stable")
        return cls(ids.dictionary, times, keys[order], codes[order], made[order],
                   _one(rows["version"]).take(pa.array(order)))

    def at(self, ids: pa.Array, moments: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each item's newest vector at a moment (microseconds since 1970), -1 where it had none."""
        codes = np.asarray(pc.fill_null(pc.index_in(ids, value_set=self.ids), -1), dtype=np.int64)
        place = np.searchsorted(self.keys, _keys(codes, self.times, moments), side="right") - 1
        here = (codes >= 0) & (place >= 0)
        here &= self.codes[np.maximum(place, 0)] == codes
        found: NDArray[np.int64] = np.where(here, place, -1)
        return found


class VectorTimes:
    """All items' vectors of a lake by space, with what is the newest at a moment."""

    def __init__(self, lake: Lake) -> None:
        self._lake, self._version = lake, -2
        self._parts: dict[Partition, pa.Table] = {}
        self._spaces: dict[str, SpaceTimes] = {}
        self._of_version: dict[str, str | None] = {}

    def look(self) -> None:
        """Read what is new."""
        version, shards = self._lake.changes("embedding", max(self._version, -1))
        if version == self._version:
            return
        for shard in shards:
            rows = self._lake.scan("embedding", Window.of_day(shard.day), [shard.bucket], COLUMNS)
            self._parts[shard] = rows.filter(pc.equal(rows["entity"], "item")).drop_columns("entity")
        self._version, self._spaces, self._of_version = version, {}, {}

    def newest(self, model_versions: pa.Array, ids: pa.Array, moments: NDArray[np.int64]) -> tuple[pa.Array, pa.Array]:
        """The version of each item's newest vector at a moment in the space of the model's version, and its age in
        seconds; null where it had none, or where nobody knows the space."""
        self.look()
        asked = np.asarray(model_versions.to_numpy(zero_copy_only=False), dtype=object)
        versions, ages = np.full(len(asked), None, dtype=object), np.full(len(asked), np.nan)
        for version in sorted({one for one in asked.tolist() if one}):
            space = self.space_of(version)
            if space is None:
                continue
            mine = np.flatnonzero(asked == version)
            known = self._space(space)
            rows = known.at(ids.take(pa.array(mine)), moments[mine])
            mine, rows = mine[rows >= 0], rows[rows >= 0]
            versions[mine] = known.versions.take(pa.array(rows)).to_numpy(zero_copy_only=False)
            ages[mine] = (moments[mine] - known.made[rows]) / 1e6
        return pa.array(versions, pa.string()), pa.array(ages, from_pandas=True)

    def space_of(self, version: str) -> str | None:
        """The space of a model's version: in which most items have a vector of it; where none has, the only one."""
        if not self._of_version and self._parts:
            rows = pa.concat_tables(self._parts.values()).group_by(["space", "version", "entity_id"]).aggregate([])
            found = rows.group_by(["space", "version"]).aggregate([([], "count_all")]).to_pylist()
            spaces = {row["space"] for row in found}
            self._of_version = {"": spaces.pop() if len(spaces) == 1 else None}
            for row in sorted(found, key=lambda row: (row["count_all"], row["space"])):
                self._of_version[row["version"]] = row["space"]
        return self._of_version.get(version, self._of_version.get(""))

    def _space(self, space: str) -> SpaceTimes:
        if space not in self._spaces:
            rows = pa.concat_tables(self._parts.values())
            self._spaces[space] = SpaceTimes.of(rows.filter(pc.equal(rows["space"], space)))
        return self._spaces[space]


def _keys(codes: NDArray[np.int64], times: NDArray[np.int64], moments: NDArray[np.int64]) -> NDArray[np.int64]:
    keys: NDArray[np.int64] = codes * (len(times) + 1) + np.searchsorted(times, moments, side="right")
    return keys


def _one(column: pa.ChunkedArray) -> pa.Array:
    made = column.combine_chunks()
    return pa.concat_arrays(made.chunks) if isinstance(made, pa.ChunkedArray) else made
