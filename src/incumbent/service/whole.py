"""A hot request that comes whole is answered on the stack that read it: no task, no queue of messages, one write."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextvars import copy_context
from typing import Any, Protocol, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from incumbent.eager import Rest, begin
from incumbent.errors import IncumbentError
from incumbent.service.asgi import Headers
from incumbent.service.plain import PlainHttp
from incumbent.service.reply import Reply


class Answers(Protocol):
    """What stands behind a connection beside the ASGI application: the shim."""

    @property
    def whole(self) -> Mapping[bytes, Whole]:
        """What answers a POST whose body is there, by path."""
        ...

    def refuse(self, error: IncumbentError) -> Reply:
        """The answer to what is no request."""
        ...


class Whole(Protocol):
    """Answers one request from its headers and its whole body; never raises."""

    def __call__(self, headers: Headers, body: bytes) -> Coroutine[Any, Any, Reply]: ...


class Asked:
    """A request that came whole, as uvicorn's protocol sees the one that is under way."""

    __slots__ = ("body", "disconnected", "headers", "keep_alive", "response_complete", "scope", "whole")
    message_event = asyncio.Event()  # nobody waits for more of it
    more_body = response_started = False

    def __init__(self, whole: Whole, scope: Any, headers: Headers, body: bytes, keep_alive: bool) -> None:
        self.whole, self.scope, self.headers, self.body, self.keep_alive = whole, scope, headers, body, keep_alive
        self.disconnected = self.response_complete = False


class WholeHttp(PlainHttp):
    """One connection. What is not a hot POST, asks first whether to send, comes in pieces or waits behind another
    request goes uvicorn's way, through the ASGI application."""

    answers: Answers

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._coming: Whole | None = None  # of a request whose headers are here
        self._pieces: list[bytes] = []
        self._asked: Asked | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._asked is not None:
            asked, self._asked = self._asked, None
            self._answer_to(asked)
        if self._coming is not None:
            self._coming = None
            super().head_complete()
            for piece in self._pieces:
                super().on_body(piece)
            self._pieces = []

    def head_complete(self) -> None:
        whole = self.answers.whole.get(self.url)
        if (whole is not None and self.parser.get_method() == b"POST" and not self.expect_100_continue
                and (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused
                and self.parser.get_http_version() == "1.1"):
            self._coming = whole
        else:
            super().head_complete()

    def on_body(self, body: bytes) -> None:
        if self._coming is None:
            super().on_body(body)
        else:
            self._pieces.append(body)

    def message_complete(self) -> None:
        if self._coming is None:
            super().message_complete()
            return
        self._asked = Asked(self._coming, self.scope, self.headers, b"".join(self._pieces),
                            self.parser.should_keep_alive())
        self.cycle = cast(Any, self._asked)  # whoever comes next on this connection waits for it
        self._coming, self._pieces = None, []

    def _answer_to(self, asked: Asked) -> None:
        context = copy_context()  # what a request sets in it is its own, as in a task
        begun = context.run(begin, asked.whole(asked.headers, asked.body))
        asked.headers, asked.body = [], b""  # an idle connection keeps none
        if isinstance(begun, Rest):
            task = self.loop.create_task(self._later(asked, begun), context=context)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            self._write(asked, begun)

    async def _later(self, asked: Asked, rest: Rest[Reply]) -> None:
        try:
            reply = await rest
        except BaseException:
            self.transport.close()  # as the loop does where it is raised at once
            raise
        self._write(asked, reply)

    def _write(self, asked: Asked, reply: Reply) -> None:
        if not asked.disconnected:
            head = [STATUS_LINE[reply.status], *(b"%s: %s\r\n" % pair for pair in self.server_state.default_headers),
                    b"content-type: %s\r\ncontent-length: %d\r\n" % (reply.content_type, len(reply.body)),
                    *(b"%s: %s\r\n" % pair for pair in reply.headers)]
            if not asked.keep_alive:
                head.append(b"connection: close\r\n")
            self.transport.write(b"".join([*head, b"\r\n", reply.body]))
        asked.response_complete = True
        if not asked.keep_alive:
            self.transport.close()
        self.on_response_complete()
