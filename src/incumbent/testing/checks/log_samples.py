"""Made-up records for an inbox, each told by its number, and the whole of an inbox taken out."""

from __future__ import annotations

from datetime import UTC, datetime

from incumbent.stores.store import Log, Record, Segment

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def record(i: int, size: int = 40) -> Record:
    """The i-th record, of `size` bytes that tell it from its neighbours.

    >>> record(258, 2)
    Record(event_id='01950102-0000-7000-8000-000000000000', table='feedback', data=b'\\x02\\x02')
    """
    return Record(f"0195{i:04x}-0000-7000-8000-000000000000", "feedback", bytes([i % 256]) * size)


def records(first: int, n: int, size: int = 40) -> list[Record]:
    """`n` records from the i-th on."""
    return [record(i, size) for i in range(first, first + n)]


def drain_all(log: Log, limit: int = 7) -> list[Segment]:
    """Every segment that there is, each released."""
    out = []
    while (segment := log.drain(limit)) is not None:
        out.append(segment)
        log.release(segment)
    return out
