"""Real model endpoints that behave as asked: for contract suites, for tests, and for rehearsing failures.

Each behaviour stands behind every kind of endpoint: Python callables of this module (``incumbent.testing.endpoints:
good``), JSON over HTTP (``URL/json/good``) and the Open Inference Protocol (``URL/oip/good``).
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from incumbent.events.plan import ModelPlan

#: how long a hanging endpoint hangs, in seconds
HANG_S = 3.0


def good(request: Any, k: int) -> list[tuple[str, float | None]]:
    """k items, best first, with falling scores: ``i0``, ``i1``, ..."""
    return [(f"i{rank}", 1.0 / (rank + 1)) for rank in range(k)]


def unscored(request: Any, k: int) -> list[tuple[str, float | None]]:
    """k items without scores."""
    return [(f"i{rank}", None) for rank in range(k)]


def short(request: Any, k: int) -> list[tuple[str, float | None]]:
    """Three items, however many were asked."""
    return good(request, 3)


def empty(request: Any, k: int) -> list[tuple[str, float | None]]:
    """No item."""
    return []


def duplicates(request: Any, k: int) -> list[tuple[str, float | None]]:
    """Every item twice."""
    return [(f"i{rank // 2}", 1.0 / (rank // 2 + 1)) for rank in range(k)]


def unicode_ids(request: Any, k: int) -> list[tuple[str, float | None]]:
    """Ids with letters beyond ASCII."""
    return [(f"ÅŁ🛒-{rank}", 1.0 / (rank + 1)) for rank in range(k)]


def echo(request: Any, k: int) -> list[tuple[str, float | None]]:
    """The user's own id as the item: shows whose answer this is."""
    return [(request.user_id, 1.0)]


def nan(request: Any, k: int) -> list[tuple[str, float | None]]:
    """Scores that are no numbers."""
    return [("i0", float("nan"))]


def huge(request: Any, k: int) -> list[tuple[str, float | None]]:
    """A score past every float."""
    return [("i0", 10**400)]


def halves(request: Any, k: int) -> list[tuple[str, float | None]]:
    """An id that no file can hold: half a surrogate pair."""
    return [("i\ud800", 1.0)]


def garbage(request: Any, k: int) -> Any:
    """Something that is no list at all."""
    return {"surprise": "<html>"}


def error(request: Any, k: int) -> list[tuple[str, float | None]]:
    """A failure."""
    raise RuntimeError("the model is broken")


def hang(request: Any, k: int) -> list[tuple[str, float | None]]:
    """An answer that comes too late."""
    time.sleep(HANG_S)
    return good(request, k)


BEHAVIOURS: dict[str, Callable[[Any, int], Any]] = {
    f.__name__: f for f in (good, unscored, short, empty, duplicates, unicode_ids, echo, nan, huge, halves,
                             garbage, error, hang)
}


class _Request:
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        _, kind, behaviour = self.path.split("/")[:3]
        if behaviour == "die":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        try:
            answer = self._json(behaviour, body) if kind == "json" else self._oip(behaviour, body)
        except RuntimeError as failure:
            self._send(500, {"error": str(failure)})
        else:
            self._send(200, answer)

    @staticmethod
    def _json(behaviour: str, body: dict[str, Any]) -> Any:
        raw = BEHAVIOURS[behaviour](_Request(body["user_id"]), body["k"])
        if not isinstance(raw, list):
            return raw
        return {"items": [{"item_id": item} | ({} if score is None else {"score": score}) for item, score in raw]}

    @staticmethod
    def _oip(behaviour: str, body: dict[str, Any]) -> Any:
        given = {tensor["name"]: tensor["data"] for tensor in body["inputs"]}
        raw = BEHAVIOURS[behaviour](_Request(given["user_id"][0]), given["k"][0])
        if not isinstance(raw, list):
            return raw
        items, scores = [item for item, _ in raw], [score for _, score in raw]
        outputs = [{"name": "item_ids", "datatype": "BYTES", "shape": [1, len(items)], "data": [items]}]
        if items and scores[0] is not None:
            outputs.append({"name": "scores", "datatype": "FP32", "shape": [1, len(items)], "data": [scores]})
        return {"model_name": "m", "outputs": outputs}

    def _send(self, status: int, answer: Any) -> None:
        data = json.dumps(answer).encode()
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True  # the caller gave up, as a caller of a hanging model does

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def serving() -> Iterator[str]:
    """A server of all behaviours on a free port of 127.0.0.1; gives its base URL."""
    server = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def example_plan(adapter: str, behaviour: str, url: str, **changes: Any) -> ModelPlan:
    """The plan by which a built-in adapter reaches a behaviour."""
    target = {"callable": f"incumbent.testing.endpoints:{behaviour}", "http": f"{url}/json/{behaviour}",
              "open_inference": f"{url}/oip/{behaviour}"}[adapter]
    settings: dict[str, Any] = {"deadline_ms": 1000, "concurrency": 8} | changes
    return ModelPlan(name="m", adapter=adapter, target=target, version="1", **settings)
