"""The cohorts of a day: of a surface, and of each of its cells. A user-day is in the cell of its first request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.loop.metrics.cohorts import RETURNED, SLOT_BOUGHT, counted
from incumbent.loop.metrics.earlier import Earlier
from incumbent.loop.metrics.keys import Cell
from incumbent.loop.metrics.set import BOUGHT, RETURNS
from incumbent.loop.metrics.slices import Cut
from incumbent.loop.relations import DAY_US
from incumbent.stats.buckets import Buckets

Late = tuple[str, int]  # a user, and the days between a row and its event
Made = Iterator[tuple[Cell, str, Buckets]]


class DayCohorts:
    """Who was on a surface on a day and how long after their last day here; slots shown, and bought how late."""

    def __init__(self, surface: str, day: int, rows: pa.Table, outcomes: pa.Table, earlier: Earlier) -> None:
        self._surface, self._day, self._earlier = surface, day, earlier
        self._asked = rows["user_id"].to_pylist()
        self._users = sorted(set(self._asked))
        self._away = [(user, day - earlier.last[user]) for user in self._users if user in earlier.last]
        self._slots = Counter[str]()
        for user, length in zip(self._asked, pc.list_value_length(rows["slots"]).to_pylist(), strict=True):
            self._slots[user] += length or 0
        own = outcomes.filter(pc.and_(pc.equal(outcomes["action"], "purchase"), pc.and_(
            pc.equal(outcomes["surface"], surface), pc.is_valid(outcomes["exposed_at"]))))
        late = day - own["exposed_at"].cast(pa.int64()).to_numpy() // DAY_US
        self._bought = {(request, item): (user, days) for request, item, user, days in zip(
            *(own[name].to_pylist() for name in ("request_id", "item_id", "user_id")), late.tolist(), strict=True)
            if days <= BOUGHT}
        self._known: dict[str, pa.Table] = {}

    def whole(self) -> Made:
        """Of the surface."""
        cell = Cell(self._surface)
        yield cell, RETURNED, counted(max(RETURNS), self._users, [1] * len(self._users), self._away)
        yield cell, SLOT_BOUGHT, counted(BOUGHT, list(self._slots), list(self._slots.values()), self._bought.values())

    def of_requests(self, cut: Cut, *, returned: bool, bought: bool) -> Made:
        """Of each value of an attribute of requests."""
        here: dict[str, int] = {}
        for user, code in zip(self._asked, cut.codes.tolist(), strict=True):
            here.setdefault(user, code)
        for name, asked, longest, size, late in (
                (RETURNED, returned, max(RETURNS), dict.fromkeys(self._users, 1), self._away),
                (SLOT_BOUGHT, bought, BOUGHT, self._slots, list(self._bought.values()))):
            if asked:
                then = self._earlier.of_visits(self._visits(name, late), cut)
                came = [(pair, then.get((pair[0], self._day - pair[1]), -1) if pair[1] else here.get(pair[0], -1))
                        for pair in late]
                yield from self._apart(cut, name, longest, [(user, size[user], here[user]) for user in size], came)

    def _visits(self, name: str, late: list[Late]) -> pa.Table:
        if name not in self._known:
            self._known[name] = self._earlier.visits({(user, self._day - days) for user, days in late if days})
        return self._known[name]

    def of_items(self, owner: NDArray[Any], items: pa.Array, cuts: Callable[[Any, date], list[Cut]]) -> Made:
        """Slots of each value of an attribute of their items; `cuts` gives those of items as of a day. `owner`: the
        request of each slot."""
        epoch = date(1970, 1, 1)
        of_day = {days: [(item, user) for (_, item), (user, after) in self._bought.items() if after == days]
                  for days in sorted({days for _, days in self._bought.values()})}
        came: dict[str, list[tuple[Late, str]]] = {}
        for days, pairs in of_day.items():
            for cut in cuts(pa.array([item for item, _ in pairs]), epoch + timedelta(days=self._day - days)):
                came.setdefault(cut.by, []).extend(
                    ((user, days), cut.names[code]) for (_, user), code in zip(pairs, cut.codes.tolist(), strict=True))
        for cut in cuts(items, epoch + timedelta(days=self._day)):
            shown = Counter(zip((self._asked[at] for at in owner.tolist()), cut.codes.tolist(), strict=True))
            at = {name: code for code, name in enumerate(cut.names)}
            begun = [(user, count, code) for (user, code), count in shown.items()]
            yield from self._apart(cut, SLOT_BOUGHT, BOUGHT, begun, [
                (pair, at.get(name, -1)) for pair, name in came.get(cut.by, ())])

    def _apart(self, cut: Cut, name: str, longest: int, begun: Sequence[tuple[str, int, int]],
               came: Iterable[tuple[Late, int]]) -> Made:
        late: dict[int, list[Late]] = {}
        for pair, code in came:
            late.setdefault(code, []).append(pair)
        for code in sorted({code for _, _, code in begun} | late.keys()):
            if code >= 0:
                own = [(user, size) for user, size, at in begun if at == code]
                yield Cell(self._surface, by=cut.by, value=cut.names[code]), name, counted(
                    longest, [user for user, _ in own], [size for _, size in own], late.get(code, ()))
