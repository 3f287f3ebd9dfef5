"""Shoppers of a simulated system: they ask, look, buy, send back; what they do arrives late, twice, or broken."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import msgspec

from incumbent.errors import StoreError
from incumbent.events.ids import EventIds
from incumbent.loop.requests import RecommendationAnswer, RecommendationRequest
from incumbent.testing.ledger import Ledger
from incumbent.testing.simulated_processes import Front
from incumbent.testing.virtual_time import VirtualClock, VirtualLoop

K = 4
LIST = 8
CATALOGUE = tuple(f"item-{n:02d}" for n in range(24))
DEADLINE_S = 0.15
_encode = msgspec.json.Encoder().encode


class Tastes:
    """What each shopper really likes, and what the two models see of it, each by its own ``slope * liking + noise``."""

    def __init__(self, users: int, story: Sequence[tuple[float, float]], appetite: float, rng: Random) -> None:
        self.appetite = appetite
        self.users = [f"shopper-{n:04d}" for n in range(users)]
        self.liking: dict[str, dict[str, float]] = {}
        self.lists: tuple[dict[str, list[tuple[str, float]]], ...] = ({}, {})
        for user in self.users:
            liking = {item: rng.gauss(0, 1) for item in CATALOGUE}
            self.liking[user] = {item: min(appetite * 0.01 * 3.0 ** value, 0.3) for item, value in liking.items()}
            for lists, (slope, sd) in zip(self.lists, story, strict=True):
                seen = sorted(((round(slope * value + rng.gauss(0, sd), 1), item) for item, value in liking.items()),
                              reverse=True)
                lists[user] = [(item, value) for value, item in seen[:LIST]]


class Shoppers:
    """Everything that comes from outside; `front` gives a front that is up, or None."""

    def __init__(self, loop: VirtualLoop, clock: VirtualClock, ledger: Ledger, tastes: Tastes, rng: Random,
                 front: Callable[[], Front | None]) -> None:
        self._loop, self._clock, self._ledger, self._tastes, self._rng = loop, clock, ledger, tastes, rng
        self._front = front
        self._ids = EventIds(clock, rng.randbytes)
        self.known = 30  # users who have come by now
        self.on_their_way = 0  # batches that are not acknowledged yet
        self._tasks: set[asyncio.Task[None]] = set()
        self._shown: deque[tuple[str, str]] = deque(maxlen=40)  # user and request of the latest answers
        self._before: dict[str, str] = {}  # user -> the request before the present one

    def start(self, work: Any) -> None:
        """Run a coroutine beside everything else."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---------------------------------------------------------------------------------------------------- requests
    async def visit(self) -> None:
        """One visit: a page, and sometimes the next ones."""
        rng = self._rng
        user = self._tastes.users[int(min(self.known, len(self._tastes.users)) * rng.random() ** 1.3)]
        if user in self._ledger.erased:
            self._ledger.counts["visits of erased users"] += 1
            return
        request = RecommendationRequest(
            surface="home" if rng.random() < 0.9 else "cart", user_id=user, k=K,
            context={"device": "app" if int(user[-2:]) % 3 else "web"},
            exclude=[rng.choice(CATALOGUE)] if rng.random() < 0.02 else [])
        for _ in range(3):
            answer = await self._ask(request)
            if answer is None:
                return
            self._look(user, answer)
            if answer.cursor is None or rng.random() > 0.1:
                return
            request = msgspec.structs.replace(request, cursor=answer.cursor)

    async def _ask(self, request: RecommendationRequest) -> RecommendationAnswer | None:
        """Ask, and again elsewhere where a front dies over it."""
        for _ in range(5):
            front = self._front()
            if front is None:
                self._ledger.counts["nobody was up"] += 1
                return None
            self._ledger.counts["requests"] += 1
            began = self._loop.time()
            try:
                answer = await front.gateway.recommend(request)
            except Exception as error:
                if front.alive:
                    self._ledger.violation(f"a request was not answered: {type(error).__name__}: {error}")
                    return None
                continue
            if front.alive:
                self._ledger.answered(front, request, answer, began, self._loop.time(), DEADLINE_S)
                return answer
            self._ledger.faults["request cut off by a crash"] += 1
        return None

    # ---------------------------------------------------------------------------------------------------- feedback
    def _look(self, user: str, answer: RecommendationAnswer) -> None:
        rng, likes, idly = self._rng, self._tastes.liking[user], 0.02 * self._tastes.appetite
        batch = []
        for item in answer.items:
            drawn, liking = rng.random(), likes.get(item.item_id, 0.01)
            if drawn < liking:
                batch += self._buy(user, item.item_id, answer.request_id)
            elif drawn < liking + idly:
                batch.append(self._event(user, item.item_id, "click", answer.request_id))
            elif drawn > 0.9985:
                batch.append(self._event(user, item.item_id, "exclude", answer.request_id))
            elif drawn > 0.995:
                batch.append(self._event(user, item.item_id, rng.choice(["view", "add_to_cart", "dismiss"]),
                                         answer.request_id))
        if rng.random() < 0.002:  # found elsewhere: nothing that was shown leads to it
            batch.append(self._event(user, rng.choice(CATALOGUE), "click", None))
        if batch and rng.random() < 0.03:
            batch.append(self._broken(self._event(user, answer.items[0].item_id, "click", answer.request_id)))
        if batch:
            rng.shuffle(batch)
            self._send(batch)
        self._shown.append((user, answer.request_id))
        self._before[user] = answer.request_id

    def _event(self, user: str, item: str, action: str, request_id: str | None, after_s: float = 0.0,
               **more: Any) -> dict[str, Any]:
        when = self._clock.now() + timedelta(seconds=after_s or self._rng.uniform(1, 90))
        return {"type": "feedback", "event_id": self._ids.new(), "time": when, "user_id": user, "item_id": item,
                "action": action, "request_id": self._named(user, request_id), "session_id": "sound", **more}

    def _named(self, user: str, request_id: str | None) -> str | None:
        """What an event says of its request: mostly the truth, else nothing, a forgery, a stranger's, an older one."""
        drawn = self._rng.random()
        if drawn < 0.08:
            return None
        if drawn < 0.09:
            return f"{self._ids.new()}.AAAAAAAAAAAA"
        if drawn < 0.10:
            return next((request for whose, request in self._shown if whose != user), request_id)
        return self._before.get(user, request_id) if drawn < 0.12 else request_id

    def _buy(self, user: str, item: str, request_id: str) -> list[dict[str, Any]]:
        rng = self._rng
        quantity, price = rng.choice([1, 1, 1, 2, 3]), rng.randrange(100, 5000)
        order = f"order-{rng.getrandbits(48):x}"
        currency = "USD" if rng.random() < 0.03 else "EUR"
        bought = self._event(user, item, "purchase", request_id, order_id=order, line_id="1", quantity=quantity,
                             value_minor=quantity * price, currency=currency)
        if rng.random() < 0.1:
            for _ in range(1 + (rng.random() < 0.2)):  # sometimes more comes back than was bought
                self._give_back(bought, price)
        return [self._event(user, item, "click", request_id), bought] if rng.random() < 0.5 else [bought]

    def _give_back(self, bought: dict[str, Any], price: int) -> None:
        """A refund, some days later, of all or a part; it may overtake its purchase on the way."""
        rng = self._rng
        named = {"refers_to": bought["event_id"]} if rng.random() < 0.6 else {
            "order_id": bought["order_id"], "line_id": bought["line_id"] if rng.random() < 0.5 else None}
        part: dict[str, Any] = rng.choice([
            {}, {"quantity": 1}, {"value_minor": price, "currency": bought["currency"]}])
        wait_s = rng.choice([rng.uniform(100, 4_000), rng.uniform(4_000, 3 * 86_400)])

        def later() -> None:
            self.on_their_way -= 1
            self._send([self._event(bought["user_id"], bought["item_id"], "refund", None, **named, **part)])

        self.on_their_way += 1
        self._loop.call_later(wait_s, later)

    def _broken(self, event: dict[str, Any]) -> dict[str, Any]:
        spoilt: dict[str, Any] = self._rng.choice([
            {"time": self._clock.now() + timedelta(hours=3)}, {"time": self._clock.now() - timedelta(days=90)},
            {"currency": "QQQ"}, {"value_minor": 5}, {"value_minor": -1, "currency": "EUR"}, {"action": "stare"},
            {"event_id": "x" * 36}, {"quantity": "two"}, {"no_such_field": 1}, {"marks": ["forged"]}])
        return {**event, **spoilt, "session_id": "broken"}

    # ---------------------------------------------------------------------------------------------------- delivery
    def _send(self, batch: list[dict[str, Any]]) -> None:
        """On its way: soon, late or very late; now and then twice."""
        drawn = self._rng.random()
        delay_s = self._rng.uniform(91, 200) if drawn < 0.85 else self._rng.uniform(200, 20_000) if drawn < 0.97 \
            else self._rng.uniform(20_000, 4 * 86_400)
        self._ledger.faults["feedback late"] += delay_s > 200
        self._ledger.sent.update(event["event_id"] for event in batch)
        self._later(delay_s, batch)
        if self._rng.random() < 0.05:
            self._ledger.faults["feedback sent twice"] += 1
            self._later(delay_s + self._rng.choice([-60.0, 5.0, 90_000.0]), batch)

    def _later(self, delay_s: float, batch: Sequence[dict[str, Any]]) -> None:
        self.on_their_way += 1
        self._loop.call_later(max(delay_s, 91.0), lambda: self.start(self._deliver(batch)))

    async def _deliver(self, batch: Sequence[dict[str, Any]]) -> None:
        """Try until a collector acknowledged, as a producer does that must not lose what it has."""
        for attempt in range(10_000):
            batch = [event for event in batch if event["user_id"] not in self._ledger.erased]
            if not batch or await self._try(batch):
                break
            self._ledger.counts["deliveries repeated"] += 1
            await asyncio.sleep(min(5.0 * 2 ** min(attempt, 9), 600.0) * self._rng.uniform(0.5, 1.5))
        self.on_their_way -= 1

    async def _try(self, batch: Sequence[dict[str, Any]]) -> bool:
        front = self._front()
        if front is None:
            return False
        try:
            receipt = await front.ingest.take([_encode(event) for event in batch])
        except StoreError:
            return False
        except Exception as error:
            if front.alive:
                self._ledger.violation(f"a batch was neither taken nor refused: {type(error).__name__}: {error}")
            return False
        if not front.alive:
            self._ledger.faults["acknowledgement lost in a crash"] += 1
            return False
        if self._rng.random() < 0.01:
            self._ledger.faults["acknowledgement lost on the way"] += 1
            return False
        self._ledger.taken(front, batch, receipt, self._loop.time())
        self._ledger.counts["events acknowledged"] += len(batch)
        return True
