"""Drift over HTTP and on the command line: the same desk, the same answers, errors in words."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import urllib.parse
from datetime import timedelta

import pytest
from fastapi import APIRouter

from incumbent import cli
from incumbent.commands import desk as desks
from incumbent.dashboard import progress
from incumbent.service import drift as drift_routes
from incumbent.service.app import build
from incumbent.service.auth import Keys
from incumbent.service.desk import Desk
from incumbent.stores.control import SqlControl
from incumbent.stores.lake import DeltaLake
from incumbent.stores.store import Stores
from incumbent.testing.drift_loop import World
from incumbent.testing.event_shop import START

TOML = """
[models.popular]
target = "shop:popular"
[surfaces.home]
champion = "popular"
[stores]
directory = "data"
buckets = 1
[drift]
false_alarms_per_month = 6
[drift.monitors.embeddings]
on = false
[drift.monitors.items]
least_rows = 20
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A directory with 24 days of a shop, as `incumbent` finds it."""
    root = tmp_path_factory.mktemp("shop")
    (root / "incumbent.toml").write_text(TOML)
    control = SqlControl.in_directory(root / "data")
    world = World(DeltaLake(root / "data" / "lake", 1), control, requests=32, vectors=0)
    world.commit([event for day in range(24) for event in world.shop.day(day)])
    world.clock.set(START + timedelta(days=24, hours=1))
    world.attribute()
    control.close()
    return root, world


class Client:
    """The application, asked without a socket."""

    def __init__(self, app):
        self.app = app

    def ask(self, method, path, body=None, **query):
        sent, data = [], b"" if body is None else json.dumps(body).encode()
        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "http_version": "1.1",
                 "query_string": urllib.parse.urlencode(query).encode(), "scheme": "http", "root_path": "",
                 "headers": [(b"content-type", b"application/json")], "server": ("test", 80), "client": ("test", 1)}

        async def receive():
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message):
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        return sent[0]["status"], json.loads(b"".join(part.get("body", b"") for part in sent[1:]))


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(list(arguments))
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_on_the_command_line(shop, monkeypatch, capsys):
    monkeypatch.chdir(shop[0])
    assert "no baseline stands" in run(capsys, "drift", "status")[1]
    for told in (run(capsys, "drift", "status")[1], run(capsys, "drift", "audit")[2],
                 run(capsys, "baseline", "list")[1], run(capsys, "baseline", "show", "april")[2]):
        assert 'incumbent baseline build --from DAY --to DAY --reason "..."' in told
    code, _, err = run(capsys, "baseline", "build", "--from", "2026-03-02", "--to", "9999-12-31", "--reason", "calm")
    assert code == 2 and "a period reaches beyond the calendar" in err
    assert run(capsys, "drift", "audit")[0] != 0 and "no baselines" in run(capsys, "baseline", "list")[1]
    code, _, err = run(capsys, "baseline", "build", "--from", "2026-03-02", "--to", "2026-03-05", "--reason", "calm")
    assert code != 0 and "too short for a baseline. Got '4 windows'. Expected 14 whole ones" in err
    code, out, err = run(capsys, "baseline", "build", "--from", "2026-03-02", "--to", "2026-03-21", "--name", "march",
                         "--reason", "calm")
    assert code == 0, err
    assert "march@1" in out and "in force" in out and "items/home/popular" in out
    code, out, _ = run(capsys, "baseline", "build", "--from", "2026-03-03", "--to", "2026-03-21", "--name", "march",
                       "--reason", "again", "--json")
    assert json.loads(out)["version"] == 2 and not json.loads(out)["in_force"]
    assert "* march@1" in run(capsys, "baseline", "list")[1]
    run(capsys, "baseline", "pin", "march", "--version", "2", "--reason", "one day later")
    assert "* march@2" in run(capsys, "baseline", "list")[1]
    assert json.loads(run(capsys, "baseline", "show", "march", "--json")[1])["in_force"]
    code, _, err = run(capsys, "baseline", "show", "april")
    assert code != 0 and "march@1, march@2" in err
    code, out, _ = run(capsys, "drift", "audit")
    assert code == 0 and "CANNOT HONOUR its part: items/home/popular" in out and "false alarms a month promised" in out
    told = json.loads(run(capsys, "drift", "status", "--json")[1])
    assert told["next"] == min(row["next"]["at"] for row in told["monitors"] if row["next"])
    assert told["baseline"]["version"] == 2 and {row["monitor"] for row in told["monitors"]} >= {"items", "response"}
    out = " ".join(run(capsys, "drift", "status")[1].split())
    assert "response/home/clicked" in out and f"next at {told['next'][:10]} {told['next'][11:16]} UTC" in out
    assert "judged up to nothing yet" in out


def test_long_work_shows_how_far_it_is_on_a_terminal_alone(shop, monkeypatch, capsys, tmp_path):
    root = tmp_path / "shop"
    shutil.copytree(shop[0], root)
    monkeypatch.chdir(root)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    build = ("baseline", "build", "--from", "2026-03-02", "--to", "2026-03-21", "--reason", "calm", "--json")
    monkeypatch.setattr(progress, "AFTER_S", 0.0)
    code, out, err = run(capsys, *build)
    assert (code, err, json.loads(out)["windows"]) == (0, "", 20)  # in a pipe: the answer alone, however long it takes
    assert run(capsys, "drift", "audit", "--json")[2] == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = run(capsys, *build)
    assert (code, json.loads(out)["windows"]) == (0, 20)
    assert all(part in err for part in ("frames", "windows", "agreement"))
    code, out, err = run(capsys, "drift", "audit", "--json")
    monitors = json.loads(out)["monitors"]
    assert code == 0 and "audit" in err and f"/{len(monitors)}" in err
    monkeypatch.setattr(progress, "AFTER_S", 1e9)  # shorter work than that shows nothing
    assert run(capsys, "drift", "audit", "--json")[1:] == (out, "")


def test_a_service_tells_no_progress(monkeypatch, capsys):
    class Service:
        def __init__(self, url, key):
            pass

        def get(self, path):
            return {"asked": path, "monitors": []}

        def post(self, path, body):
            return {"asked": path, "name": body["name"], "version": 1, "in_force": True}

    monkeypatch.setattr(desks, "Remote", Service)
    monkeypatch.setattr(progress, "AFTER_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    url = ("--json", "--url", "http://127.0.0.1:1")
    code, out, err = run(capsys, "drift", "audit", "march", *url)
    assert (code, err) == (0, "") and json.loads(out)["asked"] == "/v1/drift/audit?name=march"
    code, out, err = run(capsys, "baseline", "build", "--from", "2026-03-02", "--to", "2026-03-21", "--reason", "calm",
                         *url)
    assert (code, err) == (0, "") and json.loads(out)["asked"] == "/v1/baselines"


def test_over_http(shop, tmp_path):
    _, world = shop
    control = SqlControl.in_directory(tmp_path)
    desk = Desk(world.config, Stores(None, world.lake, control), world.clock)
    router = APIRouter(prefix="/v1")
    router.include_router(drift_routes.routes(desk, Keys({})))
    ask = Client(build([router])).ask
    status, told = ask("GET", "/v1/drift", monitor="nope")
    assert (status, told["error"]["field"], told["error"]["hint"]) == (404, "monitor", "no baseline stands yet")
    assert ask("GET", "/v1/drift")[1]["baseline"] is None and ask("GET", "/v1/baselines") == (200, [])
    body = {"from": "2026-03-02", "to": "2026-03-21", "name": "march", "reason": "calm", "actor": "ann"}
    status, made = ask("POST", "/v1/baselines", body)
    assert (status, made["name"], made["version"], made["in_force"]) == (200, "march", 1, True)
    assert ask("POST", "/v1/baselines", {**body, "until": 1})[0] == 422
    assert ask("POST", "/v1/baselines", {**body, "reason": ""})[0] == 422
    assert ask("GET", "/v1/baselines/march") == (200, made)
    assert ask("POST", "/v1/baselines/march/pin", {"reason": "again"})[1]["in_force"]
    world.control = control
    world.look()
    (begun,) = [one for one in ask("GET", "/v1/drift/findings")[1] if one["check"] == "drift:budget"]
    assert "of 13 monitors cannot honour" in begun["reason"] and begun["evidence"]["baseline"]["name"] == "march"
    assert ask("GET", "/v1/drift/findings", monitor="items/home/popular") == (200, [])
    [row] = ask("GET", "/v1/drift", monitor="items/home/popular")[1]["monitors"]
    assert row["name"] == "items/home/popular" and len(ask("GET", "/v1/drift")[1]["monitors"]) > 1
    for path in ("/v1/drift", "/v1/drift/findings"):
        status, told = ask("GET", path, monitor="item/home/popular")
        assert (status, told["error"]["code"], told["error"]["field"]) == (404, "not_found", "monitor")
        assert told["error"]["hint"] == "did you mean 'items/home/popular'?"
    assert ask("GET", "/v1/drift")[1]["until"]["prompt"].startswith("2026-03-26")
    assert ask("GET", "/v1/drift/audit", name="march")[1]["baseline"]["version"] == 1
    control.close()
