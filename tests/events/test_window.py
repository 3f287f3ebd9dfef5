"""Windows are half-open, in UTC, and know their days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.events.window import Window, day_of

DAY = date(2026, 3, 29)  # the day on which clocks change in Europe: in UTC a day like any other
moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.sampled_from(
    [UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-11))]))


def test_a_day_is_24_hours_and_half_open():
    window = Window.of_day(DAY)
    assert window.end - window.start == timedelta(hours=24)
    assert window.start in window and window.end not in window
    assert window.end - timedelta(microseconds=1) in window and "2026-03-29" not in window


def test_days_of_a_span():
    window = Window.of_days(DAY, DAY + timedelta(days=2))
    assert list(window.days()) == [DAY, DAY + timedelta(days=1), DAY + timedelta(days=2)]
    assert list(Window(window.start, window.start).days()) == []


@settings(deadline=None, max_examples=100)
@given(moments, st.timedeltas(timedelta(0), timedelta(days=9)), moments)
def test_every_moment_inside_lies_on_one_of_its_days(start, length, moment):
    window = Window(start, start + length)
    days = list(window.days())
    assert days == sorted(set(days))
    if moment in window:
        assert day_of(moment) in days
    if length:
        assert day_of(start) == days[0] and day_of(start + length - timedelta(microseconds=1)) == days[-1]


def test_neighbours_share_no_moment():
    first, second = Window.of_day(DAY), Window.of_day(DAY + timedelta(days=1))
    assert first.end == second.start and (first.end in first, first.end in second) == (False, True)
    assert first < second


@pytest.mark.parametrize(("start", "end", "what"), [
    (datetime(2026, 1, 1), datetime(2026, 1, 2, tzinfo=UTC), "needs zones"),
    (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2), "needs zones"),
    (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), "ends before it starts")])
def test_refusals(start, end, what):
    with pytest.raises(DataError, match=what):
        Window(start, end)


def test_days_are_utc_days():
    assert day_of(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))) == date(2025, 12, 31)
