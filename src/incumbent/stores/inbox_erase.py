"""Whose record is it: what erasure needs to know of a record without decoding the whole event."""

from __future__ import annotations

import msgspec

from incumbent.stores.store import Record


class _Owner(msgspec.Struct):
    """The fields that name a user, of any event; the rest of it is skipped."""

    user_id: str | None = None
    entity: str | None = None
    entity_id: str | None = None
    raw: bytes | None = None


_decode = msgspec.msgpack.Decoder(_Owner).decode


def owned_by(record: Record, users: frozenset[str]) -> bool:
    """Whether a record belongs to one of `users` (ids as logged).

    A quarantined message whose user could not be read belongs to whoever's id stands in it as a JSON string.

    >>> data = msgspec.msgpack.encode({"type": "feedback", "user_id": "u1"})
    >>> owned_by(Record("e", "feedback", data), frozenset({"u1"}))
    True
    """
    try:
        owner = _decode(record.data)
    except msgspec.MsgspecError:
        return False
    if owner.user_id is not None:
        return owner.user_id in users
    if record.table == "embedding":
        return owner.entity == "user" and owner.entity_id in users
    if record.table == "quarantine" and owner.raw is not None:
        return any(msgspec.json.encode(user) in owner.raw for user in users)
    return False
