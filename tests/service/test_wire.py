"""No HTTP request, over real sockets: the one shape of errors, counted, and no answer of another request lost."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from incumbent.clock import SystemClock
from incumbent.config import Config
from incumbent.service import wire
from incumbent.service.auth import Keys
from incumbent.service.metrics import Meter
from incumbent.service.reply import reply_json
from incumbent.service.run import run, server_of
from incumbent.service.shim import Route, Shim

GOOD = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Slow:
    async def handle(self, body, content_type):
        await asyncio.sleep(0.1)
        return reply_json({"length": len(body)})


def talk(*pieces, pause_s=0.02):
    """All that a server answers to bytes sent in pieces until it closes or 2 s are over, and its counts."""
    meter = Meter(None, "gateway", SystemClock())
    shim = Shim({"/v1/events": Route(Slow(), "events", "events")}, None, keys=Keys({}),  # type: ignore[arg-type]
                meter=meter, clock=SystemClock(), body_bytes=500_000)
    got = bytearray()

    async def main():
        server = server_of(shim, Config())
        listening = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause_s)
        with_answer = asyncio.timeout(2)
        try:
            async with with_answer:
                while data := await reader.read(65536):
                    got.extend(data)
        except (TimeoutError, ConnectionResetError):
            pass
        writer.close()
        server.should_exit = True
        await serving

    run(main())
    counted = {tuple(labels): n for labels, n in meter.snapshot().values.get("incumbent_errors", [])}
    return bytes(got), counted


def error_of(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head and b"connection: close" in head and b"x-request-id: " in head
    error = json.loads(body)["error"]
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


def test_who_is_still_sending_gets_the_answer():
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
    answer, counted = talk(*(GOOD[at:at + 20] for at in range(0, len(GOOD), 20)))
    assert answer.startswith(b"HTTP/1.1 200") and counted == {}


def test_a_request_in_front_is_answered_first_and_alone():
    answer, counted = talk(GOOD + b"nonsense\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1 and answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer
    assert counted == {("malformed", "malformed"): 1}


def test_large_bodies_before_the_next_head_are_no_head():
    body = b'{"a": "' + b"x" * 200_000 + b'"}'
    big = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    answer, counted = talk(big + GOOD[:20], GOOD[20:])
    assert answer.count(b"HTTP/1.1 200") == 2 and counted == {}
