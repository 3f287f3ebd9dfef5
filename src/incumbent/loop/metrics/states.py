"""metric_states: the states of every metric of every (day, user buckets) shard that was touched, rebuilt whole.

Days are measured once they are over: what touches the day that runs waits until then. Each shard is replaced in one
transaction; then each touched day is added up over its buckets for readers, and the last of these carries the cursor,
so that a crash before it only means doing the same again. A shard depends on rows of other days (what a user had
before, what they wanted the day after): those days are touched with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date, timedelta
from functools import cache

import msgspec
from msgspec import Struct

from incumbent.clock import Clock
from incumbent.config import MetricsConfig
from incumbent.events.window import Window, day_of
from incumbent.loop.attribute import read_cursor
from incumbent.loop.leases import Held
from incumbent.loop.left_out import Standing
from incumbent.loop.metrics import sides as metric_sides
from incumbent.loop.metrics.caps import Caps
from incumbent.loop.metrics.caps import moved as moved_caps
from incumbent.loop.metrics.earlier import seen_days
from incumbent.loop.metrics.keys import DAY_FAMILY, FAMILY, Cell, States, add, packed, unpacked
from incumbent.loop.metrics.shard import Known, Shard
from incumbent.loop.metrics.slices import Budget
from incumbent.loop.metrics.tables import Span, spans
from incumbent.stores.store import Control, Lake, Partition

CURSOR = "metric_states"
FORM = 4  # of what is stored of a day: where it changes, the last days are measured anew
Whole = dict[date, dict[Cell, States]]  # days over all buckets


class MetricCursor(Struct, frozen=True):
    """What the states know, and what was frozen on the way: cells, caps, currencies, first sights of model versions."""

    impression: int = -1
    outcome: int = -1
    settings: str = ""  # hash of what, when it changes, has the last days measured anew
    first: date | None = None
    newest: date | None = None
    kept: dict[str, dict[str, list[str]]] = {}
    caps: dict[str, dict[str, float]] = {}
    below: dict[str, dict[str, list[float]]] = {}  # of what has no cap yet: the values of the weeks read so far
    weeks: int = 0  # whole weeks that were read for caps
    currencies: dict[str, str] = {}
    versions: dict[str, int] = {}
    width: int = 0  # buckets of a shard
    waiting: list[tuple[date, int]] = []  # shards of days that are not over
    before: date | None = None  # the days before this one are measured; None of a version that did not say it


class Measured(Struct, frozen=True):
    """What a run did; `stopped` says why not all, None where it did all."""

    shards: int = 0
    cells: int = 0
    stopped: str | None = None


class MetricStates:
    """Keeps the states of metrics exact; one at a time, under the lease `metric_states`."""

    def __init__(self, lake: Lake, control: Control, clock: Clock, config: Callable[[], MetricsConfig], *,
                 holder: str = "loop", lease_s: float = 30.0) -> None:
        self._lake, self._control, self._clock, self._config = lake, control, clock, config
        self._holder, self._lease_s = holder, lease_s
        self._catalogue = metric_sides.Catalogue(lake)

    def run_once(self) -> Measured:
        """Bring the states up to what the lake holds now."""
        config = self._config()
        if not config.enabled:
            return Measured(stopped="metrics.enabled is false")
        with Held(self._control, self._clock, CURSOR, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return Measured(stopped="another process holds the lease")
            cursor, attributed = cursor_of(self._control), read_cursor(self._control).at
            if attributed is not None:
                cursor = msgspec.structs.replace(cursor, before=day_of(min(attributed, self._clock.now())))
            shown, impressions = self._lake.changes("impression", cursor.impression)
            told, outcomes = self._lake.changes("outcome", cursor.outcome)
            cursor = self._moved(cursor, config, shown, told, impressions | outcomes)
            shards, cursor = self._touched(cursor, config, impressions, outcomes)
            if not shards:
                self._control.set_cursor(CURSOR, _text(cursor))
                return Measured()
            known, made, cells = self._known(config, cursor), 0, 0
            blocks = spans({shard.day for shard in shards})
            for block in blocks:
                whole: Whole = {day: {} for day in block}
                for bucket in range(0, self._lake.buckets, config.shard_buckets):
                    if not lease.renew():
                        return Measured(made, cells, "the lease went to another process")
                    touched = [day for day in block if Partition(day, bucket) in shards]
                    made += self._bucket(bucket, touched, known, whole)
                    self._rest(bucket, [day for day in block if day not in touched], whole)
                cells += self._add_up(whole, cursor if block is blocks[-1] else None, known)
            return Measured(made, cells)

    def _moved(self, cursor: MetricCursor, config: MetricsConfig, shown: int, told: int,
               touched: frozenset[Partition]) -> MetricCursor:
        """The cursor after this run; a cap is frozen as soon as there are weeks enough."""
        days = sorted({part.day for part in touched} | ({cursor.first} if cursor.first else set())
                      | ({cursor.newest} if cursor.newest else set()))
        first, newest = (days[0], days[-1]) if days else (None, None)
        caps = Caps(cursor.caps, cursor.below, cursor.weeks)
        if first is not None and cursor.settings:  # once something is measured, the currencies are known
            caps = moved_caps(caps, self._lake, first, day_of(self._clock.now()), cursor.currencies, config.currency)
        text = msgspec.json.encode([config.model_dump(mode="json", exclude={
            "parents", "baseline_days", "least_rows", "enabled", "rebuild_days"}), caps.caps, FORM])
        settings = hashlib.blake2b(text, digest_size=8).hexdigest()
        return msgspec.structs.replace(cursor, impression=shown, outcome=told, first=first, newest=newest,
                                       caps=caps.caps, below=caps.waiting, weeks=caps.weeks, settings=settings,
                                       width=config.shard_buckets)

    def _touched(self, after: MetricCursor, config: MetricsConfig, impressions: frozenset[Partition],
                 outcomes: frozenset[Partition]) -> tuple[set[Partition], MetricCursor]:
        """The shards that the changed partitions enter, from the first to the newest day, and that have waited; and the
        cursor with those that go on waiting."""
        first, newest, before = after.first, after.newest, cursor_of(self._control)
        width, shards = config.shard_buckets, {Partition(*one) for one in after.waiting}
        if first is None or newest is None:
            return shards, after
        for changed, back, ahead in ((impressions, 0, seen_days(config)),
                                     (outcomes, config.relevant_days, config.history_days)):
            for part in changed:
                low, high = part.day - timedelta(days=back), part.day + timedelta(days=ahead)
                for at in range((min(high, newest) - max(low, first)).days + 1):
                    shards.add(Partition(max(low, first) + timedelta(days=at), part.bucket // width * width))
        if before.settings and before.settings != after.settings:
            low = max(first, newest - timedelta(days=config.rebuild_days - 1)) if before.width == width else first
            for day in (low + timedelta(days=at) for at in range((newest - low).days + 1)):
                shards |= {Partition(day, bucket) for bucket in range(0, self._lake.buckets, width)}
                if before.width != width:  # shards of another width would be counted beside the new ones
                    for bucket in range(self._lake.buckets):
                        self._control.put(day, bucket, FAMILY, [])
        today = day_of(self._clock.now())
        later = sorted((part.day, part.bucket) for part in shards if part.day >= today)
        return {part for part in shards if part.day < today}, msgspec.structs.replace(after, waiting=later)

    def _known(self, config: MetricsConfig, cursor: MetricCursor) -> Known:
        popular = cache(lambda monday: metric_sides.popularity(self._lake, self._control, monday, config.relevant))
        return Known(
            config=config, catalogue=self._catalogue, ages=metric_sides.Ages(self._lake, dict(cursor.versions)),
            budget=Budget(msgspec.convert(msgspec.to_builtins(cursor.kept), dict[str, dict[str, list[str]]]),
                          config.slice_keys),
            popular=lambda day: popular(day - timedelta(days=day.weekday())), excluded=Standing.of(self._control),
            currencies=dict(cursor.currencies), caps=cursor.caps,
            vectors=metric_sides.vectors(self._lake, config.space) if config.space else None)

    def _bucket(self, bucket: int, days: list[date], known: Known, whole: Whole) -> int:
        """Measure the days of a shard's buckets, the first of which names it, and add them to the whole."""
        if days:
            config = known.config
            buckets = range(bucket, min(bucket + config.shard_buckets, self._lake.buckets))
            span = Span(self._lake, buckets, days[0], days[-1], config.history_days, config.relevant_days,
                        seen_days(config))
            for day in days:
                cells = Shard(span, day, known).states()
                self._control.put(day, bucket, FAMILY, [packed(cell.key, day, bucket, cells[cell])
                                                        for cell in sorted(cells, key=lambda one: one.key)])
                for cell, states in cells.items():
                    add(whole[day].setdefault(cell, {}), states)
        return len(days)

    def _rest(self, bucket: int, days: list[date], whole: Whole) -> None:
        """Add what stands in Control of the days on which a shard was not touched."""
        for day in days:
            for row in self._control.range(f"{FAMILY}/", Window.of_day(day)):
                if row.day == day and row.bucket == bucket:
                    add(whole[day].setdefault(Cell.of(row.key), {}), unpacked(row))

    def _add_up(self, whole: Whole, cursor: MetricCursor | None, known: Known) -> int:
        """The days over their buckets; the last day of all moves the cursor."""
        moved = None if cursor is None else (CURSOR, _text(msgspec.structs.replace(
            cursor, kept=known.budget.kept, versions=known.ages.first,
            currencies={name: one for name, one in known.currencies.items() if one})))
        days = sorted(whole)
        for day in days:
            rows = [packed(cell.day_key, day, 0, whole[day][cell])
                    for cell in sorted(whole[day], key=lambda one: one.key)]
            self._control.put(day, 0, DAY_FAMILY, rows, moved if day == days[-1] else None)
        return sum(len(cells) for cells in whole.values())


def cursor_of(control: Control) -> MetricCursor:
    """Where the states stand, and what was frozen."""
    text = control.cursor(CURSOR)
    return MetricCursor() if text is None else msgspec.json.decode(text, type=MetricCursor)


def _text(cursor: MetricCursor) -> str:
    return msgspec.json.encode(cursor).decode()


