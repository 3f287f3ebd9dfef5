"""Impressions come in over HTTP from who has the secret, and from nobody who merely saw a request id."""

import asyncio
import hashlib
import hmac
import http.client
import json
from datetime import timedelta

import msgspec
import pytest

from incumbent.clock import SystemClock
from incumbent.config import LimitsConfig
from incumbent.events import codec
from incumbent.events.ids import EventIds, Signer
from incumbent.loop.ingest import Ingest
from incumbent.service.auth import Keys
from incumbent.service.events import EventsHandler
from incumbent.service.metrics import Meter
from incumbent.service.recommendations import Recommendations
from incumbent.service.shim import Route, Shim
from incumbent.stores.memory_log import MemoryLog
from incumbent.testing.gateway import Shop, served

SECRET = b"shop"
CLOCK = SystemClock()
IDS = EventIds(CLOCK)


def mac(body, secret=SECRET):
    """As a producer in any language makes it."""
    return hmac.new(secret, b"incumbent.batch\n" + body, hashlib.sha256).hexdigest()


class House:
    def __init__(self):
        self.log, self.meter = MemoryLog(CLOCK), Meter(None, "front", CLOCK)
        self.ingest = Ingest(self.log, clock=CLOCK, ids=EventIds(CLOCK), signer=Signer(SECRET), limits=LimitsConfig())
        handler = EventsHandler(self.ingest, self.meter, batch_events=500)
        shop = Shop(old=["a", "b"], new=["b", "c"], secret=SECRET)
        self.app = Shim({"/v1/events": Route(handler, "events", "events", handler.handle_signed),
                         "/v1/recommendations": Route(Recommendations(shop.gateway), "serve", "recommendations")},
                        None, keys=Keys({}), meter=self.meter, clock=CLOCK, body_bytes=10**6)

    def kept(self, table):
        segment = self.log.drain()
        return [record for record in segment.records if record.table == table] if segment else []


def post(door, body, signature=None, kind="application/json"):
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=30)
    headers = {"content-type": kind, **({} if signature is None else {"Incumbent-Signature": signature})}
    connection.request("POST", "/v1/events", body, headers)
    answer = connection.getresponse()
    assert answer.status != 200 or answer.getheader("content-type") == kind
    told = answer.status, (msgspec.msgpack.decode if kind.endswith("msgpack") else json.loads)(answer.read())
    connection.close()
    return told


def impression(request_id, user="victim-9"):
    return {"type": "impression", "event_id": request_id.partition(".")[0], "request_id": request_id,
            "ranking_id": "forged", "time": (CLOCK.now() - timedelta(seconds=1)).isoformat(), "user_id": user,
            "surface": "home", "mode": "interleave", "lane": "interleave", "plan": "p", "models": [],
            "slots": [{"position": 1, "item_id": "mine", "kind": "pair", "owner": "candidate", "pair_id": 0}]}


def click():
    return {"type": "feedback", "event_id": IDS.new(), "time": CLOCK.now().isoformat(), "user_id": "u1",
            "item_id": "a", "action": "click"}


def test_a_request_id_from_an_answer_makes_no_impression():
    house = House()
    with served(house.app) as door:
        shown = door.post("/v1/recommendations", {"surface": "home", "user_id": "u1", "k": 2})[1]["request_id"]
        body = json.dumps([impression(shown), click()]).encode()
        wrong = [None, "", "00", mac(body, b"another"), mac(body + b" "), mac(b""), shown.rpartition(".")[2],
                 hmac.new(SECRET, body, hashlib.sha256).hexdigest(), Signer(SECRET).sign(body.decode())[-18:]]
        for signature in wrong:
            status, told = post(door, body, signature)
            assert status == 200 and told["rejected"] == 1
            [item] = [item for item in told["items"] if item["status"] == "rejected"]
            assert (item["index"], item["kind"]) == (0, "signature")
            assert "incumbent-signature" in item["reason"] and "docs/serve/client.md" in item["reason"]
    assert house.kept("impression") == []
    assert f'reason="signature"}} {len(wrong)}.0'.encode() in house.meter.expose()


@pytest.mark.parametrize("packed", [False, True])
def test_a_signed_batch_is_taken(packed):
    house = House()
    sent = impression(Signer(SECRET).sign(IDS.new()))
    body = msgspec.msgpack.encode([sent, click()]) if packed else json.dumps([sent, click()]).encode()
    with served(house.app) as door:
        status, told = post(door, body, mac(body).upper(), "application/msgpack" if packed else "application/json")
    assert status == 200 and told["accepted"] == 2
    [record] = house.kept("impression")
    assert codec.decode(record.data).ranking_id == "forged"


@pytest.mark.parametrize(("changes", "field"), [
    ({"latency_ms": -1.0}, "latency_ms"), ({"models": [{"latency_ms": -3.0}]}, "models.0.latency_ms"),
    ({"models": [{}, {"cost": -0.1}]}, "models.1.cost")])
def test_a_time_or_a_cost_below_0_is_refused(changes, field):
    """Or the metrics of its whole day would be."""
    house = House()
    answer = {"role": "champion", "name": "m", "version": "1", "status": "ok", "latency_ms": 2.0, "n_items": 0}
    sent = {**impression(Signer(SECRET).sign(IDS.new())), **changes}
    if "models" in changes:
        sent["models"] = [{**answer, **one} for one in changes["models"]]
    body = json.dumps([sent]).encode()
    with served(house.app) as door:
        status, told = post(door, body, mac(body))
    assert status == 422 and (told["items"][0]["kind"], told["items"][0]["field"]) == ("number", field)
    assert house.kept("impression") == []


def test_a_signature_of_the_batch_does_not_sign_the_request_id():
    house = House()
    body = json.dumps([impression(f"{IDS.new()}.{'0' * 18}")]).encode()
    with served(house.app) as door:
        status, told = post(door, body, mac(body))
    assert status == 422 and told["items"][0]["kind"] == "reference" and house.kept("impression") == []


def test_a_signed_batch_that_comes_in_between_makes_no_other_believed():
    house = House()
    raws = [json.dumps(click()).encode()] * 150 + [json.dumps(impression(Signer(SECRET).sign(IDS.new()))).encode()]

    async def both():
        return await asyncio.gather(house.ingest.take(raws), house.ingest.take(raws[:120], signed=True))

    unsigned, _ = asyncio.run(both())
    assert unsigned.rejected == 1 and unsigned.items[-1].kind == "signature" and house.kept("impression") == []
