"""One shard (UTC day, user bucket) of the lake as states per stream and window: for the loop, and for baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.config.sections import DriftConfig
from incumbent.errors import DataError
from incumbent.events.window import Window
from incumbent.loop.drift import names
from incumbent.loop.drift import responses as drift_responses
from incumbent.loop.drift import rows as drift_rows
from incumbent.loop.drift.facts import Catalogue
from incumbent.loop.drift.frames import Frame, foreign
from incumbent.loop.drift.grid import Grid
from incumbent.loop.drift.responses import Waits
from incumbent.loop.drift.rows import Rows
from incumbent.loop.drift.vector_times import VectorTimes
from incumbent.loop.rollup import pieces
from incumbent.stats.counts import Counts
from incumbent.stores.store import Lake, Partition, Table

#: family -> the tables whose change touches its shards
TABLES: dict[str, tuple[Table, ...]] = {
    names.EMBEDDINGS: ("embedding",), names.REQUESTS: ("impression",), names.RESPONSES: ("impression", "outcome")}
_FAMILY = {"embeddings": names.EMBEDDINGS, "items": names.REQUESTS, "prices": names.REQUESTS,
           "scores": names.REQUESTS, "context": names.REQUESTS, **dict.fromkeys(names.SERVED, names.REQUESTS)}


def family_of(stream: str) -> str:
    """The family of shards in which a stream's states stand.

    >>> family_of("context/home/device"), family_of("delay/home")
    ('drift-request', 'drift-response')
    """
    return _FAMILY.get(stream.partition("/")[0], names.RESPONSES)


@dataclass(frozen=True)
class Reader:
    """Reads a lake's shards by one configuration; the catalogue is as it was at the end of a shard's day."""

    lake: Lake
    catalogue: Catalogue
    grid: Grid
    waits: Waits
    vectors: VectorTimes

    @classmethod
    def of(cls, lake: Lake, config: DriftConfig, vectors: VectorTimes | None = None) -> Reader:
        """As the configuration says; `vectors` are what is known of the lake's already."""
        return cls(lake, Catalogue(lake), grid_of(config),
                   Waits(config.click_hours, config.conversion_days, config.segment), vectors or VectorTimes(lake))

    def rows(self, family: str, shard: Partition, fields: Mapping[str, list[str]], *,
             served: bool = True) -> Iterator[Rows]:
        """A shard's rows by stream, in pieces; `fields` are the context fields to be told of in any case, `served` asks
        for what takes the times of vectors."""
        whole, lake, grid = Window.of_day(shard.day), self.lake, self.grid
        table: Table = "embedding" if family == names.EMBEDDINGS else "impression"
        if family == names.RESPONSES:
            until = Window(whole.start, whole.end + self.reach)
            told = lake.scan("outcome", until, [shard.bucket], drift_responses.OUTCOME_COLUMNS)
        for piece in pieces(whole, lake.scan(table, whole, [shard.bucket], ["time"]).num_rows):
            if family == names.EMBEDDINGS:
                yield drift_rows.of_embeddings(
                    lake.scan(table, piece, [shard.bucket], drift_rows.EMBEDDING_COLUMNS), grid)
            elif family == names.REQUESTS:
                shown = lake.scan(table, piece, [shard.bucket], drift_rows.REQUEST_COLUMNS)
                facts = self.catalogue.at(whole.end)
                vectors = self.vectors if served else None
                yield {**drift_rows.of_recommended(shown, grid, facts, vectors),
                       **drift_rows.of_context(shown, grid, fields)}
            else:
                shown = lake.scan(table, piece, [shard.bucket], drift_responses.COLUMNS)
                yield drift_responses.of_responses(shown, told, grid, self.waits)

    def states(self, family: str, shard: Partition, frames: Mapping[str, Frame]) -> dict[tuple[str, int], Any]:
        """The states of a shard by stream and start (microseconds since 1970), of the streams that have a frame.

        Vectors of another dimension than their frame's are counted beside, under the stream's name and `FOREIGN`; rows
        that its state refuses under `UNREAD`, by the reason, so that no stream stops another.
        """
        found: dict[tuple[str, int], Any] = {}
        wanted = {name: frame for name, frame in frames.items() if family_of(name) == family}
        if not wanted:
            return found
        facts = self.catalogue.at(Window.of_day(shard.day).end) if family == names.REQUESTS else None
        served = any(name.partition("/")[0] in names.SERVED for name in wanted)
        for piece in self.rows(family, shard, fields_of(wanted), served=served):
            for name, frame in wanted.items():
                for start, rows in by_start(piece.get(name)):
                    try:
                        _add(found, (name, start), frame.state(rows, facts))
                    except DataError as error:
                        unread = Counts.zero().update([str(error)], [rows.num_rows])
                        _add(found, (name + names.UNREAD, start), unread)
                    if frame.kind == "vectors" and not (odd := foreign(frame, rows)).empty:
                        _add(found, (name + names.FOREIGN, start), odd)
        return {at: state for at, state in found.items() if not state.empty}

    @property
    def reach(self) -> timedelta:
        """How long after a shard's day outcomes may still belong to it."""
        return max(timedelta(hours=self.waits.click_hours), timedelta(days=self.waits.conversion_days))


def grid_of(config: DriftConfig) -> Grid:
    """The windows that a configuration asks for."""
    return Grid(config.window, config.time_zone)


def fields_of(frames: Mapping[str, Frame]) -> dict[str, list[str]]:
    """Surface -> the context fields that have a frame."""
    out: dict[str, list[str]] = {}
    for name in sorted(frames):
        kind, *rest = names.parts_of(name)
        if kind == "context":
            out.setdefault(rest[0], []).append(rest[1])
    return out


def by_start(rows: pa.Table | None) -> Iterator[tuple[int, pa.Table]]:
    """Rows window by window."""
    if rows is None or not rows.num_rows:
        return
    starts = np.unique(np.asarray(rows["start"])).tolist()
    for start in starts:
        yield start, rows if len(starts) == 1 else rows.filter(pc.equal(rows["start"], start))


def _add(found: dict[tuple[str, int], Any], at: tuple[str, int], state: Any) -> None:
    found[at] = found[at].merge(state) if at in found else state
