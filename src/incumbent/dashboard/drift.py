"""The page *Drift*: budget, streams with their evidence, what is open and what it consists of, baselines, findings."""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.dashboard.drift_view import View
from incumbent.dashboard.evidence_chart import evidence
from incumbent.dashboard.space import space
from incumbent.stores.store import Stores


class Desk(Protocol):
    """What this page asks."""

    config: Config
    stores: Stores
    clock: Clock


def add(router: APIRouter, desk: Desk, guarded: Any) -> None:
    """Add the page; `guarded` renders a template, or the page that says why there is none."""
    view = View(desk.stores.control, desk.config.drift)

    def drift() -> HTMLResponse:
        shown: HTMLResponse = guarded("drift.html", lambda: {"drift": drawn(view.shown(desk.clock.now()))})
        return shown

    router.add_api_route("/drift", drift)


def drawn(shown: dict[str, Any]) -> dict[str, Any]:
    """What is shown, with its charts."""
    return {**shown,
            "streams": [{**one, "chart": evidence(one["points"], one["threshold"])} for one in shown["streams"]],
            "open": [{**one, "told": _told(one["finding"])} for one in shown["open"]]}


def _told(finding: dict[str, Any]) -> dict[str, Any]:
    """The explanation of a finding, every part of it there or None."""
    found = finding.get("evidence", {}).get("explanation") or {}
    known = ("text", "clusters", "breakdowns", "segments", "examples", "new", "means", "mix", "within")
    return {**dict.fromkeys(known), **found, "space": space(found.get("picture"))}
