"""The client against a real service over HTTP: gateway, collector and plan of one process, stores in memory."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from incumbent.client import Client
from incumbent.clock import SystemClock
from incumbent.config import LimitsConfig
from incumbent.errors import ConfigError, DataError, NotFoundError, UnavailableError
from incumbent.events import codec
from incumbent.events.ids import BATCH_HEADER, EventIds, Signer, hash_user
from incumbent.events.plan import ExperimentPlan, ModelPlan, ServingPlan, SurfacePlan
from incumbent.events.schema import Feedback, Impression
from incumbent.experiments.coins import coins
from incumbent.loop.ingest import Ingest
from incumbent.service.events import EventsHandler
from incumbent.service.recommendations import Recommendations
from incumbent.stores.memory_log import MemoryLog
from incumbent.testing.gateway import Shop

SECRET = b"the service's"
OLD, NEW = [f"o{n}" for n in range(10)], [f"n{n}" for n in range(10)]


def _plan(share=0.5, stage="ramp_50"):
    return ServingPlan(
        version=1, time=None,
        surfaces={"home": SurfacePlan("home", "old", ExperimentPlan("e1", "new", "s1", stage, share, holdout=0.0)),
                  "cart": SurfacePlan("cart", "new")},
        models={name: ModelPlan(name, "callable", "x:y", "7") for name in ("old", "new")})


class _Meter:
    def add(self, *_):
        pass


class Service:
    """A gateway and a collector behind the smallest HTTP server; `down` makes it answer 503."""

    def __init__(self):
        clock = SystemClock()
        self.plan, self.down, self.batches, self.signatures = _plan(), False, 0, []
        self.here = threading.local()  # .signature: of the request that this thread answers
        self.log = MemoryLog(clock)
        self.ingest = Ingest(self.log, clock=clock, ids=EventIds(clock), signer=Signer(SECRET), limits=LimitsConfig())
        self.events = EventsHandler(self.ingest, _Meter(), batch_events=5000)
        self.shop = Shop(old=OLD, new=NEW)

    def answer(self, path, body, content_type):
        if self.down:
            return 503, b'{"error": {"code": "store", "what": "the disk is full"}}', b"application/json"
        if path == "/v1/plan":
            plan = {"hash": self.plan.hash, **msgspec.to_builtins(self.plan)}
            return 200, msgspec.json.encode(plan), b"application/json"
        if path == "/v1/recommendations":
            reply = asyncio.run(Recommendations(self.shop.gateway).handle(body, content_type))
        else:
            self.batches += 1
            signature = self.here.signature
            self.signatures.append(signature)
            reply = asyncio.run(self.events.handle(body, content_type) if signature is None
                                else self.events.handle_signed(body, content_type, signature.encode()))
        return reply.status, reply.body, reply.content_type

    def kept(self, kind):
        segment = self.log.drain()
        events = [codec.decode(r.data) for r in segment.records if r.table != "quarantine"] if segment else []
        return [event for event in events if isinstance(event, kind)]


@contextmanager
def _serving(service):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            service.here.signature = self.headers.get(BATCH_HEADER)
            status, data, kind = service.answer(self.path, body, self.headers.get("content-type", ""))
            self.send_response(status)
            self.send_header("content-type", kind.decode())
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def url(service):
    with _serving(service) as base:
        yield base


def test_draft_is_what_the_gateway_would_have_made(service, url):
    with Client(url, secret=SECRET) as client:
        answer = client.draft("home", "u42", 8, champion=OLD, candidate=NEW, ranking_id="r1", context={"country": "NO"})
        assert client.flush()
    [impression] = service.kept(Impression)
    assert impression.coins == coins("s1", "u42", "r1", len(impression.coins))
    assert [s.item_id for s in impression.slots] == [item.item_id for item in answer.items]
    assert {s.owner for s in impression.slots} == {"champion", "candidate"}
    assert [m.items for m in impression.models] == [OLD, NEW]
    assert (impression.plan, impression.models[0].version) == (service.plan.hash, "7")
    assert impression.request_id == answer.request_id


def test_a_model_that_failed_is_counted_against_it(service, url):
    with Client(url, secret=SECRET) as client:
        for _ in range(30):
            answer = client.draft("home", "u1", 3, champion=OLD, candidate=None)
        good = client.draft("home", "u1", 3, champion=OLD, candidate=NEW)
        client.flush()
    assert (answer.mode, [item.item_id for item in answer.items]) == ("fallback", OLD[:3])
    assert good.mode == "interleave"  # no breaker stands between a caller and the list they hand over
    assert {i.models[1].status for i in service.kept(Impression)} == {"error", "ok"}


def test_a_model_may_be_candidate_here_and_champion_there(service, url):
    with Client(url, secret=SECRET) as client:
        assert [i.item_id for i in client.draft("cart", "u1", 2, champion=NEW).items] == NEW[:2]


def test_a_new_plan_is_followed_and_an_absent_service_is_borne(service, url):
    with Client(url, secret=SECRET, plan_s=0.01) as client:
        assert client.draft("home", "u1", 4, champion=OLD, candidate=NEW).mode == "interleave"
        service.plan = _plan(share=0.0, stage="shadow")
        until = time.monotonic() + 20
        while client.draft("home", "u1", 4, champion=OLD, candidate=NEW).mode != "shadow":
            assert time.monotonic() < until
            time.sleep(0.01)
        service.down = True
        assert client.draft("home", "u1", 4, champion=OLD, candidate=NEW).mode == "shadow"
        service.down = False


def test_without_a_plan_or_a_secret_there_is_no_draft(service, url):
    service.down = True
    with Client(url, secret=SECRET) as client, pytest.raises(UnavailableError):
        client.draft("home", "u1", 4, champion=OLD)
    with Client(url) as client, pytest.raises(ConfigError, match="secret"):
        client.draft("home", "u1", 4, champion=OLD)


def test_impression_with_another_secret_is_refused(service, url):
    refused = []
    with Client(url, secret=b"somebody else's", on_rejected=refused.append) as client:
        client.draft("home", "u1", 4, champion=OLD, candidate=NEW)
        client.flush()
        assert client.sent.rejected == 1
    assert "not signed" in refused[0].reason
    assert service.kept(Impression) == []


def test_only_batches_that_hold_impressions_are_signed(service, url):
    with Client(url, secret=SECRET) as client:
        client.send("click", "u1", "i1")
        client.draft("home", "u1", 4, champion=OLD, candidate=NEW)
        client.track("click", "u1", "i2")
        assert client.flush() and client.sent.rejected == 0
    assert service.signatures[0] is None and service.signatures[-1] is not None
    assert len(service.kept(Impression)) == 1


def test_hashed_users_meet_their_feedback(service, url):
    with Client(url, secret=SECRET, hash_users=True) as client:
        client.draft("home", "u1", 4, champion=OLD, candidate=NEW)
        client.flush()
    [impression] = service.kept(Impression)
    assert impression.user_id == hash_user("u1", SECRET)


def test_recommend_and_errors_come_back_as_ours(service, url):
    with Client(url) as client:
        assert len(client.recommend("home", "u1", 5).items) == 5
        with pytest.raises(NotFoundError, match="no such surface"):
            client.recommend("hme", "u1", 5)
        with pytest.raises(DataError, match="k"):
            client.recommend("home", "u1", 0)
        with pytest.raises(DataError, match="unknown field"):
            client.track("click", "u1", "a", colour="red")


def test_send_returns_when_it_is_on_disk_and_says_a_refusal(service, url):
    with Client(url) as client:
        event_id = client.send("purchase", "u1", "a", value_minor=199, currency="EUR")
        assert [event.event_id for event in service.kept(Feedback)] == [event_id]
        with pytest.raises(DataError, match="no such currency"):
            client.send("purchase", "u1", "a", value_minor=199, currency="XXX")


def test_track_survives_an_outage_and_loses_nothing(service, url):
    with Client(url, every_s=0.01, batch=20) as client:
        service.down = True
        ids = [client.track("click", "u1", f"i{n}") for n in range(50)]
        assert not client.flush(0.3)
        assert client.pending == 50
        service.down = False
        assert client.flush(10)
        assert client.sent.retries >= 1
        assert client.sent.accepted == 50
    assert [event.event_id for event in service.kept(Feedback)] == ids


def test_an_answer_is_read_as_what_it_says_it_is_and_one_that_cannot_be_read_loses_nothing(service, url):
    whole, kinds = service.answer, []
    instead = [(200, b"<p>the network is being mended</p>", b"text/html"), (200, b"\xc1", b"application/msgpack"),
               (200, b'"\xff"', b"application/json"),
               (200, b'{"accepted": 0, "duplicate": 0, "rejected": 1, "items": [{"index": 0, "status": "rejected"}]}',
                b"application/json")]

    def answer(path, body, content_type):
        status, data, kind = whole(path, body, content_type)
        kinds.append(kind)
        return instead.pop(0) if instead else (status, data, kind)

    service.answer = answer
    with Client(url, every_s=0.01) as client:
        for n in range(2):
            assert client.track("click", "u1", f"i{n}") and client.flush(10)
        assert kinds == [b"application/msgpack"] * 5
        assert (client.sent.retries, client.sent.rejected, client.sent.accepted) == (3, 1, 1)
    assert [event.item_id for event in service.kept(Feedback)] == ["i0", "i1"]


def test_a_batch_that_is_too_large_is_sent_in_halves(service, url):
    whole = service.answer

    def answer(path, body, content_type):
        if path == "/v1/events" and len(body) > 1500:
            return 413, b'{"error": {"code": "too_large", "what": "body is too large"}}', b"application/json"
        return whole(path, body, content_type)

    service.answer = answer
    refused = []
    with Client(url, every_s=0.01, batch=64, on_rejected=refused.append) as client:
        ids = [client.track("click", "u1", f"i{n}") for n in range(64)]
        client.track("click", "u1", "x" * 200, context={str(n): "y" * 60 for n in range(30)})
        assert client.flush(20)
    assert [event.event_id for event in service.kept(Feedback)] == ids
    assert [one.reason for one in refused] == ["body is too large."]


def test_the_buffer_is_bounded_and_says_so(service, url):
    service.down = True
    client = Client(url, capacity=3, every_s=10)
    for n in range(3):
        client.track("click", "u1", f"i{n}")
    with pytest.raises(UnavailableError, match="buffer"):
        client.track("click", "u1", "i3")
    assert not client.close(0.2)
    with pytest.raises(UnavailableError, match="closed"):
        client.track("click", "u1", "i4")


def test_threads_share_a_client(service, url):
    with Client(url, secret=SECRET) as client:
        threads = [threading.Thread(target=lambda: [
            client.draft("home", f"u{n}", 4, champion=OLD, candidate=NEW) for n in range(25)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.flush()
    impressions = service.kept(Impression)
    assert len({i.event_id for i in impressions}) == 100


def test_nobody_listens():
    with Client("http://127.0.0.1:9") as client, pytest.raises(UnavailableError, match="did not answer"):
        client.recommend("home", "u1", 5)
    with pytest.raises(ConfigError, match="url"):
        Client("localhost:8000")


def test_loads_no_numpy():
    code = "import incumbent.client, sys, json; print(json.dumps(sorted(m.partition('.')[0] for m in sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "scipy", "pyarrow", "deltalake", "duckdb", "sqlalchemy", "fastapi"}
    assert not heavy & set(json.loads(done.stdout))
