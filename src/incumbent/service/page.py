"""The page process: control routes, the OpenAPI document of everything, and whatever is mounted beside them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.service import app, control, health, step
from incumbent.service.auth import Keys
from incumbent.service.desk import Desk
from incumbent.service.metrics import Meter
from incumbent.service.origin import sites_of
from incumbent.service.parts import Part, open_stores
from incumbent.service.pulse import Pulse
from incumbent.service.shim import Shim

#: what a dashboard is: it adds its routes to the application, and asks the desk
Mount = Callable[[FastAPI, Desk], None]
Later = Callable[[], Awaitable[None]]


def build(
    config: Config, clock: Clock, parts: tuple[Part, ...], mount: Mount | None = None,
) -> tuple[Shim, Later, Later]:
    """The application behind its shim, what to call every half second, and what to call at the end; `parts` are those
    of the whole service."""
    stores = open_stores(config, clock, "reader")
    meter = Meter(Path(config.stores.directory) / "run" / "metrics", "page", clock)
    keys = Keys(config.service.keys)
    pulse = Pulse(meter, clock, stores.control, parts)
    desk = Desk(config, stores, clock, pulse)
    checks: dict[str, health.Check] = {"control": lambda: None if stores.control.plan_version() >= 0 else "no plan"}
    routers = [health.routes(checks, meter), control.routes(desk, keys)]
    if config.service.clock == "replay":
        routers.append(step.routes(stores.control, clock))
    made = app.build(routers)
    if mount is not None:
        mount(made, desk)
    shim = Shim({}, made, keys=keys, sites=sites_of(config.service), meter=meter, clock=clock,
                body_bytes=config.limits.body_bytes, worker="p", behind="page")

    async def tick() -> None:
        meter.flush()
        pulse.look()

    async def close() -> None:
        stores.log.close()
        stores.control.close()

    return shim, tick, close
