"""A small seeded shop over weeks, as events: catalogue, vectors, requests with scores and context, clicks, purchases.

Every day is a little off (a day effect that all its rows share), so that a null of rows would alarm always. Faults are
planted by name from a day on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.events.schema import Embedding, Feedback, Impression, Item, ModelAnswer, Slot
from incumbent.testing.golden import event_id

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
KINDS = ("lamp", "mug", "hat", "chair", "candle", "poster")


@dataclass
class EventShop:
    """One shop; `day(n)` are the events of its n-th day. `faults` maps a fault to the first day that has it.

    Faults: ``mix`` (candles four times as often), ``new_items``, ``prices`` (of the catalogue, up by 60 %), ``clicks``,
    ``purchases``, ``age_missing``, ``age``, ``device``, ``vectors`` (of hats), ``errors``, ``silence`` (no vectors),
    ``miscalibrated``.
    """

    seed: int = 1
    requests: int = 90  # a day
    items: int = 48
    users: int = 400
    dimension: int = 6
    vectors: int = 60  # a day
    slots: int = 6
    day_effect: float = 0.05
    faults: dict[str, int] = field(default_factory=dict)
    version: str = "v1"  # of the space of titles
    says: str | None = None  # the version of it that the model names

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 99])
        self.kind = np.arange(self.items) % len(KINDS)
        self.middles = rng.normal(size=(len(KINDS), self.dimension)) * 3
        self.base = self.middles[self.kind] + rng.normal(size=(self.items, self.dimension)) * 0.4
        self.weight = 1 / np.arange(1, self.items + 1) ** 0.5
        self.price = (500 + 300 * self.kind + 10 * np.arange(self.items)).astype(int)
        self.taste = rng.uniform(0.05, 0.3, self.items)

    def name(self, item: int) -> str:
        """The id of an item."""
        return f"{KINDS[self.kind[item]]}-{item}"

    def catalogue(self, at: datetime = START - timedelta(hours=1), factor: float = 1.0) -> list[Item]:
        """What the shop says of its items at a time."""
        return [Item(event_id=event_id(f"item{i}", at), time=at, item_id=self.name(i), title=f"{KINDS[k]} number {i}",
                     category=KINDS[k], price_minor=int(self.price[i] * factor), currency="EUR")
                for i, k in enumerate(self.kind.tolist())]

    def faulty(self, fault: str, day: int) -> bool:
        """Does a day have a fault?"""
        return fault in self.faults and day >= self.faults[fault]

    def day(self, day: int) -> list[Any]:
        """The events of one day, in no order."""
        rng = np.random.default_rng([self.seed, day])
        start = START + timedelta(days=day)
        weight = self.weight * np.exp(self.day_effect * rng.normal(size=self.items))
        if self.faulty("mix", day):
            weight = np.where(self.kind == KINDS.index("candle"), 4 * weight, weight)
        lift = float(np.exp(self.day_effect * rng.normal()))
        events: list[Any] = [] if self.faulty("silence", day) else self._vectors(day, start, weight, rng)
        if self.faulty("prices", day):
            events += self.catalogue(start, 1.6)
        for n in range(self.requests):
            events += self._request(day, n, start + timedelta(seconds=float(rng.uniform(0, 80_000))), weight, lift, rng)
        return events

    def _vectors(self, day: int, start: datetime, weight: NDArray[np.float64], rng: np.random.Generator) -> list[Any]:
        chosen = rng.choice(self.items, self.vectors, p=weight / weight.sum())
        shift = self.day_effect * rng.normal(size=self.dimension)
        rows = self.base[chosen] + 0.15 * rng.normal(size=(self.vectors, self.dimension)) + shift
        if self.faulty("vectors", day):
            rows = np.where((self.kind[chosen] == KINDS.index("hat"))[:, None], rows + 2.5, rows)
        return [self.vector(f"e{day}-{n}", start + timedelta(minutes=n), self.name(int(item)), row)
                for n, (item, row) in enumerate(zip(chosen, rows, strict=True))]

    def vector(self, name: str, at: datetime, item: str, row: NDArray[Any], version: str | None = None) -> Embedding:
        """One vector of one item."""
        return Embedding(event_id=event_id(name, at), time=at, space="titles", version=version or self.version,
                         entity="item", entity_id=item, vector=[float(x) for x in row])

    def _request(self, day: int, n: int, at: datetime, weight: NDArray[np.float64], lift: float,
                 rng: np.random.Generator) -> list[Any]:
        chosen = rng.choice(self.items, self.slots, replace=False, p=weight / weight.sum())
        names = [self.name(int(i)) for i in chosen]
        if self.faulty("new_items", day):
            names = [f"new-{rng.integers(20)}" if rng.random() < 0.15 else one for one in names]
        scores = np.clip(self.taste[chosen] * lift, 0.01, 0.95)
        failed = bool(rng.random() < (0.25 if self.faulty("errors", day) else 0.01))
        request, user = f"r{day}-{n}", f"u{rng.integers(self.users)}"
        slots = [Slot(p, one, "solo", owner="champion", champion_rank=p, score=float(s))
                 for p, (one, s) in enumerate(zip(names, scores, strict=True), 1)]
        model = ModelAnswer("champion", "popular", "1", "timeout" if failed else "ok", 9.0, len(names),
                            items=[] if failed else names, scores=None if failed else scores.tolist(),
                            embedding_version=self.says)
        events: list[Any] = [Impression(
            event_id=event_id(request, at), request_id=request, ranking_id=request, time=at, user_id=user,
            surface="home", mode="champion", lane="none", plan="0" * 16, slots=slots, models=[model], k=self.slots,
            context=self._context(day, rng))]
        rate = 0.3 if self.faulty("clicks", day) else 0.55 if self.faulty("miscalibrated", day) else 1.0
        for item, score in zip(names, scores, strict=True):
            if rng.random() < score * rate:
                events.append(self._done(f"c{request}{item}", at + timedelta(minutes=2), user, item, "click", request))
                if rng.random() < (0.05 if self.faulty("purchases", day) else 0.3):
                    late = timedelta(hours=float(rng.exponential(20)))
                    events.append(self._done(f"b{request}{item}", at + late, user, item, "purchase", request))
        return events

    def _context(self, day: int, rng: np.random.Generator) -> dict[str, Any]:
        phones = 0.95 if self.faulty("device", day) else 0.6
        context: dict[str, Any] = {"device": "phone" if rng.random() < phones else "desktop"}
        if not (self.faulty("age_missing", day) and rng.random() < 0.6):
            context["age"] = float(np.round(rng.normal(52 if self.faulty("age", day) else 40, 10)))
        return context

    def _done(self, name: str, at: datetime, user: str, item: str, action: str, request: str) -> Feedback:
        return Feedback(event_id=event_id(name, at), time=at, user_id=user, item_id=item,
                        action=action,  # type: ignore[arg-type]
                        request_id=request, value_minor=900 if action == "purchase" else None,
                        currency="EUR" if action == "purchase" else None)
