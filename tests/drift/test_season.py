"""Seasons and calendars: weeks worked by hand, a clock change, last year's sale, and windows that are not there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from incumbent.drift.alarm import embedding
from incumbent.drift.detector import BaselineWindow
from incumbent.drift.season import Calendar, CalendarEvent, Season, matched, periods
from incumbent.errors import ConfigError, DataError
from incumbent.events.window import Window
from incumbent.stats.moments import Moments

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday


def day(i, days=1):
    return Window(START + i * DAY, START + (i + days) * DAY)


def state(*values):
    return Moments.zero().update(list(values))


def daily(count, **changes):
    return [BaselineWindow(changes.get(f"d{i}", state(float(i))), day(i)) for i in range(count)]


def means(reference):
    return [window.state.mean().value for window in reference.windows]


def test_days_of_the_week_match():
    found = matched(daily(28), day(28 + 2), Season("day_of_week"))
    assert (found.key, means(found)) == ("Wednesday", [2.0, 9.0, 16.0, 23.0])
    assert found.reason == "4 windows of Wednesday" and found.missing == 0
    assert len(matched(daily(28), day(30)).windows) == 28


def test_hours_follow_the_local_clock_through_summer_time():
    berlin = Season("hour_of_week", zone="Europe/Berlin")
    before = Window(datetime(2026, 3, 22, 8, tzinfo=UTC), datetime(2026, 3, 22, 9, tzinfo=UTC))
    after = Window(datetime(2026, 3, 29, 7, tzinfo=UTC), datetime(2026, 3, 29, 8, tzinfo=UTC))  # clocks went forward
    assert berlin.key(before) == berlin.key(after) == "Sunday 09 h"
    assert Season("hour_of_day").key(before) == "08 h"


def test_a_window_is_never_its_own_reference():
    assert means(matched(daily(28), day(9), Season("day_of_week"))) == [2.0, 16.0, 23.0]


def test_events_leave_the_baseline_and_match_themselves():
    calendar = Calendar((CalendarEvent("sale", day(8, 3), "match"), CalendarEvent("outage", day(16), "exclude"),
                         CalendarEvent("sale", day(20), "exclude"), CalendarEvent("holiday", day(21), "match"),
                         CalendarEvent("sale", day(30, 2), "match")))
    ordinary = matched(daily(28), day(37), Season("day_of_week"), calendar)
    assert means(ordinary) == [2.0, 23.0] and "2 of known events left out" in ordinary.reason
    sale = matched(daily(28), day(30), Season("day_of_week"), calendar)
    assert (sale.key, means(sale)) == ("sale", [8.0, 9.0, 10.0])
    assert "3 windows of sale before" in sale.reason


def test_an_excluded_window_is_no_data_and_says_so():
    calendar = Calendar((CalendarEvent("outage", day(30)), CalendarEvent("sale", day(29, 3), "match")))
    reference = matched(daily(28), day(30), Season(), calendar)
    said, memory = embedding().step(state(1.0), reference, {"kept": 1})
    assert said.status == "no_data" and "outage is excluded by the calendar" in said.reason and memory == {"kept": 1}


def test_missing_windows_are_counted_and_not_made_up():
    windows = daily(28, d9=Moments.zero())
    del windows[16]
    found = matched(windows, day(30), Season("day_of_week"), expected=periods(day(0, 28), DAY))
    assert found.missing == 2 and "2 missing" in found.reason and len(found.held) == 2
    excluded = Calendar((CalendarEvent("outage", day(16)),))
    assert matched(windows, day(30), Season("day_of_week"), excluded, expected=periods(day(0, 28), DAY)).missing == 1


def test_periods_fill_a_span_with_whole_windows():
    hours = periods(Window(START, START + timedelta(minutes=150)), HOUR)
    assert [(w.start.hour, w.end.hour) for w in hours] == [(0, 1), (1, 2)]


def test_bad_input_is_one_clear_error():
    with pytest.raises(ConfigError, match="no such cycle"):
        Season("lunar")
    with pytest.raises(ConfigError, match="no such time zone"):
        Season(zone="Mars/Olympus")
    with pytest.raises(DataError, match="no period"):
        matched([BaselineWindow(state(1.0))], day(1))
    with pytest.raises(DataError, match="length"):
        periods(day(0), timedelta(0))
