"""The control routes, the OpenAPI document, and the two ways to a hot route, in process and over memory stores."""

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI

from incumbent.clock import ManualClock, ReplayClock, SystemClock
from incumbent.config import Config
from incumbent.dashboard import mount
from incumbent.events.ids import EventIds, Signer
from incumbent.events.schema import Feedback
from incumbent.loop.act import Actor
from incumbent.loop.ingest import Ingest
from incumbent.loop.live import LiveTally
from incumbent.loop.plan import build_plan
from incumbent.service import app, control, health
from incumbent.service.auth import Keys
from incumbent.service.desk import Desk
from incumbent.service.events import EventsHandler
from incumbent.service.metrics import Meter
from incumbent.service.origin import Sites
from incumbent.service.page import Shim
from incumbent.service.pulse import Pulse
from incumbent.service.shim import Route
from incumbent.stores.memory import open_stores
from incumbent.testing.golden import impression

T0 = datetime(2026, 3, 1, tzinfo=UTC)
TREE = {
    "models": {"old": {"target": "m:old"}, "new": {"target": "m:new"}},
    "surfaces": {"home": {"champion": "old"}},
    "experiments": {"e1": {"surface": "home", "candidate": "new"}},
}


class Site:
    """The application behind its shim, asked without a socket."""

    def __init__(self, clock=None, keys=None, **tree):
        self.clock = clock or ManualClock(T0)
        self.config = Config(**{**TREE, **tree})
        self.stores = open_stores(self.config, self.clock)
        self.meter = Meter(None, "page", SystemClock())
        held = Keys(keys or {})
        ingest = Ingest(self.stores.log, clock=self.clock, ids=EventIds(self.clock), signer=Signer(b"s"),
                        limits=self.config.limits)
        handler = EventsHandler(ingest, self.meter, batch_events=self.config.limits.batch_events)
        pulse = Pulse(self.meter, SystemClock(), self.stores.control, ("loop",))
        self.desk = Desk(self.config, self.stores, self.clock, pulse)
        self.ready = {"log": lambda: None}
        sites = Sites("127.0.0.1", ["here"], open=held.open)
        self.shim = Shim({"/v1/events": Route(handler, "events", "events")}, self._behind, keys=held, sites=sites,
                         meter=self.meter, clock=SystemClock(), body_bytes=4096)
        self.app = app.build([health.routes(self.ready, self.meter), control.routes(self.desk, held)],
                             {"/v1/events": self.shim.endpoint("/v1/events")})

    async def _behind(self, *arguments):
        await self.app(*arguments)

    def ask(self, method, path, body=None, headers=(), target=None):
        """Status and decoded body; `target` is the shim unless told otherwise."""
        path, _, query = path.partition("?")
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = []
        inbox = [{"type": "http.request", "body": data, "more_body": False}]

        async def receive():
            return inbox.pop(0) if inbox else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        given = {b"content-type": b"application/json", b"host": b"here", **dict(headers)}
        asyncio.run((target or self.shim)(
            {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
             "headers": list(given.items()), "http_version": "1.1", "scheme": "http", "server": ("here", 80),
             "client": ("there", 1), "root_path": "", "asgi": {"version": "3.0"}}, receive, send))
        text = b"".join(m.get("body", b"") for m in sent[1:])
        kind = dict(sent[0]["headers"]).get(b"content-type", b"")
        return sent[0]["status"], json.loads(text) if kind.startswith(b"application/json") else text.decode()


def event(**changes):
    return {"type": "feedback", "event_id": EventIds(ManualClock(T0)).new(), "time": T0.isoformat(), "user_id": "u",
            "item_id": "i", "action": "click", **changes}


@pytest.fixture(scope="module")
def site():
    return Site()


@pytest.mark.parametrize("body", [
    [event()], {"events": [event(), event(action="x")]}, [event(action="x")], [], {"events": []}, {"event": []}, b"{",
    b"", [event(n=1)] * 60, b"[" * 3000, "text", 7, None, {"events": [None]},
])
def test_both_ways_to_a_hot_route_give_the_same_answer(body):
    hot, declared = Site(), Site()
    assert hot.ask("POST", "/v1/events", body) == declared.ask("POST", "/v1/events", body, target=declared.app)


def test_an_experiment_is_run_by_hand_over_http():
    site = Site()
    [one] = site.ask("GET", "/v1/experiments")[1]
    assert one == {"name": "e1", "surface": "home", "candidate": "new", "stage": None, "share": None, "held": False,
                   "verdict": None, "started_at": None, "ended_at": None, "unserved": None, "unjudged": None,
                   "steps": ["start"]}
    for step, stage, held in (("start", "shadow", False), ("hold", "shadow", True), ("resume", "shadow", False),
                              ("rollback", "ended", False)):
        site.clock.advance(60)
        status, decision = site.ask("POST", f"/v1/experiments/e1/{step}", {"reason": f"to {step}", "actor": "ann"})
        assert (status, decision["stage_to"], decision["by"]) == (200, stage, "anonymous"), decision
        assert decision["evidence"]["on_behalf_of"] == "ann"
        shown = site.ask("GET", "/v1/experiments/e1")[1]
        assert (shown["stage"], shown["held"]) == (stage, held)
        assert shown["decisions"][0]["reason"].endswith(f"to {step}")
    assert shown["verdict"] == "roll_back" and shown["steps"] == [] and shown["evaluation"] is None
    assert [stage["stage"] for stage in shown["stages"]] == ["shadow", "ended"]
    assert len(site.ask("GET", "/v1/decisions?subject=e1&limit=2")[1]) == 2


@pytest.mark.parametrize(("method", "path", "body", "status", "code", "field"), [
    ("POST", "/v1/experiments/e1/start", {}, 422, "invalid", "reason"),
    ("POST", "/v1/experiments/e1/start", {"reason": ""}, 422, "invalid", "reason"),
    ("POST", "/v1/experiments/e1/start", {"reason": "   "}, 422, "invalid", "reason"),
    ("POST", "/v1/experiments/e1/start", {"reason": "x", "why": 1}, 422, "invalid", "why"),
    ("POST", "/v1/experiments/e1/start", b"{", 422, "invalid", None),
    ("POST", "/v1/experiments/e1/start", b"\xff\xfe", 422, "invalid", None),
    ("POST", "/v1/experiments/e1/explode", {"reason": "x"}, 422, "invalid", "step"),
    ("POST", "/v1/experiments/none/start", {"reason": "x"}, 404, "not_found", "experiment"),
    ("POST", "/v1/experiments/e1/promote", {"reason": "x"}, 409, "conflict", None),
    ("GET", "/v1/experiments/none", None, 404, "not_found", "experiment"),
    ("GET", "/v1/decisions?limit=0", None, 422, "invalid", "limit"),
    ("GET", "/v1/report?days=x", None, 422, "invalid", "days"),
    ("GET", "/v1/trace/request/nonsense", None, 422, "invalid", "request_id"),
    ("GET", "/v1/trace/request/01900000-0000-7000-8000-000000000000.x", None, 404, "not_found", "request_id"),
    ("GET", "/v1/plan", None, 404, "not_found", None),
    ("GET", "/nope", None, 404, "not_found", None),
    ("DELETE", "/v1/experiments", None, 405, "method", None),
    ("GET", "/v1/events", None, 405, "method", None),
    ("POST", "/v1/clock", {"now": "2026-03-02T00:00:00Z"}, 404, "not_found", None),
    ("POST", "/v1/exclusions/u1", {"item_id": ""}, 422, "invalid", "item_id"),
    ("POST", "/v1/recommendations", {"surface": "home"}, 503, "unavailable", None),
])
def test_bad_requests_have_the_one_shape(site, method, path, body, status, code, field):
    got, answer = site.ask(method, path, body)
    assert (got, answer["error"]["code"], answer["error"]["field"]) == (status, code, field), answer
    assert set(answer) == {"error"} and set(answer["error"]) == {"code", "what", "got", "expected", "hint", "field"}


def test_other_sites_and_plain_forms_change_nothing(site):
    for headers in ([(b"origin", b"http://evil.example")], [(b"origin", b"null")]):
        status, answer = site.ask("POST", "/v1/experiments/e1/start", {"reason": "x"}, headers=headers)
        assert status == 403 and answer["error"]["code"] == "forbidden"
    status, answer = site.ask("GET", "/v1/report", headers=[(b"host", b"rebound.example:8000")])
    assert status == 403 and "service.hosts" in answer["error"]["hint"]
    plain = [(b"content-type", b"text/plain")]
    assert site.ask("POST", "/v1/experiments/e1/start", {"reason": "x"}, headers=plain)[0] == 422
    assert site.ask("GET", "/v1/experiments/e1")[1]["stage"] is None
    assert site.ask("GET", "/v1/experiments", headers=[(b"origin", b"http://here")])[0] == 200


def test_who_acts_is_known_by_their_key_whatever_name_they_state():
    site = Site(keys={hashlib.sha256(b"k").hexdigest(): "operate"})
    assert site.ask("POST", "/v1/experiments/e1/start", {"reason": "x"})[0] == 401
    key, name = [(b"x-api-key", b"k")], "key:" + hashlib.sha256(b"k").hexdigest()[:8]
    status, decision = site.ask("POST", "/v1/experiments/e1/start", {"reason": "x"}, headers=key)
    assert status == 200 and decision["by"] == name and "on_behalf_of" not in decision["evidence"]
    said = {"reason": "y", "actor": "the boss"}
    status, decision = site.ask("POST", "/v1/experiments/e1/hold", said, headers=key)
    assert (decision["by"], decision["evidence"]["on_behalf_of"]) == (name, "the boss")
    stores = site.stores
    Actor(stores.control, stores.log, site.clock, lambda: build_plan(site.config), holder="test").run_once()
    audits = site.ask("GET", "/v1/audits", headers=key)[1]
    assert [(row["actor"], row["details"].get("on_behalf_of")) for row in audits] == [(name, "the boss"), (name, None)]
    status, _ = site.ask("DELETE", "/v1/users/u1", said, headers=key)
    erased = site.ask("GET", "/v1/audits?limit=1", headers=key)[1][0]
    assert (erased["actor"], erased["details"]["on_behalf_of"]) == (name, "the boss")
    app = FastAPI()
    mount(app, site.desk)
    page = site.ask("GET", "/experiments/e1", target=app)[1]
    assert page.count(f"{name} for the boss") == 2  # the decision and the audit row


def test_exclusions_are_set_and_taken_back():
    site = Site()
    assert site.ask("POST", "/v1/exclusions/u%201", {"item_id": "a"})[1]["items"] == ["a"]
    assert site.ask("POST", "/v1/exclusions/u%201", {"category": "c"})[1] == {
        "items": ["a"], "categories": ["c"], "events": []}
    assert site.ask("POST", "/v1/exclusions/u%201", {"item_id": "a", "excluded": False})[1]["items"] == []
    assert site.ask("POST", "/v1/exclusions/u%201", {})[0] == 422


def test_hashed_users_are_found_by_the_id_that_the_shop_knows(tmp_path):
    site = Site(stores={"user_ids": "hashed", "directory": str(tmp_path)})
    assert site.ask("POST", "/v1/exclusions/u1", {"item_id": "a"})[1]["items"] == ["a"]
    _, everyone = site.stores.control.exclusions()
    assert "u1" not in everyone and site.ask("GET", "/v1/exclusions/u1")[1]["items"] == ["a"]


def test_the_clock_of_a_replay(tmp_path):
    clock = ReplayClock(tmp_path, start=T0)
    site = Site(clock=clock)
    later = T0 + timedelta(days=2)
    assert site.ask("POST", "/v1/clock", {"now": later.isoformat()}) == (200, {"now": later.isoformat()})
    status, answer = site.ask("POST", "/v1/clock", {"now": T0.isoformat()})
    assert status == 422 and "does not step back" in answer["error"]["what"]
    assert site.ask("POST", "/v1/clock", {"now": "2026-03-09T00:00:00"})[0] == 422  # no zone
    assert clock.now() == later


def test_the_report_names_every_surface_and_experiment(site):
    status, report = site.ask("GET", "/v1/report")
    assert status == 200
    assert [section["subject"] for section in report["sections"]] == ["surface:home", "experiment:e1"]


def test_readiness_says_why_not():
    site = Site()
    assert site.ask("GET", "/readyz") == (200, {"ready": True, "checks": {"log": "ok"}})
    site.ready["plan"] = lambda: "no plan yet"
    site.ready["broken"] = lambda: 1 / 0
    status, found = site.ask("GET", "/readyz")
    assert status == 503 and found["checks"] == {"log": "ok", "plan": "no plan yet",
                                                 "broken": "ZeroDivisionError: division by zero"}
    assert site.ask("GET", "/healthz") == (200, {"status": "ok"})
    assert "incumbent_http_requests_total" in site.ask("GET", "/metrics")[1]


def test_the_document_is_of_everything_and_sound(site):
    status, document = site.ask("GET", "/openapi.json")
    assert status == 200 and document["openapi"].startswith("3.1")
    for path in ("/v1/recommendations", "/v1/events", "/v1/experiments/{name}/{step}", "/v1/report", "/readyz"):
        assert path in document["paths"]
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    references = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
    assert references <= known
    batch = document["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert batch["anyOf"][0]["$ref"] == "#/components/schemas/Events"


def test_the_document_says_of_every_locked_route_that_a_key_may_be_missing_or_of_another_scope():
    site = Site(keys={hashlib.sha256(b"k").hexdigest(): "serve"})
    assert site.ask("GET", "/metrics")[0] == 401
    assert site.ask("GET", "/metrics", headers=[(b"x-api-key", b"k")])[0] == 403
    document = site.ask("GET", "/openapi.json", target=site.app)[1]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            locked = path not in ("/healthz", "/readyz")
            assert ({"401", "403"} <= operation["responses"].keys()) == locked, f"{method} {path}"


def test_the_document_is_a_page_that_loads_nothing(site):
    from html.parser import HTMLParser

    status, text = site.ask("GET", "/docs")
    assert status == 200 and "/v1/recommendations" in text and "Take one step by hand" in text

    class Loads(HTMLParser):
        found: list = []

        def handle_starttag(self, tag, attributes):
            named = dict(attributes)
            if tag in ("script", "link", "img", "iframe") or "src" in named or "//" in (named.get("href") or ""):
                self.found.append((tag, named))

    reader = Loads()
    reader.feed(text)
    assert reader.found == [] and text.count("<details") == text.count("</details>")


def test_the_documents_schema_of_an_event_accepts_what_the_collector_accepts(site):
    import jsonschema_rs

    document = site.ask("GET", "/openapi.json")[1]
    schema = {"$ref": "#/components/schemas/Feedback", "components": document["components"]}
    validator = jsonschema_rs.validator_for(schema)
    assert validator.is_valid(event())
    assert not validator.is_valid(event(action="teleport"))
    assert not validator.is_valid(event(value_minor=-1))


def test_the_schema_of_every_event_is_served_and_printed(site, capsys):
    import jsonschema_rs

    from incumbent import cli

    status, schema = site.ask("GET", "/v1/schema")
    assert status == 200 and jsonschema_rs.meta.is_valid(schema)
    kinds = schema["discriminator"]["mapping"]
    assert {"impression", "feedback", "embedding", "item", "measurement", "decision", "audit"} <= kinds.keys()
    validator = jsonschema_rs.validator_for(schema)
    assert validator.is_valid(event()) and not validator.is_valid(event(action="teleport"))
    with pytest.raises(SystemExit) as end:
        cli.main(["schema"])
    assert end.value.code == 0 and json.loads(capsys.readouterr().out) == schema


def test_the_pulse_counts_what_is_served(site):
    fresh = Site()
    assert fresh.desk.live()["reason"] == "nothing was counted yet"
    pulse = fresh.desk._pulse
    pulse.look()
    fresh.ask("POST", "/v1/events", [event()])
    pulse.look()
    tiles = {tile["key"]: tile["text"] for tile in fresh.desk.live()["tiles"]}
    assert float(tiles["events"]) > 0 and tiles["failed"] == "none asked"
    assert {"name": "loop", "ok": False, "text": "does not report"} in fresh.desk.health()


def test_what_is_bought_just_now_is_shown_by_owner():
    fresh = Site()
    tally = LiveTally(fresh.clock)
    shown = impression("r1", T0, "u1", "home", "e1/ramp_50/interleave", ["a:pair1:T", "b:pair1:C"])
    bought = Feedback(event_id="0" * 36, time=T0, user_id="u1", item_id="a", action="purchase", request_id="r1")
    tally.add([shown, bought])
    tally.publish(fresh.stores.control)
    [tile] = [tile for tile in fresh.desk.live()["tiles"] if tile["key"] == "home/purchase"]
    assert tile["text"] == "1 and 0"
