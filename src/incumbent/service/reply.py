"""What a hot handler answers: the ASGI shim around it does auth, limits, ids and metrics."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from msgspec import Struct

from incumbent.errors import IncumbentError

JSON = b"application/json"
MSGPACK = b"application/msgpack"


class Reply(Struct, frozen=True):
    """Status, body and content type of one answer."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Handler(Protocol):
    """A hot route: a whole body in (its size already capped, its key already checked), a whole answer out."""

    async def handle(self, body: bytes, content_type: str) -> Reply: ...


def reply_error(error: IncumbentError) -> Reply:
    """The one documented shape of an error, with the error's own status."""
    return Reply(error.status, msgspec.json.encode(error.to_dict()))


def reply_json(value: Any, status: int = 200) -> Reply:
    """Any msgspec-encodable value as JSON."""
    return Reply(status, msgspec.json.encode(value))
