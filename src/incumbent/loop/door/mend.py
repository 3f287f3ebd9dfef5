"""mend: a refused message, mended, through the checks of the door once more. Pure but for the ids that it compares."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from incumbent.config import LimitsConfig
from incumbent.errors import ConfigError, DataError
from incumbent.events import codec
from incumbent.events.ids import Signer, id_time
from incumbent.events.patch import patcher
from incumbent.events.schema import Conclusion, Embedding, Feedback, Impression, Incoming, Item, Measurement
from incumbent.loop.screen import Screen
from incumbent.stores.store import Quarantined, Table

#: what mends a message: its top level as a dict (bytes, where it does not parse), to a dict, or None to leave it
Fix = Callable[[Any], Any]
_TABLES: dict[type, Table] = {Feedback: "feedback", Embedding: "embedding", Item: "item", Impression: "impression",
                              Measurement: "measurement"}
#: whose and which a message is, which no fix of an acknowledged one changes
_STAYS = ("type", "event_id", "user_id", "entity", "entity_id")


class Mended(Struct, frozen=True):
    """An event that passes, as the log keeps it."""

    event: Any
    table: Table
    data: bytes


class Door:
    """The checks that a message from outside passes, as of the limits of today; `user_secret` where users are hashed.

    How old an event may be is counted from its first arrival: waiting in quarantine makes nothing too old.
    """

    def __init__(self, limits: LimitsConfig, signer: Signer, *, user_secret: bytes | None = None) -> None:
        self._secret = user_secret
        self._plain = Screen(limits, signer)
        self._hashing = Screen(limits, signer, user_secret=user_secret)
        self._limit = limits.event_bytes

    def mend(self, row: Quarantined, fix: Fix | None, now: Any) -> Mended:
        """The event, or the `DataError` that says why it still is none."""
        if not row.raw:
            raise DataError("the message itself was not kept", hint="users are hashed here, and it named one somewhere")
        message = message_of(row.raw)
        mended = message if fix is None else _fixed(fix, message)
        if not isinstance(mended, dict):
            raise DataError("the message does not parse", got=mended, expected="an object",
                            hint="a fix of yours may take its bytes and return one")
        if row.source == "sealer" and isinstance(message, dict):
            return self._sealed(mended, row)
        if not _is_uuid7(mended.get("event_id")):
            mended = {**mended, "event_id": id_after(row.event_id)}
        data = _packed(mended)
        if len(data) > self._limit:
            raise DataError("event is too large", got=f"{len(data)} bytes", expected=f"at most {self._limit} bytes")
        drafted = row.signed and _type_of(row.raw) == "impression"
        return self._kept(self._screened(codec.decode_incoming(data, msgpack=True), row, now, drafted))

    def _screened(self, event: Incoming, row: Quarantined, now: Any, drafted: bool) -> Incoming:
        """A user that stands in quarantine hashed already is not hashed again; an impression is believed where it came
        as one, in a signed batch."""
        hashed = isinstance(event, Feedback) and row.user_id is not None and event.user_id == row.user_id
        screen = self._plain if hashed else self._hashing
        screen.at(now, row.time, signed=drafted)
        event = screen(event)
        if not isinstance(event, Impression):
            msgspec.structs.force_setattr(event, "received", row.time)
        return event

    def _sealed(self, mended: dict[str, Any], row: Quarantined) -> Mended:
        """What the door had let pass and the sealer could not read needs no screen, while it stays what it was.

        One that does not parse says nothing of itself: it passes the screen like anybody's.
        """
        message = message_of(row.raw)  # once more: a fix may have changed the one that it was given
        for field in _STAYS:
            if mended.get(field) != message.get(field):
                raise DataError("a message that was acknowledged stays what it was", got=mended.get(field),
                                expected=repr(message.get(field)), field=field)
        event = codec.decode(_packed(mended))
        if isinstance(event, Conclusion):
            raise DataError("conclusions come from incumbent alone", got=mended["type"], field="type",
                            expected=", ".join(sorted(_TABLES.values())))
        return self._kept(event)

    def _kept(self, event: Any) -> Mended:
        return Mended(event, _TABLES[type(event)], codec.encode(event))


def id_after(event_id: str) -> str:
    """The id under which a message without one comes back: of the same millisecond, and the same at every try.

    The low 62 bits are those of BLAKE2b-64 of the id in quarantine, which the log has seen as quarantine's own.

    >>> id_after("019cd79e-4600-7004-8e07-b19140b6a41a")
    '019cd79e-4600-7004-94ad-7958cd9069b9'
    """
    low = int.from_bytes(hashlib.blake2b(event_id.encode(), digest_size=8).digest(), "big") & 0x3FFFFFFFFFFFFFFF
    return f"{event_id[:18]}-{0x8000 | low >> 48:04x}-{low & 0xFFFFFFFFFFFF:012x}"


def _packed(message: dict[str, Any]) -> bytes:
    try:
        return msgspec.msgpack.encode(message)
    except (OverflowError, ValueError, TypeError) as error:
        raise DataError("a value does not fit", got=str(error), expected="what JSON has, integers of 64 bits") from None


def message_of(raw: bytes) -> Any:
    """A refused message's top level, from JSON or MessagePack; its bytes where it is neither.

    >>> message_of(b'{"a": 1}'), message_of(b"{")
    ({'a': 1}, b'{')
    """
    for decode in (msgspec.json.decode, msgspec.msgpack.decode):
        try:
            tree = decode(raw)
        except (msgspec.DecodeError, ValueError, RecursionError):
            continue
        if isinstance(tree, dict):
            return tree
    return raw


def fix_of(text: str | Sequence[Any], search: Path | None = None) -> Fix:
    """A fix by what names it: a JSON Patch (a list, or the text of one), or ``module:function``.

    `search` is a directory to import from. `DataError` or `ConfigError` for what is neither.

    >>> fix_of('[{"op": "add", "path": "/currency", "value": "EUR"}]')({"value_minor": 5})
    {'value_minor': 5, 'currency': 'EUR'}
    """
    if not isinstance(text, str):
        return patcher(text)
    if text.lstrip().startswith("["):
        try:
            return patcher(msgspec.json.decode(text))
        except msgspec.DecodeError as error:
            raise DataError("a JSON Patch does not parse", got=text, hint=str(error)) from None
    module, colon, name = text.partition(":")
    if search is not None and str(search) not in sys.path:
        sys.path.insert(0, str(search))
    try:
        found: Any = getattr(importlib.import_module(module), name) if colon else None
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError("the fix cannot be loaded", got=text, expected="module:function", hint=str(error)) from None
    if not callable(found):
        raise ConfigError("the fix is not callable", got=text, expected="module:function, or a JSON Patch")
    fix: Fix = found
    return fix


def _fixed(fix: Fix, message: Any) -> Any:
    try:
        mended = fix(message)
    except DataError:
        raise
    except Exception as error:  # the user's own code: its failure is one message's, not the replay's
        raise DataError("the fix failed", got=f"{type(error).__name__}: {error}") from None
    if mended is None:
        raise DataError("the fix left it where it is")
    return mended


def _type_of(raw: bytes) -> Any:
    """Of a message as it came: a fix may have changed the dict that it was given."""
    message = message_of(raw)
    return message.get("type") if isinstance(message, dict) else None


def _is_uuid7(text: Any) -> bool:
    try:
        id_time(text)
    except (ValueError, TypeError, AttributeError):
        return False
    return len(text) == 36
