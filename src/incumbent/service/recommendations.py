"""`POST /v1/recommendations`: bytes in, bytes out. The hot route; the gateway behind it does the work."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from incumbent.errors import DataError, IncumbentError, near
from incumbent.loop.requests import RecommendationAnswer, RecommendationRequest
from incumbent.loop.serve import Gateway
from incumbent.service.reply import MSGPACK, Reply, reply_error

ROUTE = "/v1/recommendations"
_FIELDS = RecommendationRequest.__struct_fields__
_from_json = msgspec.json.Decoder(RecommendationRequest)
_from_msgpack = msgspec.msgpack.Decoder(RecommendationRequest)
_to_json = msgspec.json.Encoder()
_to_msgpack = msgspec.msgpack.Encoder()


class Recommendations:
    """The handler: decodes the request, asks the gateway, encodes the page; MessagePack is answered in kind."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def handle(self, body: bytes, content_type: str) -> Reply:
        """The page as JSON or MessagePack; for whatever cannot be asked, a 4xx of the one documented shape."""
        packed = "msgpack" in content_type
        try:
            answer = await self.gateway.recommend(decode_request(body, packed=packed))
        except IncumbentError as error:
            return reply_error(error)
        return Reply(200, _to_msgpack.encode(answer), MSGPACK) if packed else Reply(200, _to_json.encode(answer))


def decode_request(body: bytes, *, packed: bool = False) -> RecommendationRequest:
    """The request in a body; `DataError` with the field and what stood there.

    >>> decode_request(b'{"surface": "home", "user_id": "u1", "k": 0}')
    Traceback (most recent call last):
    ...
    incumbent.errors.DataError: Expected `int` >= 1. Got 0.
    >>> decode_request(b'{"surface": "home", "user": "u1", "k": 5}')
    Traceback (most recent call last):
    ...
    incumbent.errors.DataError: Object contains unknown field `user`. Hint: did you mean 'user_id'?
    """
    try:
        return (_from_msgpack if packed else _from_json).decode(body)
    except msgspec.ValidationError as error:
        raise _explain(str(error), body, packed) from None
    except RecursionError:
        raise DataError("body is nested too deeply", expected="an object of plain values") from None
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        form = "MessagePack" if packed else "JSON"
        raise DataError(f"body is not {form}", got=body[:60], expected=f"one {form} object", hint=str(error)) from None


def _explain(message: str, body: bytes, packed: bool) -> DataError:
    """A message of msgspec taken apart, with what stood at its place and the nearest name of an unknown field."""
    what, _, path = message.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    named = re.search(r"(?:unknown|required) field `(.*)`", what)
    if named and not path:
        return DataError(what, field=named[1], hint=near(named[1], _FIELDS) if "unknown" in what else None)
    parts = _got(body, path, packed) if re.fullmatch(r"\w+", path) else {}
    return DataError(what, field=path or None, **parts)


def _got(body: bytes, field: str, packed: bool) -> dict[str, Any]:
    try:
        return {"got": (msgspec.msgpack.decode if packed else msgspec.json.decode)(body)[field]}
    except (msgspec.DecodeError, ValueError, RecursionError, KeyError, TypeError):
        return {}  # what cannot be read as a whole is not told: it was no null


def openapi() -> dict[str, Any]:
    """The route's part of an OpenAPI 3.1 document: ``{"paths": ..., "components": {"schemas": ...}}``.

    >>> sorted(openapi()["paths"][ROUTE]["post"]["responses"])
    ['200', '401', '403', '404', '408', '413', '415', '422', '503']
    """
    (request, answer), schemas = msgspec.json.schema_components(
        (RecommendationRequest, RecommendationAnswer), ref_template="#/components/schemas/{name}")
    schemas["Error"] = {"type": "object", "required": ["error"], "properties": {"error": {
        "type": "object", "required": ["code", "what"], "properties": {
            name: {"type": ["string", "null"]} for name in ("code", "what", "got", "expected", "hint", "field")}}}}
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses = {status: {"description": text, "content": problem} for status, text in {
        "401": "No key, or an unknown one.", "403": "A key of another scope.", "404": "No such surface.",
        "408": "The body stopped half-way.", "413": "Body, exclusions or context too large.",
        "415": "Neither JSON nor MessagePack.", "422": "The request cannot be used; `field` says where.",
        "503": "No plan yet."}.items()}
    types = ("application/json", MSGPACK.decode())
    post = {
        "operationId": "recommend", "tags": ["serving"], "summary": "One page of recommendations",
        "requestBody": {"required": True, "content": {name: {"schema": request} for name in types}},
        "responses": {"200": {"description": "The page.", "content": {name: {"schema": answer} for name in types}},
                      **responses},
    }
    return {"paths": {ROUTE: {"post": post}}, "components": {"schemas": schemas}}
