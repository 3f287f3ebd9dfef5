"""When units mature, on which day they are sealed, and what counts as a restatement."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import msgspec

from incumbent.experiments.maturity import due_days, restatements, rounded, seal_days
from incumbent.stores.store import Matured

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def unit(name: str, days: float = 0, **changes: float) -> Matured:
    row = Matured("e", name, "interleave", "canary", NOON - timedelta(days=7), NOON + timedelta(days=days), 1.0, 0.0,
                  2.0, 0.0, 1)
    return msgspec.structs.replace(row, **changes)


def test_a_day_is_due_when_it_is_over_with_its_grace() -> None:
    grace = timedelta(minutes=30)
    midnight = datetime(2026, 3, 4, tzinfo=UTC)
    assert due_days(date(2026, 3, 2), midnight, grace) == [date(2026, 3, 2)]
    assert due_days(date(2026, 3, 2), midnight + grace, grace) == [date(2026, 3, 2), date(2026, 3, 3)]
    assert due_days(date(2026, 3, 5), midnight, grace) == []


def test_units_go_on_the_first_open_day_from_their_maturity_on() -> None:
    rows = [unit("b"), unit("a"), unit("late", -3), unit("early", 4)]
    days = [date(2026, 3, 5), date(2026, 3, 2), date(2026, 3, 3)]
    assert {day.day: [row.unit for row in part] for day, part in seal_days(rows, days).items()} == {
        2: ["late", "a", "b"]}
    assert seal_days(rows, []) == {}
    assert list(seal_days([unit("x", 0.6)], days)) == [date(2026, 3, 3)]


def test_only_what_differs_is_restated() -> None:
    known = {row.unit: row for row in (unit("a"), unit("b"), unit("c"))}
    now = {row.unit: row for row in (unit("a"), unit("b", x=2.0), unit("c", value=5.0), unit("stranger"))}
    assert [row.unit for row in restatements(known, now)] == ["b", "c"]
    assert restatements(known, {"a": unit("a", days=1)}) == []  # the end of a period alone is no number


def test_sums_do_not_depend_on_their_order() -> None:
    numbers = [0.1, 0.2, 0.3, 1 / 3, -1 / 3]
    assert rounded(sum(numbers)) == rounded(sum(reversed(numbers))) == 0.6
    assert str(rounded(-1e-15)) == "0.0"
