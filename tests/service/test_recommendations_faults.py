"""Models that hang, answer garbage, too few, duplicates, or die: every request is answered within its deadline."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from incumbent.clock import SystemClock
from incumbent.events.plan import ModelPlan
from incumbent.models.http import HttpModel
from incumbent.service.auth import Keys
from incumbent.service.metrics import Meter
from incumbent.service.recommendations import ROUTE, Recommendations
from incumbent.service.shim import Route, Shim
from incumbent.testing import endpoints
from incumbent.testing.gateway import Door, Shop, served

REQUESTS = 24
GOOD = [f"a{n}" for n in range(20)]
#: behaviour -> the statuses that it may be counted as, and whether its list is merged
FAULTS: dict[str, tuple[set[str], bool]] = {
    "hang": ({"timeout", "error", "open"}, False),  # error where the client's own clock strikes first
    "garbage": ({"error", "invalid", "open"}, False),
    "nan": ({"error", "invalid", "open"}, False),
    "huge": ({"error", "invalid", "open"}, False),
    "halves": ({"error", "invalid", "open"}, False),
    "error": ({"error", "open"}, False),
    "die": ({"error", "open"}, False),
    "nowhere": ({"error", "open"}, False),
    "short": ({"ok"}, True),
    "empty": ({"ok"}, True),
    "duplicates": ({"ok"}, True),
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with endpoints.serving() as found:
        yield found


@pytest.fixture(scope="module")
def front() -> Iterator[tuple[Door, Recommendations]]:
    handler = Recommendations(Shop().gateway)
    shim = Shim({ROUTE: Route(handler, "serve", "recommendations")}, None, keys=Keys({}),  # type: ignore[arg-type]
                meter=Meter(None, "gateway", SystemClock()), clock=SystemClock(), body_bytes=4_194_304)
    with served(shim) as door:
        yield door, handler


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("role", ["champion", "candidate"])
def test_all_are_answered_in_time(role: str, fault: str, url: str, front: tuple[Door, Recommendations]) -> None:
    door, handler = front
    # a model that hangs gets little time; one that answers or fails at once, what a busy machine may need
    model_ms, deadline_ms = (150, 3000) if fault == "hang" else (5000, 10_000)
    behaviour = f"{url}/json/{fault}" if fault != "nowhere" else "http://127.0.0.1:9/json"
    limits = {"deadline_ms": model_ms, "concurrency": 64}
    remote = HttpModel(ModelPlan("broken", "http", behaviour, "1", **limits))
    broken = "old" if role == "champion" else "new"
    shop = Shop(old=GOOD, new=GOOD[::-1], models={broken: remote}, depth=20,
                model=limits)
    handler.gateway = shop.gateway

    def one(n: int) -> tuple[float, int, Any]:
        started = time.monotonic()
        status, answer = door.post(ROUTE, {"surface": "home", "user_id": f"u{n}", "k": 5, "deadline_ms": deadline_ms})
        return (time.monotonic() - started) * 1000, status, answer
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(one, range(REQUESTS)))
    door.run(remote.close())
    statuses, merged = FAULTS[fault]
    assert [status for _, status, _ in found] == [200] * REQUESTS
    assert max(took for took, _, _ in found) < deadline_ms, "also as the shop sees it, connection included"
    assert all(len(answer["items"]) == 5 and answer["logged"] for _, _, answer in found)
    made = shop.impressions()
    assert len(made) == REQUESTS and all(one.latency_ms is not None and one.latency_ms < deadline_ms for one in made)
    counted = [next(model for model in one.models if model.role == role) for one in made]
    stray = {(model.status, model.reason) for model in counted if model.status not in statuses}
    assert not stray, "the failure is counted against that model"
    assert {one.mode for one in made} == {"interleave" if merged else "fallback"}
    assert all(model.reason for model in counted if model.status != "ok" or fault == "duplicates")
