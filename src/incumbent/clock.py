"""The only file that reads the time. Everything else takes a `Clock`."""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from incumbent.errors import ConflictError, DataError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Two times: `now`, the business time that events, windows, gates and leases read; `monotonic`, for latency."""

    def now(self) -> datetime:
        """The current time, in UTC with a zone."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed point; never steps back. For latencies and deadlines only."""
        ...


class SystemClock:
    """The machine's own clock."""

    monotonic = staticmethod(time.monotonic)

    def now(self) -> datetime:
        return datetime.now(UTC)


class ManualClock:
    """A clock that moves when told to: for tests and for simulation.

    >>> clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    >>> clock.advance(seconds=90)
    >>> clock.now().isoformat()
    '2026-01-01T00:01:30+00:00'
    """

    def __init__(self, start: datetime, monotonic: Callable[[], float] | None = None) -> None:
        self._now = _utc(start)
        self._elapsed_s = 0.0
        self._monotonic = monotonic

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic() if self._monotonic else self._elapsed_s

    def advance(self, seconds: float) -> None:
        """Move both times by `seconds`; negative steps only the business time back (a stepped machine clock)."""
        self._now += timedelta(seconds=seconds)
        self._elapsed_s += max(seconds, 0.0)

    def set(self, now: datetime) -> None:
        """Jump the business time to `now`."""
        self._now = _utc(now)


class ReplayClock:
    """A business clock shared by all processes of one directory, moved by the replayer and never back.

    The time stands as eight bytes (microseconds since 1970) in ``DIRECTORY/replay.clock``, mapped by every process,
    so that gateway, collector and loop agree without asking one another.

    >>> import tempfile
    >>> clock = ReplayClock(tempfile.mkdtemp(), start=datetime(2017, 7, 1, tzinfo=UTC))
    >>> clock.advance_to(datetime(2017, 7, 2, tzinfo=UTC))
    >>> ReplayClock(clock.path.parent).now().isoformat()
    '2017-07-02T00:00:00+00:00'
    """

    def __init__(self, directory: str | Path, start: datetime | None = None) -> None:
        self.path = Path(directory) / "replay.clock"
        if start is not None and not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_bytes(struct.pack("<q", _micros(_utc(start))))
            temporary.replace(self.path)
        if not self.path.exists():
            raise ConflictError("replay clock has no start", got=str(self.path), hint="set [service] replay_start")
        with self.path.open("r+b") as file:
            if os.fstat(file.fileno()).st_size != 8:
                raise ConflictError("replay clock is damaged", got=str(self.path), expected="a file of 8 bytes",
                                    hint="delete it to start at [service] replay_start again")
            self._map = mmap.mmap(file.fileno(), 8)

    def now(self) -> datetime:
        return EPOCH + timedelta(microseconds=struct.unpack("<q", self._map[:8])[0])

    def monotonic(self) -> float:
        return time.monotonic()

    def advance_to(self, now: datetime) -> None:
        """Move to `now`; raises `DataError` where that would be a step back."""
        if _utc(now) < self.now():
            raise DataError("the replay clock does not step back", got=now.isoformat(), expected=f">= {self.now()}")
        self._map[:8] = struct.pack("<q", _micros(_utc(now)))


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise DataError("a time needs a zone", got=moment.isoformat(), hint="append +00:00 or Z")
    return moment.astimezone(UTC)


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)
