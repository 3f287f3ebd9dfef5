"""Whatever the document allows or does not: every answer is one that it documents, and never a 500."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from incumbent.clock import SystemClock
from incumbent.config import Config
from incumbent.events.ids import EventIds, Signer
from incumbent.loop.ingest import Ingest
from incumbent.service import app, control, health
from incumbent.service.auth import Keys
from incumbent.service.desk import Desk
from incumbent.service.events import EventsHandler
from incumbent.service.metrics import Meter
from incumbent.service.recommendations import Recommendations
from incumbent.service.shim import Route, Shim
from incumbent.stores.memory import open_stores
from incumbent.testing.gateway import Shop


def site():
    clock = SystemClock()
    config = Config(models={"old": {"target": "m:old"}, "new": {"target": "m:new"}},
                    surfaces={"home": {"champion": "old"}}, experiments={"e1": {"surface": "home", "candidate": "new"}})
    stores, meter, keys = open_stores(config, clock), Meter(None, "page", clock), Keys({})
    ingest = Ingest(stores.log, clock=clock, ids=EventIds(clock), signer=Signer(b"s"), limits=config.limits)
    shop = Shop(old=["a", "b"], new=["b", "c"])
    hot = {"/v1/events": Route(EventsHandler(ingest, meter, batch_events=100), "events", "events"),
           "/v1/recommendations": Route(Recommendations(shop.gateway), "serve", "recommendations")}
    shim = Shim(hot, None, keys=keys, meter=meter, clock=clock, body_bytes=1_000_000)
    return app.build([health.routes({}, meter), control.routes(Desk(config, stores, clock), keys)],
                     {path: shim.endpoint(path) for path in hot})


schema = schemathesis.openapi.from_asgi("/openapi.json", site())


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_documented(case):
    answer = case.call()
    case.validate_response(answer, checks=[status_code_conformance, content_type_conformance])
    assert answer.status_code != 500
