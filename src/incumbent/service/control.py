"""The control routes: experiments, reports, traces, exclusions, plans; and the clock of a replay."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from incumbent.clock import ReplayClock
from incumbent.events import codec
from incumbent.service import quarantine
from incumbent.service.auth import Keys
from incumbent.service.desk import STEPS, Desk
from incumbent.service.drift import routes as drift_routes
from incumbent.service.openapi import PROBLEM

Name = Annotated[str, Path(max_length=64, description="The experiment's name.")]
User = Annotated[str, Path(max_length=256, description="The shop's id of the shopper.")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Subject = Annotated[str | None, Query(max_length=256, description="An experiment's name for decisions; else "
                                                                  "experiment:NAME, surface:NAME, model:NAME.")]
Step = Literal["start", "hold", "resume", "promote", "discard", "rollback"]
assert set(STEPS) == set(Step.__args__)  # type: ignore[attr-defined]
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": PROBLEM} for status, text in {
        401: "No key, or an unknown one.", 403: "A key of another scope, or a request from another site.",
        404: "There is none of that name.", 409: "The state as it stands does not allow it.",
        422: "Not usable; `field` says where.", 503: "A store refuses."}.items()}


class StepBody(BaseModel):
    """Why a step is taken, and for whom: kept for ever, beside the name of the key that takes it."""

    model_config = ConfigDict(extra="forbid")
    reason: Annotated[str, Field(min_length=1, max_length=2000)]
    actor: Annotated[str, Field(min_length=1, max_length=200, description=(
        "Who acts, as they say; kept as on_behalf_of beside the key's own name."))] | None = None


class ExclusionBody(BaseModel):
    """What a shopper wants to see no more, or again: an item, a category, or (what shaped it) a past interaction."""

    model_config = ConfigDict(extra="forbid")
    item_id: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    category: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    event_id: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    excluded: bool = True


class ClockBody(BaseModel):
    """Where the replay's clock goes to; never back."""

    model_config = ConfigDict(extra="forbid")
    now: AwareDatetime


def routes(desk: Desk, keys: Keys) -> APIRouter:
    """All control routes over one desk."""
    router = APIRouter(prefix="/v1", responses=RESPONSES)
    _experiments(router, desk, keys)
    _reading(router, desk)
    router.include_router(drift_routes(desk, keys))
    _shoppers(router, desk)
    _erasure(router, desk, keys)
    quarantine.add(router, desk, keys)
    if isinstance(desk.clock, ReplayClock):
        _clock(router, desk.clock)
    return router


def _experiments(router: APIRouter, desk: Desk, keys: Keys) -> None:
    @router.get("/experiments", tags=["experiments"], summary="All experiments")
    def list_experiments() -> list[dict[str, Any]]:
        return desk.experiments()

    @router.get("/experiments/{name}", tags=["experiments"], summary="One experiment with its evidence")
    def show_experiment(name: Name) -> dict[str, Any]:
        return desk.experiment(name)

    @router.post("/experiments/{name}/{step}", tags=["experiments"], summary="Take one step by hand",
                 description="start, hold, resume, promote, discard or rollback; the Decision is the answer.")
    def take_step(name: Name, step: Step, body: StepBody, request: Request) -> dict[str, Any]:
        return desk.step(name, step, actor=keys.name(request.headers.raw), reason=body.reason,
                         on_behalf_of=body.actor)


def _reading(router: APIRouter, desk: Desk) -> None:
    @router.get("/report", tags=["reading"], summary="The latest numbers, each with n and interval")
    def show_report(days: Annotated[int, Query(ge=1, le=400)] = 7) -> dict[str, Any]:
        return desk.report(days)

    @router.get("/metrics", tags=["reading"], summary="The tree of metrics of every surface, with bands and proxies")
    def show_metrics(surface: Annotated[str | None, Query(max_length=64)] = None,
                     days: Annotated[int, Query(ge=1, le=90)] = 7) -> list[dict[str, Any]]:
        return desk.metrics(surface, days)

    @router.get("/decisions", tags=["reading"], summary="Decisions, newest first")
    def list_decisions(subject: Subject = None, limit: Limit = 100) -> list[dict[str, Any]]:
        return desk.conclusions("decision", subject, limit)

    @router.get("/findings", tags=["reading"], summary="Findings of checks and guardrails, newest first")
    def list_findings(subject: Subject = None, limit: Limit = 100) -> list[dict[str, Any]]:
        return desk.conclusions("finding", subject, limit)

    @router.get("/alerts", tags=["reading"], summary="Alerts, newest first")
    def list_alerts(subject: Subject = None, limit: Limit = 100) -> list[dict[str, Any]]:
        return desk.conclusions("alert", subject, limit)

    @router.get("/audits", tags=["reading"], summary="Who did what by hand, and why")
    def list_audits(subject: Subject = None, limit: Limit = 100) -> list[dict[str, Any]]:
        return desk.conclusions("audit", subject, limit)

    @router.get("/schema", tags=["reading"], summary="The JSON Schema of every event, by its type")
    def show_schema() -> dict[str, Any]:
        return codec.json_schema()

    @router.get("/plan", tags=["reading"], summary="The serving plan in force")
    def show_plan() -> dict[str, Any]:
        return desk.plan()

    @router.get("/plan/{hash}", tags=["reading"], summary="The serving plan of a hash, as impressions name it")
    def show_plan_of(hash: Annotated[str, Path(max_length=64)]) -> dict[str, Any]:
        return desk.plan(hash)


def _shoppers(router: APIRouter, desk: Desk) -> None:
    @router.get("/trace/request/{request_id:path}", tags=["trace"], summary="One request and all that came of it")
    def trace_request(request_id: Annotated[str, Path(max_length=512)]) -> dict[str, Any]:
        return desk.trace_request(request_id)

    @router.get("/trace/user/{user_id:path}", tags=["trace"], summary="One shopper's requests, events and outcomes")
    def trace_user(user_id: User) -> dict[str, Any]:
        return desk.trace_user(user_id)

    @router.get("/exclusions/{user_id:path}", tags=["shoppers"], summary="What a shopper wants to see no more")
    def list_exclusions(user_id: User) -> dict[str, list[str]]:
        return desk.exclusions(user_id)

    @router.post("/exclusions/{user_id:path}", tags=["shoppers"],
                 summary="Exclude an item, a category or a past interaction for a shopper, or take it back")
    def set_exclusion(user_id: User, body: ExclusionBody) -> dict[str, list[str]]:
        return desk.exclude(user_id, item_id=body.item_id, category=body.category, event_id=body.event_id,
                            excluded=body.excluded)


def _erasure(router: APIRouter, desk: Desk, keys: Keys) -> None:
    @router.delete("/users/{user_id:path}", tags=["shoppers"], summary="Forget a shopper, everywhere")
    def erase_user(user_id: User, body: StepBody, request: Request) -> dict[str, Any]:
        return desk.erase(user_id, actor=keys.name(request.headers.raw), reason=body.reason, on_behalf_of=body.actor)


def _clock(router: APIRouter, clock: ReplayClock) -> None:
    @router.get("/clock", tags=["replay"], summary="The replay's time")
    def read_clock() -> dict[str, str]:
        return {"now": clock.now().isoformat()}

    @router.post("/clock", tags=["replay"], summary="Advance the replay's time; only under clock = replay")
    def advance_clock(body: ClockBody) -> dict[str, str]:
        clock.advance_to(body.now)
        return {"now": clock.now().isoformat()}
