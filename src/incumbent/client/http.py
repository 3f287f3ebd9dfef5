"""One kept-alive HTTP connection of the standard library, and our errors back from the wire."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec

from incumbent.errors import ConfigError, DataError, IncumbentError, UnavailableError, heard

MSGPACK = "application/msgpack"


class Http:
    """Requests to one service over one connection per thread, made anew where it broke.

    Raises what the service said as the error class of its code, `UnavailableError` where it did not answer or said 5xx.
    """

    def __init__(self, url: str, key: str | None, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("url is not one of a service", got=url, expected="http://HOST:PORT or https://HOST")
        self._make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._base = parts.hostname, parts.port, parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._local = threading.local()

    def get(self, path: str) -> bytes:
        """The body of a GET."""
        return self._call("GET", path, None, "application/json")[0]

    def post(self, path: str, body: bytes) -> bytes:
        """The body of the answer to a POST of JSON."""
        return self._call("POST", path, body, "application/json")[0]

    def send(self, path: str, body: bytes, headers: Mapping[str, str]) -> Any:
        """What a POST of MessagePack is answered with, read as what the answer says that it is.

        Events may be sent twice where a connection broke: their ids say so. `UnavailableError` also where the answer
        cannot be read: then nobody knows what became of them.
        """
        data, kind = self._call("POST", path, body, MSGPACK, headers)
        try:
            return msgspec.msgpack.decode(data) if kind == MSGPACK else msgspec.json.decode(data)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise UnavailableError("the answer cannot be read", got=data[:80], expected=MSGPACK,
                                   hint=f"{error}; does something else answer in the service's place?") from None

    def _call(self, method: str, path: str, body: bytes | None, content_type: str,
              headers: Mapping[str, str] | None = None) -> tuple[bytes, str]:
        """The body of an answer, and its content type."""
        for attempt in (1, 2):
            kept = getattr(self._local, "connection", None)
            connection = kept or self._make(self._host, self._port, timeout=self._timeout_s)
            try:
                connection.request(method, self._base + path, body,
                                   {**self._headers, "content-type": content_type, **(headers or {})})
                response = connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._local.connection = None
                if kept is not None and attempt == 1 and not isinstance(error, TimeoutError):
                    continue  # an idle connection that the service had closed
                raise UnavailableError("the service did not answer", got=f"{type(error).__name__}: {error}",
                                       hint="is it running?") from error
            self._local.connection = connection
            if response.status >= 400:
                raise _error(response.status, data)
            return data, response.headers.get_content_type()
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None


class RefusedBatch(DataError):
    """Every event of a batch was refused; `receipt` says why of each."""

    def __init__(self, what: str, receipt: dict[str, Any], **parts: Any) -> None:
        super().__init__(what, **parts)
        self.receipt = receipt


def _error(status: int, data: bytes) -> IncumbentError:
    try:
        body = msgspec.json.decode(data)
        kind: Callable[..., IncumbentError] | None = None
        if "items" in body:
            kind = partial(RefusedBatch, receipt=body)
        elif status >= 500 or status in (408, 429):
            kind = UnavailableError
        return heard(body["error"], status, kind)
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return UnavailableError(f"the service answered {status}", got=data[:80])
