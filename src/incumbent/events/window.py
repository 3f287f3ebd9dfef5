"""Half-open windows of time, days and their arithmetic, always in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

from msgspec import Struct

from incumbent.errors import DataError


class Window(Struct, frozen=True, order=True):
    """The half-open period [start, end), both aware and in UTC.

    >>> day = Window.of_day(date(2026, 3, 1))
    >>> day.end - day.start == timedelta(days=1), day.start in day, day.end in day
    (True, True, False)
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise DataError("a window needs zones", got=f"{self.start} to {self.end}")
        if self.end < self.start:
            raise DataError("a window ends before it starts", got=f"{self.start} to {self.end}")

    @classmethod
    def of_day(cls, day: date) -> Window:
        """The UTC day."""
        start = datetime.combine(day, time(), UTC)
        return cls(start, start + timedelta(days=1))

    @classmethod
    def of_days(cls, first: date, last: date) -> Window:
        """The UTC days from `first` to `last`, both included."""
        return cls(cls.of_day(first).start, cls.of_day(last).end)

    def __contains__(self, moment: object) -> bool:
        return isinstance(moment, datetime) and self.start <= moment < self.end

    def touches(self, day: date) -> bool:
        """Does any moment of the UTC day lie in the window?

        >>> open_ended = Window(datetime(2026, 3, 1, 23, tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
        >>> open_ended.touches(date(2026, 3, 1)), open_ended.touches(date(2026, 2, 28))
        (True, False)
        """
        return self.start.astimezone(UTC).date() <= day and datetime.combine(day, time(), UTC) < self.end

    def days(self) -> Iterator[date]:
        """The UTC days that the window touches, in order."""
        day = self.start.astimezone(UTC).date()
        while datetime.combine(day, time(), UTC) < self.end:
            yield day
            if day == date.max:
                return
            day += timedelta(days=1)


def day_of(moment: datetime) -> date:
    """The UTC day of a moment."""
    return moment.astimezone(UTC).date()
