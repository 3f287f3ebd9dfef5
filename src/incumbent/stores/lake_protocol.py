"""Lake: what is kept. Its protocol, with partitions and commits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from incumbent.events.schema import Event
from incumbent.events.window import Window
from incumbent.stores.log_protocol import Quarantined, Table

if TYPE_CHECKING:
    import pyarrow as pa


class Partition(Struct, frozen=True, order=True):
    """One shard of a lake table: a UTC day and a user bucket (0 where the table has no users)."""

    day: date
    bucket: int


class Commit(Struct, frozen=True):
    """What a commit did: `applied` is False where the segment had been committed before."""

    applied: bool
    rows: int
    partitions: frozenset[Partition]


class Fresh(Struct, frozen=True):
    """Rows of a partition as of one version: those that came after an earlier one, or all of them (`whole`).

    `read` gives some columns of them, in pieces; `rows` is their number.
    """

    version: int
    whole: bool
    rows: int
    read: Callable[[Sequence[str]], Iterator[pa.Table]]


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

    def replaced(self, table: Table, partitions: Iterable[Partition], writer: str) -> int | None:
        """The highest sequence under which `writer` replaced any of these partitions, None where it never did."""
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

    def fresh(self, table: Table, partition: Partition, since: int) -> Fresh:
        """The rows of a partition that came after version `since`; all of them where rows went meanwhile, or where
        that is no longer known (-1 asks for all). What adds up is kept up by these, exactly, however often."""
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
