"""The windows that drift is judged by: hours, or the days of a time zone. Every moment lies in exactly one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from incumbent.clock import EPOCH
from incumbent.events.window import Window

MICROSECOND = EPOCH.resolution
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Grid:
    """Hours of UTC, or days from midnight to midnight of a zone, of which two a year have 23 or 25 hours.

    >>> grid = Grid("day", "Europe/Berlin")
    >>> day = grid.window(datetime(2026, 3, 29, 12, tzinfo=UTC))
    >>> day.start.hour, (day.end - day.start).total_seconds() / 3600
    (23, 23.0)
    """

    length: Literal["hour", "day"] = "day"
    zone: str = "UTC"

    @property
    def hours(self) -> float:
        """The usual length of a window."""
        return 1.0 if self.length == "hour" else 24.0

    def window(self, moment: datetime) -> Window:
        """The window that a moment lies in."""
        if self.length == "hour":
            start = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
            return Window(start, start + HOUR)
        day = moment.astimezone(ZoneInfo(self.zone)).date()
        if moment < self._midnight(day):  # a midnight that a change of the clock skipped
            day -= timedelta(days=1)
        return Window(self._midnight(day), self._midnight(day + timedelta(days=1)))

    def touching(self, span: Window) -> list[Window]:
        """The windows that hold a moment of the span, in order."""
        found, at = [], span.start
        while at < span.end:
            found.append(self.window(at))
            at = found[-1].end
        return found

    def inside(self, span: Window) -> list[Window]:
        """The windows that lie in the span as a whole, in order."""
        return [window for window in self.touching(span) if window.start >= span.start and window.end <= span.end]

    def starts(self, times_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """The start of each moment's window; both in microseconds since 1970."""
        if not len(times_us):
            return np.zeros(0, np.int64)
        first, last = (EPOCH + int(edge) * MICROSECOND for edge in (times_us.min(), times_us.max()))
        edges = np.array([micros(window.start) for window in self.touching(Window(first, last + MICROSECOND))])
        starts: NDArray[np.int64] = edges[np.searchsorted(edges, times_us, side="right") - 1]
        return starts

    def _midnight(self, day: object) -> datetime:
        return datetime.combine(day, time(), ZoneInfo(self.zone)).astimezone(UTC)  # type: ignore[arg-type]


def micros(moment: datetime) -> int:
    """A moment in microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


def moment_of(micros_us: int) -> datetime:
    """The moment of so many microseconds since 1970."""
    return EPOCH + int(micros_us) * MICROSECOND
