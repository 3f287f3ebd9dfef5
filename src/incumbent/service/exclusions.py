"""`POST /v1/exclusions`: what a shopper does not want. On the front, where it holds before the answer leaves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from incumbent.clock import Clock
from incumbent.errors import DataError, IncumbentError, near
from incumbent.events.ids import hash_user, id_time
from incumbent.events.schema import Id
from incumbent.loop.shoppers import KINDS, Kind
from incumbent.service.reply import Reply, reply_error, reply_json

if TYPE_CHECKING:
    from incumbent.service.follow import Follower

ROUTE = "/v1/exclusions"
Category = Annotated[str, Meta(min_length=1, max_length=512)]


class ExclusionRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a shopper wants to see no more, or, with `excluded` false, again; with none of the three, only the list."""

    user_id: Annotated[Id, Meta(description="The shop's id of the shopper.")]
    item_id: Annotated[Id, Meta(description="This item.")] | None = None
    category: Annotated[Category, Meta(description="Every item of this category of the catalogue.")] | None = None
    event_id: Annotated[Id, Meta(description=(
        "A past interaction (the event_id of its feedback), which must no longer shape what is shown."))] | None = None
    excluded: Annotated[bool, Meta(description="False takes it back.")] = True


class Excluded(Struct, frozen=True):
    """Everything that a shopper excludes now."""

    items: list[str]
    categories: list[str]
    events: list[str]


_from_json = msgspec.json.Decoder(ExclusionRequest)
_from_msgpack = msgspec.msgpack.Decoder(ExclusionRequest)


class Exclusions:
    """The handler: one exclusion in, what is excluded then out. Users are hashed here where they are."""

    def __init__(self, follower: Follower, clock: Clock, *, user_secret: bytes | None = None) -> None:
        self._follower, self._clock, self._user_secret = follower, clock, user_secret

    async def handle(self, body: bytes, content_type: str) -> Reply:
        """Excluded, or taken back, in Control and on this front, before the answer; elsewhere within a second."""
        try:
            asked = decode(body, packed="msgpack" in content_type)
            unit = asked.user_id if self._user_secret is None else hash_user(asked.user_id, self._user_secret)
            chosen = kind_of(asked)
            if chosen is not None:
                await self._follower.set_exclusion(unit, *chosen, self._clock.now(), excluded=asked.excluded)
            return reply_json(self._follower.excluded(unit))
        except IncumbentError as error:
            return reply_error(error)


def decode(body: bytes, *, packed: bool = False) -> ExclusionRequest:
    """The request in a body; `DataError` with the field.

    >>> decode(b'{"user_id": "u1", "brand": "x"}')
    Traceback (most recent call last):
    ...
    incumbent.errors.DataError: Object contains unknown field `brand`. Expected one of user_id, item_id, category, event_id, excluded.
    """  # noqa: E501
    try:
        return (_from_msgpack if packed else _from_json).decode(body)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None
    except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as error:
        raise DataError("body is not one object", hint=str(error)) from None


def _explain(message: str) -> DataError:
    """A message of msgspec with the field that it is about, and of an unknown one the nearest that is known."""
    what, _, path = message.partition(" - at `$")
    named = re.search(r"(unknown|required) field `(.*)`", what)
    if named is None:
        return DataError(what, field=path.rstrip("`").lstrip(".") or None)
    if named[1] == "required":
        return DataError(what, field=named[2])
    known = ExclusionRequest.__struct_fields__
    return DataError(what, field=named[2], expected="one of " + ", ".join(known),
                     hint=near(named[2], known))


def kind_of(asked: ExclusionRequest) -> tuple[Kind, str] | None:
    """What is excluded, as (kind, value); None where nothing is named, `DataError` where several are.

    >>> kind_of(ExclusionRequest(user_id="u", category="shoes"))
    ('category', 'shoes')
    """
    named: list[tuple[Kind, str]] = [
        (kind, value) for kind, value in zip(KINDS, (asked.item_id, asked.category, asked.event_id), strict=True)
        if value is not None]
    if len(named) > 1:
        raise DataError("one thing is excluded at a time", got=[kind for kind, _ in named],
                        expected="one of item_id, category, event_id")
    if named and named[0][0] == "event":
        check_event(named[0][1])
    return named[0] if named else None


def check_event(event_id: str) -> str:
    """An event id, or a `DataError`."""
    try:
        id_time(event_id)
    except ValueError:
        raise DataError("event id is not a UUIDv7", got=event_id, field="event_id",
                        expected="the event_id of the feedback") from None
    return event_id


def openapi() -> dict[str, Any]:
    """The route's part of an OpenAPI document.

    >>> list(openapi()["paths"])
    ['/v1/exclusions']
    """
    (request, answer), schemas = msgspec.json.schema_components(
        (ExclusionRequest, Excluded), ref_template="#/components/schemas/{name}")
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    post = {
        "operationId": "exclude", "tags": ["shoppers"],
        "summary": "Exclude an item, a category or a past interaction for a shopper; undo; list",
        "requestBody": {"required": True, "content": {
            kind: {"schema": request} for kind in ("application/json", "application/msgpack")}},
        "responses": {"200": {"description": "Everything that the shopper excludes now.",
                              "content": {"application/json": {"schema": answer}}},
                      "422": {"description": "Not usable; `field` says where.", "content": problem},
                      "503": {"description": "Control refuses: nothing was excluded.", "content": problem}}}
    return {"paths": {ROUTE: {"post": post}}, "components": {"schemas": schemas}}
