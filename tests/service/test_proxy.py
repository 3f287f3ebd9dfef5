import asyncio
import contextlib
import socket
import tempfile
import threading
from pathlib import Path

import pytest
import uvicorn

from incumbent.errors import TooLargeError, UnavailableError
from incumbent.service.proxy import Proxy


async def page(scope, receive, send):
    """Answers with what it was asked, in two pieces."""
    body = b""
    more = True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    told = f"{scope['method']} {scope['raw_path'].decode()}?{scope['query_string'].decode()} {body.decode()} "
    names = dict(scope["headers"])
    told += f"host={names[b'host'].decode()} auth={names.get(b'authorization', b'none').decode()}"
    await send({"type": "http.response.start", "status": 207, "headers": [
        (b"content-type", b"text/plain"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"location", b"/x")]})
    await send({"type": "http.response.body", "body": told.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b" end"})


@contextlib.contextmanager
def listening():
    with tempfile.TemporaryDirectory(prefix="inc") as folder:
        path = str(Path(folder) / "page.sock")
        server = uvicorn.Server(uvicorn.Config(page, uds=path, log_level="error", lifespan="off",
                                               timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            threading.Event().wait(0.01)
        try:
            yield path
        finally:
            server.should_exit = True
            thread.join(10)


def ask(path, method="GET", raw=b"/a%2Fb", query=b"", pieces=(b"",), headers=(), limit=100):
    sent, queue = [], [{"type": "http.request", "body": p, "more_body": n + 1 < len(pieces)}
                       for n, p in enumerate(pieces)]

    async def receive():
        return queue.pop(0) if queue else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    async def story():
        proxy = Proxy(path, body_bytes=limit)
        try:
            await proxy({"type": "http", "method": method, "path": "/a/b", "raw_path": raw, "query_string": query,
                         "headers": [(b"host", b"shop.example"), *headers]}, receive, send)
        finally:
            await proxy.close()

    asyncio.run(story())
    return sent


def test_a_request_goes_through_whole_and_comes_back_whole():
    with listening() as path:
        sent = ask(path, "POST", query=b"a=1&b=%20", pieces=(b"he", b"llo"),
                   headers=[(b"authorization", b"Bearer k"), (b"connection", b"keep-alive")])
    assert sent[0]["status"] == 207
    body = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    assert body == "POST /a%2Fb?a=1&b=%20 hello host=shop.example auth=Bearer k end"
    assert [value for name, value in sent[0]["headers"] if name == b"set-cookie"] == [b"a=1", b"b=2"]
    assert (b"location", b"/x") in sent[0]["headers"]  # followed by whoever asked, not here
    assert sent[-1].get("more_body", False) is False


def test_nobody_there_is_unavailable(tmp_path):
    with pytest.raises(UnavailableError, match="the page does not answer"):
        ask(str(tmp_path / "none.sock"))


def test_a_page_that_takes_long_is_said_to_go_on():
    async def story(path):
        proxy = Proxy(path, body_bytes=100, timeout_s=0.2)
        try:
            await proxy({"type": "http", "method": "POST", "path": "/v1/loop/run", "query_string": b"", "headers": []},
                        receive, receive)
        finally:
            await proxy.close()

    async def receive():
        return {"type": "http.request", "body": b""}

    with tempfile.TemporaryDirectory(prefix="inc") as folder, socket.socket(socket.AF_UNIX) as silent:
        path = str(Path(folder) / "page.sock")
        silent.bind(path)
        silent.listen()
        with pytest.raises(UnavailableError, match=r"has not answered yet. Got 'no answer in 0.2 s'.*goes on"):
            asyncio.run(story(path))


def test_a_body_over_the_cap_goes_nowhere(tmp_path):
    with pytest.raises(TooLargeError):
        ask(str(tmp_path / "none.sock"), "POST", pieces=(b"x" * 60, b"x" * 60))


def test_a_sender_that_leaves_is_left(tmp_path):
    assert ask(str(tmp_path / "none.sock"), "POST", pieces=()) == []
