"""The front of every listener: raw ASGI for the hot routes, everything else to the application behind it.

On a hot route nothing stands between uvicorn and the handler but this file: whose page asks, the key, the content
type, the body in pieces under its cap and its time limit, the request id, the metrics, and the one shape of errors.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import msgspec
from msgspec import Struct

from incumbent.clock import Clock
from incumbent.eager import Rest, begin
from incumbent.errors import DataError, IncumbentError, TooLargeError
from incumbent.events.ids import BATCH_HEADER
from incumbent.logs import get
from incumbent.service.asgi import App, Headers, Message, Receive, Send
from incumbent.service.auth import Keys, Scope
from incumbent.service.body import BodyTimeoutError, Timely, waste
from incumbent.service.metrics import Meter
from incumbent.service.origin import SAFE, Sites
from incumbent.service.reply import JSON, MSGPACK, Handler, Reply, reply_error

#: content types of a body -> how handlers are told
TYPES = {b"application/json": "application/json", b"text/json": "application/json", b"": "application/json",
         b"application/msgpack": "application/msgpack", b"application/x-msgpack": "application/msgpack",
         b"application/vnd.msgpack": "application/msgpack"}
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
_SIGNATURE = BATCH_HEADER.encode()
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:\-]{1,128}").fullmatch


class BodyTypeError(DataError):
    """The body's content type or coding is not one that we read."""

    code, status = "content_type", 415


class _EndedError(TooLargeError):
    """A body that is too large and has come whole: no more of it is on its way."""


class Route(Struct, frozen=True):
    """A hot route: its handler, the scope that its key needs, its name in metrics, and what takes a body that came with
    a signature (`BATCH_HEADER`); without it the header means nothing."""

    handler: Handler
    scope: Scope
    name: str
    signed: Callable[[bytes, str, bytes], Awaitable[Reply]] | None = None


class Shim:
    """The ASGI application that a server runs; `fallback` answers every path that is not a hot POST."""

    def __init__(
        self, routes: Mapping[str, Route], fallback: App, *, keys: Keys, meter: Meter, clock: Clock,
        sites: Sites | None = None, body_bytes: int, body_timeout_s: float = 10.0, worker: str = "0",
        behind: str = "other",
    ) -> None:
        self._routes = dict(routes)
        #: what answers a hot request whose body is there, by path
        self.whole = {path.encode(): partial(self._whole, route) for path, route in routes.items()}
        self._fallback, self._keys, self._meter, self._sites = fallback, keys, meter, sites
        self._monotonic = clock.monotonic
        self._body_bytes, self._body_timeout_s = body_bytes, body_timeout_s
        self._prefix, self._count = f"{worker}-".encode(), 0
        self._behind = behind  # what everything but hot routes is called in metrics
        self._log = get("incumbent.service")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        route = self._routes.get(scope["path"])
        if route is not None and scope["method"] == "POST":
            await self._hot(route, scope, receive, send)
        else:
            await self._cold(scope, receive, send)

    def refuse(self, error: IncumbentError) -> Reply:
        """The answer to what is no request at all, counted as ``malformed``."""
        reply = reply_error(error)
        self._count_answer("malformed", reply, self._monotonic())
        return msgspec.structs.replace(reply, headers=((b"x-request-id", self._request_id(None)),))

    def endpoint(self, path: str) -> App:
        """One hot route as an application of its own, for whoever comes to it another way."""
        return partial(self._hot, self._routes[path])

    async def _hot(self, route: Route, scope: Message, receive: Receive, send: Send) -> None:
        started = self._monotonic()
        header = dict(scope["headers"]).get
        request_id = self._request_id(header(b"x-request-id"))
        complete = False
        try:
            kind = self._admit(route, scope["headers"], header)
            body = await self._body(receive)
            if body is None:
                self._meter.add("incumbent_http_aborted", (route.name,))
                return
            complete = True
            reply = await _ask(route, header, body, kind)
        except Exception as error:
            reply = self._failed(error, request_id, route.name)
            if not complete and not isinstance(error, (BodyTimeoutError, _EndedError)):
                stranger = reply.status in (401, 403)
                if not await waste(scope, receive, most=(1 if stranger else 64) * self._body_bytes,
                                   limit_s=self._body_timeout_s):
                    self._meter.add("incumbent_http_aborted", (route.name,))
                    return
        headers: Headers = [(b"content-type", reply.content_type), (b"content-length", b"%d" % len(reply.body)),
                            (b"x-request-id", request_id), *reply.headers]
        if not complete:
            headers.append((b"connection", b"close"))  # part of the body may still be on its way
        self._count_answer(route.name, reply, started)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _whole(self, route: Route, headers: Headers, body: bytes) -> Reply:
        """As `_hot`, of a request whose body has come."""
        started = self._monotonic()
        header = dict(headers).get
        request_id = self._request_id(header(b"x-request-id"))
        try:
            kind = self._admit(route, headers, header)
            if len(body) > self._body_bytes:
                raise self._too_large(f"{len(body)} bytes")
            reply = await _ask(route, header, body, kind)
        except GeneratorExit:
            raise
        except BaseException as error:  # whoever waits must hear of it, and who waits behind
            reply = self._failed(error, request_id, route.name)
        self._count_answer(route.name, reply, started)
        return Reply(reply.status, reply.body, reply.content_type, ((b"x-request-id", request_id), *reply.headers))

    def _admit(self, route: Route, headers: Headers, header: Callable[[bytes], bytes | None]) -> str:
        """Whose page asks, the key, and what is said of the body: its content type; raises what is refused."""
        if self._sites is not None and (refused := self._sites.judge(header(b"host"), header(b"origin"))) is not None:
            raise refused
        self._keys.check(headers, route.scope)
        content_type, coding = header(b"content-type") or b"", header(b"content-encoding")
        kind = TYPES.get(content_type) or _content_type(content_type)
        if coding and coding != b"identity":
            raise BodyTypeError("content coding is not read here", got=coding.decode("latin-1"),
                                expected="none", hint="send the body uncompressed")
        length = header(b"content-length") or b""
        if len(length) > 18 or (length.isdigit() and int(length) > self._body_bytes):
            raise self._too_large(f"{length[:20].decode('latin-1')} bytes")
        return kind

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body; None where the sender went away."""
        first = begin(receive())
        if not isinstance(first, Rest) and not first.get("more_body"):  # it came with the headers: nothing to time
            return self._piece(first, 0)
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_timeout_s):
                message = await first if isinstance(first, Rest) else first
                while (piece := self._piece(message, size)) is not None:
                    pieces.append(piece)
                    size += len(piece)
                    if not message.get("more_body"):
                        return b"".join(pieces)
                    message = await receive()
                return None
        except TimeoutError:
            raise BodyTimeoutError("the body stopped half-way", got=f"{size} bytes",
                                   expected=f"the rest within {self._body_timeout_s:g} s") from None

    def _piece(self, message: Message, before: int) -> bytes | None:
        """The part of a body in a message, `before` bytes of which came already; None where the sender went away."""
        if message["type"] == "http.disconnect":
            return None
        piece: bytes = message.get("body", b"")
        if before + len(piece) > self._body_bytes:
            found = TooLargeError if message.get("more_body") else _EndedError
            raise self._too_large(f"more than {self._body_bytes} bytes", found)
        return piece

    async def _cold(self, scope: Message, receive: Receive, send: Send) -> None:
        started, begun, status = self._monotonic(), False, 500
        asked_id = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        request_id = self._request_id(asked_id)
        timely = Timely(receive, self._body_timeout_s)

        async def noted(message: Message) -> None:
            nonlocal begun, status
            if message["type"] == "http.response.start":
                begun, status, timely.done = True, message["status"], True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        async def in_time(message: Message) -> None:
            if timely.late is not None and not begun:
                raise timely.late
            await noted(message)

        try:
            if self._sites is not None and (refused := self._sites.allowed(
                    scope["headers"], changes=scope["method"] not in SAFE)) is not None:
                raise refused
            if scope["path"] not in OPEN_PATHS:
                self._keys.check(scope["headers"], _scope_of(scope["path"], scope["method"]))
            await self._fallback(scope, timely, in_time)
        except Exception as error:
            reply = self._failed(timely.late or error, request_id, self._behind)
            if begun:
                raise  # half an answer is out: the server must cut the connection
            more = [(b"www-authenticate", b'Basic realm="incumbent"')] if reply.status == 401 else []
            if timely.late is not None:
                more.append((b"connection", b"close"))  # the rest of the body may still be on its way
            await noted({"type": "http.response.start", "status": reply.status, "headers": [
                (b"content-type", reply.content_type), (b"content-length", b"%d" % len(reply.body)), *more]})
            await send({"type": "http.response.body", "body": reply.body})
        self._meter.add("incumbent_http_requests", (self._behind, str(status)))
        self._meter.observe("incumbent_http_seconds", self._monotonic() - started, (self._behind,))

    def _request_id(self, asked: bytes | None) -> bytes:
        if asked is not None and _REQUEST_ID(asked):
            return asked
        self._count += 1
        return self._prefix + b"%x" % self._count

    def _failed(self, error: BaseException, request_id: bytes, route: str) -> Reply:
        if isinstance(error, IncumbentError):
            return reply_error(error)
        self._log.error("unexpected error", route=route, request_id=request_id.decode(), exc_info=error)
        return reply_error(IncumbentError(
            "unexpected error", hint=f"the log has it under request_id {request_id.decode()}"))

    def _too_large(self, got: str, found: type[TooLargeError] = TooLargeError) -> TooLargeError:
        return found("body is too large", got=got, expected=f"at most {self._body_bytes} bytes",
                     hint="send smaller batches, or raise limits.body_bytes")

    def _count_answer(self, route: str, reply: Reply, started: float) -> None:
        meter = self._meter
        meter.add("incumbent_http_requests", (route, str(reply.status)))
        meter.observe("incumbent_http_seconds", self._monotonic() - started, (route,))
        if reply.status >= 400:
            meter.add("incumbent_errors", (route, _code(reply.body)))


async def _ask(route: Route, header: Callable[[bytes], bytes | None], body: bytes, kind: str) -> Reply:
    signature = header(_SIGNATURE) if route.signed is not None else None
    if signature is None or route.signed is None:
        return await route.handler.handle(body, kind)
    return await route.signed(body, kind, signature)


def _scope_of(path: str, method: str) -> Scope:
    """What a key must open for a route that is not hot: the plan is read by whoever drafts by it, messages of shoppers
    by nobody who may not send them back."""
    if path == "/v1/quarantine" or path.startswith("/v1/quarantine/"):
        return "operate"
    if method in ("GET", "HEAD"):
        return "plan" if path == "/v1/plan" else "read"
    return "operate"


def _content_type(value: bytes) -> str:
    kind = TYPES.get(value.partition(b";")[0].strip().lower())
    if kind is None:
        raise BodyTypeError("content type is not read here", got=value.decode("latin-1"), field="content-type",
                            expected=f"{JSON.decode()} or {MSGPACK.decode()}",
                            hint="curl needs -H 'content-type: application/json'")
    return kind


def _code(body: bytes) -> str:
    """The code inside an error body, as its label in metrics."""
    try:
        return str(msgspec.json.decode(body)["error"]["code"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return "unknown"
