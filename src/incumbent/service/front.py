"""A front process: the hot routes on the shared socket, and the way to the page behind it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastapi import FastAPI

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.errors import ConfigError
from incumbent.events.ids import EventIds, Signer
from incumbent.loop.ingest import Ingest
from incumbent.loop.serve import Gateway
from incumbent.loop.shoppers import Shoppers
from incumbent.service import app, health
from incumbent.service.asgi import App, Message, Receive, Send
from incumbent.service.auth import Keys, signing_secret
from incumbent.service.events import EventsHandler
from incumbent.service.exclusions import ROUTE as EXCLUSIONS
from incumbent.service.exclusions import Exclusions
from incumbent.service.follow import Follower
from incumbent.service.metrics import Meter
from incumbent.service.origin import sites_of
from incumbent.service.parts import Part
from incumbent.service.proxy import Proxy
from incumbent.service.recommendations import Recommendations
from incumbent.service.shim import Route, Shim
from incumbent.stores.store import Control, Log

#: answered by the front itself, also while there is no page behind it
LOCAL = frozenset({"/healthz", "/readyz", "/metrics"})
POLL_S = 0.5  # of the plan: "at least once a second" with room for a slow answer


class Front:
    """Everything that one front process holds, wired: `asgi` is what a server runs.

    `start` loads the first plan, `tick` is to be called every `POLL_S` seconds, `stop` flushes the log.
    """

    def __init__(self, config: Config, parts: tuple[Part, ...], clock: Clock, log: Log, control: Control, *,
                 page_socket: str | None = None, worker: str = "0") -> None:
        self.log, self.control, self._config = log, control, config
        secret = signing_secret(config)
        user_secret = secret if config.stores.user_ids == "hashed" else None
        signer, ids = Signer(secret), EventIds(clock)
        self.meter = Meter(Path(config.stores.directory) / "run" / "metrics", "front", clock)
        exclusions: dict[str, frozenset[str]] = {}
        shoppers = Shoppers()
        self.gateway = Gateway(
            log, clock=clock, ids=ids, signer=signer, user_secret=user_secret, limits=config.limits,
            durable=config.stores.durability == "before_answer", max_delay_s=config.stores.max_delay_ms / 1000,
            exclusions=exclusions, shoppers=shoppers,
            observe=self.meter.impression) if "gateway" in parts else None
        self.follower = Follower(control, clock, self.meter, self.gateway, exclusions, shoppers=shoppers)
        ingest = Ingest(log, clock=clock, ids=ids, signer=signer, limits=config.limits, user_secret=user_secret,
                        exclude=self.follower.exclude)
        hot: dict[str, Route] = {EXCLUSIONS: Route(
            Exclusions(self.follower, clock, user_secret=user_secret), "events", "exclusions")}
        if self.gateway is not None:
            hot["/v1/recommendations"] = Route(Recommendations(self.gateway), "serve", "recommendations")
        if "collector" in parts:
            handler = EventsHandler(ingest, self.meter, batch_events=config.limits.batch_events)
            hot["/v1/events"] = Route(handler, "events", "events", handler.handle_signed)
        self.proxy = Proxy(page_socket, body_bytes=config.limits.body_bytes) if page_socket else None
        self.checks = self._checks(parts, clock, page_socket)
        self.asgi = Shim(hot, self._behind, keys=Keys(config.service.keys), sites=sites_of(config.service),
                         meter=self.meter, clock=clock, body_bytes=config.limits.body_bytes, worker=worker)
        local = {path: self.asgi.endpoint(path) for path in hot}
        self.app: FastAPI = app.build([health.routes(self.checks, self.meter)], local, docs=self.proxy is None)
        self._watch = health.ClockWatch(clock, self.meter)

    async def _behind(self, scope: Message, receive: Receive, send: Send) -> None:
        target: App = self.app
        if self.proxy is not None and scope["path"] not in LOCAL:
            target = self.proxy
        await target(scope, receive, send)

    def _checks(self, parts: tuple[Part, ...], clock: Clock, page_socket: str | None) -> dict[str, health.Check]:
        checks: dict[str, health.Check] = {
            "log": lambda: None if self.log.error is None else str(self.log.error)}
        if self.gateway is not None:
            checks["plan"] = lambda: self.follower.unready
        for process in ("loop", "page"):
            if process in parts:
                checks[process] = health.silent(self.meter, process, 1, 15.0, clock)
        if page_socket is not None and "page" in checks:
            checks["page"] = health.behind(page_socket, checks["page"])
        return checks

    async def start(self) -> None:
        """Publish the plan of the configuration where it is a new one, and load it; `ConfigError` where it cannot be
        served. Where Control is away the service starts all the same, answers 503, and says so in /readyz."""
        if self.gateway is not None:
            await self.follower.publish(self._config)
            await self.follower.start()
            if self.follower.unservable:
                problem = str(self.follower.problem)
                raise ConfigError(problem, hint=None if "Hint: " in problem else "check [models] and what they import")
        self.meter.flush()

    async def tick(self) -> None:
        """Follow the plan, look at the clock, write the metrics."""
        await self.follower.poll()
        self._watch.look()
        health.log_problems(self.meter, self.log)
        self.meter.flush()

    async def stop(self) -> None:
        """After the last request: put everything on disk, then let go."""
        await asyncio.to_thread(self.log.close)
        if self.proxy is not None:
            await self.proxy.close()
        await self.follower.close()
        self.control.close()
        self.meter.flush()
