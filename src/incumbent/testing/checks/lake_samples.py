"""A lake under test, and the events that the laws put into it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from incumbent.clock import EPOCH
from incumbent.events.ids import user_bucket
from incumbent.events.schema import (
    Audit,
    Decision,
    Embedding,
    Feedback,
    Finding,
    Impression,
    Item,
    Measurement,
    ModelAnswer,
    Slot,
)
from incumbent.events.window import day_of
from incumbent.stores.columns import from_arrow
from incumbent.stores.store import Lake, Partition, Quarantined
from incumbent.testing.checks.suite import Suite

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BUCKETS = 4


class Shelf:
    """A fresh lake in a folder of its own; `reopen` is another process on the same folder."""

    def __init__(self, make: Callable[..., Lake], directory: Path) -> None:
        self.directory = directory
        self.make = make
        self.lake = make(directory, BUCKETS)

    def reopen(self) -> Lake:
        """The lake as another process sees it; durable lakes only."""
        self.lake = self.make(self.directory, BUCKETS)
        return self.lake


@contextmanager
def shelf(make: Callable[..., Lake]) -> Iterator[Shelf]:
    """A fresh lake made by ``make(directory, buckets)``, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="incumbent-lake-") as folder:
        yield Shelf(make, Path(folder) / "lake")


LAKES = Suite("stores", shelf)


def event_id(number: int, time: datetime = NOON) -> str:
    """A UUIDv7 of a time, the same for the same number."""
    ms = (time - EPOCH) // timedelta(milliseconds=1)
    text = f"{(ms << 80) | (0x7 << 76) | (0b10 << 62) | number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def click(number: int, user: str = "ann", time: datetime = NOON, **fields: Any) -> Feedback:
    """One click, known by its number."""
    return Feedback(event_id=event_id(number, time), time=time, user_id=user, item_id=f"item-{number}",
                    action="click", **fields)


def clicks(numbers: Sequence[int], users: int = 5, hours: float = 0.0) -> list[Feedback]:
    """Clicks of several users, `hours` apart."""
    return [click(n, f"user-{n % users}", NOON + timedelta(hours=hours * n)) for n in numbers]


def impression(number: int, user: str = "ann", time: datetime = NOON) -> Impression:
    """One answered request with every kind of field filled."""
    slots = [Slot(position=1, item_id="a", kind="pair", owner="candidate", pair_id=0, champion_rank=3,
                  candidate_rank=1, propensity=0.5, score=0.25),
             Slot(position=2, item_id="b", kind="shared", champion_rank=1, candidate_rank=2, group_id="g")]
    models = [ModelAnswer(role="champion", name="popular", version="1", status="ok", latency_ms=1.5, n_items=3,
                          items=["b", "c", "a"], scores=[3.0, 2.0, 1.0], cost=0.001),
              ModelAnswer(role="candidate", name="neural", version="2", status="timeout", latency_ms=100.0, n_items=0,
                          reason="over its deadline")]
    return Impression(event_id=event_id(number, time), request_id=f"r{number}.mac", ranking_id=f"k{number}", time=time,
                      user_id=user, surface="home", mode="interleave", lane="interleave", plan="0" * 16, slots=slots,
                      models=models, coins=[0.25, 0.75], context={"country": "at", "n": 1, "new": True, "x": None},
                      experiment="e", stage="canary", share=0.01, policy="pair_draft", salt="s", latency_ms=2.5)


def one_of_each(number: int = 0, user: str = "ann") -> list[Any]:
    """One event of every table that has events, all of one moment."""
    def new(kind: int) -> str:
        return event_id(number * 100 + kind)

    return [
        impression(number * 100, user),
        click(number * 100 + 1, user, value_minor=1250, currency="EUR", quantity=2, context={"page": "p"},
              marks=["skewed"], refers_to=event_id(7)),
        Embedding(event_id=new(2), time=NOON, space="s", version="1", entity="user", entity_id=user,
                  vector=[0.5, -1.25, 3.0]),
        Embedding(event_id=new(3), time=NOON, space="s", version="1", entity="item", entity_id=user, vector=[1.0]),
        Item(event_id=new(4), time=NOON, item_id="a", title="Käse", price_minor=399, currency="EUR"),
        Measurement(event_id=new(5), time=NOON, name="cpu", value=0.5, unit="1", labels={"host": "h"}),
        Finding(event_id=new(6), time=NOON, subject="experiment:e", check="coin_audit", status="ok", severity="info",
                reason="fair", evidence={"p": 0.5}),
        Decision(event_id=new(7), time=NOON, experiment="e", verdict="hold", reason="early", by="rule"),
        Audit(event_id=new(8), time=NOON, actor="eve", action="hold", subject="e", reason="a look first"),
        Quarantined(f"q{number}", NOON, b'{"user_id": "' + user.encode() + b'", "torn', "does not parse"),
    ]


def events_in(lake: Lake, table: Any, **where: Any) -> list[Any]:
    """The events that a scan gives back, by their ids."""
    found = from_arrow(table, lake.scan(table, **where))
    return sorted(found, key=lambda event: event.event_id)


def ids_in(lake: Lake, table: Any = "feedback", **where: Any) -> list[str]:
    """The event ids of a scan, sorted, repeated where they are."""
    return sorted(lake.scan(table, columns=["event_id"], **where)["event_id"].to_pylist())


def home(event: Any, user: str) -> Partition:
    """Where an event of a user belongs."""
    return Partition(day_of(event.time), user_bucket(user, BUCKETS))
