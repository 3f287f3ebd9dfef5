"""How often each entity's vector arrived in some windows, from the rows that the lake still holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.events.window import Window
from incumbent.loop.drift import names
from incumbent.loop.drift.grid import Grid, micros
from incumbent.stores.store import Lake

COLUMNS = ["time", "space", "entity", "version", "entity_id"]


def arrivals(lake: Lake, grid: Grid, stream: str, windows: Iterable[Window],
             ids: Sequence[str]) -> NDArray[np.float64] | None:
    """Vectors per entity of `ids`, aligned with them, over the windows of a stream of embeddings.

    A day is read at a time, without its vectors. None where the lake holds none of them any more: unknown is not 0.
    """
    _, space, entity, version = names.parts_of(stream)
    asked = list(windows)
    starts = pa.array([micros(one.start) for one in asked], pa.int64())
    found: Counter[str] = Counter()
    for day in sorted({day for one in asked for day in one.days()}):
        rows = lake.scan("embedding", Window.of_day(day), columns=COLUMNS)
        for name, value in (("space", space), ("entity", entity), ("version", version)):
            rows = rows.filter(pc.equal(rows[name], value))
        begun = pa.array(grid.starts(np.asarray(rows["time"].cast(pa.int64()))))
        told = pc.value_counts(rows["entity_id"].filter(pc.is_in(begun, value_set=starts)))
        found.update(dict(zip(told.field("values").to_pylist(), told.field("counts").to_pylist(), strict=True)))
    counts = np.array([found[one] for one in ids], dtype=np.float64)
    return counts if counts.any() else None
