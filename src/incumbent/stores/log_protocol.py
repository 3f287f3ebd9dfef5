"""Log: what arrives. Its protocol, and the records and segments that pass through it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    import asyncio

    from incumbent.errors import StoreError

Table = Literal["impression", "feedback", "embedding", "item", "measurement", "outcome", "conclusion", "quarantine",
                "latest_vector"]


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
    index: int | None = None  # its place in the batch that brought it
    kind: str | None = None  # schema, id, time, currency, number, size, reference; None where the sealer refused it
    signed: bool = False  # it came in a batch whose impressions are believed


class Segment(Struct, frozen=True):
    """A run of records of one writer, the unit of exactly-once: the same (writer, sequence) always holds the same."""

    writer: str
    sequence: int
    records: Sequence[Record]


class Log(Protocol):
    """What arrives. Appended records are durable when the future resolves; nothing acknowledged is ever lost."""

    writer: str
    source: str  # whose inboxes it drains: one name per host, "local" where there is one

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

    @property
    def left(self) -> int:
        """Records of its writer that were behind the segment last handed out, when it was: 0 where it took all."""
        ...

    @property
    def drained_until(self) -> datetime | None:
        """Everything acknowledged before this moment, in any inbox of the source, was handed out and released; None
        while that is not known of all of them. An inbox that nobody writes to holds nothing back."""
        ...

    def erase(self, users: Iterable[str]) -> int:
        """Remove what these users (ids as logged) still have in the log; returns the number of records."""
        ...

    def close(self) -> None:
        """Flush, sync, and give the inbox free for adoption."""
        ...
