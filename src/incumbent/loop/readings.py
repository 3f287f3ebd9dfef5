"""Reading much in small pieces and little in few: a query has a price of its own, and memory is bounded.

The lake does not say how many rows a day or a bucket holds, so the steps find out: where a reading was small the next
one takes twice as much, where it was large it starts over with one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import pyarrow as pa

from incumbent.events.window import Window
from incumbent.stores.store import Lake, Table

PIECE_ROWS = 100_000  # rows below which a reading is small


class Meter:
    """Counts rows that were read."""

    def __init__(self) -> None:
        self.rows = 0

    def step(self, before: int, since: int) -> int:
        """The next step after one that began at `since` rows: twice as long, or 1."""
        return 2 * before if self.rows - since < PIECE_ROWS else 1


def by_days(
    lake: Lake, table: Table, first: date, last: date, buckets: Sequence[int], columns: list[str], meter: Meter, *,
    users: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """The rows of some days, in readings of one or more whole days; `users` only helps where they are few."""
    chosen = users if users is not None and len(users) <= 1_000 else None
    step = 1
    while first <= last:
        until = min(first + timedelta(days=step - 1), last)
        before = meter.rows
        rows = lake.scan(table, Window.of_days(first, until), buckets, columns, users=chosen)
        meter.rows += rows.num_rows
        yield rows
        step = meter.step(step, before)
        first = until + timedelta(days=1)


def by_buckets(buckets: Sequence[int], meter: Meter) -> Iterator[list[int]]:
    """Batches of buckets: what the consumer reads for one batch decides how many the next one has.

    >>> meter = Meter()
    >>> for batch in by_buckets(range(8), meter):
    ...     meter.rows += PIECE_ROWS if batch == [1, 2] else 0
    ...     print(batch)
    [0]
    [1, 2]
    [3]
    [4, 5]
    [6, 7]
    """
    at, step = 0, 1
    while at < len(buckets):
        before = meter.rows
        yield list(buckets[at:at + step])
        at, step = at + step, meter.step(step, before)
