"""The OpenAPI document of everything: the hot routes from their msgspec structs, the others from FastAPI."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from incumbent import __version__
from incumbent.events.schema import Incoming
from incumbent.loop.ingest import Receipt
from incumbent.service import exclusions, recommendations

EVENTS = "/v1/events"
TYPES = ("application/json", "application/msgpack")
ERROR: dict[str, Any] = {"type": "object", "required": ["error"], "properties": {"error": {
    "type": "object", "required": ["code", "what"], "properties": {
        name: {"type": ["string", "null"]} for name in ("code", "what", "got", "expected", "hint", "field")}}}}
PROBLEM = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
#: what the shim answers where keys hold, and what it answers on every hot route before its handler is asked
LOCKED = {status: {"description": text, "content": PROBLEM} for status, text in {
    "401": "No key, or an unknown one.", "403": "A key of another scope."}.items()}
FRONT = LOCKED | {status: {"description": text, "content": PROBLEM} for status, text in {
    "408": "The body stopped half-way.", "413": "Body too large.", "415": "Neither JSON nor MessagePack."}.items()}


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document of an application, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title="incumbent", version=__version__, openapi_version="3.1.0", routes=app.routes,
            summary="Serve champion and candidate interleaved, log, measure, judge.",
            description="Errors have one shape: `{\"error\": {code, what, got, expected, hint, field}}`.")
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        for part in (recommendations.openapi(), events(), exclusions.openapi()):
            made.setdefault("paths", {}).update(part["paths"])
            schemas.update(part["components"]["schemas"])
            for path in part["paths"].values():
                path["post"]["responses"] = {**FRONT, **path["post"]["responses"]}
        if "/metrics" in made["paths"]:
            made["paths"]["/metrics"]["get"]["responses"].update(LOCKED)
        schemas["Error"] = ERROR
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        _replace_validation_errors(made)
        made["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
        app.openapi_schema = made
    return app.openapi_schema


def events() -> dict[str, Any]:
    """The collector's part: a batch of events in, a receipt out."""
    (event, receipt), schemas = msgspec.json.schema_components(
        (Incoming, Receipt), ref_template="#/components/schemas/{name}")
    event_without_id = {"description": "An event. Where `event_id` is left out one is made and returned; a retry of "
                                       "such an event cannot be recognised.", **event}
    schemas["Events"] = {"type": "object", "required": ["events"], "additionalProperties": False, "properties": {
        "events": {"type": "array", "minItems": 1, "items": event_without_id}}}
    schemas["Error"] = ERROR
    responses = {status: {"description": text, "content": PROBLEM} for status, text in {
        "413": "Body or batch too large.",
        "422": "No event was accepted; `items` says why of each.",
        "503": "The log refuses; nothing was acknowledged: send the same again."}.items()}
    batch = {"anyOf": [{"$ref": "#/components/schemas/Events"}, {"type": "array", "items": event}]}
    post = {
        "operationId": "events", "tags": ["events"], "summary": "A batch of events, durable when answered",
        "requestBody": {"required": True, "content": {name: {"schema": batch} for name in TYPES}},
        "responses": {"200": {"description": "What became of the batch, in kind. Events that are not in `items` were "
                                             "accepted as sent.",
                              "content": {name: {"schema": receipt} for name in TYPES}}, **responses},
    }
    return {"paths": {EVENTS: {"post": post}}, "components": {"schemas": schemas}}


def _replace_validation_errors(made: dict[str, Any]) -> None:
    """FastAPI documents its own shape of 422; ours is the one that is answered."""
    for path in made["paths"].values():
        for operation in path.values():
            responses = operation.get("responses", {})
            if "422" in responses:
                responses["422"] = {"description": "Not usable; `field` says where.", "content": PROBLEM}
