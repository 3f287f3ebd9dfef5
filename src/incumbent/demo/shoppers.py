"""Shoppers: real households on their real trips, who look down the list and buy what they really bought.

One thing is simulated: how far a household looks down its list. Everything it buys stands in the data.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from incumbent.demo.data import CURRENCY, Lines, season
from incumbent.errors import DataError

#: probability of looking at the next position, having looked at this one
PATIENCE = 0.9
#: how long a product that was looked at may wait to be bought
WINDOW = timedelta(days=14)
#: a household asks for its list at the start of a half hour, at least ten minutes before it stands at the till
TICK = timedelta(minutes=30)
BEFORE_TILL = timedelta(minutes=10)


@dataclass(frozen=True)
class Trip:
    """One real basket: who, where, when it was paid, and its lines {item: cents}."""

    household: str
    basket: str
    store: str
    paid_at: datetime
    lines: dict[str, int]

    @property
    def asks_at(self) -> datetime:
        """When the household asks for its list: ten to forty minutes before it pays."""
        latest = self.paid_at - BEFORE_TILL
        return latest - timedelta(seconds=latest.timestamp() % TICK.total_seconds())

    @property
    def context(self) -> dict[str, str | int]:
        """What the request says of the trip; the models read store and season."""
        return {"store": self.store, "season": season(self.asks_at.month), "hour": self.asks_at.hour}


@dataclass(frozen=True)
class Act:
    """One thing that a household did: the plain values of a Feedback event."""

    time: datetime
    user_id: str
    item_id: str
    action: str
    order_id: str | None = None
    value_minor: int | None = None

    @property
    def currency(self) -> str | None:
        """The currency of the value, where there is one."""
        return CURRENCY if self.value_minor is not None else None


def trips(lines: Lines) -> list[Trip]:
    """The baskets of `lines`, in order of their time."""
    if not len(lines):
        return []
    order = np.lexsort((lines.product, lines.basket))
    basket = lines.basket[order]
    starts = np.flatnonzero(np.r_[True, basket[1:] != basket[:-1]])
    ends = np.r_[starts[1:], len(order)]
    out = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        rows = order[start:end]
        first = int(rows[0])
        out.append(Trip(
            str(lines.household[first]), str(basket[start]), str(lines.store[first]),
            datetime.fromtimestamp(int(lines.time_s[first]), UTC),
            {str(p): v for p, v in zip(lines.product[rows].tolist(), lines.value_minor[rows].tolist(), strict=True)},
        ))
    return sorted(out, key=lambda trip: (trip.paid_at, trip.basket))


def looks_at(seed: int, basket: str, patience: float = PATIENCE) -> int:
    """How many positions of its list a household looks at on a trip: geometric, ``P(depth >= d) = patience^(d-1)``.

    The uniform number behind it is a hash of seed and basket: the same whatever list is shown, so that the lists
    alone make the difference, and the same in every order of replay.

    >>> looks_at(1, "31198570044") == looks_at(1, "31198570044") >= 1
    True
    """
    word = hashlib.blake2b(f"{seed}\x1f{basket}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(word, "big") + 0.5) / 2**64
    return 1 + int(math.log(uniform) / math.log(patience))


class Shoppers:
    """The households of a replay, what each has looked at, and what each will buy.

    A purchase is reported once per real basket line, at the time of that basket, if the household had looked at the
    item in the 14 days before, on this trip's list or an earlier one; however often the item was shown. Which request
    gets the credit is the service's affair. A real line of an item that was not looked at is no event: whether the
    household bought it has nothing to do with any list.
    """

    def __init__(self, all_trips: Iterable[Trip], seed: int, *, patience: float = PATIENCE) -> None:
        self._seed = seed
        self._patience = patience
        self._bought: dict[tuple[str, str], list[datetime]] = {}
        self._seen: dict[tuple[str, str], datetime] = {}
        for trip in all_trips:
            for item in trip.lines:
                self._bought.setdefault((trip.household, item), []).append(trip.paid_at)

    def look(self, trip: Trip, shown: list[str]) -> Iterator[Act]:
        """Look down the list that was shown: a view per position looked at, a click on what it will buy in 14 days."""
        time = trip.asks_at
        for item in shown[:looks_at(self._seed, trip.basket, self._patience)]:
            self._seen[trip.household, item] = time
            yield Act(time, trip.household, item, "view")
            if self._will_buy(trip.household, item, time):
                yield Act(time, trip.household, item, "click")

    def pay(self, trip: Trip) -> Iterator[Act]:
        """The lines of the basket that its household had looked at."""
        for item, cents in trip.lines.items():
            seen = self._seen.get((trip.household, item))
            if seen is not None and trip.paid_at - seen <= WINDOW:
                yield Act(trip.paid_at, trip.household, item, "purchase", trip.basket, cents)

    def _will_buy(self, household: str, item: str, time: datetime) -> bool:
        times = self._bought.get((household, item), [])
        return bisect_right(times, time + WINDOW) > bisect_left(times, time)


def enrol(
    history: Lines, lines: Lines, *, shoppers: int, seed: int, start: datetime, days: float,
) -> list[Trip]:
    """The trips of a replay: `shoppers` households drawn by the seed, each from its own day on.

    Households that shopped both before and after the split can be drawn. Each joins on a day drawn uniformly from the
    first `days` days, as the users of an app do who do not all arrive on its first morning; its trips from then on
    are replayed, the earlier ones are not. Raises `DataError` where there are fewer households than asked for.
    """
    known = np.intersect1d(np.unique(history.household), np.unique(lines.household))
    if not 0 < shoppers <= len(known):
        raise DataError("not that many households", got=shoppers, expected=f"1 to {len(known)}", field="shoppers")
    random = np.random.default_rng([seed, 1])
    drawn = np.sort(random.permutation(known)[:shoppers])
    joins = start.timestamp() + 86_400 * np.floor(random.random(shoppers) * days)
    place = np.searchsorted(drawn, lines.household).clip(max=shoppers - 1)
    return trips(lines.where((drawn[place] == lines.household) & (lines.time_s >= joins[place])))
