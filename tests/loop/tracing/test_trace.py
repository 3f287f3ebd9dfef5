from datetime import UTC, datetime, timedelta

import pytest

from incumbent.clock import ManualClock
from incumbent.config import Config
from incumbent.errors import DataError, NotFoundError
from incumbent.events.ids import EventIds, Signer
from incumbent.events.schema import Feedback, Impression, ModelAnswer, Slot
from incumbent.loop.plan import build_plan
from incumbent.loop.report import report
from incumbent.loop.tracing.trace import trace_request, trace_user
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONFIG = Config(models={"a": {"target": "m:a"}, "b": {"target": "m:b"}}, surfaces={"home": {"champion": "a"}},
                experiments={"e1": {"surface": "home", "candidate": "b"}})


class Shop:
    def __init__(self):
        self.clock = ManualClock(T0)
        self.ids, self.signer = EventIds(self.clock), Signer(b"s")
        self.lake, self.control = MemoryLake(4), MemoryControl()
        self.plan = self.control.publish(build_plan(CONFIG))

    def impression(self, user):
        event_id = self.ids.new()
        return Impression(
            event_id=event_id, request_id=self.signer.sign(event_id), ranking_id=event_id, time=self.clock.now(),
            user_id=user, surface="home", mode="champion", lane="none", plan=self.plan.hash,
            slots=[Slot(1, "x", "solo", "champion")],
            models=[ModelAnswer("champion", "a", "1", "ok", 2.0, 1, ["x"])], context={"country": "SE"})

    def click(self, user, request_id):
        return Feedback(event_id=self.ids.new(), time=self.clock.now() + timedelta(hours=1), user_id=user, item_id="x",
                        action="click", request_id=request_id)


def test_a_request_is_told_with_its_plan_and_its_own_events():
    shop = Shop()
    one, two = shop.impression("u1"), shop.impression("u1")
    shop.lake.commit([one, two, shop.click("u1", one.request_id), shop.click("u1", two.request_id),
                      shop.click("u2", one.request_id)], "w", 0)
    told = trace_request(shop.lake, shop.control, one.request_id)
    assert told["request"]["context"] == {"country": "SE"} and told["request"]["models"][0]["items"] == ["x"]
    assert told["plan"]["hash"] == shop.plan.hash and told["plan"]["surface"]["champion"] == "a"
    assert [event["request_id"] for event in told["events"]] == [one.request_id]
    assert trace_request(shop.lake, shop.control, one.event_id)["request"] == told["request"]


def test_what_is_not_there_is_said_to_be_not_there():
    shop = Shop()
    with pytest.raises(NotFoundError, match="no such request in the lake"):
        trace_request(shop.lake, shop.control, shop.impression("u1").request_id)
    for nonsense in ("", "x", "00000000-0000-4000-8000-000000000000"):
        with pytest.raises(DataError, match="not a request id"):
            trace_request(shop.lake, shop.control, nonsense)


def test_a_shopper_is_told_newest_first_and_an_unknown_one_as_nothing():
    shop = Shop()
    shown = []
    for _ in range(3):
        shop.clock.advance(3600)
        shown.append(shop.impression("u1"))
    shop.lake.commit([*shown, shop.impression("u2"), shop.click("u1", shown[0].request_id)], "w", 0)
    told = trace_user(shop.lake, "u1", shop.clock)
    assert told["counts"] == {"requests": 3, "events": 1, "outcomes": 0}
    assert [r["event_id"] for r in told["requests"]] == [i.event_id for i in reversed(shown)]
    assert trace_user(shop.lake, "nobody", shop.clock)["counts"] == {"requests": 0, "events": 0, "outcomes": 0}


def test_a_report_of_nothing_says_that_nothing_is_there():
    shop = Shop()
    made = report(shop.control, CONFIG, T0)
    assert [section.subject for section in made.sections] == ["surface:home", "experiment:e1"]
    assert made.sections[0].notes == ["not measured yet: a running service measures every 600 s"]
    assert not made.sections[1].lines
    assert (made.until - made.since).days == 6 and made.since.hour == 0


def test_a_report_has_unit_n_and_interval_on_every_line():
    from incumbent.loop.rollup import Rollup

    shop = Shop()
    events = [shop.impression(f"u{n}") for n in range(50)]
    shop.lake.commit(events, "w", 0)
    Rollup(shop.lake, shop.control, shop.clock, dict).run_once()
    lines = {line.name: line for line in report(shop.control, CONFIG, T0).sections[0].lines}
    assert lines["requests"].value == 50
    answered = lines["a (champion) answered"]
    assert answered.value == 1 and answered.low < 1 == answered.high and answered.n == 50
    assert abs(lines["a (champion) p50"].value - 2.0) <= 0.02
    assert lines["clicks per request"].value == 0 and lines["clicks per request"].n == 50
    assert all(line.unit and (line.value is not None or line.reason) for line in lines.values())
