"""Which windows of a baseline match one to be judged: the cycle, the calendar, and the reference that follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from incumbent.config.sections import DriftConfig
from incumbent.drift.detector import BaselineWindow
from incumbent.drift.null import LEAST
from incumbent.drift.season import Calendar, CalendarEvent, Cycle, Season
from incumbent.events.window import Window

_CYCLES: dict[str, tuple[Cycle, ...]] = {
    "day": ("day_of_week", "none"), "hour": ("hour_of_week", "hour_of_day", "none")}


def calendar_of(config: DriftConfig) -> Calendar:
    """The known causes of a configuration."""
    return Calendar(tuple(CalendarEvent(event.name, Window(event.start, event.end), event.action)
                          for event in config.events))


def season_of(config: DriftConfig, windows: Sequence[BaselineWindow]) -> Season:
    """The finest cycle of which every place has `LEAST` windows that may stand in a null, or the one configured."""
    if config.season != "auto":
        return Season(config.season, config.time_zone)
    calendar, chosen = calendar_of(config), Season("none", config.time_zone)
    for cycle in _CYCLES[config.window]:
        season = Season(cycle, config.time_zone)
        if least_held(season, calendar, windows) >= LEAST and full(season, windows):
            return season
    return chosen


def full(season: Season, windows: Sequence[BaselineWindow]) -> bool:
    """Has every place of the cycle a window?"""
    places = {"none": 1, "hour_of_day": 24, "day_of_week": 7, "hour_of_week": 168}[season.cycle]
    return len({season.key(window.period) for window in windows if window.period is not None}) >= places


def least_held(season: Season, calendar: Calendar, windows: Sequence[BaselineWindow]) -> int:
    """How many windows of a null the poorest place of the cycle has."""
    held = Counter({season.key(window.period): 0 for window in windows if window.period is not None})
    held.update(season.key(window.period) for window in windows
                if window.period is not None and not window.fitted and calendar.event(window.period) is None)
    return min(held.values(), default=0)
