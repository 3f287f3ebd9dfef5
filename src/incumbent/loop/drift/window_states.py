"""window_states: states of every stream and window that touched shards hold, in the frames of the baseline in force.

Each shard is replaced whole; the last carries the cursor, so that a crash before it only means doing the same again.
A baseline that is new, or gains a stream, has the shards of the days that are still to be judged built anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta

import msgspec
from msgspec import Struct

from incumbent.clock import EPOCH, Clock
from incumbent.config.sections import DriftConfig
from incumbent.events.window import day_of
from incumbent.loop.drift import names
from incumbent.loop.drift.baselines import Baseline, active, changed, outdated
from incumbent.loop.drift.frames import Frame
from incumbent.loop.drift.grid import moment_of
from incumbent.loop.drift.shards import TABLES, Reader, grid_of
from incumbent.loop.drift.vector_times import VectorTimes
from incumbent.loop.leases import Held
from incumbent.loop.rollup import state_row
from incumbent.stores.store import Control, Lake, Partition, StateRow

CURSOR = "drift/windows"


class WindowCursor(Struct, frozen=True):
    """What the states know: the baseline and streams that they are in, the versions of the lake's tables."""

    baseline: str = ""
    streams: str = ""
    versions: dict[str, int] = {}
    kept: date = EPOCH.date()  # states of days before are gone


class Windowed(Struct, frozen=True):
    """What a run did; `stopped` says why not all, None where it did all."""

    shards: int = 0
    states: int = 0
    stopped: str | None = None


class WindowStates:
    """Keeps the states of windows exact; one at a time, under the lease `drift/windows`."""

    def __init__(self, lake: Lake, control: Control, clock: Clock, config: DriftConfig, *, holder: str = "loop",
                 lease_s: float = 30.0) -> None:
        self._lake, self._control, self._clock, self._config = lake, control, clock, config
        self._holder, self._lease_s, self._vectors = holder, lease_s, VectorTimes(lake)

    def run_once(self) -> Windowed:
        """Bring the states up to what the lake holds now; without a baseline, or with one
        of another configuration, there is nothing to do."""
        with Held(self._control, self._clock, CURSOR, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return Windowed(stopped="another process holds the lease")
            baseline = active(self._control)
            if baseline is None or changed(baseline, self._config):
                return Windowed()
            before = self._cursor()
            floor = self._floor(baseline)
            gone = {stream: told for stream in baseline.about if (told := outdated(baseline, self._config, stream))}
            after, work = self._work(before, baseline, floor, "; ".join(sorted(set(gone.values()))))
            frames = {name: frame for name, frame in baseline.frames.items() if name not in gone}
            moved = (CURSOR, msgspec.json.encode(after).decode())
            reader = Reader.of(self._lake, self._config, self._vectors)
            made = 0
            for i, (family, shard) in enumerate(work):
                states = list(self._states(reader, frames, floor, family, shard))
                if not lease.renew():
                    return Windowed(i, made, "the lease went to another process")
                self._control.put(shard.day, shard.bucket, family, states, moved if i == len(work) - 1 else None)
                made += len(states)
            if not work:
                self._control.set_cursor(*moved)
        return Windowed(len(work), made)

    def _cursor(self) -> WindowCursor:
        text = self._control.cursor(CURSOR)
        return WindowCursor() if text is None else msgspec.json.decode(text, type=WindowCursor)

    def _floor(self, baseline: Baseline) -> date:
        """The first day whose states are of use: of the first window that some judge has still to see."""
        oldest, grid = self._clock.now() - timedelta(days=self._config.keep_days), grid_of(self._config)
        begin = min((baseline.begin(about, grid) for about in baseline.about.values()), default=baseline.row.until)
        return day_of(max(oldest, begin))

    def _work(self, before: WindowCursor, baseline: Baseline, floor: date, without: str,
              ) -> tuple[WindowCursor, list[tuple[str, Partition]]]:
        """The cursor after this run, and the shards to be put: those that changed, and those to be emptied. `without`
        says why some streams are not counted: with another reason all are built anew."""
        id_ = f"{baseline.id}, {without}" if without else baseline.id
        fresh, more = before.baseline != id_ or floor < before.kept, before.streams != baseline.streams_hash
        versions: dict[str, int] = {}
        changed: dict[str, frozenset[Partition]] = {}
        for table in dict.fromkeys(one for tables in TABLES.values() for one in tables):
            anew = fresh or (more and table in TABLES[names.EMBEDDINGS])  # only versions of spaces come later
            version, shards = self._lake.changes(table, -1 if anew else before.versions.get(table, -1))
            versions[table], changed[table] = version, shards
        reach = max(1, -(-int(self._config.click_hours) // 24), self._config.conversion_days)
        touched = {(family, shard) for family, tables in TABLES.items() for table in tables
                   for shard in _reached(changed[table], reach if table == "outcome" else 0) if shard.day >= floor}
        old = {(family, Partition(day, bucket)) for family in names.FAMILIES for day in self._gone(before, floor)
               for bucket in range(self._lake.buckets)}
        after = WindowCursor(id_, baseline.streams_hash, versions, floor)
        return after, sorted(touched | old)

    def _gone(self, before: WindowCursor, floor: date) -> Iterator[date]:
        """The days whose states are to go: kept until now, and of no use any more."""
        if before.kept == EPOCH.date():
            return
        day = before.kept
        while day < floor:
            yield day
            day += timedelta(days=1)

    def _states(self, reader: Reader, frames: Mapping[str, Frame], floor: date, family: str,
                shard: Partition) -> Iterator[StateRow]:
        if shard.day < floor:
            return
        for (name, start), state in sorted(reader.states(family, shard, frames).items()):
            yield state_row(names.key(name, moment_of(start)), shard, state)


def _reached(shards: frozenset[Partition], days: int) -> Iterator[Partition]:
    """The shards, and those of so many days before, whose exposures an outcome may belong to."""
    for shard in shards:
        for back in range(days + 1):
            yield Partition(shard.day - timedelta(days=back), shard.bucket)
