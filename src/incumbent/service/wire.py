"""HTTP as uvicorn speaks it, with refusals of our own: no request, and yet an answer in the one shape of errors."""

from __future__ import annotations

from asyncio import BaseTransport, TimerHandle
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from incumbent.errors import DataError, IncumbentError, TooLargeError
from incumbent.service.asgi import App, Message, Receive, Send
from incumbent.service.body import BodyTimeoutError
from incumbent.service.reply import Reply
from incumbent.service.whole import Answers, WholeHttp

URL_BYTES = 65_535  # the parser's own limit
HEAD_BYTES = 65_536  # of request line and headers, where they come in pieces
HEAD_S = 10.0  # for all of them to come
LINGER_S = 1.0  # that what is still sent after a refusal is read, and thrown away


class MalformedError(DataError):
    """Bytes that are no HTTP request."""

    code, status = "malformed", 400


class UrlTooLongError(TooLargeError):
    """A URL over the limit."""

    status = 414


class HeadTooLargeError(TooLargeError):
    """Request line and headers over the limit."""

    status = 431


class Http(WholeHttp):
    """One connection; its `answers` count a refusal and make its answer."""

    url = b""  # until the first message begins

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._head, self._late, self._refused = 0, cast(TimerHandle | None, None), False

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._keep_alive()

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        head = self.scope if self._within_head() else None
        super().data_received(data)
        if self._refused:
            return
        if not self._within_head():
            self._in_time()
            if self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete):
                self._keep_alive()  # these bytes began nothing, and uvicorn disarms it at any
            return
        if self.scope is head:
            self._head += len(data)
        else:
            self._in_time()  # another head, which has its own time and size
        if len(self.url) > URL_BYTES or self._head > HEAD_BYTES:
            self._answer(self._too_much())
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_S, self._out_of_time)

    def send_400_response(self, msg: str) -> None:
        if len(self.url) > URL_BYTES:
            self._answer(self._too_much())
        else:
            self._answer(MalformedError("this is no HTTP request", expected="HTTP/1.1, as RFC 9112 has it",
                                        hint="is something else meant for this port, or a header written by hand?"))

    def _within_head(self) -> bool:
        """Has a request begun whose headers are not complete?"""
        return not self._refused and self.scope is not None and (
            self.cycle is None or self.cycle.scope is not self.scope)

    def _keep_alive(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _in_time(self) -> None:
        self._head = 0
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _out_of_time(self) -> None:
        self._answer(BodyTimeoutError("the request's headers stopped half-way",
                                      expected=f"the rest within {HEAD_S:g} s"))

    def _too_much(self) -> IncumbentError:
        if len(self.url) > URL_BYTES:
            return UrlTooLongError("URL is too long", got=f"{len(self.url)} bytes or more", field="url",
                                   expected=f"at most {URL_BYTES} bytes", hint="send what is long in the body")
        return HeadTooLargeError("headers are too large", got=f"{self._head} bytes or more",
                                 expected=f"at most {HEAD_BYTES} bytes")

    def _answer(self, error: IncumbentError) -> None:
        """Refuse and close; what was asked before on this connection is answered first."""
        self._refused, self._coming = True, None
        self._in_time()
        reply, cycle = self.answers.refuse(error), self.cycle
        headers = [(b"content-type", reply.content_type), (b"content-length", b"%d" % len(reply.body)),
                   (b"connection", b"close"), *reply.headers]
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or not cycle.more_body:
                cycle.keep_alive = False
                return
            if self.pipeline:  # others are answered before it, and then this in place of what it asked
                self.pipeline[0] = cycle, cast(Any, _saying(reply, headers))
                return
            cycle.disconnected = True  # whoever handles it has nobody to answer
            cycle.message_event.set()
        self.transport.write(b"".join([STATUS_LINE[reply.status], *(b"%s: %s\r\n" % pair for pair in headers), b"\r\n",
                                       reply.body]))
        if self.transport.can_write_eof():
            self.transport.write_eof()  # who is still sending would lose the answer to a reset
        self._late = self.loop.call_later(LINGER_S, self.transport.close)


def _saying(reply: Reply, headers: list[tuple[bytes, bytes]]) -> App:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    return app


def speaking(answers: Answers) -> type[Http]:
    """The protocol of a server with these answers to what comes whole, and to what is no request."""
    return type("Http", (Http,), {"answers": answers})
