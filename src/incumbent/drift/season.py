"""Matched windows: which windows of a baseline a current one is compared with, by season and by calendar.

Sales, holidays and outages are no drift: their windows leave the baseline, and are themselves left out or compared with
the same event before. Windows that should be there and are not are counted, never made up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from incumbent.drift.detector import BaselineWindow, Reference
from incumbent.errors import ConfigError, DataError
from incumbent.events.window import Window

Cycle = Literal["none", "hour_of_day", "day_of_week", "hour_of_week"]
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Season:
    """What makes two windows alike: their place in a cycle, by the local time of `zone` at their start.

    >>> from datetime import UTC, datetime
    >>> start = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
    >>> hour = Window(start, start + timedelta(hours=1))
    >>> Season("hour_of_week").key(hour), Season("hour_of_week", zone="Europe/Berlin").key(hour)
    ('Monday 23 h', 'Tuesday 00 h')
    """

    cycle: Cycle = "none"
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.cycle not in ("none", "hour_of_day", "day_of_week", "hour_of_week"):
            raise ConfigError("no such cycle", got=self.cycle, expected="none, hour_of_day, day_of_week, hour_of_week")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ConfigError("no such time zone", got=self.zone, expected="a name such as Europe/Berlin",
                              field="zone") from None

    def key(self, window: Window) -> str:
        """The place of a window in the cycle: windows with one key match."""
        start = window.start.astimezone(ZoneInfo(self.zone))
        hour, day = f"{start.hour:02} h", DAYS[start.weekday()]
        return {"none": "all", "hour_of_day": hour, "day_of_week": day, "hour_of_week": f"{day} {hour}"}[self.cycle]


@dataclass(frozen=True)
class CalendarEvent:
    """A known cause: `name`, its period, and what to do with windows that touch it.

    ``exclude``: not judged, and in no reference. ``match``: judged against the windows of events of the same name, as
    last year's sale, and in no other reference.
    """

    name: str
    period: Window
    action: Literal["exclude", "match"] = "exclude"

    def touches(self, window: Window) -> bool:
        """Do the half-open periods overlap?"""
        return self.period.start < window.end and window.start < self.period.end


@dataclass(frozen=True)
class Calendar:
    """Known events; where several touch a window, one that excludes goes before those that match."""

    events: tuple[CalendarEvent, ...] = ()

    def event(self, window: Window) -> CalendarEvent | None:
        """The event of a window, or None on an ordinary day."""
        found = [event for event in self.events if event.touches(window)]
        return min(found, key=lambda event: (event.action != "exclude", event.period), default=None)


def matched(
    windows: Iterable[BaselineWindow], current: Window, season: Season = Season(),
    calendar: Calendar = Calendar(), *, expected: Iterable[Window] = (),
) -> Reference:
    """The reference of the current window: baseline windows of its season, or of its event, and a reason if few.

    Windows that overlap the current one never stand in its reference. `expected` are the periods for which the
    baseline should have a window: those that match, have no event and are empty or absent are counted as `missing`.
    An excluded current window gets no windows and the reason: its result is no_data. `DataError` for a window without
    a period.
    """
    key, event = season.key(current), calendar.event(current)
    if event is not None and event.action == "exclude":
        return Reference((), key=event.name, reason=f"{event.name} is excluded by the calendar")
    chosen, out = [], 0
    for window in windows:
        if window.period is None:
            raise DataError("a baseline window has no period", hint="Reference.of serves where there is no season")
        if window.period.start < current.end and current.start < window.period.end:
            continue
        theirs = calendar.event(window.period)
        if event is not None:
            if theirs is not None and theirs.action == "match" and theirs.name == event.name:
                chosen.append(window)
        elif season.key(window.period) == key:
            if theirs is None:
                chosen.append(window)
            else:
                out += 1
    chosen.sort(key=lambda window: window.period)  # type: ignore[arg-type, return-value]
    have = {window.period for window in chosen if not window.state.empty}
    missing = 0 if event is not None else sum(
        period not in have and season.key(period) == key and calendar.event(period) is None for period in set(expected))
    return Reference(tuple(chosen), key=event.name if event is not None else key, missing=missing,
                     reason=_reason(key, event, len(have), out, missing))


def periods(span: Window, length: timedelta) -> list[Window]:
    """The whole windows of one length that fill a span from its start: what a baseline should have.

    >>> from datetime import UTC, datetime
    >>> day = datetime(2026, 3, 1, tzinfo=UTC)
    >>> len(periods(Window(day, day + timedelta(days=7)), timedelta(hours=1)))
    168
    """
    if length <= timedelta(0):
        raise DataError("a window has a length", got=length, field="length")
    return [Window(span.start + i * length, span.start + (i + 1) * length)
            for i in range((span.end - span.start) // length)]


def _reason(key: str, event: CalendarEvent | None, have: int, out: int, missing: int) -> str:
    if event is not None:
        return f"{have} windows of {event.name} before"
    parts = [f"{have} windows of {key}"]
    if out:
        parts.append(f"{out} of known events left out")
    if missing:
        parts.append(f"{missing} missing")
    return ", ".join(parts)
