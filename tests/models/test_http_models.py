import asyncio

import pytest

from incumbent.clock import SystemClock
from incumbent.events.plan import ModelPlan
from incumbent.models import guard as guards
from incumbent.models.both import ask_all
from incumbent.models.recommender import Ask
from incumbent.testing import endpoints


@pytest.fixture(scope="module")
def url():
    with endpoints.serving() as base:
        yield base


def ask(plan, times=1):
    async def talk():
        model = guards.build(plan, SystemClock())
        try:
            return [(await ask_all([model], Ask("u1", "home", 4), 4, 2.0))[0] for _ in range(times)]
        finally:
            await model.recommender.close()
    return asyncio.run(talk())


@pytest.mark.parametrize("kind", ["http", "open_inference"])
def test_a_connection_that_dies_is_an_error_and_the_next_request_works(url, kind):
    (died,) = ask(endpoints.example_plan(kind, "die", url))
    assert died.status == "error"
    assert [a.status for a in ask(endpoints.example_plan(kind, "good", url), times=3)] == ["ok"] * 3


def test_nothing_listens():
    (answer,) = ask(ModelPlan(name="m", adapter="http", target="http://127.0.0.1:9/x", version="1"))
    assert answer.status == "error"
    assert "ClientConnectorError" in answer.reason


def test_status_is_said(url):
    (answer,) = ask(endpoints.example_plan("http", "error", url))
    assert answer.reason == "HTTP status 500"


def test_paths_and_keys_by_option(url):
    plan = endpoints.example_plan("http", "good", url)
    plan = ModelPlan(name="m", adapter="http", target=plan.target, version="1", deadline_ms=1000,
                     options={"items": "itms"})
    (answer,) = ask(plan)
    assert answer.status == "error"
    assert "no 'itms'" in answer.reason


def test_output_that_is_missing_names_what_is_there(url):
    plan = endpoints.example_plan("open_inference", "good", url, options={"items": "ids"})
    (answer,) = ask(plan)
    assert "no output 'ids' among ['item_ids', 'scores']" in answer.reason
