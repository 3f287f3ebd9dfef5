import asyncio

import msgspec
import pytest

from incumbent.clock import SystemClock
from incumbent.config import Config
from incumbent.errors import ConfigError
from incumbent.service import page
from incumbent.service.auth import ForbiddenError
from incumbent.service.front import Front
from incumbent.service.origin import REMEMBERED, Sites, sites_of
from incumbent.stores.embedded import open_stores

OPEN = Sites("recs.internal", ["shop.example", "Other_1"], open=True)
KEYED = Sites("recs.internal", ["shop.example"], open=False)


@pytest.mark.parametrize("host", [
    b"127.0.0.1", b"127.0.0.1:8000", b"[::1]", b"[::1]:8000", b"localhost", b"localhost:8000", b"LocalHost.:8000",
    b"a.localhost:8000", b"10.2.3.4:8000", b"[fe80::1]:80", b"recs.internal:8000", b"shop.example", b"SHOP.example:443",
    b"shop.example.", b"other_1:8000",
])
def test_hosts_that_no_foreign_page_can_name(host):
    assert OPEN.allowed([(b"host", host)]) is None
    assert OPEN.allowed([(b"host", host)]) is None  # and remembered


@pytest.mark.parametrize("host", [
    b"evil.example", b"evil.example:8000", b"localhost.evil.example", b"127.0.0.1.evil.example", b"xlocalhost", b"",
    b"notshop.example", b"shop.example.evil.example", b"127.0.0.1:8000.evil.example", b"[::1].evil.example:x",
    b"evil.example:127.0.0.1", b"\xff\xfe", b"999.1.1.1", b"evil.example@127.0.0.1", b"." * 5000, b"[evil.example]",
])
def test_hosts_of_others_are_refused_where_every_door_is_open(host):
    for changes in (True, False):
        refused = OPEN.allowed([(b"accept", b"*/*"), (b"host", host)], changes=changes)
        assert isinstance(refused, ForbiddenError) and refused.status == 403 and len(str(refused)) < 500
    assert KEYED.allowed([(b"host", host)]) is None  # a foreign page holds no key


def test_a_program_that_names_no_host_and_no_origin_passes():
    assert OPEN.allowed([]) is None and KEYED.allowed([]) is None


@pytest.mark.parametrize("sites", [OPEN, KEYED])
@pytest.mark.parametrize(("host", "origin", "passes"), [
    (b"127.0.0.1:8000", b"http://127.0.0.1:8000", True), (b"localhost:8000", b"http://localhost:8000", True),
    (b"shop.example", b"https://shop.example", True), (b"[::1]:8000", b"http://[::1]:8000", True),
    (b"127.0.0.1:8000", b"https://shop.example", True), (b"127.0.0.1:8000", b"https://shop.example:8443", True),
    (b"127.0.0.1:8000", b"http://127.0.0.1:3000", False), (b"127.0.0.1:8000", b"http://localhost:8000", False),
    (b"127.0.0.1:8000", b"http://evil.example", False), (b"127.0.0.1:8000", b"null", False),
    (b"127.0.0.1:8000", b"", False), (b"127.0.0.1:8000", b"127.0.0.1:8000", False),
    (b"127.0.0.1:8000", b"file://", False), (b"127.0.0.1:8000", b"http://127.0.0.1:8000.evil.example", False),
    (b"recs.internal:8000", b"http://recs.internal:3000", False),
])
def test_an_origin_is_the_host_that_is_asked_or_one_that_is_trusted(sites, host, origin, passes):
    headers = [(b"host", host), (b"origin", origin)]
    assert (sites.allowed(headers) is None) is passes
    assert sites.allowed(headers, changes=False) is None  # reading across sites is the browser's to refuse


def test_the_whole_name_is_judged():
    labels = ".".join(["a" * 60, "b" * 60, "c" * 60, "d" * 7])  # 190 characters: `.localhost` ends at the 200th
    rebound = f"{labels}.localhost.evil.example:8000".encode()
    assert rebound[:200].endswith(b".localhost")
    for changes in (False, True):
        assert Sites("127.0.0.1", [], open=True).allowed([(b"host", rebound)], changes=changes) is not None
    assert Sites("127.0.0.1", [], open=True).allowed([(b"host", b"a" * 300 + b".localhost")]) is not None


def test_what_is_remembered_is_bounded():
    sites = Sites("127.0.0.1", [], open=True)
    for n in range(2 * REMEMBERED):
        assert sites.allowed([(b"host", b"10.0.0.1:%d" % n)]) is None
        assert sites.allowed([(b"host", b"evil-%d.example" % n)]) is not None
    assert len(sites._good) == REMEMBERED


@pytest.mark.parametrize("name", ["http://a.example", "a.example:80", "", "*", "a b", "[::1]"])
def test_a_host_in_the_configuration_is_a_name_alone(name):
    with pytest.raises((ConfigError, ValueError)):
        Config(service={"hosts": [name]})
    assert sites_of(Config(service={"hosts": ["a.example"]}).service).allowed([(b"host", b"a.example:1")]) is None


def ask(app, method, path, **headers):
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        sent.append(message)

    given = [(name.encode(), value.encode()) for name, value in {"content-type": "application/json", **headers}.items()]
    asyncio.run(app({"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
                     "headers": given, "http_version": "1.1", "scheme": "http", "server": ("h", 80), "client": ("c", 1),
                     "root_path": "", "asgi": {"version": "3.0"}}, receive, send))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], body


@pytest.fixture
def doors(tmp_path):
    """A front and a page as a service wires them, without keys."""
    config = Config(models={"a": {"target": "incumbent.testing.endpoints:good"}}, surfaces={"home": {"champion": "a"}},
                    stores={"directory": str(tmp_path)}, service={"hosts": ["shop.example"]})
    clock = SystemClock()
    stores = open_stores(config, clock, role="gateway")
    front = Front(config, ("gateway", "collector"), clock, stores.log, stores.control)
    behind, _, close = page.build(config, clock, ("page",))
    yield {"front": front.asgi, "page": behind}
    asyncio.run(front.stop())
    asyncio.run(close())


@pytest.mark.parametrize(("door", "method", "path"), [
    ("front", "GET", "/metrics"), ("front", "GET", "/readyz"), ("front", "GET", "/healthz"), ("front", "GET", "/docs"),
    ("page", "GET", "/v1/report"), ("page", "GET", "/openapi.json"), ("page", "GET", "/v1/trace/user/u"),
    ("page", "POST", "/v1/experiments/e/start"), ("page", "DELETE", "/v1/users/u"),
    ("front", "POST", "/v1/recommendations"), ("front", "POST", "/v1/events"),
])
def test_every_route_is_guarded(doors, door, method, path):
    status, body = ask(doors[door], method, path, host="rebound.example:8000")
    assert status == 403 and msgspec.json.decode(body)["error"]["code"] == "forbidden"
    for host in ("127.0.0.1:8000", "shop.example"):
        assert ask(doors[door], method, path, host=host)[0] != 403
        crossed = ask(doors[door], method, path, host=host, origin="http://evil.example")[0]
        assert (crossed == 403) is (method != "GET")
