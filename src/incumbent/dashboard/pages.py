"""The routes of the page. Everything shown comes from the desk; nothing is computed here but how it looks."""

from __future__ import annotations

import gzip
from functools import cache
from importlib import resources
from typing import Annotated, Any, Protocol
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, FastAPI, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from incumbent import __version__
from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.dashboard import charts, door, drift, measured, text, trace
from incumbent.dashboard.sample import Samples
from incumbent.errors import DataError, IncumbentError, NotFoundError
from incumbent.loop import looks
from incumbent.loop.tracing import told
from incumbent.stores.store import Stores

CONTENT_POLICY = ("default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; base-uri 'none'; "
                  "form-action 'self'; frame-ancestors 'none'")
STATIC = {"app.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml"}
Name = Annotated[str, Path(max_length=64)]


class Desk(Protocol):
    """What the page asks; `incumbent.service.desk.Desk` is one."""

    config: Config
    stores: Stores
    clock: Clock

    def experiments(self) -> list[dict[str, Any]]: ...
    def experiment(self, name: str) -> dict[str, Any]: ...
    def report(self, days: int = 7) -> dict[str, Any]: ...
    def metrics(self, surface: str | None = None, days: int = 7) -> list[dict[str, Any]]: ...
    def drift(self) -> dict[str, Any]: ...
    def drift_findings(self, monitor: str | None = None, limit: int = 100) -> list[dict[str, Any]]: ...
    def baselines(self) -> list[dict[str, Any]]: ...
    def baseline(self, name: str, version: int | None = None) -> dict[str, Any]: ...
    def conclusions(self, kind: str, subject: str | None = None, limit: int = 100) -> list[dict[str, Any]]: ...
    def trace_request(self, request_id: str) -> dict[str, Any]: ...
    def trace_user(self, user_id: str) -> dict[str, Any]: ...
    def door(self) -> dict[str, Any]: ...
    def quarantine(self, chosen: dict[str, Any] | None = None, *, everything: bool = False) -> dict[str, Any]: ...
    def health(self) -> list[dict[str, Any]]: ...
    def live(self) -> dict[str, Any]: ...


def mount(app: FastAPI, desk: Desk) -> None:
    """Add the page to an application."""
    page = Page(desk)
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/", page.overview)
    router.add_api_route("/experiments/{name}", page.experiment)
    router.add_api_route("/experiments/{name}/preference.svg", page.preference_svg)
    router.add_api_route("/requests/{request_id:path}", page.request)
    router.add_api_route("/users/{user_id:path}", page.user)
    router.add_api_route("/find", page.find)
    router.add_api_route("/live.json", page.live)
    door.add(router, desk, page._guarded)
    drift.add(router, desk, page._guarded, desk.clock.monotonic)
    measured.add(router, desk, page._guarded)
    trace.add(router, desk, page._guarded)
    router.add_api_route("/static/vega.js", page.vega)
    router.add_api_route("/static/{name}", page.static)
    app.include_router(router)


class Page:
    """One method per page. They are plain functions, run in threads, since the lake is read with blocking calls."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._samples = Samples(desk.stores.lake, desk.clock.monotonic)
        self._jinja = Environment(loader=PackageLoader("incumbent.dashboard"), autoescape=True, trim_blocks=True,
                                  lstrip_blocks=True, undefined=StrictUndefined)
        self._jinja.filters.update(moment=text.moment, stage=text.stage, verdict=text.verdict, tone=text.tone,
                                   number=text.number, count_of=text.count_of,
                                   path=lambda value: quote(str(value), safe=""))
        self._jinja.globals.update(interval=text.interval, version=__version__, stages=list(text.STAGES)[:-1])

    def _html(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        now = self._desk.clock.now()
        body = self._jinja.get_template(template).render(
            now=now, ago=lambda at: text.ago(at, now), replay=self._desk.config.service.clock == "replay",
            experiments=self._desk.experiments(), **values)
        return HTMLResponse(body, status, {"content-security-policy": CONTENT_POLICY, "cache-control": "no-store",
                                           "referrer-policy": "same-origin", "x-content-type-options": "nosniff"})

    def _guarded(self, template: str, make: Any) -> HTMLResponse:
        """A page, or the page that says why there is none."""
        try:
            return self._html(template, **make())
        except IncumbentError as error:
            return self._html("error.html", error.status, error=error.to_dict()["error"])

    # ------------------------------------------------------------------------------------------------------ pages
    def overview(self) -> HTMLResponse:
        """Stages, the latest numbers, health, and what was concluded."""
        return self._guarded("overview.html", lambda: {
            "report": self._desk.report(7), "health": self._desk.health(), "live": self._desk.live(),
            "decisions": self._desk.conclusions("decision", None, 8),
            "findings": [f for f in self._desk.conclusions("finding", None, 60)
                         if f["status"] not in ("ok", "no_data")][:8]})

    def experiment(self, name: Name) -> HTMLResponse:
        """One experiment: how it stands and why."""
        return self._guarded("experiment.html", lambda: self._experiment(name))

    def _experiment(self, name: str) -> dict[str, Any]:
        shown = self._desk.experiment(name)
        waits = self._waits(name)
        evaluation = None if waits else shown["evaluation"]
        samples = self._samples.requests(name, self._desk.clock.now()) if shown["started_at"] else []
        titles = self._samples.titles() if samples else {}
        return {"experiment": shown, "evaluation": evaluation, "waits": waits,
                "preference_chart": _preference(shown) if evaluation else None,
                "led": _led(evaluation) is not None if evaluation else False,
                "guardrail_chart": charts.guardrails(evaluation["evidence"]["guardrails"]) if evaluation else None,
                "samples": [_sample(msgspec.to_builtins(one), titles) for one in samples],
                "audits": self._desk.conclusions("audit", f"experiment:{name}", 20)}

    def _waits(self, name: str) -> str | None:
        """Why there is no look at an experiment yet, and when there will be; None where there is one."""
        desk, row = self._desk, self._desk.stores.control.experiment(name)
        return None if row is None else looks.unjudged(desk.stores.control, desk.config, row, desk.clock.now())

    def preference_svg(self, name: Name) -> Response:
        """The preference chart as SVG, for reports and mail."""
        spec = _preference(self._desk.experiment(name))
        if spec is None:
            raise NotFoundError("nothing has matured yet", got=name)
        return Response(charts.svg(spec), media_type="image/svg+xml")

    def request(self, request_id: Annotated[str, Path(max_length=512)]) -> HTMLResponse:
        """One request: both lists, the coins, and all that came of it."""
        def make() -> dict[str, Any]:
            traced = self._desk.trace_request(request_id)
            return {"traced": traced, "sample": _sample(traced["request"], self._samples.titles())}
        return self._guarded("request.html", make)

    def user(self, user_id: Annotated[str, Path(max_length=256)]) -> HTMLResponse:
        """One shopper: what they asked, did, and whom it was credited to."""
        return self._guarded("user.html", lambda: {
            "user_id": user_id, "traced": (traced := self._desk.trace_user(user_id)),
            "told": told.told(traced["events"], traced["outcomes"], self._samples.titles())})

    def find(self, q: Annotated[str, Query(max_length=512)] = "") -> Response:
        """Go to a request or a shopper by id."""
        asked = q.strip()
        if not asked:
            return RedirectResponse("/", 303)
        try:
            self._desk.trace_request(asked)
        except (DataError, NotFoundError):
            return RedirectResponse(f"/users/{quote(asked, safe='')}", 303)
        return RedirectResponse(f"/requests/{quote(asked, safe='')}", 303)

    def live(self) -> Response:
        """The provisional numbers of the last minutes, polled by the overview."""
        return Response(msgspec.json.encode(self._desk.live()), media_type="application/json",
                        headers={"cache-control": "no-store"})

    # ----------------------------------------------------------------------------------------------------- assets
    def vega(self) -> Response:
        """Vega, Vega-Lite and Vega-Embed, as vl-convert carries them: offline, nothing vendored."""
        return Response(_bundle(), media_type="text/javascript", headers={
            "content-encoding": "gzip", "cache-control": "public, max-age=86400"})

    def static(self, name: Annotated[str, Path(max_length=40)], request: Request) -> Response:
        """Style sheet, script, icon."""
        if name not in STATIC:
            raise NotFoundError("no such file", got=name)
        return Response((resources.files("incumbent.dashboard") / "static" / name).read_bytes(),
                        media_type=STATIC[name], headers={"cache-control": "public, max-age=300"})


def _preference(shown: dict[str, Any]) -> dict[str, Any] | None:
    evaluation = shown["evaluation"]
    if not evaluation:
        return None
    stages = [{"since": change["since"], "label": text.stage(change["stage"])} for change in shown["stages"]]
    drawn = _led(evaluation) or {"series": evaluation["series"], "preference": evaluation["evidence"]["preference"]}
    seen = drawn["preference"]
    decided = (seen["wins"] + seen["losses"]) / seen["units"] if seen["units"] else 1.0
    return charts.preference(drawn["series"], shown["definition"]["delta_min"] * decided, stages)


def _led(evaluation: dict[str, Any]) -> dict[str, Any] | None:
    """What led to a promotion, while too few shoppers were first seen since to draw anything of theirs."""
    if evaluation["evidence"]["preference"]["preference"]["value"] is not None:
        return None
    led: dict[str, Any] | None = evaluation["led"]
    return led


def _sample(request: dict[str, Any], titles: dict[str, str]) -> dict[str, Any]:
    """An impression as the page draws it: each model's list beside the merged one, every item with its title."""
    def item(item_id: str) -> dict[str, str]:
        return {"id": item_id, "title": titles.get(item_id, item_id)}
    slots = [{"owner": None, "pair_id": None, **item(slot["item_id"]), **slot} for slot in request["slots"]]
    owners = {slot["item_id"]: slot.get("owner") or slot["kind"] for slot in slots}
    lists = [{"role": model["role"], "name": model["name"], "version": model["version"], "status": model["status"],
              "latency_ms": model["latency_ms"], "reason": model.get("reason"),
              "items": [{**item(one), "shown": owners.get(one)} for one in model.get("items", [])[:len(slots) or 10]]}
             for model in request["models"]]
    return {"request": request, "slots": slots, "lists": lists}


@cache
def _bundle() -> bytes:
    import vl_convert

    make: Any = vl_convert.javascript_bundle  # its own stub asks for the snippet that it documents as optional
    return gzip.compress(make().encode(), mtime=0)
