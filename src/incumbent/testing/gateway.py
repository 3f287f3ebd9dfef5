"""A gateway over scripted models, in this process and on a real port: for tests of shops, policies and adapters."""

from __future__ import annotations

import asyncio
import http.client
import inspect
import json
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from incumbent.clock import Clock, SystemClock
from incumbent.events import codec
from incumbent.events.ids import EventIds, Signer
from incumbent.events.plan import ExperimentPlan, ModelPlan, ServingPlan, SurfacePlan
from incumbent.events.schema import Impression
from incumbent.loop.serve import Gateway
from incumbent.models.guard import Guarded
from incumbent.models.recommender import Ask, Recommender
from incumbent.stores.memory_log import MemoryLog

NO_HOLDOUT = ExperimentPlan("e1", "new", "exp1", "ramp_50", 0.5, holdout=0.0)


class Scripted:
    """A model that answers what `answer` says: a list of ids or (id, score), an exception to raise, or a function of
    (ask, k), sync or async. It keeps what it was asked."""

    def __init__(self, answer: Any = ()) -> None:
        self.answer, self.at_once = answer, not callable(answer)
        self.asked: list[Ask] = []

    async def recommend(self, request: Ask, k: int) -> Any:
        """The scripted answer."""
        self.asked.append(request)
        found = self.answer(request, k) if callable(self.answer) else self.answer
        if inspect.isawaitable(found):
            found = await found
        if isinstance(found, Exception):
            raise found
        if isinstance(found, list | tuple):
            return [(item, None) if isinstance(item, str) else item for item in found]
        return found

    async def close(self) -> None:
        """Nothing to give back."""


class Shop:
    """A gateway with models ``old`` (champion of ``home``) and ``new`` (candidate), and its log in memory.

    >>> import asyncio
    >>> from incumbent.loop.requests import RecommendationRequest
    >>> shop = Shop(old=["a", "b"], new=["b", "c"])
    >>> answer = asyncio.run(shop.gateway.recommend(RecommendationRequest(surface="home", user_id="u42", k=2)))
    >>> sorted(item.item_id for item in answer.items), shop.impressions()[-1].mode
    (['a', 'b'], 'interleave')
    """

    def __init__(
        self, old: Any = (), new: Any = (), *, experiment: ExperimentPlan | None = NO_HOLDOUT, secret: bytes = b"shop",
        clock: Clock | None = None, models: Mapping[str, Recommender] | None = None,
        model: Mapping[str, Any] | None = None, whole: Mapping[str, Any] | None = None,
        gateway: Mapping[str, Any] | None = None, **surface: Any,
    ) -> None:
        self.clock = clock or SystemClock()
        self.log = MemoryLog(self.clock, fault=self._fault)
        self.log_error: Exception | None = None  # what the log raises, while it is set
        self.exclusions: dict[str, frozenset[str]] = {}
        self.models: dict[str, Any] = {"old": Scripted(old), "new": Scripted(new), **(models or {})}
        self.plans = {name: ModelPlan(name, "callable", f"scripted:{name}", "1", **(model or {}))
                      for name in self.models}
        self.guards = {name: Guarded(self.plans[name], found, self.clock) for name, found in self.models.items()}
        self.surface = SurfacePlan("home", "old", experiment, **surface)
        self.plan = ServingPlan(1, None, {"home": self.surface}, self.plans, **(whole or {}))
        self.gateway = Gateway(self.log, clock=self.clock, ids=EventIds(self.clock), signer=Signer(secret),
                               exclusions=self.exclusions, **(gateway or {}))
        self.gateway.use(self.plan, self.guards)
        self._seen: list[Impression] = []

    def change(self, *, whole: Mapping[str, Any] | None = None, **surface: Any) -> ServingPlan:
        """Publish a changed plan to the gateway."""
        self.surface = msgspec.structs.replace(self.surface, **surface)
        self.plan = msgspec.structs.replace(self.plan, surfaces={"home": self.surface}, **(whole or {}))
        self.gateway.use(self.plan, self.guards)
        return self.plan

    def impressions(self) -> list[Impression]:
        """Everything on record so far, oldest first."""
        while (segment := self.log.drain()) is not None:
            self._seen += [found for record in segment.records
                           if isinstance(found := codec.decode(record.data), Impression)]
            self.log.release(segment)
        return self._seen

    def _fault(self, records: Sequence[Any]) -> None:
        if self.log_error is not None:
            raise self.log_error


class Door:
    """An HTTP client of one port; every call is a connection of its own. `loop` is the one that the server runs on."""

    def __init__(self, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.port, self.loop = port, loop

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the server's own loop: closing a model that it used."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def post(self, path: str, body: Any, content_type: str = "application/json") -> tuple[int, Any]:
        """POST bytes, or a value as JSON; gives the status and the decoded answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", path, data, {"content-type": content_type})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        packed = "msgpack" in (answer.getheader("content-type") or "")
        return answer.status, (msgspec.msgpack.decode if packed else msgspec.json.decode)(raw)


@contextmanager
def served(app: Callable[..., Any]) -> Iterator[Door]:
    """An ASGI application behind uvicorn on a free port of 127.0.0.1, in a thread."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off",
                                           timeout_graceful_shutdown=2))
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    waiting = threading.Event()
    while not server.started and thread.is_alive():
        waiting.wait(0.01)
    try:
        yield Door(server.servers[0].sockets[0].getsockname()[1], loops[0])
    finally:
        server.should_exit = True
        thread.join(10)
