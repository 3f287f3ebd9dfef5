"""The page *Find*: from a request or a shopper by id, or from the newest requests, to what happened and why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Protocol

import msgspec
from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from incumbent.clock import Clock
from incumbent.events.window import Window
from incumbent.stores.store import Stores

NEWEST = 12


class Desk(Protocol):
    """What this page asks."""

    stores: Stores
    clock: Clock


def add(router: APIRouter, desk: Desk, guarded: Any) -> None:
    """Add the page; `guarded` renders a template, or the page that says why there is none."""

    def find() -> HTMLResponse:
        shown: HTMLResponse = guarded("trace.html", lambda: {"newest": newest(desk)})
        return shown

    router.add_api_route("/trace", find)


def newest(desk: Desk) -> list[dict[str, Any]]:
    """The newest requests of the last day, as they are listed."""
    now = desk.clock.now()
    rows = desk.stores.lake.scan("impression", Window(now - timedelta(days=1), now + timedelta(hours=1)), columns=[
        "request_id", "time", "user_id", "surface", "mode", "lane", "experiment", "slots"])
    chosen = rows.sort_by([("time", "descending")]).slice(0, NEWEST).to_pylist()
    found: list[dict[str, Any]] = msgspec.to_builtins(
        [{**row, "slots": None, "items": len(row["slots"] or ())} for row in chosen])
    return found
