"""What cannot be asked is a 4xx of the one documented shape, never a 500, and leaves no impression."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.clock import SystemClock
from incumbent.events.ids import Signer
from incumbent.service.auth import Keys
from incumbent.service.metrics import Meter
from incumbent.service.recommendations import ROUTE, Recommendations, openapi
from incumbent.service.shim import Route, Shim
from incumbent.testing.gateway import Door, Shop, served

GOOD: dict[str, Any] = {"surface": "home", "user_id": "u1", "k": 3}
SHOP = Shop(old=["a", "b", "c", "d"], new=["b", "c", "d", "e"], k_max=100)
HANDLER = Recommendations(SHOP.gateway)


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    shim = Shim({ROUTE: Route(HANDLER, "serve", "recommendations")}, None, keys=Keys({}),  # type: ignore[arg-type]
                meter=Meter(None, "gateway", SystemClock()), clock=SystemClock(), body_bytes=4_194_304)
    with served(shim) as found:
        yield found


def changed(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}


DEEP = b'{"surface": "home", "user_id": "u1", "k": 3, "context": ' + b'{"a": ' * 50_000 + b"1" + b"}" * 50_000 + b"}"
UNKNOWN_DEEP = b'{"x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"

BAD: dict[str, tuple[Any, int, str | None, str]] = {
    "unknown surface": (changed(surface="hone"), 404, "surface", "did you mean 'home'?"),
    "k of 0": (changed(k=0), 422, "k", "Expected `int` >= 1"),
    "k of 10,000": (changed(k=10_000), 422, "k", "<= 1000"),
    "k over the surface's limit": (changed(k=101), 422, "k", "1 to 100"),
    "k negative": (changed(k=-1), 422, "k", ">= 1"),
    "k as text": (changed(k="3"), 422, "k", "Expected `int`, got `str`"),
    "k as a fraction": (changed(k=2.5), 422, "k", "Expected `int`, got `float`"),
    "k huge": (b'{"surface": "home", "user_id": "u1", "k": 1' + b"0" * 400 + b"}", 422, None, ""),
    "k missing": (changed(k=...), 422, "k", "required field"),
    "no user": (changed(user_id=...), 422, "user_id", "required field"),
    "empty user": (changed(user_id=""), 422, "user_id", "length >= 1"),
    "user null": (changed(user_id=None), 422, "user_id", "Expected `str`"),
    "user of 1 MB": (changed(user_id="u" * 1_000_000), 422, "user_id", "length <= 256"),
    "user with half a surrogate": (b'{"surface": "home", "user_id": "\\udc00", "k": 3}', 422, None, "not JSON"),
    "unknown field": (changed(usr_id="u1"), 422, "usr_id", "did you mean 'user_id'?"),
    "deep JSON": (DEEP, 422, None, ""),
    "deep JSON in an unknown field": (UNKNOWN_DEEP, 422, None, ""),
    "NaN": (b'{"surface": "home", "user_id": "u1", "k": 3, "context": {"x": NaN}}', 422, None, "not JSON"),
    "infinite": (b'{"surface": "home", "user_id": "u1", "k": 3, "context": {"x": 1e999}}', 422, None, "out of range"),
    "an integer beyond 64 bits": (changed(context={"x": 2**70}), 422, None, "<= 9007199254740992"),
    "context as a list": (changed(context=[1]), 422, "context", "Expected `object`"),
    "context holds an object": (changed(context={"a": {"b": 1}}), 422, None, "got `object`"),
    "context value of 1 MB": (changed(context={"a": "x" * 1_000_000}), 422, None, "length <= 1024"),
    "too much context": (changed(context={f"k{n}": 1 for n in range(65)}), 413, "context", "at most 64"),
    "too many exclusions": (changed(exclude=[f"i{n}" for n in range(1001)]), 413, "exclude", "at most 1000"),
    "an exclusion of another type": (changed(exclude=[1]), 422, None, "Expected `str`"),
    "deadline of 0": (changed(deadline_ms=0), 422, "deadline_ms", ">= 1"),
    "cursor made up": (changed(cursor="abc.def"), 422, "cursor", "not one of ours"),
    "half a body": (b'{"surface": "home", "user_', 422, None, "not JSON"),
    "no body": (b"", 422, None, "not JSON"),
    "not UTF-8": (b'{"surface": "home", "user_id": "\xff\xfe", "k": 3}', 422, None, "not JSON"),
    "two objects": (b'{"surface": "home", "user_id": "u1", "k": 3}{}', 422, None, "not JSON"),
    "an array": (b"[]", 422, None, "Expected `object`"),
}


def check_error(status: int, answer: Any) -> dict[str, str]:
    """The one shape; and nothing of it longer than a screen."""
    assert 400 <= status < 500, (status, answer)
    assert list(answer) == ["error"]
    error = answer["error"]
    assert set(error) == {"code", "what", "got", "expected", "hint", "field"}
    assert error["code"] and error["what"] and len(json.dumps(answer)) < 2000
    return error


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str, door: Door) -> None:
    body, status, field, text = BAD[name]
    before = len(SHOP.impressions())
    found, answer = door.post(ROUTE, body)
    assert found == status, answer
    error = check_error(found, answer)
    assert text in " ".join(part for part in error.values() if part), error
    if field is not None:
        assert error["field"] == field
    assert len(SHOP.impressions()) == before, "a refused request leaves nothing behind"


def test_the_error_says_what_was_got(door: Door) -> None:
    _, answer = door.post(ROUTE, changed(k=0))
    assert answer["error"]["got"] == "0"
    _, answer = door.post(ROUTE, changed(user_id=None))
    assert answer["error"]["got"] == "None"
    _, answer = door.post(ROUTE, b'{"surface": "home", "user_id": "u1", "k": 3, "deadline_ms": 1e999}')
    assert answer["error"]["got"] is None, "what cannot be read is not told as a null"


@pytest.mark.parametrize("change", [{"user_id": "u2"}, {"cursor_of": "other"}])
def test_a_cursor_in_the_wrong_hands(change: dict[str, str], door: Door) -> None:
    _, first = door.post(ROUTE, GOOD)
    cursor = first["cursor"]
    if change.pop("cursor_of", None):
        other = Shop(old=["a", "b", "c", "d"], secret=b"another secret")
        HANDLER.gateway = other.gateway
        cursor = door.post(ROUTE, GOOD)[1]["cursor"]
        HANDLER.gateway = SHOP.gateway
    status, answer = door.post(ROUTE, {**GOOD, "cursor": cursor, **change})
    assert status == 422 and check_error(status, answer)["field"] == "cursor"


def test_a_request_id_is_signed(door: Door) -> None:
    _, answer = door.post(ROUTE, GOOD)
    assert Signer(b"shop").verify(answer["request_id"]) == SHOP.impressions()[-1].event_id


def test_before_the_first_plan(door: Door) -> None:
    from incumbent.events.ids import EventIds
    from incumbent.loop.serve import Gateway
    empty = Gateway(SHOP.log, clock=SHOP.clock, ids=EventIds(SHOP.clock), signer=Signer(b"shop"))
    HANDLER.gateway = empty
    try:
        status, answer = door.post(ROUTE, GOOD)
    finally:
        HANDLER.gateway = SHOP.gateway
    assert (status, answer["error"]["code"], empty.problem) == (503, "unavailable", "no plan yet")


def test_a_body_that_stops_half_way_leaves_nothing(door: Door) -> None:
    before = len(SHOP.impressions())
    with socket.create_connection(("127.0.0.1", door.port)) as line:
        line.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 60\r\n\r\n"
                     b'{"surface": "home"' % ROUTE.encode())
    assert door.post(ROUTE, GOOD)[0] == 200
    assert len(SHOP.impressions()) == before + 1


def test_messagepack_in_messagepack_out(door: Door) -> None:
    status, answer = door.post(ROUTE, msgspec.msgpack.encode(GOOD), "application/msgpack")
    assert status == 200 and len(answer["items"]) == 3
    for body in (b"\xc1", msgspec.msgpack.encode({**GOOD, "context": {"x": float("nan")}}), msgspec.msgpack.encode(1)):
        status, answer = door.post(ROUTE, body, "application/msgpack")
        check_error(status, answer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=8)
FIELD = st.sampled_from(["surface", "user_id", "k", "context", "exclude", "cursor", "deadline_ms", "ranking_id",
                         "session_id", "debug", "other"])


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(FIELD, JSON, max_size=3) | JSON, st.booleans(), st.binary(max_size=3), st.data())
def test_whatever_comes_the_answer_is_2xx_or_4xx(tree: Any, whole: bool, noise: bytes, data: st.DataObject) -> None:
    import asyncio
    packed = data.draw(st.booleans())
    value = {**GOOD, **tree} if isinstance(tree, dict) and whole else tree
    try:
        body = msgspec.msgpack.encode(value) if packed else json.dumps(value).encode()
    except (OverflowError, UnicodeEncodeError):
        return
    at = data.draw(st.integers(0, len(body)))
    body = data.draw(st.sampled_from([body, body[:at], body[:at] + noise + body[at:]]))
    reply = asyncio.run(HANDLER.handle(body, "application/msgpack" if packed else "application/json"))
    assert reply.status < 500
    if reply.status >= 300:
        check_error(reply.status, msgspec.json.decode(reply.body))


def test_the_document_describes_what_is_served(door: Door) -> None:
    document = openapi()
    schemas = document["components"]["schemas"]
    _, answer = door.post(ROUTE, {**GOOD, "debug": True})
    assert set(schemas["RecommendationRequest"]["required"]) == set(GOOD)
    assert {*answer, "text"} == set(schemas["RecommendationAnswer"]["properties"])
    assert set(schemas["RecommendationAnswer"]["required"]) <= set(answer)
    for slot in answer["debug"]["slots"]:
        assert set(slot) <= set(schemas["Slot"]["properties"])
