"""The rows of Control: states, matured units and their seals, experiments, outbox, leases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from msgspec import Struct

from incumbent.events.schema import Verdict


class StateRow(Struct, frozen=True):
    """One stored state: its key, the shard it belongs to, and its bytes with the hash of its configuration."""

    key: str  # metric/scope/..., a stable path such as "latency/home/model=popular"
    day: date
    bucket: int
    state: str  # registered name of the State class
    config_hash: str
    data: bytes


class Matured(Struct, frozen=True):
    """One unit of an experiment as it was when it matured; sealed once, never changed (but erased with its user).

    X and Y are the credit of candidate and champion, N the number of competitive pairs shown, `value` the unit's own
    outcome in minor units whatever model it came from, `exposed_at` the first exposure.
    """

    experiment: str
    unit: str
    lane: str
    stage: str  # at the first exposure
    exposed_at: datetime
    matured_at: datetime
    x: float
    y: float
    n: float
    value: float
    requests: int


class Seal(Struct, frozen=True):
    """The hash over one maturity day of one experiment, in the order in which the sequence reads it."""

    experiment: str
    day: date
    sequence: int  # 0, 1, ... the order of sealing
    units: int
    hash: str
    sealed_at: datetime


class ExperimentRow(Struct, frozen=True):
    """An experiment as it stands."""

    name: str
    stage: str
    since: datetime  # of this stage
    started_at: datetime
    held: bool
    verdict: Verdict | None
    version: int  # optimistic: a writer names the version it read
    definition: dict[str, Any]  # the configuration at start, frozen
    ended_at: datetime | None = None


class StageChange(Struct, frozen=True):
    """One interval of an experiment's life: [since, until)."""

    experiment: str
    stage: str
    share: float
    since: datetime
    until: datetime | None


class OutboxRow(Struct, frozen=True):
    """Something to be done because of a conclusion, at least once and by id: publish, log, alert."""

    id: str
    kind: str
    payload: dict[str, Any]
    created_at: datetime
    attempts: int = 0
    error: str | None = None


class BaselineRow(Struct, frozen=True):
    """A baseline of drift: a named, numbered period, written once. Its streams stand in its `BaselinePart` rows."""

    name: str
    version: int  # 1, 2, ... of the name; 0 asks for the next
    built_at: datetime
    since: datetime
    until: datetime
    window: str  # hour, day
    time_zone: str
    hash: str  # over its parts
    definition: dict[str, Any]  # what it is pinned to, how it was made, what was left out and why


class BaselinePart(Struct, frozen=True):
    """A piece of one stream of a baseline: `part` is "about", "frame", or the start of one of its windows."""

    stream: str
    part: str
    state: str  # registered name of the State class of a window; json otherwise
    config_hash: str
    data: bytes


class Lease(Struct, frozen=True):
    """The right to be the one who does `name` until `until`; `token` grows with each holder (fencing)."""

    name: str
    holder: str
    token: int
    until: datetime


def seal_hash(rows: Sequence[Matured]) -> str:
    """BLAKE2b-128 over the rows of a seal in their order, as MessagePack."""
    import hashlib

    import msgspec

    return hashlib.blake2b(msgspec.msgpack.encode(list(rows)), digest_size=16).hexdigest()
