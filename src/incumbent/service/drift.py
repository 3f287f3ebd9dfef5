"""The routes of drift: how it stands, what was found, baselines and their audit."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from incumbent.errors import NotFoundError, near
from incumbent.service.auth import Keys
from incumbent.service.desk import Desk

Name = Annotated[str, Path(max_length=64, description="The baseline's name.")]
NewName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}$")]
Monitor = Annotated[str | None, Query(max_length=512, description="A monitor's name, as GET /v1/drift lists them.")]
Version = Annotated[int | None, Query(ge=1, description="The newest where it is not given.")]


class PinBody(BaseModel):
    """Which version is put in force, why, and for whom."""

    model_config = ConfigDict(extra="forbid")
    version: Annotated[int, Field(ge=1)] | None = None
    reason: Annotated[str, Field(min_length=1, max_length=2000)]
    actor: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class BuildBody(BaseModel):
    """The days of a baseline, both included, its name, and why."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    first: Annotated[date, Field(alias="from")]
    last: Annotated[date, Field(alias="to")]
    name: NewName = "baseline"
    leave_out_unstable: bool = False
    reason: Annotated[str, Field(min_length=1, max_length=2000)]
    actor: Annotated[str, Field(min_length=1, max_length=200)] | None = None


def routes(desk: Desk, keys: Keys) -> APIRouter:
    """All of them over one desk."""
    router = APIRouter(tags=["drift"])

    @router.get("/drift", summary="The baseline in force, every monitor with its standing and part of the budget")
    def show_drift(monitor: Monitor = None) -> dict[str, Any]:
        found = desk.drift()
        if monitor is None:
            return found
        rows = [row for row in found["monitors"] if row["name"] == monitor]
        return {**found, "monitors": rows} if rows else _unknown(monitor, [row["name"] for row in found["monitors"]])

    @router.get("/drift/findings", summary="Findings of drift, newest first")
    def list_drift_findings(monitor: Monitor = None,
                            limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
        found = desk.drift_findings(monitor, limit)
        if monitor is not None and not found:  # none yet, of a monitor or a version of a space that there is
            from incumbent.loop.drift.status import subjects

            known = sorted({*(row["name"] for row in desk.drift()["monitors"]), *(
                subject.removeprefix("stream:") for subject in subjects(desk.stores.control))})
            return found if monitor in known else _unknown(monitor, known)
        return found

    @router.get("/drift/audit", summary="A baseline replayed against itself: promised beside delivered")
    def audit_drift(name: Annotated[str | None, Query(max_length=64)] = None,
                    version: Version = None) -> dict[str, Any]:
        return desk.drift_audit(name, version)

    @router.get("/baselines", summary="All baselines")
    def list_baselines() -> list[dict[str, Any]]:
        return desk.baselines()

    @router.get("/baselines/{name}", summary="One baseline with what it holds of every stream")
    def show_baseline(name: Name, version: Version = None) -> dict[str, Any]:
        return desk.baseline(name, version)

    @router.post("/baselines", summary="Build a baseline from a period; answers when it stands")
    def build_baseline(body: BuildBody, request: Request) -> dict[str, Any]:
        return desk.build_baseline(body.first, body.last, body.name, leave_out_unstable=body.leave_out_unstable,
                                   actor=keys.name(request.headers.raw), reason=body.reason, on_behalf_of=body.actor)

    @router.post("/baselines/{name}/pin", summary="Put a baseline in force")
    def pin_baseline(name: Name, body: PinBody, request: Request) -> dict[str, Any]:
        return desk.pin_baseline(name, body.version, actor=keys.name(request.headers.raw), reason=body.reason,
                                 on_behalf_of=body.actor)

    return router


def _unknown(got: str, known: list[str]) -> NoReturn:
    listed = ", ".join(known[:20]) + (" ..." if len(known) > 20 else "")
    raise NotFoundError("no such monitor", got=got, field="monitor", expected=f"one of {listed}" if known else None,
                        hint=near(got, known) if known else "no baseline stands yet")
