"""Vectors by who met them: counts per cluster of the newest vectors that some entities had at a moment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.drift.item_table import ItemTable
from incumbent.events.window import Window
from incumbent.loop.drift import names
from incumbent.stats.vectors_config import VectorsConfig
from incumbent.stores.store import Lake

ROWS = 200_000  # vectors that are read for one side, the newest
COLUMNS = ["time", "event_id", "space", "entity", "version", "entity_id", "vector"]


def clusters(lake: Lake, stream: str, frame: VectorsConfig, until: datetime, wanted: Collection[str],
             weights: Mapping[str, Mapping[str, int]]) -> dict[str, NDArray[np.int64]]:
    """Segment -> counts per cluster (K,): every entity in the cluster of its newest vector before `until`, as often as
    its weight says. Entities without a vector, or without one among the newest `ROWS`, are in no count."""
    near = newest(lake, stream, frame, until, wanted)
    found: dict[str, NDArray[np.int64]] = {}
    for segment, mine in weights.items():
        pairs = np.array([(near[one], n) for one, n in mine.items() if one in near], dtype=np.int64).reshape(-1, 2)
        if len(pairs):
            found[segment] = np.bincount(pairs[:, 0], weights=pairs[:, 1], minlength=len(frame.centroids)).astype(
                np.int64)
    return found


def newest(lake: Lake, stream: str, frame: VectorsConfig, until: datetime,
           wanted: Collection[str]) -> dict[str, int]:
    """Entity -> the cluster of its newest vector before a moment, read back day by day until all are known."""
    _, space, entity, version = names.parts_of(stream)
    asked, found, left = set(wanted), dict[str, int](), ROWS
    _, shards = lake.changes("embedding", -1)
    for day in sorted({shard.day for shard in shards if Window.of_day(shard.day).start < until}, reverse=True):
        if not asked or left <= 0:
            break
        whole = Window.of_day(day)
        rows = lake.scan("embedding", Window(whole.start, min(whole.end, until)), columns=COLUMNS)
        left -= rows.num_rows
        for name, value in (("space", space), ("entity", entity), ("version", version)):
            rows = rows.filter(pc.equal(rows[name], value))
        rows = rows.filter(pc.and_(pc.is_in(rows["entity_id"], value_set=pa.array(sorted(asked), pa.string())),
                                   pc.equal(pc.list_value_length(rows["vector"]), frame.dimension)))
        rows = rows.sort_by([("time", "ascending"), ("event_id", "ascending")])
        ids: list[Any] = rows["entity_id"].to_pylist()
        near = ItemTable(ids, rows["vector"]).clusters(frame).tolist()
        told = {one: cluster for one, cluster in zip(ids, near, strict=True) if cluster >= 0}  # the last stands
        found |= told
        asked -= told.keys()
    return found
