"""The replayer's HTTP client: keeps at it until the service has answered, and never sends anything twice as new."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from incumbent.errors import DataError, UnavailableError

JSON, MSGPACK = "application/json", "application/msgpack"
#: waits between tries, in seconds: about a minute in all, which a restart of any part of the service fits into
WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 5.0, 10.0, 20.0, 20.0)
TIMEOUT_S = 60.0


class Wire:
    """A session with one service. Use as an async context manager.

    A request is tried again, byte for byte, where the connection fails, the answer does not come, or the service says
    5xx: the ids inside it make that harmless. What is refused with 4xx raises `DataError`; a service that stays away
    raises `UnavailableError`.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self.retries = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=64), timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self._session.close()

    async def post(self, path: str, body: Any, *, packed: bool = True) -> Any:
        """The answer to a POST."""
        content = msgspec.msgpack.encode(body) if packed else msgspec.json.encode(body)
        return await self._try("POST", path, content, MSGPACK if packed else JSON)

    async def get(self, path: str) -> Any:
        """The answer to a GET."""
        return await self._try("GET", path, None, JSON)

    async def answers(self, path: str) -> bool:
        """Whether a GET is answered with 2xx right now."""
        try:
            return (await self._once("GET", path, None, JSON))[0] < 300
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def _try(self, method: str, path: str, content: bytes | None, kind: str) -> Any:
        trouble = ""
        for wait_s in (*WAITS_S, None):
            try:
                status, answer, found = await self._once(method, path, content, kind)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                trouble = f"{type(error).__name__}: {error}"
            else:
                if status < 300:
                    return _decode(answer, found)
                trouble = f"{status} {answer[:300].decode('utf-8', 'replace')}"
                if status < 500:
                    raise DataError(f"the service refused {method} {path}", got=trouble, hint=_told(answer))
            if wait_s is not None:
                self.retries += 1
                await asyncio.sleep(wait_s)
        raise UnavailableError(f"no answer to {method} {path}", got=trouble, expected="2xx within a minute")

    async def _once(self, method: str, path: str, content: bytes | None, kind: str) -> tuple[int, bytes, str]:
        headers = {"content-type": kind} if content is not None else None
        async with self._session.request(method, self.base_url + path, data=content, headers=headers) as answer:
            return answer.status, await answer.read(), answer.content_type


def _told(answer: bytes) -> str | None:
    """The service's own sentence, whole.

    >>> _told(b'{"error": {"what": "no such surface", "got": "x", "hint": null}}')
    'no such surface: x'
    """
    try:
        error = msgspec.json.decode(answer)["error"]
        return ": ".join(str(error[part]) for part in ("what", "got", "hint") if error.get(part))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return None


def _decode(answer: bytes, kind: str) -> Any:
    if not answer:
        return None
    return msgspec.msgpack.decode(answer) if kind == MSGPACK else msgspec.json.decode(answer)
