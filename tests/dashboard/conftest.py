"""A small shop in memory with an experiment that has run for weeks: real gateway, real sealer, real judge."""

import asyncio
import random
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import uvicorn

from incumbent import config as configs
from incumbent.clock import ManualClock
from incumbent.dashboard import mount
from incumbent.events import codec
from incumbent.events.ids import EventIds, Signer
from incumbent.events.schema import Item
from incumbent.loop.act import Actor
from incumbent.loop.decide import Decider
from incumbent.loop.operate import Operator
from incumbent.loop.plan import build_plan
from incumbent.loop.requests import RecommendationRequest
from incumbent.loop.seal import Sealer
from incumbent.loop.serve import Gateway
from incumbent.models.guard import Guarded
from incumbent.service import app as apps
from incumbent.service.desk import Desk
from incumbent.stores import memory
from incumbent.stores.store import Matured, Record

START = datetime(2026, 3, 2, tzinfo=UTC)


def _config():
    return configs.parse({
        "models": {"popular": {"target": "incumbent.testing.endpoints:good"},
                   "personal": {"target": "incumbent.testing.endpoints:short"}},
        "surfaces": {"home": {"champion": "popular"}},
        "experiments": {"ranker": {"surface": "home", "candidate": "personal", "min_units": 100,
                                   "stages": [{**stage.model_dump(), "lane_share": None}
                                              for stage in configs.DEFAULT_STAGES[1:]]}},
    })


class _Ranked:
    def __init__(self, items):
        self._items = items

    async def recommend(self, request, k):
        return [(item, None) for item in self._items]

    async def close(self):
        pass


@pytest.fixture(scope="session")
def desk():
    config, clock = _config(), ManualClock(START)
    stores = memory.open_stores(config, clock)
    ids = EventIds(clock, random=random.Random(5).randbytes)
    Operator(stores.control, config, clock, ids).start("ranker", actor="ada", reason="the offline gain was 4 %")
    clock.advance(days(1))
    Decider(stores.lake, stores.control, clock, ids).run_once()
    _serve(config, stores, clock, ids)
    _mature(stores, clock)
    Actor(stores.control, stores.log, clock, lambda: build_plan(config, stores.control.experiments()),
          holder="test").run_once()
    Decider(stores.lake, stores.control, clock, ids).run_once()
    return Desk(config, stores, clock)


@contextmanager
def _served(desk):
    made = apps.build([])
    mount(made, desk)
    server = uvicorn.Server(uvicorn.Config(made, host="127.0.0.1", port=0, log_level="warning", ws="none",
                                           timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.02)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def served():
    """Serves the page over a desk; the port, for as long as it is held."""
    return _served


@pytest.fixture(scope="session")
def port(desk, served):
    with served(desk) as number:
        yield number


def days(n):
    return n * 86_400.0


def _serve(config, stores, clock, ids):
    plan = build_plan(config, stores.control.experiments())
    stores.control.publish(plan)
    lists = {"popular": [f"i{n}" for n in range(12)], "personal": ["i0", *(f"i{n}" for n in range(11, 0, -1))]}
    guards = {name: Guarded(model, _Ranked(lists[name]), clock) for name, model in plan.models.items()}
    gateway = Gateway(stores.log, clock=clock, ids=ids, signer=Signer(b"s"))
    gateway.use(plan, guards)

    async def talk():
        for n in range(40):
            await gateway.recommend(RecommendationRequest(surface="home", user_id=f"u{n % 20}", k=8))

    asyncio.run(talk())
    items = [Item(event_id=ids.new(), time=clock.now(), item_id=f"i{n}", title=f"<b>Title</b> {n}") for n in range(12)]
    stores.log.append([Record(item.event_id, "item", codec.encode(item)) for item in items]).result()
    Sealer(stores.log, stores.lake, stores.control, clock, holder="test").run_once()


def _mature(stores, clock):
    rng = random.Random(7)
    for day in range(10):
        at = START + timedelta(days=day + 1)
        rows = [Matured(experiment="ranker", unit=f"u{day}-{n}", lane="interleave", stage="canary", exposed_at=at,
                        matured_at=at + timedelta(days=7), x=float(rng.random() < 0.35), y=float(rng.random() < 0.2),
                        n=2.0, value=100.0, requests=3) for n in range(60)]
        stores.control.seal("ranker", (at + timedelta(days=7)).date(), rows, at + timedelta(days=8))
    clock.set(START + timedelta(days=19))
