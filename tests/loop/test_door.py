"""Data quality at the door: states against plain Python over the rows, and findings of days that were broken."""

import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from incumbent.clock import ManualClock
from incumbent.config import Config
from incumbent.config.door import DoorConfig
from incumbent.events.ids import EventIds
from incumbent.events.schema import Feedback, Impression, Item, Slot
from incumbent.loop.door.report import door
from incumbent.loop.door.states import DoorStates, key_of, named
from incumbent.loop.door.watch import DoorWatch, standing
from incumbent.loop.report import report
from incumbent.loop.rollup import total
from incumbent.stats.counts import Counts
from incumbent.stores.memory_control import MemoryControl
from incumbent.stores.memory_lake import MemoryLake

START = datetime(2026, 3, 2, tzinfo=UTC)


class Shop:
    """Days of 120 clicks and 40 purchases each; `broken` changes what a day holds."""

    def __init__(self, **config):
        self.clock, self.lake, self.control = ManualClock(START), MemoryLake(2), MemoryControl()
        self.rng = random.Random(11)
        self.ids = EventIds(self.clock, random=self.rng.randbytes)
        self.config = DoorConfig(**config)
        self.states = DoorStates(self.lake, self.control, self.clock)
        self.watch = DoorWatch(self.control, self.clock, self.ids, self.config)
        self.sequence = 0

    def commit(self, events):
        self.lake.commit(events, "w", self.sequence)
        self.sequence += 1

    def feedback(self, at, **changes):
        time = START + timedelta(days=at, seconds=self.rng.randrange(1, 86_000))
        base = {"event_id": self.ids.new(), "time": time, "user_id": f"u{self.rng.randrange(40)}", "item_id": "i1",
                "action": "click", "session_id": "s", "received": time + timedelta(seconds=self.rng.randrange(1, 9))}
        return Feedback(**{**base, **changes})

    def day(self, at, **broken):
        n = int(broken.pop("scale", 1.0) * 120)
        events = [self.feedback(at, **({"session_id": None} if self.rng.random() < 0.1 else {}))
                  for _ in range(n + self.rng.randrange(-6, 6))] if n else []
        events += [self.feedback(at, action="purchase", value_minor=self.rng.randrange(500, 5_000), currency="EUR")
                   for _ in range(40 + self.rng.randrange(-5, 5))] if not broken.pop("no_purchases", False) else []
        change = broken.pop("change", None)
        self.commit([change(self, event) for event in events] if change else events)

    def look(self, at, until=None):
        """Measure and judge as of two hours after the end of a day."""
        self.clock.set(START + timedelta(days=at + 1, hours=2))
        self.states.run_once()
        return self.watch.run_once(until or self.clock.now())

    def findings(self):
        return [(one.subject, one.check, one.status) for one in reversed(self.control.conclusions("finding"))]


def test_states_are_counts_of_the_rows_and_late_events_rebuild_their_day():
    shop = Shop()
    shop.day(0)
    shop.look(0)
    rows = shop.lake.scan("feedback").to_pylist()

    def state(name):
        return total(shop.control, Counts, key_of("feedback", name))

    assert state("volume").total == len(rows)
    assert state("null[session_id]").counts == {
        "hit": sum(row["session_id"] is None for row in rows),
        "miss": sum(row["session_id"] is not None for row in rows)}
    assert state("unseen[action]").counts == {
        action: sum(row["action"] == action for row in rows) for action in ("click", "purchase")}
    assert state("volume[purchase]").total == sum(row["action"] == "purchase" for row in rows)
    assert state("late[3600 s]").counts == {"miss": len(rows)}
    time = START + timedelta(hours=3)
    shop.commit([shop.feedback(0, time=time, received=time + timedelta(days=2)) for _ in range(3)])
    shop.look(2)
    assert state("late[3600 s]").counts == {"hit": 3, "miss": len(rows)} and state("volume").total == len(rows) + 3
    assert shop.states.run_once().shards == 0


def test_what_is_equal_but_for_its_id_is_resent_and_one_item_on_two_pages_is_not():
    shop = Shop()
    same = {"time": START + timedelta(hours=1), "user_id": "u1", "action": "view"}
    shop.commit([shop.feedback(0, request_id=request, **same) for request in (None, None, "r1", "r1", "r2", "r3")])
    shop.look(0)
    assert total(shop.control, Counts, key_of("feedback", "resent")).counts == {"hit": 2, "miss": 4}


def test_feedback_is_joined_with_requests_of_its_own_user_and_with_the_catalogue():
    shop = Shop()
    shown = []
    for user in ("u1", "u2"):
        event_id = shop.ids.new()
        shown.append(Impression(
            event_id=event_id, request_id=f"{event_id}.sig", ranking_id="r", time=START + timedelta(hours=1),
            user_id=user, surface="home", mode="champion", lane="none", plan="p", slots=[Slot(1, "i1", "solo")],
            models=[]))
    missing = f"{shop.ids.new()}.sig"
    told = [("u1", shown[0].request_id), ("u1", shown[1].request_id), ("u1", missing), ("u2", shown[1].request_id),
            ("u2", None), ("u2", "no id at all")]
    shop.commit([*shown, *(shop.feedback(0, user_id=user, request_id=request, item_id="i1" if n % 2 else "i9")
                           for n, (user, request) in enumerate(told))])
    shop.look(0)
    joined = total(shop.control, Counts, key_of("feedback", "join[request]"))
    assert joined.counts == {"hit": 2, "miss": 3}
    assert total(shop.control, Counts, key_of("feedback", "join[item]")) is None, "no catalogue, nothing to join with"
    shop.commit([Item(event_id=shop.ids.new(), time=START, item_id="i1"), shop.feedback(1, item_id="i9"),
                 shop.feedback(1, item_id="i1")])
    shop.look(1)
    assert total(shop.control, Counts, key_of("feedback", "join[item]")).counts == {"hit": 1, "miss": 1}


def unnamed(shop, event):
    return msgspec.structs.replace(event, session_id=None)


def late(shop, event):
    return msgspec.structs.replace(event, received=event.time + timedelta(hours=5))


def dear(shop, event):
    dearer = None if event.value_minor is None else event.value_minor * 1_000
    return msgspec.structs.replace(event, value_minor=dearer)


def foreign(shop, event):
    return msgspec.structs.replace(event, currency="SEK") if event.currency else event


@pytest.mark.parametrize(("broken", "told"), [
    ({"change": unnamed}, {("door:feedback", "null[session_id]")}),
    ({"change": late}, {("door:feedback", "late[3600 s]"), ("door:feedback", "freshness[p50]")}),
    ({"change": dear}, {("door:feedback", "range[value_minor EUR]")}),
    ({"change": foreign}, {("door:feedback", "unseen[currency]")}),
    ({"scale": 0.02}, {("door:feedback", "volume"), ("door:feedback", "volume[click]")}),
    ({"no_purchases": True}, {("door:feedback", "volume[purchase]")}),
])
def test_a_broken_day_is_a_finding_told_once_and_an_end_is_told_too(broken, told):
    shop = Shop()
    for at in range(12):
        shop.day(at)
    shop.look(11)
    assert shop.findings() == []
    for at in (12, 13):
        shop.day(at, **broken)
        shop.look(at)
        assert told <= {(subject, check) for subject, check, status in shop.findings() if status == "drift"}
    drifts = [(subject, check) for subject, check, status in shop.findings() if status == "drift"]
    assert len(drifts) == len(set(drifts)), "an open change is told once"
    alerts = shop.control.outbox()
    assert sum(row.kind == "alert" for row in alerts) == len(drifts)
    shop.day(14)
    shop.look(14)
    ended = {(subject, check) for subject, check, status in shop.findings() if status == "ok"}
    assert told <= ended and shop.watch.run_once(shop.clock.now()).days == 0


def test_a_new_level_that_stays_becomes_ordinary():
    shop = Shop(settle_days=4)
    for at in range(10):
        shop.day(at)
    shop.look(9)
    for at in range(10, 20):
        shop.day(at, change=unnamed)
    shop.look(19)
    own = [(check, status) for _, check, status in shop.findings() if check == "null[session_id]"]
    assert own == [("null[session_id]", "drift"), ("null[session_id]", "ok")]
    one = standing(shop.control).checks[key_of("feedback", "null[session_id]")]
    assert one.status == "ok" and one.baseline == (START + timedelta(days=10)).date() and one.value == 1.0


def test_a_day_without_anything_is_missing_and_an_absent_kind_is_not():
    shop = Shop()
    for at in range(12):
        if at != 6:
            shop.day(at)
    shop.look(9)
    assert shop.findings() == []
    shop.look(12)  # nothing at all came in: the shop was closed, or we were
    assert shop.findings() == [] and standing(shop.control).day == (START + timedelta(days=12)).date()
    shop.commit([Item(event_id=shop.ids.new(), time=START + timedelta(days=13, hours=1), item_id="i1")])
    shop.look(13)
    assert ("door:feedback", "volume", "drift") in shop.findings()


def test_days_wait_until_the_inbox_is_in_the_lake_and_an_outage_of_the_loop_is_no_finding():
    """The loop stands still from noon of day 12 to day 15; the gateway goes on, and its inboxes hold what came."""
    shop = Shop()
    for at in range(12):
        shop.day(at)
    shop.look(11)
    shop.day(12, scale=0.3, no_purchases=True)  # what was sealed of it
    assert shop.look(15, until=START + timedelta(days=12, hours=12)).days == 0
    assert shop.watch.run_once(None).stopped == "nothing was measured yet"
    shop.day(12, scale=0.7)
    for at in (13, 14, 15):
        shop.day(at)
    assert shop.look(15).days == 4
    assert shop.findings() == [] and standing(shop.control).day == (START + timedelta(days=15)).date()


def test_a_run_that_was_cut_short_tells_the_rest_once():
    shop = Shop()
    for at in range(12):
        shop.day(at)
    shop.look(11)
    shop.day(12, change=late)
    tell, calls = shop.watch._tell, []

    def cut(finding, known):
        tell(finding, known)
        calls.append(finding.check)
        raise RuntimeError("killed")

    shop.watch._tell = cut
    with pytest.raises(RuntimeError):
        shop.look(12)
    shop.watch._tell = tell
    shop.look(12)
    drifts = [check for _, check, status in shop.findings() if status == "drift"]
    assert len(drifts) == len(set(drifts)) and {"late[3600 s]", "freshness[p50]"} <= set(drifts)


@pytest.mark.slow
def test_ordinary_days_keep_to_the_budget():
    """17 judged days: at one false finding a month half a one may come; four would be beyond chance."""
    findings = 0
    for seed in (0,):
        shop = Shop()
        shop.rng.seed(seed)
        for at in range(25):
            shop.day(at)
        shop.look(7)
        shop.look(24)
        findings += sum(status == "drift" for _, _, status in shop.findings())
    assert findings < 4


def test_the_report_and_the_door_say_how_each_check_stands():
    shop = Shop()
    assert door(shop.control) == {"day": None, "open": 0, "kinds": []}
    for at in range(10):
        shop.day(at)
    shop.look(8)
    shop.day(9, change=unnamed)
    shop.look(9)
    shown = door(shop.control)
    first = shown["kinds"][0]["checks"][0]
    assert shown["open"] >= 1 and shown["kinds"][0]["table"] == "feedback" and first["status"] == "drift"
    section = next(one for one in report(shop.control, Config(), shop.clock.now()).sections
                   if one.subject == "door:feedback")
    line = next(one for one in section.lines if one.name == "null[session_id]")
    assert line.value == pytest.approx(first["value"]) and "usually" in line.unit
    assert any("null[session_id] since 2026-03-11" in note for note in section.notes)
    assert named(key_of("item", "range[price_minor EUR]")) == ("item", "range[price_minor EUR]")
