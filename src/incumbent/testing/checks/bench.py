"""Where stores are put to the test: a directory of their own, a clock that is moved by hand, and made-up records."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from incumbent import config as configuration
from incumbent.clock import ManualClock
from incumbent.config import Config
from incumbent.events import codec
from incumbent.events.ids import EventIds
from incumbent.events.schema import Audit, Embedding, Feedback, Impression
from incumbent.stores.store import Control, Log, Quarantined, Record, Role, Segment, Stores

START = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Bench:
    """The stores of one implementation, opened as often as a law wants, and closed at its end.

    >>> from incumbent.stores.memory import open_stores
    >>> with bench(open_stores) as b:
    ...     b.log.append([b.feedback("u1")]).result()
    [True]
    """

    def __init__(self, open_stores: Callable[..., Stores], directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock(START)
        self.ids = EventIds(self.clock)
        self.config: Config = configuration.parse({"stores": {"directory": str(directory)}})
        self.opener = open_stores
        self._opened: list[Stores] = []

    def open(self, role: Role = "gateway") -> Stores:
        """One more set of stores on the directory: as a further process would."""
        stores = self.opener(self.config, self.clock, role=role)
        self._opened.append(stores)
        return stores

    def reopen(self) -> Stores:
        """Close all, and open anew."""
        self.close()
        return self.open()

    def close(self) -> None:
        """Close all that was opened."""
        while self._opened:
            self._opened.pop().close()

    @property
    def stores(self) -> Stores:
        """The first set of stores, opened where it is not yet."""
        return self._opened[0] if self._opened else self.open()

    @property
    def log(self) -> Log:
        """Its log."""
        log: Log = self.stores.log
        return log

    @property
    def control(self) -> Control:
        """Its control."""
        control: Control = self.stores.control
        return control

    # --------------------------------------------------------------------------------------------------- records
    def feedback(self, user_id: str = "u1") -> Record:
        """A new click of a user."""
        event_id = self.ids.new()
        return Record(event_id, "feedback", codec.encode(Feedback(
            event_id=event_id, time=self.clock.now(), user_id=user_id, item_id="i1", action="click")))

    def impression(self, user_id: str = "u1") -> Record:
        """A new impression for a user."""
        event_id = self.ids.new()
        return Record(event_id, "impression", codec.encode(Impression(
            event_id=event_id, request_id="r", ranking_id="g", time=self.clock.now(), user_id=user_id, surface="home",
            mode="champion", lane="none", plan="0" * 16, slots=[], models=[])))

    def embedding(self, entity: Any, entity_id: str) -> Record:
        """A new vector of a user or an item."""
        event_id = self.ids.new()
        return Record(event_id, "embedding", codec.encode(Embedding(
            event_id=event_id, time=self.clock.now(), space="s", version="1", entity=entity, entity_id=entity_id,
            vector=[1.0])))

    def quarantined(self, user_id: str | None, raw: bytes = b"{") -> Record:
        """A new message that was refused."""
        event_id = self.ids.new()
        return Record(event_id, "quarantine", msgspec.msgpack.encode(Quarantined(
            event_id, self.clock.now(), raw, "it does not parse", user_id=user_id)))

    def audit(self) -> Audit:
        """A new audit event."""
        return Audit(event_id=self.ids.new(), time=self.clock.now(), actor="somebody", action="erase",
                     subject="user:hash", reason="they asked")

    def records(self, n: int) -> list[Record]:
        """New clicks of `n` users."""
        return [self.feedback(f"u{i}") for i in range(n)]


@contextmanager
def bench(open_stores: Callable[..., Stores]) -> Iterator[Bench]:
    """A bench in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="incumbent-check-") as directory:
        made = Bench(open_stores, Path(directory))
        try:
            yield made
        finally:
            made.close()


def drained(log: Log, limit: int = 50_000) -> list[Segment]:
    """All segments of a log, each released before the next."""
    segments = []
    while (segment := log.drain(limit)) is not None:
        segments.append(segment)
        log.release(segment)
    return segments


def ids_of(segments: Sequence[Segment]) -> list[str]:
    """The event ids in segments, in their order."""
    return [record.event_id for segment in segments for record in segment.records]
