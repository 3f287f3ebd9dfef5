"""The routes of the door: the quality of what came in, what was refused, and its way back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from incumbent.service.auth import Keys
from incumbent.service.desk import Desk

Text = Annotated[str | None, Query(max_length=256)]


class Operation(BaseModel):
    """One operation of a JSON Patch (RFC 6902)."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    op: Literal["add", "remove", "replace", "move", "copy", "test"]
    path: Annotated[str, Field(max_length=1024)]
    source: str | None = Field(None, alias="from", max_length=1024)
    value: Any = None


class ReplayBody(BaseModel):
    """Which messages go back, how they are mended, and why: the audit keeps all of it."""

    model_config = ConfigDict(extra="forbid")
    reason: Annotated[str, Field(min_length=1, max_length=2000, description="Why.")]
    actor: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    matching: Annotated[str, Field(max_length=256, description="Text that the refusal's reason holds.")] | None = None
    kind: Annotated[str, Field(max_length=32)] | None = None
    field: Annotated[str, Field(max_length=256)] | None = None
    source: Annotated[str, Field(max_length=32)] | None = None
    ids: Annotated[list[str], Field(max_length=5_000)] = []
    limit: Annotated[int, Field(ge=1, le=5_000)] = 5_000
    fix: Annotated[list[Operation], Field(max_length=100, description="A JSON Patch of every message.")] = []
    dry_run: bool = False

    def chosen(self) -> dict[str, Any]:
        """The selection alone."""
        found = self.model_dump(include={"since", "until", "kind", "field", "source", "ids", "limit"})
        return {key: value for key, value in {**found, "reason": self.matching}.items() if value is not None}

    def patch(self) -> list[dict[str, Any]]:
        """The operations as RFC 6902 writes them."""
        return [one.model_dump(by_alias=True, exclude_unset=True) for one in self.fix]


def add(router: APIRouter, desk: Desk, keys: Keys) -> None:
    """Add the routes, which come under ``/v1``."""

    @router.get("/door", tags=["quarantine"], summary="Data quality of what came in, against its own past days")
    def show_door() -> dict[str, Any]:
        return desk.door()

    @router.get("/quarantine", tags=["quarantine"], summary="Refused messages: groups by reason, and the newest")
    def list_quarantine(
        since: AwareDatetime | None = None, until: AwareDatetime | None = None, matching: Text = None,
        kind: Text = None, field: Text = None, source: Text = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100, everything: bool = False,
    ) -> dict[str, Any]:
        given = {"since": since, "until": until, "reason": matching, "kind": kind, "field": field, "source": source,
                 "limit": limit}
        return desk.quarantine({key: value for key, value in given.items() if value is not None},
                               everything=everything)

    @router.post("/quarantine/replay", tags=["quarantine"], summary="Send mended messages in again",
                 description="Each passes the checks of the door once more. What passes is on its way to the log when "
                             "the answer comes, under one id however often it is asked for; the rest stays and says "
                             "why. A function as a fix is for the command line alone.")
    def replay(body: ReplayBody, request: Request) -> dict[str, Any]:
        return desk.replay(body.chosen(), actor=keys.name(request.headers.raw), reason=body.reason,
                           fix=body.patch(), dry_run=body.dry_run, on_behalf_of=body.actor)

    @router.get("/quarantine/{event_id}", tags=["quarantine"], summary="One refused message as it came")
    def show_quarantined(event_id: Annotated[str, Path(max_length=64)]) -> dict[str, Any]:
        return desk.quarantined(event_id)
