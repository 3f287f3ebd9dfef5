"""Replay: trips against a running service, over HTTP, in fast time.

The clock of the service moves in half hours. At each, in this order: the clock is advanced; households that have paid
since report what they bought; those that ask now get their lists, all at once with bounded concurrency; they look and
report that. So every event has its true time, and is sent when the service's clock has reached it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal

from incumbent.clock import ManualClock
from incumbent.demo.acks import Acks
from incumbent.demo.settings import LIST_ITEMS, SURFACE
from incumbent.demo.shoppers import TICK, Act, Shoppers, Trip
from incumbent.demo.taste import SPACE, VERSION
from incumbent.demo.wire import Wire
from incumbent.errors import DataError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Embedding, Feedback, Item

BATCH_EVENTS = 1_000
CONCURRENCY = 32

Told = Feedback | Item | Embedding
#: asked at every midnight of the replay; True ends it
OnDay = Callable[[datetime], Awaitable[bool]]


class Replay:
    """Sends the trips of a period; `run` ends when the period does or when `on_day` says so.

    `tastes` are the vectors of households by the basket of a trip, which is what they are asked with.
    """

    def __init__(self, wire: Wire, trips: Sequence[Trip], shoppers: Shoppers, acks: Acks, *, seed: int,
                 start: datetime, tastes: Mapping[str, list[float]]) -> None:
        self._wire, self._shoppers, self._acks, self._tastes = wire, shoppers, acks, tastes
        self._start = start
        self._asking: dict[datetime, list[Trip]] = defaultdict(list)
        self._paying: dict[datetime, list[Trip]] = defaultdict(list)
        for trip in trips:
            self._asking[max(trip.asks_at, start)].append(trip)
            self._paying[_tick_after(trip.paid_at)].append(trip)
        self._now = ManualClock(start)
        self._ids = EventIds(self._now, random=Random(f"{seed}-events").randbytes)
        self._places = asyncio.Semaphore(CONCURRENCY)
        self.requests = 0

    async def describe(self, catalogue: Mapping[str, tuple[str, str]], tastes: Mapping[str, list[float]]) -> None:
        """Tell the service what the items are called, so that the page can, and their vectors."""
        await self._send([
            *(Item(event_id=self._ids.new(), time=self._start, item_id=item, title=title, category=category)
              for item, (title, category) in catalogue.items()),
            *(self._vector(self._start, "item", item, vector) for item, vector in tastes.items())])

    async def run(self, end: datetime, on_day: OnDay) -> None:
        """Replay until `end`, a midnight. Half hours in which nothing happens are passed over."""
        moments = sorted({*self._asking, *self._paying})
        at = 0
        midnight = self._start + timedelta(days=1)
        while midnight <= end:
            while at < len(moments) and moments[at] < midnight:
                await self._tick(moments[at])
                at += 1
            self._acks.sync()
            await self._advance(midnight)
            if await on_day(midnight):
                return
            midnight += timedelta(days=1)

    async def _tick(self, now: datetime) -> None:
        await self._advance(now)
        events: list[Told] = [
            self._event(act) for trip in self._paying.get(now, ()) for act in self._shoppers.pay(trip)]
        trips = self._asking.get(now, [])
        events += [self._vector(now, "user", trip.household, self._tastes[trip.basket])
                   for trip in trips if trip.basket in self._tastes]
        answers = await asyncio.gather(*map(self._ask, trips))
        for trip, answer in zip(trips, answers, strict=True):
            shown = [item["item_id"] for item in answer["items"]]
            for act in self._shoppers.look(trip, shown):
                events.append(self._event(act, answer["request_id"], trip.basket))
        await self._send(events)

    async def _advance(self, now: datetime) -> None:
        self._now.set(now)
        await self._wire.post("/v1/clock", {"now": now.isoformat()}, packed=False)

    async def _ask(self, trip: Trip) -> dict[str, Any]:
        """The list of a trip. The ranking id is the basket's number, so that asking again gives the same list."""
        request = {"surface": SURFACE, "user_id": trip.household, "k": LIST_ITEMS, "context": trip.context,
                   "session_id": trip.basket, "ranking_id": trip.basket}
        async with self._places:
            answer: dict[str, Any] = await self._wire.post("/v1/recommendations", request)
        self.requests += 1
        if answer.get("logged", True):
            self._acks.requests([answer["request_id"]])
        return answer

    async def _send(self, events: Sequence[Told]) -> None:
        for first in range(0, len(events), BATCH_EVENTS):
            batch = events[first:first + BATCH_EVENTS]
            receipt = await self._wire.post("/v1/events", {"events": batch})
            if receipt["rejected"]:
                raise DataError("the service refused events of the replay", got=receipt["items"][:3],
                                hint="the replay's clock and its events disagree")
            self._acks.events(event.event_id for event in batch)

    def _vector(self, now: datetime, entity: Literal["item", "user"], name: str, vector: list[float]) -> Embedding:
        return Embedding(event_id=self._ids.new(), time=now, space=SPACE, version=VERSION, entity=entity,
                         entity_id=name, vector=vector)

    def _event(self, act: Act, request_id: str | None = None, session: str | None = None) -> Feedback:
        return Feedback(
            event_id=self._ids.new(), time=act.time, user_id=act.user_id, item_id=act.item_id,
            action=act.action, request_id=request_id, session_id=session, order_id=act.order_id,  # type: ignore[arg-type]
            quantity=None, value_minor=act.value_minor, currency=act.currency)


def _tick_after(moment: datetime) -> datetime:
    """The first half hour that is not before `moment`.

    >>> from datetime import UTC
    >>> _tick_after(datetime(2017, 9, 18, 10, 1, tzinfo=UTC)).isoformat()
    '2017-09-18T10:30:00+00:00'
    """
    over = timedelta(seconds=moment.timestamp() % TICK.total_seconds())
    return moment if not over else moment - over + TICK
