import asyncio
import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.clock import ManualClock, SystemClock
from incumbent.config import LimitsConfig
from incumbent.errors import StoreError
from incumbent.events import codec
from incumbent.events.ids import EventIds, Signer
from incumbent.events.malformed import elements
from incumbent.events.malformed_msgpack import packed_elements
from incumbent.loop.ingest import Ingest
from incumbent.service.events import EventsHandler
from incumbent.service.metrics import Meter
from incumbent.stores.memory_log import MemoryLog

T0 = datetime(2026, 3, 1, tzinfo=UTC)
CLOCK = ManualClock(T0)
IDS = EventIds(CLOCK)


def event(**changes):
    return {"type": "feedback", "event_id": IDS.new(), "time": T0.isoformat(), "user_id": "u", "item_id": "i",
            "action": "click", "request_id": Signer(b"s").sign("r"), **changes}


class Collector:
    def __init__(self, batch_events=10):
        self.refuse = None
        self.log = MemoryLog(CLOCK, fault=self._fault)
        self.meter = Meter(None, "front", SystemClock())
        ingest = Ingest(self.log, clock=CLOCK, ids=EventIds(CLOCK), signer=Signer(b"s"), limits=LimitsConfig())
        self.handler = EventsHandler(ingest, self.meter, batch_events=batch_events)

    def _fault(self, records):
        if self.refuse is not None:
            raise self.refuse

    def post(self, body, content_type="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = asyncio.run(self.handler.handle(data, content_type))
        packed = reply.content_type == b"application/msgpack"
        assert packed == (reply.status == 200 and content_type == "application/msgpack")
        return reply.status, (msgspec.msgpack.decode if packed else json.loads)(reply.body)

    def kept(self):
        segment = self.log.drain()
        return [] if segment is None else list(segment.records)


def test_a_batch_is_counted_and_answered_per_event():
    collector = Collector()
    one = event()
    status, receipt = collector.post({"events": [one, event(action="x"), one, event(value_minor=5)]})
    assert status == 200 and (receipt["accepted"], receipt["duplicate"], receipt["rejected"]) == (1, 1, 2)
    assert [(i["index"], i["status"]) for i in receipt["items"]] == [(1, "rejected"), (2, "duplicate"), (3, "rejected")]
    assert sorted(r.table for r in collector.kept()) == ["feedback", "quarantine", "quarantine"]
    text = collector.meter.expose().decode()
    for labels, count in (('outcome="accepted",reason=""', 1), ('outcome="duplicate",reason=""', 1),
                          ('outcome="rejected",reason="schema"', 1), ('outcome="rejected",reason="currency"', 1)):
        assert f"incumbent_events_total{{{labels}}} {count}.0" in text


def test_message_pack_is_answered_in_kind():
    collector = Collector()
    status, receipt = collector.post(msgspec.msgpack.encode([event(), event()]), "application/msgpack")
    assert (status, receipt) == (200, {"accepted": 2, "duplicate": 0, "rejected": 0, "items": []})
    assert all(codec.decode(record.data).user_id == "u" for record in collector.kept())
    both = {kind: collector.post(encode([event(event_id="1" * 36), event()]), kind) for kind, encode in (
        ("application/msgpack", msgspec.msgpack.encode), ("application/json", msgspec.json.encode))}
    assert both["application/msgpack"] == both["application/json"] and both["application/json"][1]["rejected"] == 1


ACTIONS = "Expected one of add_to_cart, click, dismiss, dwell, exclude, purchase, refund, view."
NONE = "a quantity of none says nothing. Got 0. Expected 1 or more. Hint: leave quantity out, or the event."


@pytest.mark.parametrize(("changes", "field", "told"), [
    ({"action": "clik"}, "action", f"Invalid enum value. Got 'clik'. {ACTIONS} Hint: did you mean 'click'?"),
    ({"action": "x - at `$.time`'s"}, "action", f"Invalid enum value. Got \"x - at `$.time`'s\". {ACTIONS}"),
    ({"type": "feedbak"}, "type", "Invalid value. Got 'feedbak'. Expected one of embedding, feedback, impression, "
                                  "item, measurement. Hint: did you mean 'feedback'?"),
    ({"quantity": 0}, "quantity", NONE),
    ({"action": "refund", "refers_to": "0" * 36, "quantity": 0}, "quantity", NONE)])
@pytest.mark.parametrize("packed", [False, True])
def test_what_was_got_is_told_once(changes, field, told, packed):
    body = msgspec.msgpack.encode([event(), event(**changes)]) if packed else [event(), event(**changes)]
    status, receipt = Collector().post(body, "application/msgpack" if packed else "application/json")
    [item] = receipt["items"]
    assert (status, item["field"], item["reason"]) == (200, field, told)


def test_a_batch_of_refusals_is_an_error_that_names_each():
    collector = Collector()
    status, answer = collector.post([event(action="x"), event(user_id="")])
    assert status == 422
    assert (answer["error"]["code"], answer["error"]["field"]) == ("invalid", "events[0].action")
    assert [item["index"] for item in answer["items"]] == [0, 1] and answer["rejected"] == 2
    assert len(collector.kept()) == 2


@pytest.mark.parametrize(("body", "status", "field"), [
    (b"", 422, None), (b"{", 422, None), (b"null", 422, None), (b"7", 422, None), (b'"x"', 422, None),
    (b"[" * 100_000, 422, None), (b'{"events": 1}', 422, None),
    (b'{"events": [], "x": 1}', 422, None), (b"[]", 422, "events"), (b'{"events": []}', 422, "events"),
    (b"[" + b",".join([b"1"] * 11) + b"]", 413, "events"),
])
def test_what_is_no_batch_leaves_nothing(body, status, field):
    collector = Collector()
    got, answer = collector.post(body)
    assert (got, answer["error"]["field"]) == (status, field)
    assert collector.kept() == []


def test_a_log_that_refuses_acknowledges_nothing_and_the_same_batch_goes_later():
    collector = Collector()
    batch = [event(), event(action="x")]
    collector.refuse = StoreError("disk full", hint="make room")
    status, answer = collector.post(batch)
    assert status == 503 and answer["error"]["code"] == "store" and "accepted" not in answer
    collector.refuse = None
    status, receipt = collector.post(batch)
    assert status == 200 and receipt["accepted"] == 1
    assert b'outcome="accepted",reason=""} 1.0' in collector.meter.expose()


SOUND = json.dumps(event()).encode()


@pytest.mark.parametrize(("bad", "told"), [
    (b'{"type": "feedback", "seconds": NaN}', "at byte 32: NaN and Infinity are not JSON"),
    (b'{"type": "feedback", "seconds": -Infinity}', "NaN and Infinity are not JSON"),
    (rb'{"type": "feedback", "user_id": "\ud800"}', "at byte 33: half of a surrogate pair"),
    (rb'{"user_id": "\\\udc00 \ud83d\ude00"}', "half of a surrogate pair"),
    (b'{"context": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "nested too deep"),
    (b'{"context": ' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"}", "nested too deep"),
    (b'{"ok": True}', "true, false and null"), (b"{'a': 1}", "double quotes"), (b'{"a": "x\ny"}', "control character"),
    (b'{"a": 1,}', "at byte 8"), (b'{"a" 1}', "at byte 5"), (b'{"a": 1} {"b": 2}', "missing"), (b"", "half-way"),
])
@pytest.mark.parametrize("wrapped", [False, True])
def test_one_event_that_does_not_parse_refuses_itself_alone(bad, told, wrapped):
    collector = Collector()
    tricky = json.dumps(event(context={"note": '},{"]\\', "text": 'a \\" b'})).encode()
    body = b"[" + b" ,".join([json.dumps(event()).encode(), bad, tricky]) + b" ]\n"
    status, receipt = collector.post(b'{ "events" : ' + body + b"}" if wrapped else body)
    assert status == 200 and (receipt["accepted"], receipt["rejected"]) == (2, 1)
    [item] = receipt["items"]
    assert (item["index"], item["status"], item["kind"]) == (1, "rejected", "schema") and told in item["reason"]
    assert sorted(record.table for record in collector.kept()) == ["feedback", "feedback", "quarantine"]
    assert b'outcome="rejected",reason="schema"} 1.0' in collector.meter.expose()


@pytest.mark.parametrize(("body", "told"), [
    (b"[" + SOUND + b', {"a": "unended}]', "it ends half-way"), (b"[" + SOUND + b", NaN", "NaN and Infinity"),
    (b"[" + SOUND + b', {"a": [NaN}, {"b": ]}]', "NaN and Infinity"), (b"[" + SOUND + b", NaN] x", "NaN and Infinity"),
    (b"[" + SOUND + b", NaN]}", "NaN and Infinity"), (b'{"events": [' + SOUND + b", NaN]", "NaN and Infinity"),
    (b"\xef\xbb\xbf[" + SOUND + b"]", "byte order mark"), (b"[" + b"[" * 10**6 + b"]" * 10**6 + b"]", "too deep"),
    (b'["' + b'\\"' * 500_000, "it ends half-way"),
])
def test_a_body_that_cannot_be_cut_safely_is_refused_whole_with_the_place_and_counted(body, told):
    collector = Collector()
    status, answer = collector.post(body)
    assert status == 422 and answer["error"]["what"] == "body is not a batch of events"
    assert told in answer["error"]["hint"] and collector.kept() == []
    assert b'outcome="rejected",reason="batch"} 1.0' in collector.meter.expose()


def test_a_batch_that_is_cut_is_counted_as_any():
    status, answer = Collector().post(b"[" + b",".join([b"NaN"] * 1_000_000) + b"]")
    assert status == 413 and answer["error"]["what"] == "batch holds too many events"


def test_message_pack_that_is_no_batch_is_counted():
    collector = Collector()
    status, answer = collector.post(b"\x92\xc0", "application/msgpack")
    assert status == 422 and answer["error"]["hint"] == "at byte 2: event 1 ends half-way"
    assert b'reason="batch"} 1.0' in collector.meter.expose()


@pytest.mark.parametrize("bad", [b"\x81\xa1a\xc1", b"\xc1", b"\x81\xa1a" + b"\x91" * 100_000 + b"\xc0"])
@pytest.mark.parametrize("head", [b"\x93", b"\xdc\x00\x03", b"\x81\xa6events\x93"])
def test_one_event_of_message_pack_that_does_not_parse_refuses_itself_alone(bad, head):
    collector = Collector()
    body = head + msgspec.msgpack.encode(event()) + bad + msgspec.msgpack.encode(event())
    status, receipt = collector.post(body, "application/msgpack")
    assert status == 200 and (receipt["accepted"], receipt["rejected"]) == (2, 1)
    [item] = receipt["items"]
    assert (item["index"], item["status"], item["kind"]) == (1, "rejected", "schema")
    assert sorted(record.table for record in collector.kept()) == ["feedback", "feedback", "quarantine"]


@pytest.mark.parametrize(("body", "told"), [
    (b"", "at byte 0"), (b"\xc1", "at byte 0: no list of events"), (b"\x92\xc1", "at byte 2: event 1"),
    (b"\x91\xc1\xc0\xc0", "at byte 2: 2 bytes follow"), (b"\x92\xc1\xdd\xff\xff\xff\xff", "event 1 ends half-way"),
    (b"\xdd\xff", "ends half-way"), (b"\x92\xc1\xda\xff", "at byte 2: event 1"),
])
def test_message_pack_that_cannot_be_cut_safely_is_refused_whole_with_the_place(body, told):
    collector = Collector()
    status, answer = collector.post(body, "application/msgpack")
    assert status == 422 and told in answer["error"]["hint"] and collector.kept() == []


def test_message_pack_that_is_cut_is_counted_as_any():
    status, answer = Collector().post(b"\xdd\x00\x0f\x42\x40" + b"\xc1" * 1_000_000, "application/msgpack")
    assert status == 413 and answer["error"]["what"] == "batch holds too many events"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.recursive(
    st.none() | st.floats() | st.integers(-2**63, 2**64 - 1) | st.text(max_size=40) | st.binary(max_size=300)
    | st.binary(min_size=1, max_size=20).map(lambda data: msgspec.msgpack.Ext(5, data)),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20), max_leaves=25),
    max_size=40))
def test_message_pack_is_cut_where_its_encoder_ended_each(values):
    parts = [msgspec.msgpack.encode(value) for value in values]
    assert asyncio.run(packed_elements(msgspec.msgpack.encode(values))) == (parts, "")
    assert asyncio.run(packed_elements(msgspec.msgpack.encode({"events": values}))) == (parts, "")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(alphabet='a\\"[]{},ä'),
                             lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                                 st.text(alphabet='k"},'), inner, max_size=3), max_leaves=8), min_size=1, max_size=5))
def test_cut_is_what_a_parser_that_takes_nan_reads(values):
    body = json.dumps(values).encode()  # Python writes NaN as such, and reads it
    assert repr([json.loads(part) for part in asyncio.run(elements(body))]) == repr(values)
