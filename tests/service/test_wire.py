"""No HTTP request, over real sockets: the one shape of errors, counted, and no answer of another request lost."""

from __future__ import annotations

import asyncio
import json
import socket
from types import MappingProxyType, SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from incumbent.clock import SystemClock
from incumbent.config import Config
from incumbent.service import body, wire
from incumbent.service.auth import Keys
from incumbent.service.metrics import Meter
from incumbent.service.reply import reply_error, reply_json
from incumbent.service.run import run, server_of
from incumbent.service.shim import Route, Shim

GOOD = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Slow:
    async def handle(self, body, content_type):
        await asyncio.sleep(0.1)
        return reply_json({"length": len(body)})


async def behind(scope, receive, send):
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})


def talk(*pieces, pause_s=0.02, answers=None, keep_alive_s=75):
    """All that a server answers to bytes sent in pieces until it closes or `answers` are there, and its counts."""
    meter = Meter(None, "gateway", SystemClock())
    shim = Shim({"/v1/events": Route(Slow(), "events", "events")}, behind, keys=Keys({}),
                meter=meter, clock=SystemClock(), body_bytes=500_000)
    got = bytearray()

    async def main():
        server = server_of(shim, Config())
        server.config.timeout_keep_alive = keep_alive_s
        listening = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause_s)
        async with asyncio.timeout(60):
            while (got.count(b"HTTP/1.1 ") != answers or not got.endswith(b"}")) and (data := await reader.read(65536)):
                got.extend(data)
        writer.close()
        server.should_exit = True
        await serving

    run(main())
    counted = {tuple(labels): n for labels, n in meter.snapshot().values.get("incumbent_errors", [])}
    return bytes(got), counted


def error_of(answer):
    head, _, text = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head and b"connection: close" in head and b"x-request-id: " in head
    error = json.loads(text)["error"]
    assert set(error) == {"code", "what", "got", "expected", "hint", "field"}
    return int(head.split()[1]), error


@pytest.mark.parametrize("sent", [
    b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
    b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
])
def test_what_is_no_request_is_told_so_and_counted(sent):
    answer, counted = talk(sent)
    status, error = error_of(answer)
    assert (status, error["code"]) == (400, "malformed") and counted == {("malformed", "malformed"): 1}


@pytest.mark.parametrize(("pieces", "status"), [
    ([b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"], 414),
    ([b"GET /" + b"a" * 40_000, b"a" * 40_000, b"a" * 40_000], 414),
    ([b"GET / HTTP/1.1\r\nx: ", b"a" * 40_000, b"a" * 40_000], 431),
])
def test_a_head_too_long_is_refused_before_it_is_whole(pieces, status):
    answer, counted = talk(*pieces)
    got, error = error_of(answer)
    assert got == status and error["code"] == "too_large" and counted == {("malformed", "too_large"): 1}


def test_who_is_still_sending_gets_the_answer(monkeypatch):
    monkeypatch.setattr(wire, "LINGER_S", 30)
    monkeypatch.setattr(body, "WASTE_S", 9)
    head = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 5000000\r\n\r\n"
    answer, counted = talk(head, *[b"x" * 250_000] * 20, pause_s=0.001)
    status, error = error_of(answer)
    assert (status, error["code"]) == (413, "too_large") and counted == {("events", "too_large"): 1}
    answer, _ = talk(b"GET / HTTP/1.1\r\n", *[b"x: " + b"a" * 9_000 + b"\r\n"] * 40, pause_s=0.001)
    assert error_of(answer)[0] == 431
    answer, _ = talk(head.replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n"))
    assert error_of(answer)[0] == 413 and b" 100 " not in answer


def test_headers_that_stop_half_way_are_waited_for_and_then_refused(monkeypatch):
    monkeypatch.setattr(wire, "HEAD_S", 0.2)
    status, error = error_of(talk(GOOD[:30])[0])
    assert (status, error["code"]) == (408, "timeout")
    monkeypatch.setattr(wire, "HEAD_S", 30)
    answer, counted = talk(*(GOOD[at:at + 20] for at in range(0, len(GOOD), 20)), answers=1)
    assert answer.startswith(b"HTTP/1.1 200") and counted == {}


def test_a_request_in_front_is_answered_first_and_alone():
    answer, counted = talk(GOOD + b"nonsense\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1 and answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer
    assert counted == {("malformed", "malformed"): 1}


def test_large_bodies_before_the_next_head_are_no_head():
    long = b'{"a": "' + b"x" * 200_000 + b'"}'
    big = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(long) + long
    answer, counted = talk(big + GOOD[:20], GOOD[20:], answers=2)
    assert answer.count(b"HTTP/1.1 200") == 2 and counted == {}


def test_a_head_behind_a_long_body_has_its_own_size_and_time():
    long = b'"' + b"x" * 66_000 + b'"'
    head = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(long)
    answer, counted = talk(head[:20], head[20:] + long + GOOD[:20], GOOD[20:], answers=2)
    assert answer.count(b"HTTP/1.1 200") == 2 and counted == {}


CHUNKED = b"POST %s HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n%s\r\n"
BAD_CHUNK = b"zz\r\n{}\r\n0\r\n\r\n"


@pytest.mark.parametrize(("head", "more"), [
    ((b"/v1/events", b""), ()), ((b"/v1/events", b"content-encoding: gzip\r\n"), ()), ((b"/nope", b""), ()),
    ((b"/v1/events", b""), (BAD_CHUNK,)), ((b"/v1/events", b"content-encoding: gzip\r\n"), (BAD_CHUNK,)),
])
def test_a_body_that_breaks_is_answered_once(head, more, caplog):
    answer, counted = talk(CHUNKED % head + (b"" if more else BAD_CHUNK), *more)
    assert error_of(answer)[0] == 400 and counted == {("malformed", "malformed"): 1}
    assert not caplog.records


def test_a_body_that_breaks_behind_another_request_is_answered_after_it(caplog):
    answer, counted = talk(GOOD + CHUNKED % (b"/v1/events", b"") + BAD_CHUNK)
    first, second = answer.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200") and error_of(b"HTTP/1.1 " + second)[0] == 400
    assert counted == {("malformed", "malformed"): 1} and not caplog.records


class Wire(asyncio.Transport):
    """A transport to nobody."""

    def __init__(self):
        super().__init__()
        self.written, self.closed = [], 0

    def write(self, data):
        self.written.append(data)

    def can_write_eof(self):
        return False

    def is_closing(self):
        return self.closed > 0

    def close(self):
        self.closed += 1


def connected(app, refuse=reply_error, whole=MappingProxyType({})):
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None)
    config.load()
    answers = SimpleNamespace(refuse=refuse, whole=whole)
    protocol = wire.speaking(answers)(config, ServerState(), {})
    protocol.connection_made(Wire())
    return protocol


@pytest.mark.parametrize("pieces", [[b"nonsense\r\n\r\n"], [b"GET / HTTP/1.1\r\nx: ", b"a" * 70_000]])
def test_a_refused_connection_closes_though_the_client_stays(pieces, monkeypatch):
    monkeypatch.setattr(wire, "HEAD_S", 0.02)
    monkeypatch.setattr(wire, "LINGER_S", 0.05)
    refused = []

    def refuse(error):
        refused.append(error.status)
        return reply_error(error)

    async def main():
        protocol = connected(behind, refuse)
        for piece in pieces:
            protocol.data_received(piece)
        await asyncio.sleep(0.2)
        protocol.data_received(b"more")
        assert protocol.transport.closed == 1 and len(protocol.transport.written) == 1
        protocol.connection_lost(None)

    run(main())
    assert refused == [400 if len(pieces) == 1 else 431]


def test_line_ends_alone_begin_nothing():
    asked = asyncio.Event()

    async def app(scope, receive, send):
        await asked.wait()
        await behind(scope, receive, send)

    async def main():
        protocol = connected(app)

        def kept():
            timer = protocol.timeout_keep_alive_task
            return timer is not None and not timer.cancelled()

        protocol.data_received(b"\r\n")
        assert kept()
        protocol.data_received(b"GET / HTTP/1.1\r\n")
        assert not kept()
        protocol.data_received(b"host: x\r\n\r\n")
        protocol.data_received(b"\r\n")
        assert not kept()  # it is being answered, however long that takes
        asked.set()
        await asyncio.gather(*protocol.tasks)
        assert kept()
        protocol.data_received(b"\r\n")
        assert kept()
        protocol.connection_lost(None)
        assert not kept()

    run(main())


def test_who_sends_line_ends_alone_is_not_kept():
    assert talk(b"\r\n", keep_alive_s=0.3) == (b"", {})
