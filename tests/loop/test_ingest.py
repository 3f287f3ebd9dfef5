import asyncio
import json
import math
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.clock import ManualClock
from incumbent.config import LimitsConfig
from incumbent.errors import StoreError
from incumbent.events import codec
from incumbent.events.ids import EventIds, Signer, hash_user
from incumbent.events.schema import Feedback
from incumbent.loop.ingest import Ingest
from incumbent.stores.store import Quarantined

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SIGNER = Signer(b"secret")
LIMITS = LimitsConfig()


class ListLog:
    """A log in a list; `fail` makes the next append fail."""

    writer = "w"

    def __init__(self):
        self.records, self.fail = {}, False

    def append_async(self, records, *, max_delay_s=0.0):
        future = asyncio.get_running_loop().create_future()
        if self.fail:
            future.set_exception(StoreError("disk full"))
            return future
        fresh = []
        for record in records:
            fresh.append(record.event_id not in self.records)
            self.records.setdefault(record.event_id, record)
        future.set_result(fresh)
        return future

    def table(self, name):
        return [r for r in self.records.values() if r.table == name]


def make(**options):
    clock = ManualClock(NOW)
    log = ListLog()
    return Ingest(log, clock=clock, ids=EventIds(clock), signer=SIGNER, limits=options.pop("limits", LIMITS),
                  **options), log


IDS = EventIds(ManualClock(NOW - timedelta(hours=1)))


def event(**changes):
    base = {"type": "feedback", "event_id": IDS.new(), "time": NOW.isoformat(), "user_id": "u", "item_id": "i",
            "action": "click", "request_id": SIGNER.sign("r1")}
    return {key: value for key, value in {**base, **changes}.items() if value is not ...}


def take(ingest, *events, msgpack=False):
    raws = [msgspec.msgpack.encode(e) if msgpack else json.dumps(e).encode() for e in events]
    return asyncio.run(ingest.take(raws, msgpack=msgpack))


def test_a_sound_event_is_in_the_log_as_sent():
    ingest, log = make()
    sent = event(value_minor=1250, currency="EUR", action="purchase", context={"country": "SE"})
    receipt = take(ingest, sent)
    assert (receipt.accepted, receipt.duplicate, receipt.rejected, receipt.items) == (1, 0, 0, [])
    [record] = log.records.values()
    assert record.table == "feedback" and record.event_id == sent["event_id"]
    kept = codec.decode(record.data)
    assert (kept.user_id, kept.value_minor, kept.currency, kept.marks) == ("u", 1250, "EUR", [])


@pytest.mark.parametrize(("changes", "kind", "field"), [
    ({"time": (NOW + timedelta(days=1)).isoformat()}, "time", "time"),
    ({"time": (NOW - timedelta(days=365)).isoformat()}, "time", "time"),
    ({"time": "2026-03-10T12:00:00"}, "schema", "time"),
    ({"time": "0001-01-01T00:00:00+14:00"}, "time", "time"),
    ({"value_minor": -1, "currency": "EUR"}, "schema", "value_minor"),
    ({"value_minor": 100}, "currency", "value_minor"),
    ({"value_minor": 100, "currency": "ZZZ"}, "currency", "currency"),
    ({"value_minor": 1.5, "currency": "EUR"}, "schema", "value_minor"),
    ({"user_id": "x" * 1_000_000}, "size", None),
    ({"user_id": "x" * 300}, "schema", "user_id"),
    ({"user_id": ""}, "schema", "user_id"),
    ({"user_id": ...}, "schema", None),
    ({"user_id": 7}, "schema", "user_id"),
    ({"action": "teleport"}, "schema", "action"),
    ({"action": "refund"}, "reference", "refers_to"),
    ({"quantity": 0}, "number", "quantity"),
    ({"event_id": "not-an-id"}, "schema", "event_id"),
    ({"event_id": "00000000-03e8-4000-8000-000000000000"}, "id", "event_id"),
    ({"marks": ["unserved"]}, "schema", "marks"),
    ({"context": {str(n): n for n in range(100)}}, "size", "context"),
    ({"context": {"n": 2**70}}, "schema", None),
    ({"colour": "red"}, "schema", None),
    ({"schema": 9}, "schema", "schema"),
    ({"type": "impression"}, "schema", None),
    ({"type": "item", "user_id": ..., "action": ..., "request_id": ..., "price_minor": 5}, "currency", "price_minor"),
])
def test_a_bad_event_is_refused_with_the_reason_and_kept(changes, kind, field):
    ingest, log = make()
    receipt = take(ingest, event(), event(**changes), event())
    assert (receipt.accepted, receipt.rejected) == (2, 1)
    [item] = receipt.items
    assert (item.index, item.status, item.kind) == (1, "rejected", kind)
    assert item.reason and (field is None or item.field == field)
    [record] = log.table("quarantine")
    kept = msgspec.msgpack.decode(record.data, type=Quarantined)
    assert kept.reason == item.reason and kept.source == "collector" and len(kept.raw) <= LIMITS.event_bytes
    assert len(log.table("feedback")) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused(value):
    ingest, log = make()
    at = {"event_id": IDS.new(), "time": NOW.isoformat()}
    receipt = take(
        ingest, event(action="dwell", seconds=value), event(context={"x": value}),
        {**at, "type": "measurement", "name": "ctr", "value": value, "unit": "1"},
        {**at, "type": "embedding", "space": "s", "version": "1", "entity": "item", "entity_id": "i",
         "vector": [0.5, value]},
        {**at, "type": "item", "item_id": "i", "attributes": {"margin": value}},
        msgpack=True)
    assert receipt.accepted == 0 and receipt.rejected == 5
    assert len(log.table("quarantine")) == 5


def test_what_the_catalogue_tells_of_an_item_has_a_size_and_is_told_by_its_field():
    ingest, _ = make(limits=LimitsConfig(context_keys=2))
    item = {"type": "item", "time": NOW.isoformat(), "item_id": "i"}
    good, many, deep = (take(ingest, {**item, "attributes": attributes}).items[0] for attributes in (
        {"season": "summer", "eco": True}, {"a": 1, "b": 2, "c": 3}, {"a": {"b": 1}}))
    assert good.status == "accepted"
    assert (many.status, many.field, many.kind) == ("rejected", "attributes", "size")
    assert (deep.status, deep.kind) == ("rejected", "schema") and deep.field.startswith("attributes")
    missing = take(ingest, {"type": "item", "time": NOW.isoformat(), "colour": 1}).items[0]
    assert missing.status == "rejected" and missing.field in ("item_id", "colour")


LARGEST = 3.4028234663852886e38  # of a float32; what rounds to it is kept as it


@pytest.mark.parametrize("value", [1e39, -1e39, 3.4028235677973366e38, 1.7e308])
def test_a_vector_that_float32_cannot_hold_is_refused(value):
    ingest, log = make()
    vector = {"type": "embedding", "time": NOW.isoformat(), "space": "s", "version": "1", "entity": "item",
              "entity_id": "i"}
    receipt = take(ingest, {**vector, "event_id": IDS.new(), "vector": [1.0, value]},
                   {**vector, "event_id": IDS.new(), "vector": [1.0, 3.4028235e38, -LARGEST]})
    assert (receipt.accepted, receipt.rejected) == (1, 1)
    [item] = receipt.items
    assert (item.index, item.field, item.kind) == (0, "vector", "number") and "does not fit float32" in item.reason
    [record] = log.table("embedding")
    kept = np.array(codec.decode(record.data).vector).astype(np.float32)
    assert kept.tolist() == [1.0, LARGEST, -LARGEST]


def test_what_does_not_parse_is_refused_alone():
    ingest, log = make()
    bad = [b"{", b"\xff\xff", b"[" * 5000, b"null", b"[]", b'"x"', b"{}"]
    receipt = asyncio.run(ingest.take([*bad, json.dumps(event()).encode()]))
    assert receipt.accepted == 1 and receipt.rejected == len(bad)
    assert len(log.table("quarantine")) == len(bad)


def test_got_names_what_stood_there():
    ingest, _ = make()
    [item] = take(ingest, event(value_minor=-5, currency="EUR")).items
    assert item.reason == "Expected `int` >= 0. Got -5."


def test_duplicates_are_told_within_and_across_batches():
    ingest, log = make()
    one, two = event(), event()
    assert take(ingest, one, two, one).duplicate == 1
    receipt = take(ingest, two, event())
    assert (receipt.accepted, receipt.duplicate) == (1, 1)
    assert receipt.items[0].index == 0 and receipt.items[0].event_id == two["event_id"]
    assert len(log.records) == 3


def test_an_event_without_an_id_is_given_one():
    ingest, log = make()
    for msgpack in (False, True):
        [item] = take(ingest, event(event_id=...), msgpack=msgpack).items
        assert item.status == "accepted" and item.event_id in log.records


def test_request_ids_are_verified_and_marked():
    ingest, log = make()
    receipt = take(ingest, event(), event(request_id="r1.AAAAAAAAAAAA"), event(request_id=...), event(request_id="ä.b"),
                   event(time=(NOW + timedelta(seconds=60)).isoformat()))
    assert receipt.accepted == 5
    assert [(i.index, i.marks) for i in receipt.items] == [
        (1, ["unserved"]), (2, ["no_request"]), (3, ["unserved"]), (4, ["skewed"])]
    assert [codec.decode(r.data).marks for r in log.records.values()] == [
        [], ["unserved"], ["no_request"], ["unserved"], ["skewed"]]


def test_times_are_kept_in_utc_and_ids_in_lower_case():
    ingest, log = make()
    upper = event(time="2026-03-10T13:00:00+02:00")
    upper["event_id"] = upper["event_id"].upper()
    assert take(ingest, upper, {**upper, "event_id": upper["event_id"].lower()}).duplicate == 1
    [record] = log.records.values()
    kept = codec.decode(record.data)
    assert kept.time.isoformat() == "2026-03-10T11:00:00+00:00" and kept.event_id == upper["event_id"].lower()


def test_a_log_that_fails_acknowledges_nothing():
    ingest, log = make()
    log.fail = True
    with pytest.raises(StoreError, match="disk full"):
        take(ingest, event(), event(action="teleport"))
    assert not log.records


def test_exclusions_go_out_before_the_answer():
    seen = []

    async def exclude(exclusions):
        seen.extend(exclusions)

    ingest, _ = make(exclude=exclude)
    take(ingest, event(action="exclude", item_id="x"), event(), event(action="exclude", value_minor=-1))
    assert seen == [("u", "x", NOW)]


def test_exclusions_that_cannot_be_kept_fail_the_batch_and_are_kept_with_the_next_try():
    seen, away = [], [StoreError("control is away")]

    async def exclude(exclusions):
        if away:
            raise away.pop()
        seen.extend(exclusions)

    ingest, log = make(exclude=exclude)
    batch = event(), event(action="exclude")
    with pytest.raises(StoreError):
        take(ingest, *batch)
    assert len(log.records) == 2 and seen == []
    assert take(ingest, *batch).duplicate == 2 and seen == [("u", "i", NOW)]


def test_a_log_that_fails_excludes_nothing():
    seen = []

    async def exclude(exclusions):
        seen.extend(exclusions)

    ingest, log = make(exclude=exclude)
    log.fail = True
    with pytest.raises(StoreError, match="disk full"):
        take(ingest, event(action="exclude"))
    assert seen == []


def test_a_duplicate_from_the_future_excludes_nothing_more():
    seen = []

    async def exclude(exclusions):
        seen.append(exclusions)

    ingest, _ = make(exclude=exclude)
    ahead = event(action="exclude", time=(NOW + timedelta(seconds=60)).isoformat())
    take(ingest, ahead)
    assert seen == [[("u", "i", NOW + timedelta(seconds=60))]]
    assert take(ingest, ahead).duplicate == 1 and len(seen) == 1


def test_hashed_users_never_stand_in_clear():
    ingest, log = make(user_secret=b"k")
    shopper = "shopper-4711"
    at = {"event_id": IDS.new(), "time": NOW.isoformat()}
    take(ingest, event(user_id=shopper), event(user_id=shopper, action="teleport"),
         event(user_id={"id": shopper}), {"user": shopper}, [shopper], event(user_id=shopper, context={"n": 2**70}),
         {**at, "type": "embedding", "space": "s", "version": "1", "entity": "user", "entity_id": shopper,
          "vector": [0.1]})
    assert len(log.records) == 7
    hashed = hash_user(shopper, b"k")
    [feedback] = log.table("feedback")
    assert codec.decode(feedback.data).user_id == hashed
    users = [msgspec.msgpack.decode(r.data, type=Quarantined).user_id for r in log.table("quarantine")]
    assert users.count(hashed) == 2
    assert not any(shopper.encode() in record.data for record in log.records.values())


def test_the_answer_is_by_one_clock_reading():
    ingest, _log = make()
    edge = NOW - timedelta(days=LIMITS.event_age_days)
    receipt = take(ingest, event(time=edge.isoformat()), event(time=(edge - timedelta(microseconds=1)).isoformat()))
    assert (receipt.accepted, receipt.rejected) == (1, 1)


FACTS = {
    "item": {"item_id": "i", "title": "a lamp"},
    "embedding": {"space": "s", "version": "1", "entity": "item", "entity_id": "i", "vector": [0.1]},
    "measurement": {"name": "margin", "value": 0.4, "unit": "1"},
}


@pytest.mark.parametrize("kind", FACTS)
def test_a_fact_may_be_old_and_not_of_any_age(kind):
    def at(time):
        return {"type": kind, "event_id": IDS.new(), "time": time.isoformat(), **FACTS[kind]}

    oldest, latest = NOW - timedelta(days=LIMITS.fact_age_days), NOW + timedelta(seconds=LIMITS.event_ahead_s)
    step = timedelta(microseconds=1)
    ingest, log = make()
    ancient = datetime(1, 1, 2, tzinfo=UTC)
    receipt = take(ingest, *map(at, (oldest, latest, oldest - step, latest + step, ancient)))
    assert (receipt.accepted, receipt.rejected) == (2, 3) and len(log.table("quarantine")) == 3
    old, ahead, first = receipt.items
    assert {(item.status, item.field, item.kind) for item in receipt.items} == {("rejected", "time", "time")}
    assert old.reason.startswith(f"{kind} is too old. Got") and "limits.fact_age_days" in old.reason
    assert "future" in ahead.reason and "too old" in first.reason
    narrow, _ = make(limits=LimitsConfig(fact_age_days=1))
    assert take(narrow, at(NOW - timedelta(days=2))).rejected == 1


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from([*Feedback.__struct_fields__, "type", "colour"]), JUNK, max_size=4))
def test_nothing_that_comes_is_lost_or_breaks(changes):
    ingest, log = make()
    sent = event()
    receipt = take(ingest, {**sent, **changes}, event())
    assert receipt.accepted + receipt.duplicate + receipt.rejected == 2
    assert len(log.records) == 2
    kept = [codec.decode(r.data) for r in log.table("feedback")]
    assert all(isinstance(k, Feedback) and k.time.tzinfo is UTC for k in kept)


@pytest.mark.parametrize(("context", "marks"), [
    ({"bot": True}, ["bot"]), ({"user_agent": "AhrefsBot/7.0"}, ["bot"]), ({"user_agent": "Baiduspider"}, ["bot"]),
    ({"bot": False, "user_agent": "Firefox/140.0"}, []), ({"user_agent": None, "page": "bot/"}, []), ({}, []),
])
def test_declared_robots_are_marked_by_the_rule_that_is_configured(context, marks):
    ingest, log = make()
    assert [item.marks for item in take(ingest, event(context=context)).items] == ([marks] if marks else [])
    assert [codec.decode(record.data).marks for record in log.records.values()] == [marks]
    counted_in, _ = make(limits=LimitsConfig(bots={}))
    assert take(counted_in, event(context=context)).items == []
    own, _ = make(limits=LimitsConfig(bots={"page": ["bot?"]}))
    assert bool(take(own, event(context=context)).items) == ("page" in context)
