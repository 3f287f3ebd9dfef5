"""rollup: states of every (day, user bucket) shard that requests or outcomes touched, rebuilt whole (keys: `keys`).

Each shard is replaced in one transaction; the last one carries the cursor, so that a crash before it only means doing
the same again. Shards add over days and buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import msgspec
from msgspec import Struct

from incumbent.clock import Clock
from incumbent.events.window import Window
from incumbent.loop import keys, tallies
from incumbent.loop.definitions import Definitions, currency_of, slow_limits
from incumbent.loop.lane_days import of_guardrails
from incumbent.loop.leases import Held
from incumbent.stores.store import Control, Lake, Partition, StateRow

CURSOR = "rollup"
PIECE_ROWS = 100_000  # impressions whose lists are in memory at once


class RollupCursor(Struct, frozen=True):
    """The versions of the lake's tables that the states know."""

    impression: int = -1
    outcome: int = -1


class RolledUp(Struct, frozen=True):
    """What a run did; `stopped` says why not all, None where it did all."""

    shards: int = 0
    states: int = 0
    stopped: str | None = None


class Rollup:
    """Keeps the states exact; one at a time, under the lease `rollup`."""

    def __init__(self, lake: Lake, control: Control, clock: Clock, definitions: Callable[[], Definitions], *,
                 holder: str = "loop", lease_s: float = 30.0) -> None:
        self._lake, self._control, self._clock, self._definitions = lake, control, clock, definitions
        self._holder, self._lease_s = holder, lease_s

    def run_once(self) -> RolledUp:
        """Bring the states up to what the lake holds now."""
        with Held(self._control, self._clock, CURSOR, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return RolledUp(stopped="another process holds the lease")
            text = self._control.cursor(CURSOR)
            cursor = RollupCursor() if text is None else msgspec.json.decode(text, type=RollupCursor)
            shown, impressions = self._lake.changes("impression", cursor.impression)
            told, outcomes = self._lake.changes("outcome", cursor.outcome)
            shards = sorted(impressions | outcomes)
            moved = (CURSOR, msgspec.json.encode(RollupCursor(shown, told)).decode())
            known = self._definitions() if shards else {}
            currencies = {name: currency_of(self._control, name, definition, self._lake)
                          for name, definition in known.items()}
            limits = slow_limits(known)
            made = 0
            for i, shard in enumerate(shards):
                states = list(self._states(shard, currencies, limits))
                if not lease.renew():
                    return RolledUp(i, made, "the lease went to another process")
                self._control.put(shard.day, shard.bucket, keys.FAMILY, states,
                                  moved if i == len(shards) - 1 else None)
                made += len(states)
            if not shards:
                self._control.set_cursor(*moved)
            return RolledUp(len(shards), made)

    def _states(
        self, shard: Partition, currencies: dict[str, str], limits: tallies.SlowLimits,
    ) -> Iterator[StateRow]:
        window = Window.of_day(shard.day)
        impressions = self._lake.scan("impression", window, [shard.bucket], tallies.IMPRESSION_COLUMNS)
        outcomes = self._lake.scan("outcome", window, [shard.bucket], tallies.OUTCOME_COLUMNS)
        models: dict[str, Any] = {}
        for piece in pieces(window, impressions.num_rows):
            answers = self._lake.scan("impression", piece, [shard.bucket], tallies.ANSWER_COLUMNS)
            for key, state in tallies.of_models(tallies.answers_of(answers), limits):
                models[key] = models[key].merge(state) if key in models else state
        for key, state in chain(
            tallies.of_requests(impressions), models.items(), tallies.of_engagement(impressions, outcomes),
            of_guardrails(impressions, outcomes, currencies),
        ):
            if not state.empty:
                yield state_row(key, shard, state)


def pieces(window: Window, rows: int) -> list[Window]:
    """A window in equal parts of about `PIECE_ROWS` rows: the models' full lists are the bulk of an impression.

    >>> from datetime import date
    >>> len(pieces(Window.of_day(date(2026, 3, 1)), 250_000))
    3
    """
    count = max(1, -(-rows // PIECE_ROWS))
    edges = [window.start + (window.end - window.start) * i / count for i in range(count)]
    return [Window(start, end) for start, end in zip(edges, [*edges[1:], window.end], strict=True)]


def state_row(key: str, shard: Partition, state: Any) -> StateRow:
    """A state as Control stores it."""
    return StateRow(key, shard.day, shard.bucket, state.name, state.config_hash, state.to_bytes())


def total(control: Control, kind: type[Any], key: str, days: Window | None = None) -> Any | None:
    """The sum of all shards of exactly this key, None where there are none: how a reader gets a state."""
    merged = None
    for row in control.range(key, days):
        if row.key == key:
            state = kind.from_bytes(row.data)
            merged = state if merged is None else merged.merge(state)
    return merged
