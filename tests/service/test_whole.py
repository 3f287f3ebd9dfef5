"""Hot requests that come whole: answered where they were read, as uvicorn would have, and in the same order."""

from __future__ import annotations

import asyncio
import re
from contextvars import ContextVar
from functools import partial
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from incumbent.clock import SystemClock
from incumbent.service import wire
from incumbent.service.auth import Keys
from incumbent.service.metrics import Meter
from incumbent.service.reply import reply_json
from incumbent.service.run import run
from incumbent.service.shim import Route, Shim


def post(body=b"{}", *more, path=b"/v1/events", version=b"1.1"):
    head = [b"POST %s HTTP/%s" % (path, version), b"host: x", b"x-request-id: %d" % len(body),
            b"content-length: %d" % len(body), *more]
    return b"\r\n".join([*head, b"", body])


OFFER = (b"upgrade: h2c", b"connection: Upgrade, HTTP2-Settings", b"http2-settings: AAEAAEAAAAIAAAABAAMAAABk")


class Transport(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self):
        super().__init__()
        self.written, self.closed, self.paused = [], False, False

    def write(self, data):
        assert not self.closed
        self.written.append(bytes(data))

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False


class Site:
    """One connection to a shim whose handler answers when `let` is set; `asgi` counts who came uvicorn's way."""

    def __init__(self):
        self.let, self.asgi, self.begun = asyncio.Event(), 0, []
        meter, clock = Meter(None, "gateway", SystemClock()), SystemClock()
        self.shim = Shim({"/v1/events": Route(self, "events", "events")}, self.behind, keys=Keys({}), meter=meter,
                         clock=clock, body_bytes=500)
        config = uvicorn.Config(self.app, ws="none", lifespan="off", log_config=None, interface="asgi3")
        config.load()
        self.state = ServerState()
        self.state.default_headers = [(b"date", b"today")]
        self.line = wire.speaking(self.shim)(config, self.state, {})
        self.line.connection_made(Transport())
        self.meter = meter

    async def app(self, scope, receive, send):
        self.asgi += 1
        await self.shim(scope, receive, send)

    async def handle(self, body, content_type):
        self.begun.append(len(body))
        if b"wait" in body:
            await self.let.wait()
        if b"boom" in body:
            raise RuntimeError("boom")
        return reply_json({"length": len(body), "type": content_type})

    async def behind(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})

    @property
    def out(self):
        return b"".join(self.line.transport.written)

    @property
    def statuses(self):
        return [int(found) for found in re.findall(rb"HTTP/1.1 (\d+)", self.out)]

    async def rest(self):
        """Until nothing is under way."""
        async with asyncio.timeout(5):
            while self.state.tasks:  # noqa: ASYNC110  what it becomes is uvicorn's
                await asyncio.sleep(0)


def talk(conversation):
    async def main():
        site = Site()
        await conversation(site)
        await site.rest()
        if not site.line.transport.closed:
            site.line.transport.closed = True
            site.line.connection_lost(None)
        return site

    found = []

    async def outer():
        found.append(await main())

    run(outer())
    return found[0]


def test_it_is_answered_at_once_in_one_write():
    async def conversation(site):
        site.line.data_received(post(b'{"a": 1}'))
        assert not site.state.tasks and len(site.line.transport.written) == 1

    site = talk(conversation)
    assert site.asgi == 0 and site.state.total_requests == 1
    head, _, body = site.out.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [b"HTTP/1.1 200 OK", b"date: today", b"content-type: application/json",
                                   b"content-length: %d" % len(body), b"x-request-id: 8"]
    assert body == b'{"length":8,"type":"application/json"}'


@pytest.mark.parametrize("sent", [
    [post(b'{"a": 1}')], [post(b'{"a": 1}')[:-8], b'{"a": 1}'], [post(b'{"a": 1}')[:-3], b" 1", b"}"],
    [post(b'{"a": 1}')[:10], post(b'{"a": 1}')[10:]],
    [b"POST /v1/events HTTP/1.1\r\nhost: x\r\nx-request-id: 8\r\ntransfer-encoding: chunked\r\n\r\n8\r\n",
     b'{"a": 1}\r\n0\r\n\r\n'],
    [b"POST /v1/events HTTP/1.1\r\nhost: x\r\nx-request-id: 8\r\ntransfer-encoding: chunked\r\n\r\n"
     b'3\r\n{"a\r\n5\r\n": 1}\r\n0\r\n\r\n'],
    [post(b'{"a": 1}', path=b"/v1/events?now")], [post(b'{"a": 1}', b"expect: 100-continue")],
    [post(b'{"a": 1}', *OFFER)], [post(b'{"a": 1}', *OFFER)[:-8], b'{"a": 1}'],
    [post(b'{"a": 1}', *OFFER)[:60], post(b'{"a": 1}', *OFFER)[60:-3], b" 1}"],
])
def test_however_it_comes_the_answer_is_the_same(sent):
    async def conversation(site):
        for piece in sent:
            site.line.data_received(piece)
            await asyncio.sleep(0)
        await site.rest()

    site = talk(conversation)
    answer = site.out.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    assert answer.endswith(b'\r\n\r\n{"length":8,"type":"application/json"}')
    assert b"x-request-id: 8\r\n" in answer and answer.startswith(b"HTTP/1.1 200 OK\r\ndate: today\r\n")
    assert site.begun == [8] and answer.count(b"HTTP/1.1") == 1
    assert site.meter.snapshot().values["incumbent_http_requests"] == [(("events", "200"), 1.0)]


def test_a_connection_is_kept_while_it_is_used_and_closed_when_it_is_not():
    async def conversation(site):
        site.line.timeout_keep_alive = 0.2
        for n in range(6):  # 0.6 s in all
            site.line.data_received(post(b"wait" if n == 5 else b"{}"))
            await asyncio.sleep(0.1)
        assert not site.line.transport.closed and len(site.statuses) == 5
        await asyncio.sleep(0.3)  # under way: nothing is idle
        site.let.set()
        await asyncio.sleep(0.1)
        assert not site.line.transport.closed and len(site.statuses) == 6
        await asyncio.sleep(0.3)
        assert site.line.transport.closed

    talk(conversation)


def test_what_a_request_sets_in_its_context_is_its_own():
    seen, mark = [], ContextVar("mark", default=None)

    class Marking:
        async def handle(self, body, content_type):
            seen.append(mark.get())
            token = mark.set(body)
            if body == b"wait":
                await asyncio.sleep(0)
            mark.reset(token)  # an error in another context than that of `set`
            mark.set(body)
            return reply_json({})

    async def conversation(site):
        site.shim.whole[b"/v1/events"] = partial(site.shim._whole, Route(Marking(), "events", "events"))
        for body in (b"{}", b"wait", b"{}"):
            site.line.data_received(post(body))
            await site.rest()

    assert talk(conversation).statuses == [200] * 3 and seen == [None] * 3


def test_an_idle_connection_keeps_no_body():
    async def conversation(site):
        site.line.data_received(post(b"wait"))
        assert site.line.cycle.body == b"" and site.line.cycle.headers == []
        site.let.set()

    assert talk(conversation).statuses == [200]


def test_who_comes_behind_one_that_waits_is_answered_after_it():
    async def conversation(site):
        site.line.data_received(post(b"wait") + post(b"second"))
        site.line.data_received(post(b"the third"))
        await asyncio.sleep(0.01)
        assert site.out == b"" and site.begun == [4] and len(site.state.tasks) == 1
        site.let.set()
        await site.rest()
        site.line.data_received(post(b"at last, the 4th"))

    site = talk(conversation)
    assert re.findall(rb'"length":(\d+)', site.out) == [b"4", b"6", b"9", b"16"]
    assert site.asgi == 2 and site.state.total_requests == 4


def test_who_offers_another_protocol_with_each_request_is_answered_in_this_one():
    async def conversation(site):
        site.line.data_received(post(b"one", *OFFER) + post(b"and two", *OFFER))
        await site.rest()
        socket = [b"GET /v1/nope HTTP/1.1", b"host: x", b"upgrade: websocket", *OFFER[1:], b"", b""]
        site.line.data_received(b"\r\n".join(socket))
        await site.rest()
        site.line.data_received(post(b"last") + b"nonsense\r\n\r\n")  # answered first, and alone
        assert site.line.transport.closed

    site = talk(conversation)
    assert re.findall(rb'"length":(\d+)', site.out) == [b"3", b"7", b"4"] and site.statuses == [200, 200, 404, 200]


def test_who_went_away_is_written_nothing():
    async def conversation(site):
        site.line.data_received(post(b"wait"))
        site.line.transport.closed = True
        site.line.connection_lost(ConnectionResetError())
        site.let.set()

    site = talk(conversation)
    assert site.out == b"" and site.begun == [4]
    assert site.meter.snapshot().values["incumbent_http_requests"] == [(("events", "200"), 1.0)]


@pytest.mark.parametrize("body", [b"{}", b"wait"])
def test_a_connection_ends_when_its_client_says_so(body):
    async def conversation(site):
        site.line.data_received(post(body, b"connection: close"))
        site.let.set()
        await site.rest()
        assert site.line.transport.closed

    site = talk(conversation)
    assert site.statuses == [200] and b"connection: close\r\n" in site.out and site.asgi == 0


def test_a_server_that_stops_answers_what_is_under_way_and_closes():
    async def conversation(site):
        site.line.data_received(post(b"wait"))
        site.line.shutdown()
        assert not site.line.transport.closed
        site.let.set()
        await site.rest()
        assert site.line.transport.closed

    site = talk(conversation)
    assert site.statuses == [200] and b"connection: close\r\n" in site.out


def test_a_client_that_does_not_read_is_waited_for():
    async def conversation(site):
        site.line.pause_writing()
        site.line.data_received(post())
        await asyncio.sleep(0.01)
        assert site.out == b"" and site.asgi == 1
        site.line.resume_writing()

    assert talk(conversation).statuses == [200]


@pytest.mark.parametrize(("sent", "status", "code"), [
    (post(b"x" * 501), 413, b"too_large"), (post(b"{}", b"content-encoding: gzip"), 415, b"content_type"),
    (post(b"{}", b"content-type: text/css"), 415, b"content_type"), (post(b"boom"), 500, b"error"),
    (b"POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1f5\r\n" + b"x" * 501
     + b"\r\n0\r\n\r\n", 413, b"too_large"),
])
def test_what_is_refused_is_counted_and_leaves_the_connection_open(sent, status, code, caplog):
    async def conversation(site):
        site.line.data_received(sent)
        site.line.data_received(post())

    site = talk(conversation)
    assert site.statuses == [status, 200] and site.asgi == 0 and b'"code":"' + code in site.out
    assert site.meter.snapshot().values["incumbent_errors"] == [(("events", code.decode()), 1.0)]


def test_other_paths_and_methods_and_older_http_go_the_common_way():
    async def conversation(site):
        site.line.data_received(post(path=b"/v1/nope"))
        await site.rest()
        site.line.data_received(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n")
        await site.rest()
        site.line.data_received(post(version=b"1.0"))
        await site.rest()

    site = talk(conversation)
    assert site.statuses == [404, 404, 200] and site.asgi == 3 and site.line.transport.closed


def test_a_key_is_asked_for_of_what_comes_whole():
    async def conversation(site):
        site.shim._keys = Keys({"0" * 64: "events"})
        site.line.data_received(post())

    site = talk(conversation)
    assert site.statuses == [401] and site.begun == []


class Panic(BaseException):
    """What a Rust extension raises."""


@pytest.mark.parametrize("error", [Panic("gone"), asyncio.CancelledError()])
@pytest.mark.parametrize("waits", [True, False])
def test_whatever_a_handler_ends_in_is_answered(error, waits, caplog):
    class Broken:
        async def handle(self, body, content_type):
            if waits:
                await asyncio.sleep(0)
            raise error

    async def conversation(site):
        site.shim.whole[b"/v1/events"] = partial(site.shim._whole, Route(Broken(), "events", "events"))
        site.line.data_received(post() + post(path=b"/v1/nope"))

    assert talk(conversation).statuses == [500, 404]


def test_an_answer_that_is_never_made_does_not_hold_the_line():
    async def conversation(site):
        async def gone(headers, body):
            await asyncio.sleep(0)
            raise asyncio.CancelledError

        site.line.answers = SimpleNamespace(refuse=site.shim.refuse, whole={b"/v1/events": gone})
        site.line.data_received(post())
        await site.rest()
        assert site.line.transport.closed

    assert talk(conversation).out == b""
