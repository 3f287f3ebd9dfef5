"""Quarantine over HTTP and from the command line: the same answers, and no function over the wire."""

import asyncio
import json

import pytest

from incumbent import cli
from incumbent.commands.init import init
from incumbent.config import load
from incumbent.events.ids import EventIds, Signer
from incumbent.loop.ingest import Ingest
from incumbent.loop.seal import Sealer
from incumbent.service import app, control
from incumbent.service.auth import Keys
from incumbent.service.desk import Desk
from incumbent.service.parts import clock_of, open_stores
from incumbent.testing.gateway import served

PATCH = [{"op": "add", "path": "/currency", "value": "EUR"}]


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A directory with one sound and two refused purchases in its lake."""
    init(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = load(tmp_path / "incumbent.toml")
    clock = clock_of(config)
    stores = open_stores(config, clock, "loop")
    ids = EventIds(clock)
    ingest = Ingest(stores.log, clock=clock, ids=ids, signer=Signer(b"s"), limits=config.limits)
    event = {"type": "feedback", "time": clock.now().isoformat(), "user_id": "u1", "item_id": "i", "value_minor": 5,
             "action": "purchase"}
    asyncio.run(ingest.take([json.dumps(one).encode() for one in (
        {**event, "currency": "EUR"}, event, {**event, "action": "bought"})]))
    sealer = Sealer(stores.log, stores.lake, stores.control, clock, holder="loop")
    sealer.run_once()
    sealer.stop()
    stores.log.close()
    stores.control.close()
    return config, clock


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(["quarantine", *arguments])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_over_http_it_is_listed_shown_and_sent_back(shop):
    config, clock = shop
    stores = open_stores(config, clock, "reader")
    made = app.build([control.routes(Desk(config, stores, clock), Keys({}))])
    import http.client

    with served(made) as door:
        def get(path):
            connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=30)
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

        status, found = get("/v1/quarantine?kind=currency")
        assert status == 200 and found["total"] == 1 and found["rows"][0]["index"] == 1
        event_id = found["rows"][0]["event_id"]
        assert get(f"/v1/quarantine/{event_id}")[1]["message"]["action"] == "purchase"
        assert get("/v1/quarantine/nonsense")[0] == 422
        body = {"reason": "no currency was sent", "kind": "currency", "fix": PATCH}
        status, dry = door.post("/v1/quarantine/replay", {**body, "dry_run": True})
        assert (status, dry["returned"], dry["audit"]) == (200, 1, None)
        status, done = door.post("/v1/quarantine/replay", body)
        assert (status, done["returned"]) == (200, 1) and done["audit"]
        assert door.post("/v1/quarantine/replay", {"reason": "x", "fix": "os:system"})[0] == 422
        assert door.post("/v1/quarantine/replay", {"reason": "x", "fix": [{"op": "drop", "path": "/a"}]})[0] == 422
        assert door.post("/v1/quarantine/replay", {"kind": "currency"})[0] == 422
        assert get("/v1/quarantine?kind=currency")[1]["total"] == 0
        assert get("/v1/quarantine?kind=currency&everything=true")[1]["total"] == 1
        document = get("/openapi.json")[1]
        assert "/v1/quarantine/replay" in document["paths"]
    stores.log.close()
    stores.control.close()


def test_from_the_command_line(shop, capsys, tmp_path):
    code, out, _ = run(capsys, "list")
    assert code == 0 and "money without a currency" in out and "bought" in out
    found = json.loads(run(capsys, "list", "--kind", "currency", "--json")[1])
    event_id = found["rows"][0]["event_id"]
    code, out, _ = run(capsys, "show", event_id)
    assert code == 0 and '"action": "purchase"' in out and "event 1 of its batch" in out
    code, out, _ = run(capsys, "replay", "--reason", "r", "--fix", json.dumps(PATCH), "--dry-run")
    assert code == 0 and "2 messages: 1 would go back, 1 refused again" in out
    (tmp_path / "fix.json").write_text(json.dumps(PATCH))
    code, out, _ = run(capsys, "replay", "--reason", "r", "--fix", f"@{tmp_path / 'fix.json'}")
    assert code == 0 and "2 messages: 1 on their way back, 1 refused again" in out and "audit row" in out
    (tmp_path / "my_mends.py").write_text("def buy(m):\n    return {**m, 'action': 'purchase', 'currency': 'EUR'}\n")
    code, out, _ = run(capsys, "replay", "--reason", "r", "--fix", "my_mends:buy", "--json")
    assert code == 0 and json.loads(out)["returned"] == 1
    assert "nothing waits in quarantine" in run(capsys, "list")[1]


@pytest.mark.parametrize(("arguments", "why"), [
    (["show", "nonsense"], "not an id in quarantine"),
    (["replay", "--reason", "r", "--fix", "{}"], "a list of operations"),
    (["replay", "--reason", "r", "--fix", "no json"], "neither a JSON Patch nor module:function"),
    (["replay", "--reason", "r", "--fix", "@nowhere"], "cannot be read"),
    (["replay", "--reason", "r", "--fix", "no_such_module:f"], "cannot be loaded"),
    (["replay", "--reason", "r", "--fix", "os:remove", "--url", "http://127.0.0.1:9"], "not sent to a service"),
    (["list", "--since", "yesterday"], "not a time"),
])
def test_mistakes_are_told(shop, capsys, arguments, why):
    code, _, err = run(capsys, *arguments)
    assert code == 2 and why in err and "Traceback" not in err
