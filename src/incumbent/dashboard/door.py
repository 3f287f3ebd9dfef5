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
            **_told(desk.door()), "refused": desk.quarantine({"limit": 20})})
        return shown

    router.add_api_route("/door", door)


def _told(door: dict[str, Any]) -> dict[str, Any]:
    """What the desk says of the door, the last day that has checks (`judged`), and why a later one has none (`silent`).

    >>> _told({"day": None, "open": 0, "kinds": []})["silent"]
    'no day is over yet that could be judged'
    >>> told = _told({"day": "2026-03-01", "open": 0, "kinds": []})
    >>> told["judged"], told["silent"]
    (None, 'no data came in on 2026-03-01 or before; the first whole day with some is judged after its end')
    """
    judged = max((one["day"] for kind in door["kinds"] for one in kind["checks"]), default=None)
    silent = None
    if judged is None:
        silent = "no day is over yet that could be judged" if door["day"] is None else (
            f"no data came in on {door['day']} or before; the first whole day with some is judged after its end")
    elif judged < door["day"]:
        silent = f"no data came in on {door['day']}; what stands here is of {judged}"
    return {"door": door, "judged": judged, "silent": silent}
