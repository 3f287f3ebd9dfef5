"""rollup: states of every (day, user bucket) shard that requests or outcomes touched (keys: `keys`).

Each shard is replaced in one transaction together with the cursor. What is of impressions alone is the bulk of the work
and only adds: of a shard of the last days the cursor remembers up to which version of the lake its impressions are in
the states, and the next run adds those that came since. It is rebuilt whole where rows went (erasure), where the cursor
does not remember, or where what is slow was frozen or changed meanwhile; where only outcomes changed, late feedback of
an old day, its states of impressions stay as they are. What outcomes have a part in is always rebuilt whole: it needs
no lists. Shards add over days and buckets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from itertools import chain
from typing import Any

import msgspec
from msgspec import Struct

from incumbent import registry
from incumbent.clock import Clock
from incumbent.errors import StateError
from incumbent.events.window import Window
from incumbent.loop import keys, tallies
from incumbent.loop.definitions import Definitions, currency_of, slow_limits
from incumbent.loop.lane_days import GUARDRAIL_COLUMNS, of_guardrails
from incumbent.loop.leases import Held
from incumbent.stores.store import Control, Lake, Partition, StateRow

CURSOR = "rollup"
PIECE_ROWS = 100_000  # impressions whose lists are in memory at once
REMEMBERED = timedelta(days=1)  # before the newest day: older shards that still change are rebuilt whole


class RollupCursor(Struct, frozen=True):
    """The versions of the lake's tables that the states know; of the newest days' shards (``DAY/BUCKET``) the version
    whose impressions are in their states, counted by these `limits`."""

    impression: int = -1
    outcome: int = -1
    shards: dict[str, int] = {}
    limits: str = ""


class RolledUp(Struct, frozen=True):
    """What a run did: shards, those of them that were but added to, and states; `stopped` says why not all."""

    shards: int = 0
    states: int = 0
    stopped: str | None = None
    added: int = 0


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
            if not shards:
                self._write(msgspec.structs.replace(cursor, impression=shown, outcome=told))
                return RolledUp()
            known = self._definitions()
            currencies = {name: currency_of(self._control, name, definition, self._lake)
                          for name, definition in known.items()}
            limits = slow_limits(known)
            cursor = _under(cursor, limits)
            made = added = 0
            for i, shard in enumerate(shards):
                fold = None if shard in impressions else self._unchanged(shard, limits)
                version, whole = cursor.shards.get(_name(shard), -1), False
                if fold is None:
                    version, whole, fold = self._shown(shard, version, limits)
                states = list(self._states(shard, fold, currencies, limits))
                if not lease.renew():
                    return RolledUp(i, made, "the lease went to another process", added)
                added += not whole
                cursor = _remember(cursor, shard, version) if version >= 0 else cursor
                if i == len(shards) - 1:
                    cursor = msgspec.structs.replace(cursor, impression=shown, outcome=told)
                self._control.put(shard.day, shard.bucket, keys.FAMILY, states, (CURSOR, _encoded(cursor)))
                made += len(states)
            return RolledUp(len(shards), made, None, added)

    def _unchanged(self, shard: Partition, limits: tallies.SlowLimits) -> dict[str, Any] | None:
        """The states of a shard's impressions as they stand; None where they cannot be read, or were counted by
        other limits of what is slow than these."""
        try:
            fold = self._kept(shard)
        except StateError:
            return None
        counted = {row.key: row.config_hash for row in self._control.range("slow/", Window.of_day(shard.day))
                   if row.bucket == shard.bucket}
        models = {key.removeprefix("model/"): keys.parts(key)["subject"] for key in fold if key.startswith("model/")}
        asked = {f"slow/{rest}": _hash(limits[name]) for rest, name in models.items() if name in limits}
        return fold if counted == asked else None

    def _shown(self, shard: Partition, since: int, limits: tallies.SlowLimits) -> tuple[int, bool, dict[str, Any]]:
        """The version of the lake that the states of a shard's impressions are of, whether all was read again for them,
        and the states by their keys."""
        fresh = self._lake.fresh("impression", shard, since)
        try:
            fold = {} if fresh.whole else self._kept(shard)
        except StateError:  # a state of another form: it cannot be added to
            fresh, fold = self._lake.fresh("impression", shard, -1), {}
        for piece in fresh.read(tallies.SHOWN_COLUMNS):
            for start in range(0, piece.num_rows, PIECE_ROWS):
                for key, state in tallies.of_shown(piece.slice(start, PIECE_ROWS), limits):
                    fold[key] = fold[key].merge(state) if key in fold else state
        return fresh.version, fresh.whole, fold

    def _kept(self, shard: Partition) -> dict[str, Any]:
        """The states of a shard's impressions as they stand."""
        day = Window.of_day(shard.day)
        found = {}
        for measure in keys.OF_IMPRESSIONS:
            for row in self._control.range(f"{measure}/", day):
                if row.bucket == shard.bucket:
                    found[row.key] = registry.load("states", row.state).from_bytes(row.data)
        return found

    def _states(self, shard: Partition, shown: Mapping[str, Any], currencies: dict[str, str],
                limits: tallies.SlowLimits) -> Iterator[StateRow]:
        window = Window.of_day(shard.day)
        requests = self._lake.scan("impression", window, [shard.bucket], GUARDRAIL_COLUMNS)
        outcomes = self._lake.scan("outcome", window, [shard.bucket], tallies.OUTCOME_COLUMNS)
        by_surface = {keys.parts(key)["subject"]: state for key, state in shown.items()
                      if keys.parts(key)["measure"] == "shown"}
        for key, state in chain(sorted(shown.items()), tallies.of_engagement(by_surface, outcomes),
                                of_guardrails(requests, outcomes, currencies)):
            if not state.empty:
                row, part = state_row(key, shard, state), keys.parts(key)
                yield row if part["measure"] != "slow" else msgspec.structs.replace(
                    row, config_hash=_hash(limits[part["subject"]]))

    def _write(self, cursor: RollupCursor) -> None:
        self._control.set_cursor(CURSOR, _encoded(cursor))


def _under(cursor: RollupCursor, limits: tallies.SlowLimits) -> RollupCursor:
    """The cursor under what counts as slow now: states that were counted otherwise are not added to."""
    digest = _digest({name: list(map(str, limits[name])) for name in sorted(limits)})
    return cursor if digest == cursor.limits else msgspec.structs.replace(cursor, shards={}, limits=digest)


def _hash(limits: tuple[float, ...]) -> str:
    """The configuration of states of what is slow: the limits by which they were counted."""
    return _digest(list(map(str, limits)))


def _digest(plain: Any) -> str:
    return hashlib.blake2b(msgspec.json.encode(plain), digest_size=8).hexdigest()


def _remember(cursor: RollupCursor, shard: Partition, version: int) -> RollupCursor:
    """With the version of a shard, and without those of days before the newest two."""
    shards = {**cursor.shards, _name(shard): version}
    oldest = max(date.fromisoformat(name[:10]) for name in shards) - REMEMBERED
    return msgspec.structs.replace(cursor, shards={
        name: at for name, at in shards.items() if date.fromisoformat(name[:10]) >= oldest})


def _name(shard: Partition) -> str:
    return f"{shard.day.isoformat()}/{shard.bucket}"


def _encoded(cursor: RollupCursor) -> str:
    return msgspec.json.encode(cursor).decode()


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
