"""Acknowledgements, TOML, and the client that keeps at it."""

from __future__ import annotations

import asyncio
import json
import socket
import tomllib
from datetime import UTC, datetime

import aiohttp.web
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.clock import ManualClock
from incumbent.config import Config
from incumbent.demo import acks, books, telling, toml, wire
from incumbent.demo.watched import Watched
from incumbent.errors import DataError, UnavailableError
from incumbent.stores.memory import open_stores


def test_a_torn_last_line_is_not_an_acknowledgement(tmp_path):
    path = tmp_path / "acks"
    with acks.Acks(path) as book:
        book.requests(["r1", "r2"])
        book.events(["e1"])
    with path.open("ab") as file:
        file.write(b"e e2")
    assert acks.read(path) == acks.Acknowledged(frozenset({"r1", "r2"}), frozenset({"e1"}))
    with acks.Acks(path) as book:  # a replayer that goes on does not glue its first line to the torn one
        book.events(["e3"])
    assert acks.read(path).events == {"e1", "e3"}


def test_another_file_is_refused(tmp_path):
    (tmp_path / "acks").write_text("hello\n")
    with pytest.raises(DataError, match="not a file of acknowledgements"):
        acks.read(tmp_path / "acks")


def test_the_books_of_a_run_that_ended_before_its_first_request():
    stores = open_stores(Config(), ManualClock(datetime(2026, 3, 1, tzinfo=UTC)))
    found = books.audit(stores.lake, stores.control, acks.Acknowledged(frozenset(), frozenset()), experiment="cf",
                        candidate="cf", seed=1, shoppers=5)
    assert found.balanced and (found.requests, found.p50_ms, found.p99_ms) == (0, None, None)
    json.dumps(found.to_dict(), allow_nan=False)
    watched = Watched({"baseline": None, "reason": "none"},
                      {"surface": 0, "models": {}, "outside_band": {}, "until": "-"},
                      {"day": None, "checks": 0, "unusual": [], "refused": 0})
    assert "answered in" not in telling.render(found, watched)


scalars = st.one_of(st.booleans(), st.integers(-2**62, 2**62), st.floats(allow_nan=False, allow_infinity=False),
                    st.text(st.characters(exclude_categories=["Cs"])))
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
trees = st.recursive(
    st.dictionaries(keys, scalars | st.lists(scalars, max_size=3), max_size=4),
    lambda inner: st.dictionaries(keys, scalars | inner | st.lists(inner, min_size=1, max_size=2), max_size=3),
    max_leaves=8)


@settings(deadline=None, max_examples=150)
@given(trees)
def test_toml_reads_back(tree):
    assert tomllib.loads(toml.dumps(tree)) == tree


async def _served(handler, call):
    app = aiohttp.web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        async with wire.Wire(f"http://127.0.0.1:{port}") as client:
            return await call(client)
    finally:
        await runner.cleanup()


def test_the_same_bytes_are_sent_until_they_are_answered():
    bodies = []

    async def flaky(request):
        bodies.append(await request.read())
        if len(bodies) < 3:
            return aiohttp.web.json_response({"error": {"code": "store"}}, status=503)
        return aiohttp.web.json_response({"ok": True})

    answer = asyncio.run(_served(flaky, lambda client: client.post("/v1/events", {"events": [1]})))
    assert answer == {"ok": True}
    assert len(bodies) == 3 and len(set(bodies)) == 1


def test_a_refusal_is_not_tried_again():
    tries = []

    async def refuse(request):
        tries.append(1)
        return aiohttp.web.json_response({"error": {"what": "no such surface"}}, status=404)

    with pytest.raises(DataError, match="no such surface"):
        asyncio.run(_served(refuse, lambda client: client.get("/v1/x")))
    assert tries == [1]


def test_a_service_that_stays_away_is_said_so(monkeypatch):
    monkeypatch.setattr(wire, "WAITS_S", (0.01,))

    async def call():
        async with wire.Wire("http://127.0.0.1:9") as client:
            await client.get("/readyz")

    with pytest.raises(UnavailableError, match="no answer to GET /readyz"):
        asyncio.run(call())
