"""Events to bytes and back: JSON, MessagePack, JSON Schema. `upgrade` is the only place that knows old versions."""

from __future__ import annotations

import base64
import re
import struct
from typing import Any

import msgspec

from incumbent.errors import DataError, near
from incumbent.events.allowed import allowed, fields, word_in
from incumbent.events.schema import SCHEMA_VERSION, Event, Incoming

_NAMED = re.compile(r"(?:missing required|unknown) field `([^`]{1,64})`")
_to_msgpack = msgspec.msgpack.Encoder()
_to_json = msgspec.json.Encoder()
_from_msgpack = msgspec.msgpack.Decoder(Event)
_from_json = msgspec.json.Decoder(Event)
_incoming_json = msgspec.json.Decoder(Incoming)
_incoming_msgpack = msgspec.msgpack.Decoder(Incoming)


def encode(event: Event) -> bytes:
    """The event as MessagePack, the form in which the log keeps it."""
    return _to_msgpack.encode(event)


def encode_json(event: Event) -> bytes:
    """The event as JSON."""
    return _to_json.encode(event)


def decode(data: bytes) -> Event:
    """The event in MessagePack `data`, upgraded to the current schema; `DataError` where it is none."""
    event: Event = _decode(data, _from_msgpack, msgspec.msgpack.decode)
    return event


def decode_json(data: bytes | str) -> Event:
    """The event in JSON `data`, upgraded to the current schema; `DataError` where it is none."""
    event: Event = _decode(data, _from_json, msgspec.json.decode)
    return event


def decode_incoming(data: Any, *, msgpack: bool = False) -> Incoming:
    """An event of the kinds that come from outside (feedback, embedding, item, measurement), from one raw message."""
    decoder, plain = (_incoming_msgpack, msgspec.msgpack.decode) if msgpack else (_incoming_json, msgspec.json.decode)
    event: Incoming = _decode(data, decoder, plain)
    return event


def _decode(data: Any, decoder: Any, plain: Any) -> Any:
    try:
        event = decoder.decode(data)
    except msgspec.ValidationError as error:
        raw = _plain(data, plain)
        if isinstance(raw, dict) and raw.get("schema", SCHEMA_VERSION) != SCHEMA_VERSION:
            return _upgraded(raw, decoder.type)
        raise _explain(error, raw) from None
    except msgspec.DecodeError as error:
        raise DataError("event does not parse", got=str(error), expected="JSON or MessagePack") from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise DataError("event does not parse", got=str(error)) from None
    return event if event.schema == SCHEMA_VERSION else _upgraded(msgspec.to_builtins(event), decoder.type)


def _upgraded(raw: dict[str, Any], kind: Any) -> Any:
    try:
        return msgspec.convert(upgrade(raw), kind)
    except msgspec.ValidationError as error:
        raise _explain(error, raw) from None


def _plain(data: Any, plain: Any) -> Any:
    try:
        return plain(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _explain(error: msgspec.ValidationError, raw: Any) -> DataError:
    """A msgspec message taken apart: the field is the path behind `` - at `$.``, and what lacks or is unknown there; a
    word that none may be is what was got."""
    what, at, path = str(error).rpartition(" - at `$")  # the last one: a refused word may hold any text
    what, path = (what, path) if at else (path, "")
    named = _NAMED.search(what)
    parts = [path.rstrip("`").lstrip("."), named[1] if named else ""]
    field = ".".join(part for part in parts if part) or None
    what, word = word_in(what)
    tag = raw.get("type") if isinstance(raw, dict) else None
    if word is None:
        known = fields(tag) if named and not path and "unknown" in what else ()
        return DataError(what, field=field, hint=near(named[1], known) if named else None)
    words = allowed(tag, field) if field else ()
    return DataError(what, got=word, field=field, hint=near(word[1:-1], words),
                     expected="one of " + ", ".join(words) if words else None)


def upgrade(raw: dict[str, Any]) -> dict[str, Any]:
    """An event of an older schema version as one of the current version; `DataError` for versions never issued.

    >>> upgrade({"type": "item", "schema": 99})
    Traceback (most recent call last):
    ...
    incumbent.errors.DataError: unknown schema version. Got 99. Expected 1.
    """
    version = raw.get("schema", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise DataError("unknown schema version", got=version, expected=str(SCHEMA_VERSION), field="schema")
    return raw


def vector_of(vector: list[float] | str) -> list[float]:
    """An embedding's vector as floats, from a list or from base64 of little-endian float32.

    >>> vector_of("AACAPwAAAEA=")
    [1.0, 2.0]
    """
    if not isinstance(vector, str):
        return vector
    try:
        raw = base64.b64decode(vector, validate=True)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    except (ValueError, struct.error) as error:
        raise DataError("vector is neither a list nor base64 float32", got=vector, field="vector") from error


def json_schema() -> dict[str, Any]:
    """The JSON Schema of every event, by tag, as users validate against it."""
    return msgspec.json.schema(Event)
