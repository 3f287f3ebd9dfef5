"""Event before exposure, robot, cancelled order: what brings no credit, from two HTTP routes to the units."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from incumbent.clock import SystemClock
from incumbent.config import ExperimentConfig, LimitsConfig
from incumbent.events import codec
from incumbent.events.ids import EventIds, Signer
from incumbent.loop.attribute import Attributor
from incumbent.loop.ingest import Ingest
from incumbent.loop.relations import ArrowEngine, first_exposures, money, plain
from incumbent.service.auth import Keys
from incumbent.service.events import EventsHandler
from incumbent.service.metrics import Meter
from incumbent.service.recommendations import ROUTE, Recommendations
from incumbent.service.shim import Route, Shim
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake
from incumbent.testing.gateway import NO_HOLDOUT, Door, Shop, served

CLOCK = SystemClock()
IDS = EventIds(CLOCK)
GOOGLEBOT = {"user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}


@dataclass
class House:
    door: Door
    shop: Shop

    def ask(self, **request: Any) -> tuple[str, str]:
        """The request id and an item of the candidate's, or the first."""
        status, answer = self.door.post(ROUTE, {"surface": "home", "user_id": "u1", "k": 4, **request})
        assert status == 200
        slots = self.shop.impressions()[-1].slots
        return answer["request_id"], next((s.item_id for s in slots if s.owner == "candidate"), slots[0].item_id)

    def tell(self, item: str, action: str = "purchase", **changes: Any) -> str:
        event = {"type": "feedback", "event_id": IDS.new(), "time": CLOCK.now().isoformat(), "user_id": "u1",
                 "item_id": item, "action": action, "value_minor": 1000, "currency": "EUR", **changes}
        status, receipt = self.door.post("/v1/events", [event])
        assert status == 200 and receipt["accepted"] == 1, receipt
        return str(event["event_id"])


@pytest.fixture
def house() -> Iterator[House]:
    limits = LimitsConfig()
    rule = {key: list(patterns) for key, patterns in limits.bots.items()}
    shop = Shop(old=[f"a{n}" for n in range(8)], new=[f"b{n}" for n in range(8)],
                experiment=msgspec.structs.replace(NO_HOLDOUT, bots=rule))
    ingest = Ingest(shop.log, clock=CLOCK, ids=EventIds(CLOCK), signer=Signer(b"shop"), limits=limits)
    meter = Meter(None, "front", CLOCK)
    shim = Shim({ROUTE: Route(Recommendations(shop.gateway), "serve", "recommendations"),
                 "/v1/events": Route(EventsHandler(ingest, meter, batch_events=10), "events", "events")},
                None, keys=Keys({}), meter=meter, clock=CLOCK, body_bytes=10**6)  # type: ignore[arg-type]
    with served(shim) as door:
        yield House(door, Spying(shop))  # type: ignore[arg-type]


class Spying:
    """A shop whose log is read once, feedback and all."""

    def __init__(self, shop: Shop) -> None:
        self.log, self.events = shop.log, list[Any]()

    def read(self) -> list[Any]:
        while (segment := self.log.drain()) is not None:
            self.events += [codec.decode(record.data) for record in segment.records]
            self.log.release(segment)
        return self.events

    def impressions(self) -> list[Any]:
        return [event for event in self.read() if type(event).__name__ == "Impression"]


def sound(house: House) -> tuple[float, str | None, bool]:
    request, item = house.ask()
    house.tell(item, request_id=request)
    return 1.0, None, True


def before_exposure(house: House) -> tuple[float, str | None, bool]:
    early = (CLOCK.now() - timedelta(seconds=2)).isoformat()
    request, item = house.ask()
    house.tell(item, request_id=request, time=early)
    return 0.0, "before_exposure", True


def declared_by_a_key(house: House) -> tuple[float, str | None, bool]:
    request, item = house.ask(context={"bot": True})
    house.tell(item, request_id=request, context={"bot": True})
    return 0.0, "bot", False


def declared_by_the_user_agent(house: House) -> tuple[float, str | None, bool]:
    request, item = house.ask(context=GOOGLEBOT)
    house.tell(item, request_id=request, context=GOOGLEBOT)
    return 0.0, "bot", False


def declared_in_the_feedback_alone(house: House) -> tuple[float, str | None, bool]:
    request, item = house.ask()
    house.tell(item, request_id=request, context=GOOGLEBOT)
    return 0.0, "bot", True


def declared_in_the_request_alone(house: House) -> tuple[float, str | None, bool]:
    request, item = house.ask(context=GOOGLEBOT)
    house.tell(item, request_id=request)
    return 0.0, "neutral", False


def cancelled_order(house: House) -> tuple[float, str | None, bool]:
    request, item = house.ask()
    bought = house.tell(item, request_id=request)
    house.tell(item, "refund", refers_to=bought)
    return 0.0, None, True


Row = Callable[[House], tuple[float, str | None, bool]]
ROWS: list[Row] = [sound, before_exposure, declared_by_a_key, declared_by_the_user_agent,
                   declared_in_the_feedback_alone, declared_in_the_request_alone, cancelled_order]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)
def test_event_before_exposure_bot_cancelled_order(row: Row, house: House) -> None:
    credit, reason, unit = row(house)
    lake, control, engine = MemoryLake(), MemoryControl(), ArrowEngine()
    events = house.shop.read()  # type: ignore[attr-defined]
    lake.commit(events, "w", 0)
    known = {"e1": ExperimentConfig(surface="home", candidate="new")}
    done = Attributor(lake, control, CLOCK, lambda: known).run_once()
    rows = lake.scan("outcome").to_pylist()
    assert sum((r["credit_champion"] + r["credit_candidate"]) * r["weight"] for r in rows) == credit
    assert {r["reason"] for r in rows} == {reason}
    assert reason is None or sum(done.reasons.values()) == 1
    units = engine.collect(first_exposures(engine.frame(plain(lake.scan("impression"))), "e1"))
    assert units.num_rows == unit
    bought = engine.collect(money(engine.frame(plain(lake.scan("outcome")))))
    assert ("bot" in {r["reason"] for r in rows}) == (bought.num_rows == 0)
