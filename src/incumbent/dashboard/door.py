"""The page *At the door*: the quality of what came in, what was refused, and what became of it."""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import APIRouter
from fastapi.responses import HTMLResponse


class Desk(Protocol):
    """What this page asks."""

    def door(self) -> dict[str, Any]: ...
    def quarantine(self, chosen: dict[str, Any] | None = None, *, everything: bool = False) -> dict[str, Any]: ...


def add(router: APIRouter, desk: Desk, guarded: Any) -> None:
    """Add the page; `guarded` renders a template, or the page that says why there is none."""

    def door() -> HTMLResponse:
        shown: HTMLResponse = guarded("door.html", lambda: {
            "door": desk.door(), "refused": desk.quarantine({"limit": 20})})
        return shown

    router.add_api_route("/door", door)
