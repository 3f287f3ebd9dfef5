"""The page *Drift*: budget, streams with their evidence, what is open and what it consists of, baselines, findings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from incumbent.dashboard.drift_view import Desk, view
from incumbent.dashboard.evidence_chart import evidence
from incumbent.dashboard.space import space

KEEP_S = 5.0  # reading a baseline takes a while; several who look see one reading


def add(router: APIRouter, desk: Desk, guarded: Any, monotonic: Callable[[], float]) -> None:
    """Add the page; `guarded` renders a template, or the page that says why there is none."""
    lock, kept = threading.Lock(), [(-KEEP_S, dict[str, Any]())]

    def read() -> dict[str, Any]:
        with lock:
            if not kept[0][1] or monotonic() - kept[0][0] > KEEP_S:
                kept[0] = (monotonic(), drawn(view(desk)))
            return kept[0][1]

    def drift() -> HTMLResponse:
        shown: HTMLResponse = guarded("drift.html", lambda: {"drift": read()})
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
    known = ("text", "clusters", "breakdowns", "segments", "examples", "new", "means", "mix", "within", "split",
             "as")
    return {**dict.fromkeys(known), **found, "space": space(found.get("picture"))}
