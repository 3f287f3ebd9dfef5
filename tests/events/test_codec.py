"""Events to bytes and back: every kind, both formats, the JSON Schema, and what is refused."""

from __future__ import annotations

import base64
import json
import math
import struct
from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.events import allowed as words
from incumbent.events import codec
from incumbent.events.schema import (
    Alert,
    Audit,
    Decision,
    Embedding,
    Event,
    Feedback,
    Finding,
    Impression,
    Item,
    Measurement,
    ModelAnswer,
    Slot,
)

EVENT_ID = "0195a2b4-0000-7000-8000-000000000000"
TIME = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
HEAD = {"event_id": EVENT_ID, "time": TIME}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
maybe = lambda strategy: st.none() | strategy  # noqa: E731
numbers = st.floats(allow_nan=False, allow_infinity=False)
int64 = st.integers(-(2**63), 2**63 - 1)
times = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
contexts = st.dictionaries(texts, texts | int64 | numbers | st.booleans() | st.none(), max_size=4)
roles = st.sampled_from(["champion", "candidate"])
slots = st.builds(
    Slot, position=st.integers(1, 500), item_id=ids, kind=st.sampled_from(["pair", "half", "solo", "shared", "pinned"]),
    owner=maybe(roles), pair_id=maybe(st.integers(0, 99)), champion_rank=maybe(st.integers(1, 200)),
    propensity=maybe(st.floats(0, 1)), score=maybe(numbers), group_id=maybe(ids))
answers = st.builds(
    ModelAnswer, role=roles, name=ids, version=ids, status=st.sampled_from(["ok", "timeout", "error"]),
    latency_ms=numbers, n_items=st.integers(0, 1000), items=st.lists(ids, max_size=4),
    scores=maybe(st.lists(numbers, max_size=4)), reason=maybe(texts))
common = {"event_id": st.just(EVENT_ID), "time": times}
impressions = st.builds(
    Impression, **common, request_id=ids, ranking_id=ids, user_id=ids, surface=ids,
    mode=st.sampled_from(["interleave", "split", "shadow", "champion", "fallback", "degraded"]), lane=ids, plan=ids,
    slots=st.lists(slots, max_size=4), models=st.lists(answers, max_size=2), k=st.integers(0, 200), context=contexts,
    coins=st.lists(st.floats(0, 1, exclude_max=True), max_size=6), share=maybe(st.floats(0, 1)))
feedbacks = st.builds(
    Feedback, **common, user_id=ids, item_id=ids, action=st.sampled_from(["click", "purchase", "refund", "dwell"]),
    request_id=maybe(ids), order_id=maybe(ids), quantity=maybe(st.integers(0, 10**6)),
    value_minor=maybe(st.integers(0, 10**13)), currency=maybe(st.just("EUR")), seconds=maybe(st.floats(0, 10**7)),
    refers_to=maybe(st.just(EVENT_ID)), context=contexts, marks=st.lists(texts, max_size=2))
embeddings = st.builds(
    Embedding, **common, space=ids, version=ids, entity=st.sampled_from(["item", "user", "query"]), entity_id=ids,
    vector=st.lists(numbers, min_size=1, max_size=6) | st.binary(min_size=4, max_size=16).map(
        lambda raw: base64.b64encode(raw).decode()))
items = st.builds(Item, **common, item_id=ids, listed=st.booleans(), title=maybe(texts), category=maybe(texts),
                  price_minor=maybe(st.integers(0, 10**13)), currency=maybe(st.just("SEK")))
measurements = st.builds(Measurement, **common, name=ids, value=numbers, unit=ids,
                         labels=st.dictionaries(texts, texts, max_size=3))
findings = st.builds(Finding, **common, subject=texts, check=texts, status=st.sampled_from(["ok", "void", "no_data"]),
                     severity=st.sampled_from(["info", "page"]), reason=texts, evidence=st.dictionaries(texts, int64))
decisions = st.builds(Decision, **common, experiment=ids, verdict=st.sampled_from(["promote", "hold"]), reason=texts,
                      by=texts, stage_from=maybe(st.just("canary")), evidence=st.dictionaries(texts, numbers))
alerts = st.builds(Alert, **common, subject=texts, severity=st.just("page"), title=texts, body=texts)
audits = st.builds(Audit, **common, actor=texts, action=texts, subject=texts, reason=ids)
events = st.one_of(impressions, feedbacks, embeddings, items, measurements, findings, decisions, alerts, audits)


def raw(**parts):
    return json.dumps({"type": "feedback", "event_id": EVENT_ID, "time": "2026-03-01T12:00:00Z", "user_id": "u",
                       "item_id": "i", "action": "click", **parts}).encode()


class TestRoundTrips:
    @settings(deadline=None, max_examples=300)
    @given(events)
    def test_every_event_in_both_formats(self, event):
        assert codec.decode(codec.encode(event)) == event
        assert codec.decode_json(codec.encode_json(event)) == event

    @settings(deadline=None, max_examples=100)
    @given(st.one_of(feedbacks, embeddings, items, measurements, impressions))
    def test_what_comes_from_outside(self, event):
        assert codec.decode_incoming(codec.encode_json(event)) == event
        assert codec.decode_incoming(codec.encode(event), msgpack=True) == event

    @settings(deadline=None, max_examples=50)
    @given(st.one_of(findings, decisions, alerts, audits))
    def test_what_only_incumbent_writes_does_not_come_from_outside(self, event):
        with pytest.raises(DataError):
            codec.decode_incoming(codec.encode_json(event))

    def test_every_kind_is_tried_above(self):
        assert {kind.__struct_config__.tag for kind in get_args(Event)} == {
            "impression", "feedback", "embedding", "item", "measurement", "finding", "decision", "alert", "audit"}

    def test_times_keep_their_microseconds_and_their_moment(self):
        other = TIME.astimezone(timezone(timedelta(hours=-7)))
        for moment in (TIME, other):
            event = Measurement(event_id=EVENT_ID, time=moment, name="a", value=1.0, unit="b")
            assert codec.decode(codec.encode(event)).time == TIME == codec.decode_json(codec.encode_json(event)).time

    def test_an_event_is_frozen_and_bytes_are_deterministic(self):
        event = Item(**HEAD, item_id="i")
        with pytest.raises(AttributeError):
            event.item_id = "j"
        assert codec.encode(event) == codec.encode(codec.decode(codec.encode(event)))


class TestSchema:
    VALIDATOR = jsonschema_rs.validator_for(codec.json_schema())

    def test_it_is_a_schema(self):
        assert jsonschema_rs.meta.is_valid(codec.json_schema())

    @settings(deadline=None, max_examples=200)
    @given(events)
    def test_every_event_is_valid_under_it(self, event):
        self.VALIDATOR.validate(json.loads(codec.encode_json(event)))

    @pytest.mark.parametrize("parts", [
        {"action": "look"}, {"valu_minor": 3}, {"value_minor": -1}, {"currency": "euro"}, {"user_id": ""},
        {"event_id": "x"}, {"quantity": 1.5}, {"context": {"a": [1]}}, {"type": "feedbacks"}, {"user_id": "u" * 257}])
    def test_what_the_codec_refuses_is_invalid_too(self, parts):
        with pytest.raises(DataError):
            codec.decode_json(raw(**parts))
        assert not self.VALIDATOR.is_valid(json.loads(raw(**parts)))


class TestRefusals:
    @pytest.mark.parametrize(("data", "what", "field"), [
        (b"", "does not parse", None), (b"{", "does not parse", None), (b"[]", "Expected `object`", None),
        (b"null", "Expected `object`", None), (b"[" * 100_000, "Expected `object`", None),
        (b'{"a":' * 100_000, "does not parse", None), (b'{"type":"item","item_id":"\xff"}', "does not parse", None),
        (b'{"type":"item","item_id":"\\ud800"}', "does not parse", None),
        (b'{"type":"nope"}', "Invalid value\\. Got 'nope'", "type"), (b'{"type":1}', "Expected `str`", "type"),
        (raw(time="2026-03-01T12:00:00"), "timezone", "time"), (raw(time="yesterday"), "Invalid RFC3339", "time"),
        (raw(action="look"), "Invalid enum value\\. Got 'look'", "action"),
        (raw(quantity="3"), "Expected `int", "quantity"),
        (raw(valu=1), "unknown field `valu`", "valu"), (raw(context={"a": 10**30}), "Expected `int`", "context[...]"),
        (raw(value_minor=10**30), "Expected `int`", "value_minor"), (raw(user_id=None), "Expected `str`", "user_id"),
        (raw(seconds=1e400), "does not parse|Expected|out of range", None),
    ])
    def test_one_clear_error(self, data, what, field):
        with pytest.raises(DataError, match=what) as caught:
            codec.decode_json(data)
        if field:
            assert caught.value.field == field

    @pytest.mark.parametrize(("changes", "expected", "hint"), [
        ({"action": "clik"}, "one of add_to_cart, click, ", "did you mean 'click'?"),
        ({"type": "feedbak"}, "one of embedding, feedback, impression, item, measurement", "did you mean 'feedback'?"),
        ({"action": "zzz"}, "one of add_to_cart", None), ({"action": 3}, None, None), ({"user_id": 3}, None, None),
        ({"time": "soon"}, None, None), ({"quantiti": 2}, None, "did you mean 'quantity'?"),
        ({"zzz": 2}, None, None), ({"type": ["feedback"], "quantiti": 2}, None, None),
    ])
    def test_a_word_that_is_none_is_told_what_may_stand_there(self, changes, expected, hint):
        with pytest.raises(DataError) as caught:
            codec.decode_incoming(raw(**changes))
        told = caught.value.expected
        assert told is expected is None or (told or "").startswith(expected)
        assert caught.value.hint == hint

    def test_what_a_sender_writes_is_kept_nowhere(self):
        def refused(n):
            for changes in ({"action": "clik", "type": f"feedbak{n}"}, {"action": f"unknown field `x{n}`"}):
                with pytest.raises(DataError):
                    codec.decode_incoming(raw(**changes))
            with pytest.raises(DataError):  # the last `type` is the one that a plain reading sees
                codec.decode_incoming(b'{"action":"clik","type":"feedback","type":"%d"}' % n)
            return sum(one.cache_info().currsize for one in vars(words).values() if hasattr(one, "cache_info"))

        assert refused(0) == refused(1) == refused(2)

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=60))
    def test_rubbish_is_a_data_error_and_nothing_else(self, data):
        for decode in (codec.decode, codec.decode_json, codec.decode_incoming,
                       lambda raw: codec.decode_incoming(raw, msgpack=True)):
            with pytest.raises(DataError):
                decode(data)

    @settings(deadline=None, max_examples=150)
    @given(events, st.data())
    def test_a_cut_message_is_refused(self, event, data):
        whole = codec.encode(event)
        with pytest.raises(DataError):
            codec.decode(whole[: data.draw(st.integers(0, len(whole) - 1))])

    def test_what_decodes_can_be_encoded(self):
        for number in (2**63 - 1, -(2**63), 1e300, True, None, "x"):
            event = codec.decode_incoming(raw(context={"a": number}))
            assert codec.decode(codec.encode(event)) == event


class TestUpgrade:
    @pytest.mark.parametrize("version", [0, 2, 99, "1", None, 1.5, 10**20])
    def test_versions_never_issued_are_refused_by_name(self, version):
        with pytest.raises(DataError, match="unknown schema version") as caught:
            codec.decode_json(raw(schema=version))
        assert caught.value.field == "schema"

    def test_an_old_version_is_upgraded_in_one_place(self, monkeypatch):
        """What version 0 would have been: `action` was called `kind`. Both formats, from outside and from the log."""
        def upgrade(old):
            if old.get("schema") != 0:
                return old
            return {**{key: value for key, value in old.items() if key != "kind"}, "action": old["kind"], "schema": 1}

        monkeypatch.setattr(codec, "upgrade", upgrade)
        old = json.loads(raw(schema=0))
        old["kind"] = old.pop("action")
        text, packed = json.dumps(old).encode(), msgspec.msgpack.encode(old)
        new = codec.decode_json(raw())
        assert codec.decode_json(text) == codec.decode_incoming(text) == new
        assert codec.decode(packed) == codec.decode_incoming(packed, msgpack=True) == new

    def test_an_old_version_that_is_wrong_all_the_same_is_a_data_error(self, monkeypatch):
        monkeypatch.setattr(codec, "upgrade", lambda old: {**old, "schema": 1})
        with pytest.raises(DataError, match="Invalid enum value"):
            codec.decode_json(raw(schema=0, action="look"))

    def test_an_old_version_of_the_same_shape_is_upgraded_too(self, monkeypatch):
        monkeypatch.setattr(codec, "upgrade", lambda old: {**old, "schema": 1, "action": "view"})
        assert codec.decode_json(raw(schema=0)).action == "view"

    def test_the_current_version_is_the_default(self):
        assert codec.decode_json(raw()).schema == codec.SCHEMA_VERSION == 1


class TestVectors:
    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=16))
    def test_base64_float32(self, vector):
        text = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        assert codec.vector_of(text) == vector
        assert codec.vector_of(vector) == vector

    @pytest.mark.parametrize("text", ["abc", "!!!!", "AAA=", "AAAA", "AACAPw==\n", "AACAPwAA", "é"])
    def test_what_is_neither_is_refused(self, text):
        with pytest.raises(DataError, match="neither a list nor base64 float32") as caught:
            codec.vector_of(text)
        assert caught.value.field == "vector"

    def test_values_that_are_not_finite_come_through_for_the_collector_to_refuse(self):
        assert math.isnan(codec.vector_of(base64.b64encode(struct.pack("<f", math.nan)).decode())[0])
