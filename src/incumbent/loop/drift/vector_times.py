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
Whole = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SpaceTimes:
    """One space: a row per vector, by item, time and version, so that a number says where a row stands (`_keys`)."""

    times: Whole  # all of them once, rising
    tie: int  # versions that one moment may have
    keys: Whole
    codes: Whole  # of the row's item
    made: Whole  # microseconds since 1970
    versions: Whole

    @classmethod
    def of(cls, codes: Whole, made: Whole, versions: Whole, order: Whole) -> SpaceTimes:
        """From the rows' items, times and versions; of two vectors of one moment the version that comes later in
        `order` counts as the newer."""
        times = _distinct(made)
        keys = _keys(codes, times, made, len(order)) + order[versions]
        at = np.argsort(keys)
        return cls(times, len(order), keys[at], codes[at], made[at], versions[at])

    def at(self, codes: Whole, moments: Whole) -> Whole:
        """The row of each item's newest vector at a moment (microseconds since 1970), -1 where it had none."""
        place = np.searchsorted(self.keys, _keys(codes, self.times, moments, self.tie) + self.tie) - 1
        here = (codes >= 0) & (place >= 0)
        here &= self.codes[np.maximum(place, 0)] == codes
        found: Whole = np.where(here, place, -1)
        return found


class Names:
    """Texts by their number, in the order in which they were met."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def codes(self, column: pa.ChunkedArray) -> Whole:
        """The number of each text; a new text is the next one."""
        coded = column.combine_chunks().dictionary_encode()
        parts = coded.chunks if isinstance(coded, pa.ChunkedArray) else [coded]
        made = [np.array([self._known.setdefault(text, len(self._known)) for text in part.dictionary.to_pylist()],
                         dtype=np.int64)[np.asarray(part.indices)] for part in parts]
        return np.concatenate(made) if made else np.zeros(0, np.int64)

    def array(self) -> pa.Array:
        """All texts by number."""
        return pa.array(list(self._known), pa.string())

    def get(self, text: str) -> int:
        """The number of a text, -1 where it was never met."""
        return self._known.get(text, -1)


class VectorTimes:
    """All items' vectors of a lake by space, with what is the newest at a moment: some 70 bytes a vector."""

    def __init__(self, lake: Lake) -> None:
        self._lake, self._seen = lake, -2
        self._ids, self._spaces, self._versions = Names(), Names(), Names()
        self._parts: dict[Partition, tuple[Whole, ...]] = {}  # space, version, item, time
        self._made: dict[int, SpaceTimes] = {}
        self._space_of: dict[int, int] = {}
        self._texts: tuple[pa.Array, pa.Array] = (self._ids.array(), self._versions.array())

    def look(self) -> None:
        """Read what is new."""
        seen, shards = self._lake.changes("embedding", max(self._seen, -1))
        if seen == self._seen:
            return
        for shard in shards:
            rows = self._lake.scan("embedding", Window.of_day(shard.day), [shard.bucket], COLUMNS)
            rows = rows.filter(pc.equal(rows["entity"], "item"))
            self._parts[shard] = (
                self._spaces.codes(rows["space"]), self._versions.codes(rows["version"]),
                self._ids.codes(rows["entity_id"]), np.asarray(rows["time"].cast(pa.int64())))
        self._texts = self._ids.array(), self._versions.array()
        self._seen, self._made, self._space_of = seen, {}, self._homes()

    def newest(self, model_versions: pa.Array, ids: pa.Array, moments: Whole) -> tuple[pa.Array, pa.Array]:
        """The version of each item's newest vector at a moment in the space of the model's version, and its age in
        seconds; null where it had none, or where nobody knows the space."""
        self.look()
        texts, names = self._texts
        items = np.asarray(pc.fill_null(pc.index_in(ids, value_set=texts), -1), dtype=np.int64)
        says = model_versions.dictionary_encode()
        said = np.asarray(pc.fill_null(says.indices, -1), dtype=np.int64)
        versions, ages = np.full(len(said), -1), np.full(len(said), np.nan)
        for number, version in enumerate(says.dictionary.to_pylist()):
            space = self._space_of.get(self._versions.get(version), self._space_of.get(-1))
            if not version or space is None:
                continue
            mine = np.flatnonzero(said == number)
            known = self._space(space)
            rows = known.at(items[mine], moments[mine])
            mine, rows = mine[rows >= 0], rows[rows >= 0]
            versions[mine] = known.versions[rows]
            ages[mine] = (moments[mine] - known.made[rows]) / 1e6
        return names.take(pa.array(versions, mask=versions < 0)), pa.array(ages, from_pandas=True)

    def _homes(self) -> dict[int, int]:
        """The space of each version: in which most items have a vector of it; under -1 the only one, where it is."""
        spaces, versions, items, _ = self._all()
        names, count, most = self._spaces.array().to_pylist(), len(self._texts[1]), max(len(self._texts[0]), 1)
        pairs = _distinct((spaces * count + versions) * most + items) // most
        found = _distinct(pairs)
        have = np.searchsorted(pairs, found, side="right") - np.searchsorted(pairs, found)
        ranked = sorted((n, names[pair // count], pair) for n, pair in zip(have.tolist(), found.tolist(), strict=True))
        homes = {-1: ranked[0][2] // count} if len({space for _, space, _ in ranked}) == 1 else {}
        return {**homes, **{pair % count: pair // count for _, _, pair in ranked}}

    def _space(self, space: int) -> SpaceTimes:
        if space not in self._made:
            spaces, versions, items, times = self._all()
            mine = spaces == space
            order = np.argsort(np.argsort(np.array(self._texts[1].to_pylist())))
            self._made[space] = SpaceTimes.of(items[mine], times[mine], versions[mine], order)
        return self._made[space]

    def _all(self) -> tuple[Whole, ...]:
        return tuple(np.concatenate([np.zeros(0, np.int64), *column])
                     for column in zip(*self._parts.values(), strict=True)) or (np.zeros(0, np.int64),) * 4


def _distinct(values: Whole) -> Whole:
    """All values once, rising: by sorting, since what hashes them is many times slower on millions."""
    ordered = np.sort(values)
    once: Whole = ordered[np.append(True, ordered[1:] != ordered[:-1])[:len(ordered)]]
    return once


def _keys(codes: Whole, times: Whole, moments: Whole, tie: int) -> Whole:
    """Numbers that rise by item and then by time, `tie` apart: ``tie (code (T + 1) + rank of the moment)``."""
    keys: Whole = tie * (codes * (len(times) + 1) + np.searchsorted(times, moments, side="right"))
    return keys
