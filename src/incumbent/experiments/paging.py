"""Paging: a signed cursor that lets any gateway continue a ranking from the same coins, without a session store."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from incumbent.errors import DataError
from incumbent.events.ids import Signer

KIND = "cursor"  # a request id is signed too, and is no cursor
_encoder = msgspec.msgpack.Encoder()


class Cursor(Struct, frozen=True, array_like=True):
    """Where a ranking stands after a page."""

    ranking_id: str
    surface: str
    plan: str  # hash of the plan that began the ranking
    unit: str  # digest of the user's id as logged: a cursor continues its own user's ranking only
    lane: str
    lists: str  # digest of the lists that were merged
    drafted: bool  # every page so far was one draft of them: only then can it go on
    page: int  # the last one given
    offset: int  # organic slots shown on all pages so far
    position: int  # absolute positions given so far, pinned ones included
    shown: list[str]  # every id shown so far


_decoder = msgspec.msgpack.Decoder(Cursor)


def write(cursor: Cursor, signer: Signer) -> str:
    """The cursor as text that only this secret can have signed.

    >>> signer = Signer(b"secret")
    >>> cursor = Cursor("r1", "home", "p", unit_digest("u42"), "interleave", "d", True, 1, 2, 2, ["a", "b"])
    >>> read(write(cursor, signer), signer) == cursor
    True
    """
    return signer.of(KIND).sign(base64.urlsafe_b64encode(_encoder.encode(cursor)).rstrip(b"=").decode())


def read(text: str, signer: Signer) -> Cursor:
    """The cursor back; `DataError` where it was not written with this secret or is of another time."""
    body = signer.of(KIND).verify(text)
    if body is None:
        raise DataError("cursor is not one of ours", got=text, field="cursor",
                        expected="the cursor of an earlier answer, as it came", hint="ask for page 1 without a cursor")
    try:
        cursor: Cursor = _decoder.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, msgspec.MsgspecError):
        raise DataError("cursor is of an older form", got=text, field="cursor",
                        hint="ask for page 1 without a cursor") from None
    return cursor


def lists_digest(lists: Iterable[Sequence[str]]) -> str:
    """16 hex digits over lists and their order: equal lists, equal digests.

    >>> lists_digest([["a"], ["b"]]) == lists_digest([["a", "b"], []])
    False
    """
    text = "\x1e".join([*["\x1f".join([*items, ""]) for items in lists], ""])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def unit_digest(unit: str) -> str:
    """8 hex digits over a user's id, enough to notice a cursor in the wrong hands."""
    return hashlib.blake2b(unit.encode(), digest_size=4).hexdigest()
