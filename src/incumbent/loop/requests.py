"""What a shop asks and what it gets: the request and the answer of `POST /v1/recommendations`."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from incumbent.events.schema import Id, Mode, OptionalId, Slot

_FLOAT_MAX = 1.7976931348623157e308

ContextKey: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
ContextValue: TypeAlias = (
    Annotated[str, Meta(max_length=1024)]
    | Annotated[int, Meta(ge=-(2**53), le=2**53)]
    | Annotated[float, Meta(ge=-_FLOAT_MAX, le=_FLOAT_MAX)]  # refuses NaN and infinities
    | bool
    | None
)


class RecommendationRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One page of recommendations for one user on one surface."""

    surface: Annotated[Id, Meta(description="A configured surface.")]
    user_id: Annotated[Id, Meta(description="The shop's id of the shopper; lanes and coins hang on it.")]
    k: Annotated[int, Meta(ge=1, le=1000, description="How many items, pinned ones included; the surface may allow "
                                                      "fewer (k_max).")]
    context: Annotated[dict[ContextKey, ContextValue], Meta(
        description="What models and segments read: country, device, store ...")] = {}
    session_id: OptionalId = None
    exclude: Annotated[list[Id], Meta(description="Items that must not be shown now.")] = []
    cursor: Annotated[str, Meta(max_length=1_000_000, description="Of the page before, for the next page.")] | None = (
        None)
    deadline_ms: Annotated[int, Meta(ge=1, le=60_000, description="The answer comes within it; the surface's own "
                                                                  "where it is missing.")] | None = None
    ranking_id: Annotated[str, Meta(min_length=1, max_length=128, description=(
        "Your own id of this query or page load, one for each: all coins hang on it, so asking again with it and with "
        "the same lists gives the same answer. One is made where it is missing."))] | None = None
    debug: Annotated[bool, Meta(description="Also tell who contributed what. Never show it to shoppers.")] = False


class ShownItem(Struct, frozen=True, omit_defaults=True, gc=False):
    """One item at its absolute position in the ranking, counted over pages from 1."""

    item_id: str
    position: int
    sponsored: bool = False
    title: str | None = None  # written by the model that contributed it
    explanation: str | None = None


class Debug(Struct, frozen=True, kw_only=True):
    """Who contributed what, and why; only where the request asked for it."""

    lane: str
    plan: str
    slots: list[Slot]
    experiment: str | None = None
    stage: str | None = None
    share: float | None = None
    models: dict[str, str] = {}  # role -> status
    reason: str | None = None


class RecommendationAnswer(Struct, frozen=True, kw_only=True):
    """One page. It names no owners: a shop that knew them could treat the two models' items differently."""

    request_id: Annotated[str, Meta(description="Signed; send it back with every event about these items.")]
    ranking_id: str
    items: list[ShownItem]
    mode: Mode
    cursor: Annotated[str, Meta(description="Asks for the next page; null where there is none.")] | None = None
    logged: Annotated[bool, Meta(description="False where the impression could not be put on record in time.")] = True
    text: Annotated[str, Meta(description="What a generating model wrote about the whole page.")] | UnsetType = UNSET
    debug: Debug | UnsetType = UNSET
