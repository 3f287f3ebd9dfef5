"""The way from a front to the page process behind it: every path that is not hot, streamed, on a unix socket."""

from __future__ import annotations

import aiohttp
from yarl import URL

from incumbent.errors import TooLargeError, UnavailableError
from incumbent.service.asgi import Message, Receive, Send

_HOP = frozenset({b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
                  b"transfer-encoding", b"upgrade", b"content-length", b"x-request-id", b"expect"})
_BACK = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"x-request-id", b"date", b"server"})


class Proxy:
    """An ASGI application that hands a request on; `UnavailableError` while nobody answers on the socket."""

    def __init__(self, socket_path: str, *, body_bytes: int, timeout_s: float = 60.0) -> None:
        self._path, self._body_bytes, self._timeout_s = socket_path, body_bytes, timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(self._path, limit=32), auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=5.0, sock_read=self._timeout_s))
        body = await self._body(receive)
        if body is None:
            return
        target = scope.get("raw_path") or scope["path"].encode()
        query = scope.get("query_string", b"")
        url = "http://page" + target.decode("latin-1") + (f"?{query.decode('latin-1')}" if query else "")
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
                   if name not in _HOP]
        begun = False
        try:
            async with self._session.request(
                    scope["method"], URL(url, encoded=True), headers=headers, data=body or None,
                    allow_redirects=False) as answer:
                await send({"type": "http.response.start", "status": answer.status, "headers": [
                    (name.lower(), value) for name, value in answer.raw_headers if name.lower() not in _BACK]})
                begun = True
                async for piece in answer.content.iter_any():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            if begun:
                raise
            if isinstance(error, aiohttp.SocketTimeoutError):
                raise UnavailableError("the page has not answered yet", got=f"no answer in {self._timeout_s:g} s",
                                       hint="what was asked for goes on; ask how it stands instead of asking again"
                                       ) from None
            raise UnavailableError("the page does not answer", got=type(error).__name__,
                                   hint="it is starting or being restarted; try again in a second") from None

    async def _body(self, receive: Receive) -> bytes | None:
        pieces, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > self._body_bytes:
                raise TooLargeError("body is too large", got=f"more than {self._body_bytes} bytes",
                                    expected=f"at most {self._body_bytes} bytes")
            if not message.get("more_body"):
                return b"".join(pieces)

    async def close(self) -> None:
        """Give the connections back."""
        if self._session is not None:
            await self._session.close()
