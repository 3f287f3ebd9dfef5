"""The three stores, as protocols: Log (what arrives), Lake (what is kept), Control (what is decided and measured).

Every implementation passes the one contract suite of `incumbent.testing.checks.stores`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from msgspec import Struct

from incumbent.events.plan import ServingPlan
from incumbent.events.schema import Conclusion, Event, Verdict
from incumbent.events.window import Window

if TYPE_CHECKING:
    import asyncio

    import pyarrow as pa

    from incumbent.errors import StoreError

Table = Literal["impression", "feedback", "embedding", "item", "measurement", "outcome", "conclusion", "quarantine"]


# ------------------------------------------------------------------------------------------------------------- Log
class Record(Struct, frozen=True, array_like=True):
    """One event on its way: the id by which it is known, its table, and its MessagePack.

    A quarantined message is a record too: `table="quarantine"`, `data` the MessagePack of a `Quarantined`.
    """

    event_id: str
    table: Table
    data: bytes


class Quarantined(Struct, frozen=True):
    """A message that was refused, kept as it came with the reason."""

    event_id: str
    time: datetime
    raw: bytes
    reason: str
    field: str | None = None
    source: str = "collector"
    user_id: str | None = None  # where it could be read, so that erasure finds it


class Segment(Struct, frozen=True):
    """A run of records of one writer, the unit of exactly-once: the same (writer, sequence) always holds the same."""

    writer: str
    sequence: int
    records: Sequence[Record]


class Log(Protocol):
    """What arrives. Appended records are durable when the future resolves; nothing acknowledged is ever lost."""

    writer: str

    @property
    def error(self) -> StoreError | None:
        """Why the last commit failed, None where it did not: readiness reads it."""
        ...

    @property
    def dropped(self) -> int:
        """Posted records that had to be given up."""
        ...

    @property
    def backlog(self) -> int:
        """Records that wait to be sealed."""
        ...

    def append(self, records: Sequence[Record], *, max_delay_s: float = 0.0) -> Future[list[bool]]:
        """Queue records for the next group commit; resolves after the sync with, per record, True where it was new
        and False where its id was seen within a day (best effort). `max_delay_s` lets a commit wait for company.
        Resolves with `StoreError` where the disk refuses; then none of the records counts as acknowledged."""
        ...

    def append_async(self, records: Sequence[Record], *, max_delay_s: float = 0.0) -> asyncio.Future[list[bool]]:
        """As `append`, for a coroutine of the running loop to await: far cheaper there."""
        ...

    def post(self, records: Sequence[Record], *, max_delay_s: float = 0.02) -> None:
        """As `append`, for a caller who does not wait: on disk after at most `max_delay_s` and one sync; kept in memory
        and tried again while the disk refuses. Raises `StoreError` where the log cannot keep up."""
        ...

    def drain(self, limit: int = 50_000) -> Segment | None:
        """The oldest segment not yet released, or None. Until it is released the same segment comes back, byte for
        byte, also after a crash and also from the process that adopted this inbox."""
        ...

    def release(self, segment: Segment) -> None:
        """Forget a segment's records. Only after the lake has it, synced."""
        ...

    def erase(self, users: Iterable[str]) -> int:
        """Remove what these users (ids as logged) still have in the log; returns the number of records."""
        ...

    def close(self) -> None:
        """Flush, sync, and give the inbox free for adoption."""
        ...


# ------------------------------------------------------------------------------------------------------------ Lake
class Partition(Struct, frozen=True, order=True):
    """One shard of a lake table: a UTC day and a user bucket (0 where the table has no users)."""

    day: date
    bucket: int


class Commit(Struct, frozen=True):
    """What a commit did: `applied` is False where the segment had been committed before."""

    applied: bool
    rows: int
    partitions: frozenset[Partition]


class Lake(Protocol):
    """What is kept: one table per kind of event, partitioned by UTC day (`day`) and user bucket (`bucket`)."""

    buckets: int

    def commit(self, events: Sequence[Event | Quarantined], writer: str, sequence: int) -> Commit:
        """Append events to their tables exactly once per (writer, sequence) and table, without rows whose event id
        the lake already holds; when it returns, all of it is synced."""
        ...

    def replace(self, table: Table, partition: Partition, rows: pa.Table, writer: str, sequence: int) -> Commit:
        """Put `rows` in the place of a whole partition of a derived table (outcomes), exactly once."""
        ...

    def scan(
        self, table: Table, period: Window | None = None, buckets: Iterable[int] | None = None,
        columns: Sequence[str] | None = None, users: Iterable[str] | None = None,
    ) -> pa.Table:
        """The rows whose event time lies in `period`, an empty table with the right schema where there are none."""
        ...

    def changes(self, table: Table, since: int) -> tuple[int, frozenset[Partition]]:
        """The table's version and the partitions whose rows changed after version `since` (-1 = from the start);
        neither compaction nor retention counts as change."""
        ...

    def compact(self, before: datetime) -> dict[str, int]:
        """Merge small files of days that began before `before`; per table, the number of files merged away."""
        ...

    def expire(self, table: Table, before: date) -> int:
        """Drop whole days older than `before` (retention); returns the rows that went."""
        ...

    def erase(self, users: Iterable[str]) -> dict[str, int]:
        """Remove users (ids as logged) from all tables and all old versions; per table, the rows that went."""
        ...


# --------------------------------------------------------------------------------------------------------- Control
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


class Lease(Struct, frozen=True):
    """The right to be the one who does `name` until `until`; `token` grows with each holder (fencing)."""

    name: str
    holder: str
    token: int
    until: datetime


class Control(Protocol):
    """What is decided and measured: small, transactional, kept for ever."""

    # -- states, with the cursor that they stand on, in one transaction
    def put(self, day: date, bucket: int, family: str, states: Sequence[StateRow],
            cursor: tuple[str, str] | None = None) -> None:
        """Replace all states of one (family, day, bucket) shard, and move a cursor, in one transaction."""
        ...

    def range(self, prefix: str, days: Window | None = None) -> list[StateRow]:
        """All states whose key starts with `prefix`, of the days that the window touches, ordered by key and day."""
        ...

    def cursor(self, name: str) -> str | None: ...
    def set_cursor(self, name: str, value: str) -> None: ...

    # -- plan
    def publish(self, plan: ServingPlan) -> ServingPlan:
        """Store a plan as the current one (its version set to the next number) unless it equals the current one."""
        ...

    def plan(self, hash: str | None = None) -> ServingPlan | None:
        """The current plan, or the one of that hash."""
        ...

    def plan_history(self, limit: int) -> list[ServingPlan]:
        """The last `limit` plans, at least one asked for, the current one last: rankings begun under them go on."""
        ...

    def plan_version(self) -> int:
        """The current plan's version, 0 where there is none: what gateways poll."""
        ...

    # -- leases
    def acquire(self, name: str, holder: str, ttl_s: float, now: datetime) -> Lease | None:
        """Take or renew a lease; None while somebody else holds it."""
        ...

    def give_back(self, lease: Lease) -> None: ...

    # -- conclusions: the event, what changes with it, and the outbox rows, in one transaction
    def conclude(
        self, conclusion: Conclusion, *, experiment: ExperimentRow | None = None, change: StageChange | None = None,
        outbox: Sequence[OutboxRow] = (), memory: tuple[str, bytes] | None = None,
    ) -> None:
        """Store a conclusion once by its event id with all that follows from it; `ConflictError` where `experiment`
        was changed by somebody else (its version is not the stored one plus one)."""
        ...

    def conclusions(self, kind: str | None = None, subject: str | None = None, limit: int = 100) -> list[Conclusion]:
        """Newest first. `subject` is an experiment name for decisions, the subject otherwise."""
        ...

    def memory(self, name: str) -> bytes | None:
        """What a sequential detector or rule carries from step to step."""
        ...

    def outbox(self, limit: int = 100) -> list[OutboxRow]: ...
    def outbox_done(self, ids: Sequence[str]) -> None: ...
    def outbox_failed(self, id: str, error: str) -> None: ...

    # -- experiments
    def experiments(self) -> list[ExperimentRow]: ...
    def experiment(self, name: str) -> ExperimentRow | None: ...
    def stages(self, experiment: str) -> list[StageChange]: ...

    # -- maturity
    def seal(self, experiment: str, day: date, rows: Sequence[Matured], sealed_at: datetime) -> Seal:
        """Write one maturity day once. Sealing it again with the same rows returns the first seal; with other rows
        raises `ConflictError`."""
        ...

    def seals(self, experiment: str) -> list[Seal]: ...
    def matured(self, experiment: str) -> list[Matured]:
        """All sealed units in sequence order (seal order, then matured_at, then unit)."""
        ...

    def restate(self, experiment: str, rows: Sequence[Matured], at: datetime) -> None:
        """Units as they are now where late events changed them; replaces their earlier restatement, feeds no test."""
        ...

    def restated(self, experiment: str) -> list[Matured]: ...

    # -- exclusions, users
    def exclude(self, user_id: str, item_id: str, at: datetime, *, excluded: bool = True) -> None: ...
    def exclusions(self, since: int = 0) -> tuple[int, Mapping[str, frozenset[str]]]:
        """A version and the items excluded per user; only users that changed after version `since`."""
        ...

    def erase(self, users: Iterable[str], audit: Conclusion) -> dict[str, int]:
        """Remove users from matured, restated, exclusions; per table, the rows that went; with its audit row."""
        ...

    def close(self) -> None: ...


#: what a process does with the stores: gateways append and poll, the loop drains and measures, readers look
Role = Literal["gateway", "loop", "reader"]


class Stores(Struct, frozen=True):
    """The three together, as a configuration opens them (`open_stores(config, clock, role=...)` of a store bundle)."""

    log: Any
    lake: Any  # None in a gateway
    control: Any

    def close(self) -> None:
        """Close the log, which writes what is queued, then control."""
        self.log.close()
        self.control.close()


def seal_hash(rows: Sequence[Matured]) -> str:
    """BLAKE2b-128 over the rows of a seal in their order, as MessagePack."""
    import hashlib

    import msgspec

    return hashlib.blake2b(msgspec.msgpack.encode(list(rows)), digest_size=16).hexdigest()
