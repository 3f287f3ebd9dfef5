import asyncio
import base64
import hashlib
import json

import pytest
from fastapi import FastAPI, Request

from incumbent.clock import SystemClock
from incumbent.errors import DataError, StoreError
from incumbent.service.auth import Keys
from incumbent.service.metrics import Meter
from incumbent.service.reply import Reply, reply_json
from incumbent.service.shim import Route, Shim

JSON_HEADER = (b"content-type", b"application/json")


class Echo:
    """Answers with what it got; fails as told."""

    def __init__(self, error=None):
        self.error, self.got = error, None

    async def handle(self, body, content_type):
        self.got = (body, content_type)
        if self.error:
            raise self.error
        return reply_json({"length": len(body), "type": content_type})


async def behind(scope, receive, send):
    if scope["path"] == "/boom":
        raise RuntimeError("secret detail")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-behind", b"1")]})
    await send({"type": "http.response.body", "body": b"behind"})


def make(handler=None, keys=None, **options):
    meter = Meter(None, "gateway", SystemClock())
    shim = Shim({"/v1/events": Route(handler or Echo(), "events", "events")}, options.pop("app", behind),
                keys=Keys(keys or {}),
                meter=meter, clock=SystemClock(), body_bytes=options.pop("body_bytes", 2048), **options)
    return shim, meter


def call(shim, pieces=(b"{}",), *, method="POST", path="/v1/events", headers=(JSON_HEADER,), hang=False, cut=False):
    """The answer's (status, headers, body); None where there is none."""
    sent, queue = [], []
    for n, piece in enumerate(pieces):
        queue.append({"type": "http.request", "body": piece, "more_body": n + 1 < len(pieces) or hang or cut})
    if cut:
        queue.append({"type": "http.disconnect"})

    async def receive():
        if queue:
            return queue.pop(0)
        await asyncio.sleep(3600)

    async def send(message):
        sent.append(message)

    asyncio.run(shim({"type": "http", "method": method, "path": path, "headers": list(headers)}, receive, send))
    if not sent:
        return None
    body = b"".join(m.get("body", b"") for m in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


def error_of(answer):
    error = json.loads(answer[2])["error"]
    assert set(error) == {"code", "what", "got", "expected", "hint", "field"}
    return error


@pytest.mark.parametrize(("value", "kind"), [
    (b"application/json", "application/json"), (b"application/json; charset=utf-8", "application/json"),
    (b"Application/JSON", "application/json"), (b"application/msgpack", "application/msgpack"),
    (b"application/x-msgpack", "application/msgpack"), (b"application/vnd.msgpack", "application/msgpack"),
])
def test_content_types(value, kind):
    handler = Echo()
    shim, _ = make(handler)
    assert call(shim, headers=[(b"content-type", value)])[0] == 200
    assert handler.got == (b"{}", kind)


def test_other_content_types_are_refused_by_name():
    shim, meter = make()
    answer = call(shim, headers=[(b"content-type", b"application/x-www-form-urlencoded")])
    assert answer[0] == 415 and error_of(answer)["code"] == "content_type"
    assert call(shim, headers=[JSON_HEADER, (b"content-encoding", b"gzip")])[0] == 415
    assert b'incumbent_errors_total{code="content_type",route="events"} 2.0' in meter.expose()


def test_a_body_in_pieces_is_one_body():
    handler = Echo()
    shim, _ = make(handler)
    assert call(shim, [b"a", b"", b"bc", b"d"])[0] == 200
    assert handler.got[0] == b"abcd"


@pytest.mark.parametrize("pieces", [[b"x" * 2049], [b"x" * 1500, b"x" * 1500], [b"x"] * 2049])
def test_a_body_over_the_cap_is_refused(pieces):
    handler = Echo()
    shim, _ = make(handler)
    answer = call(shim, pieces)
    assert answer[0] == 413 and error_of(answer)["code"] == "too_large" and handler.got is None


@pytest.mark.parametrize("length", [b"2049", b"9" * 40])
def test_a_stated_length_over_the_cap_is_refused_unread(length):
    shim, _ = make()
    status, headers, _ = call(shim, [], headers=[JSON_HEADER, (b"content-length", length)])
    assert status == 413 and headers[b"connection"] == b"close"


@pytest.mark.parametrize(("headers", "status", "most"), [
    ([(b"content-encoding", b"gzip")], 415, 64), ([(b"x-api-key", b"r")], 403, 1), ([(b"x-api-key", b"?")], 401, 1)])
def test_what_is_read_of_a_refused_body_is_one_cap_without_a_key(headers, status, most):
    shim, _ = make(keys=KEYS)
    taken = 0

    async def receive():
        nonlocal taken
        taken += 512
        return {"type": "http.request", "body": b"x" * 512, "more_body": True}

    sent = []

    async def send(message):
        sent.append(message)

    headers = [JSON_HEADER, (b"x-api-key", b"e"), *headers] if status == 415 else [JSON_HEADER, *headers]
    asyncio.run(shim({"type": "http", "method": "POST", "path": "/v1/events", "headers": headers}, receive, send))
    assert sent[0]["status"] == status and taken == most * 2048


def test_who_leaves_a_refused_body_is_not_counted_as_answered():
    shim, meter = make()
    assert call(shim, [b"{"], headers=[JSON_HEADER, (b"content-encoding", b"gzip")], cut=True) is None
    shown = meter.expose()
    assert b'incumbent_http_aborted_total{route="events"} 1.0' in shown and b"status=" not in shown


def test_a_body_at_the_cap_passes():
    shim, _ = make()
    assert call(shim, [b"x" * 2048])[0] == 200


def test_a_body_that_stops_half_way():
    handler = Echo()
    shim, meter = make(handler, body_timeout_s=0.05)
    answer = call(shim, [b"{"], hang=True)
    assert answer[0] == 408 and error_of(answer)["code"] == "timeout" and answer[1][b"connection"] == b"close"
    answer = call(shim, [], hang=True)  # headers alone, and then nothing
    assert answer[0] == 408 and "0 bytes" in error_of(answer)["got"]
    assert call(shim, [b"{"], cut=True) is None
    assert call(shim, [], cut=True) is None
    assert handler.got is None
    assert b'incumbent_http_aborted_total{route="events"} 2.0' in meter.expose()


class Reading:
    """An application behind that reads the whole body, as the proxy does."""

    async def __call__(self, scope, receive, send):
        while (message := await receive()).get("more_body"):
            pass
        self.last = message["type"]
        await behind(scope, receive, send)


def framework():
    """One that makes an answer of its own of whatever goes wrong while it reads a body."""
    app = FastAPI()

    @app.post("/x")
    async def x(body: dict, request: Request):
        return await request.is_disconnected()

    return app


def waiting(app, pieces=(), **options):
    return call(make(app=app, body_timeout_s=0.05)[0], pieces, path="/x", **options)


@pytest.mark.parametrize("app", [Reading, framework])
@pytest.mark.parametrize("pieces", [(), (b"{",), (b"{", b"}")])
def test_a_body_that_stops_half_way_behind_is_answered_too(app, pieces):
    answer = waiting(app(), pieces, hang=True)
    assert answer[0] == 408 and answer[1][b"connection"] == b"close"
    error = error_of(answer)
    assert error["code"] == "timeout" and error["got"] == repr(f"{len(pieces)} bytes")
    assert error["expected"] == "the rest within 0.05 s"


def test_behind_the_limit_is_for_the_body_and_not_for_the_answer():
    async def slow(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.15)  # for whoever leaves: three times the limit
        await behind(scope, receive, send)

    answer = waiting(slow, [b"{", b"}"])
    assert answer[0] == 200 and answer[2] == b"behind" and b"connection" not in answer[1]

    async def unread(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.15)
        await send({"type": "http.response.body", "body": b"all"})

    assert waiting(unread, hang=True)[2] == b"all"

    async def listening(scope, receive, send):  # from before the answer on, as whoever streams does
        leaving = asyncio.create_task(receive())
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert await asyncio.wait({leaving}, timeout=0.15) == (set(), {leaving})
        leaving.cancel()
        await send({"type": "http.response.body", "body": b"all"})

    assert waiting(listening, hang=True)[2] == b"all"
    left = Reading()
    assert waiting(left, [b"{"], cut=True)[0] == 200 and left.last == "http.disconnect"


def test_errors_have_the_one_shape():
    for error, status in ((DataError("k is too large", got=10_000, expected="at most 200", field="k"), 422),
                          (StoreError("disk full"), 503)):
        shim, _ = make(Echo(error))
        answer = call(shim)
        assert answer[0] == status and error_of(answer)["what"] == error.what


def test_an_unexpected_error_is_a_500_that_tells_no_secrets(caplog):
    shim, _ = make(Echo(RuntimeError("secret detail")))
    answer = call(shim, headers=[JSON_HEADER, (b"x-request-id", b"abc-1")])
    assert answer[0] == 500 and b"secret" not in answer[2] and "abc-1" in error_of(answer)["hint"]
    cold = call(shim, path="/boom", method="GET")
    assert cold[0] == 500 and b"secret" not in cold[2] and error_of(cold)["code"] == "error"


def test_request_ids_are_echoed_or_made():
    shim, _ = make()
    assert call(shim, headers=[JSON_HEADER, (b"x-request-id", b"shop-7")])[1][b"x-request-id"] == b"shop-7"
    made = {call(shim, headers=[JSON_HEADER, (b"x-request-id", bad)])[1][b"x-request-id"]
            for bad in (b"a b", b"", b"x" * 129, b"\r\nset-cookie: a")}
    assert len(made) == 4
    assert call(shim, method="GET", path="/")[1][b"x-request-id"]


def test_other_paths_and_methods_go_behind():
    shim, meter = make()
    assert call(shim, method="GET")[2] == b"behind"
    assert call(shim, path="/x")[1][b"x-behind"] == b"1"
    assert b'incumbent_http_requests_total{route="other",status="200"} 2.0' in meter.expose()


def digest(key):
    return hashlib.sha256(key).hexdigest()


KEYS = {digest(b"e"): "events", digest(b"s"): "serve", digest(b"r"): "read", digest(b"o"): "operate"}


@pytest.mark.parametrize(("key", "hot", "get", "post"), [
    (None, 401, 401, 401), (b"wrong", 401, 401, 401), (b"e", 200, 403, 403), (b"s", 403, 403, 403),
    (b"r", 403, 200, 403), (b"o", 403, 200, 200),
])
def test_keys_open_what_their_scope_says(key, hot, get, post):
    shim, _ = make(keys=KEYS)
    headers = [JSON_HEADER, *([(b"authorization", b"Bearer " + key)] if key else [])]
    answers = [call(shim, headers=headers), call(shim, headers=headers, method="GET", path="/x"),
               call(shim, headers=headers, path="/x")]
    assert [a[0] for a in answers] == [hot, get, post]
    for answer in answers:
        if answer[0] != 200:
            assert error_of(answer)["code"] == {401: "unauthorized", 403: "forbidden"}[answer[0]]


@pytest.mark.parametrize("path", ["/v1/quarantine", "/v1/quarantine/019cd79e-4600-7004-8e07-b19140b6a41a"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_messages_of_shoppers_are_not_for_who_only_reads(path, method):
    shim, _ = make(keys=KEYS)
    statuses = [call(shim, headers=[(b"x-api-key", key)], method=method, path=path)[0] for key in (b"r", b"o")]
    assert statuses == [403, 200]
    assert call(shim, headers=[(b"x-api-key", b"r")], method=method, path="/v1/quarantined")[0] == 200


def test_keys_come_in_three_ways_and_probes_need_none():
    shim, _ = make(keys=KEYS)
    basic = b"Basic " + base64.b64encode(b"any:e")
    for header in ((b"x-api-key", b"e"), (b"authorization", b"bearer e"), (b"authorization", basic)):
        assert call(shim, headers=[JSON_HEADER, header])[0] == 200
    assert call(shim, headers=[JSON_HEADER, (b"authorization", b"Basic ???")])[0] == 401
    assert call(shim, method="GET", path="/healthz", headers=[])[0] == 200
    assert call(shim, method="GET", path="/", headers=[])[1][b"www-authenticate"].startswith(b"Basic")


def test_a_websocket_is_none_of_ours():
    shim, _ = make()
    asyncio.run(shim({"type": "websocket", "path": "/v1/events"}, None, None))


def test_reply_headers_go_out():
    class Own:
        async def handle(self, body, content_type):
            return Reply(200, b"\x80", b"application/msgpack", ((b"x-own", b"1"),))

    shim, _ = make(Own())
    _, headers, body = call(shim)
    assert (headers[b"content-type"], headers[b"x-own"]) == (b"application/msgpack", b"1")
    assert headers[b"content-length"] == b"1"
    assert body == b"\x80"
