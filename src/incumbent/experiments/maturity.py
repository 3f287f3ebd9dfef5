"""Maturity: when a unit has shown what it will show, and what it was then.

A unit (a user in the interleave or holdout lane) matures at its first exposure plus the maturity window. Its row is
sealed with the day on which it matured, once, and that is all that sequential tests ever read. The pairs of all stages
in its period simply add: the comparison is inside the pair, so a ramp change in the middle makes no Simpson's paradox.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from incumbent.events.window import Window, day_of

#: the lanes that are compared; users of other lanes are no units
LANES = ("interleave", "holdout")
#: stages whose requests start a unit's clock: all that serve the candidate to somebody
EXPOSING = ("canary", "ramp_5", "ramp_10", "ramp_25", "ramp_50", "promoted")
#: sums are kept to this many decimals, so that they do not depend on the order of adding
DECIMALS = 9


class Unit(Protocol):
    """One unit as it was when it matured (`incumbent.stores.store.Matured` is one)."""

    @property
    def unit(self) -> str: ...
    @property
    def lane(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def exposed_at(self) -> datetime: ...
    @property
    def matured_at(self) -> datetime: ...
    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...
    @property
    def n(self) -> float: ...
    @property
    def value(self) -> float: ...
    @property
    def requests(self) -> int: ...


U = TypeVar("U", bound=Unit)


def rounded(value: float) -> float:
    """A sum to `DECIMALS`, never a negative zero.

    >>> rounded(0.1 + 0.2), rounded(-1e-12)
    (0.3, 0.0)
    """
    return float(rounded_all(np.array([value]))[0])


def rounded_all(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`rounded` of each; exact also for sums of millions of minor units, which have fewer decimals to begin with."""
    return np.round(values, DECIMALS) + 0.0


def due_days(first: date, seen_until: datetime, grace: timedelta) -> list[date]:
    """The days from `first` on that are over, `grace` included, by the time up to which all outcomes are known.

    >>> from datetime import UTC
    >>> due_days(date(2026, 3, 1), datetime(2026, 3, 3, 0, 20, tzinfo=UTC), timedelta(minutes=30))
    [datetime.date(2026, 3, 1)]
    """
    days = []
    while Window.of_day(first).end + grace <= seen_until:
        days.append(first)
        first += timedelta(days=1)
    return days


def seal_days(units: Iterable[U], days: Sequence[date]) -> dict[date, list[U]]:
    """Each unit on the first of the days that is not before its maturity; later ones wait. Empty days are left out.

    A unit whose exposure became known only after its own day was sealed therefore enters with the next day.

    >>> from collections import namedtuple
    >>> from datetime import UTC
    >>> unit = namedtuple("Unit", "unit matured_at")("u1", datetime(2026, 3, 2, 9, tzinfo=UTC))
    >>> list(seal_days([unit], [date(2026, 3, 1), date(2026, 3, 4)]))
    [datetime.date(2026, 3, 4)]
    """
    ordered = sorted(days)
    sealed: dict[date, list[U]] = {}
    for unit in sorted(units, key=lambda u: (u.matured_at, u.unit)):
        at = bisect_left(ordered, day_of(unit.matured_at))
        if at < len(ordered):
            sealed.setdefault(ordered[at], []).append(unit)
    return dict(sorted(sealed.items()))


def restatements(known: Mapping[str, U], now: Mapping[str, U]) -> list[U]:
    """The units of `now` that differ from what is known of them (as sealed, or as restated before).

    >>> restatements({}, {})
    []
    """
    return [row for unit, row in sorted(now.items()) if unit in known and numbers(row) != numbers(known[unit])]


def numbers(unit: Unit) -> tuple[object, ...]:
    """Everything of a unit that a restatement may change."""
    return (unit.lane, unit.stage, unit.exposed_at, unit.x, unit.y, unit.n, unit.value, unit.requests)
