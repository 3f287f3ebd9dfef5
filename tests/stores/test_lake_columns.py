"""Events to Arrow and back: every kind, any content, and the schemas as they are published."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError, NotFoundError
from incumbent.events.ids import user_bucket
from incumbent.events.schema import Embedding, Event, Feedback, Impression, Item, Measurement, ModelAnswer, Slot
from incumbent.stores.columns import by_table, from_arrow, refusal, to_arrow, values
from incumbent.stores.store import Quarantined
from incumbent.stores.tables import SCHEMAS, TABLES, TIME, USER_TABLES, conform, schema
from incumbent.testing.checks.lake_samples import NOON, click, event_id, impression, one_of_each

ids = st.integers(0, 2**40).map(event_id)
times = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
floats = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-2**53, 2**53)
contexts = st.dictionaries(names, text | integers | floats | st.booleans() | st.none(), max_size=3)
slots = st.builds(Slot, position=st.integers(1, 200), item_id=names, kind=st.sampled_from(["pair", "pinned"]),
                  owner=st.sampled_from(["champion", "candidate", None]), pair_id=st.none() | st.integers(0, 99),
                  champion_rank=st.none() | st.integers(1, 200), candidate_rank=st.none() | st.integers(1, 200),
                  propensity=st.none() | floats, score=st.none() | floats, group_id=st.none() | text)
answers = st.builds(ModelAnswer, role=st.sampled_from(["champion", "candidate"]), name=names, version=names,
                    status=st.sampled_from(["ok", "timeout"]), latency_ms=floats, n_items=st.integers(0, 200),
                    items=st.lists(names, max_size=4), scores=st.none() | st.lists(floats, max_size=4),
                    embedding_version=st.none() | text, cost=st.none() | floats, truncated=st.booleans(),
                    reason=st.none() | text)
impressions = st.builds(Impression, event_id=ids, request_id=text, ranking_id=text, time=times, user_id=names,
                        surface=names, mode=st.sampled_from(["interleave", "degraded"]), lane=text, plan=text,
                        slots=st.lists(slots, max_size=4), models=st.lists(answers, max_size=2), context=contexts,
                        coins=st.lists(floats, max_size=4), share=st.none() | floats)
feedbacks = st.builds(Feedback, event_id=ids, time=times, user_id=names, item_id=names, order_id=st.none() | text,
                      action=st.sampled_from(["click", "purchase"]), value_minor=st.none() | st.integers(0, 10**13),
                      currency=st.none() | st.just("EUR"), seconds=st.none() | st.floats(0, 1e7),
                      marks=st.lists(text, max_size=2), context=contexts, refers_to=st.none() | ids)
items = st.builds(Item, event_id=ids, time=times, item_id=names, listed=st.booleans(), title=st.none() | text,
                  price_minor=st.none() | st.integers(0, 10**13))
measurements = st.builds(Measurement, event_id=ids, time=times, name=names, value=floats, unit=names,
                         labels=st.dictionaries(names, text, max_size=2))
refused = st.builds(Quarantined, event_id=text, time=times, raw=st.binary(max_size=40), reason=text,
                    field=st.none() | text, user_id=st.none() | names)


@pytest.mark.parametrize(("table", "events"), [
    ("impression", impressions), ("feedback", feedbacks), ("item", items), ("measurement", measurements),
    ("quarantine", refused)])
def test_any_event_comes_back(table, events):
    @settings(deadline=None, max_examples=25)
    @given(st.lists(events, max_size=4))
    def law(sent):
        rows = to_arrow(table, sent, 16)
        assert rows.schema == schema(table)
        rows.validate(full=True)
        assert from_arrow(table, rows) == sent
        for event, place in zip(sent, rows.select(["day", "bucket"]).to_pylist(), strict=True):
            user = getattr(event, "user_id", None)
            assert place == {"day": event.time.date(), "bucket": 0 if user is None else user_bucket(user, 16)}

    law()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.none() | times, max_size=5), st.integers(0, 4))
def test_times_are_those_of_pyarrow(sent, start):
    array = pa.array(sent, TIME)
    for column in (array, array.slice(start), pa.chunked_array([array.slice(start), array], TIME)):
        assert values(column) == column.to_pylist()


def test_conclusions_come_back_whole():
    events = [event for event in one_of_each() if event.__struct_config__.tag in ("finding", "decision", "audit")]
    rows = to_arrow("conclusion", events, 16)
    assert rows.select(["kind", "subject"]).to_pylist() == [
        {"kind": "finding", "subject": "experiment:e"}, {"kind": "decision", "subject": "e"},
        {"kind": "audit", "subject": "e"}]
    assert from_arrow("conclusion", rows) == events


def test_vectors_are_float32_from_lists_and_from_base64():
    def vector(value):
        return Embedding(event_id=event_id(1), time=NOON, space="s", version="1", entity="item", entity_id="i",
                         vector=value)

    rows = to_arrow("embedding", [vector([1.0, 0.1]), vector("AACAPwAAAEA=")], 16)
    assert rows["vector"].type == pa.list_(pa.float32())
    assert rows["vector"].to_pylist() == [[1.0, pytest.approx(0.1, rel=1e-7)], [1.0, 2.0]]


def test_a_users_own_vector_lies_with_the_user_and_an_items_does_not():
    users = [event for event in one_of_each(0, "ann") if isinstance(event, Embedding)]
    assert to_arrow("embedding", users, 16)["bucket"].to_pylist() == [user_bucket("ann", 16), 0]


def test_a_day_is_the_utc_day_whatever_the_zone_of_the_event():
    late = datetime(2026, 3, 2, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert to_arrow("feedback", [click(1, time=late)], 16)["day"].to_pylist() == [date(2026, 3, 1)]


@pytest.mark.parametrize("event", [
    Item(event_id=event_id(1), time=NOON, item_id="a", price_minor=2**63),
    Item(event_id=event_id(1), time=NOON.replace(tzinfo=None), item_id="a"),
    Embedding(event_id=event_id(1), time=NOON, space="s", version="1", entity="item", entity_id="i", vector="!"),
    Item(event_id=event_id(1), time=NOON, item_id="a", title="\ud800"),
])
def test_what_fits_no_column_is_refused_with_the_reason(event):
    assert refusal(event)
    with pytest.raises(DataError):
        to_arrow("item" if isinstance(event, Item) else "embedding", [event], 16)
    assert refusal(click(1)) is None


def test_rows_of_an_older_version_take_the_defaults():
    rows = to_arrow("feedback", [click(1)], 16).drop_columns(["context", "marks", "seconds", "schema"])
    assert from_arrow("feedback", rows) == [click(1)]
    assert from_arrow("feedback", conform("feedback", rows)) == [click(1)]


def test_conform_orders_casts_and_refuses():
    rows = pa.table({"credit_champion": [1], "event_id": ["a"], "pair_id": pa.array([3], pa.int32())})
    whole = conform("outcome", rows)
    assert whole.schema == schema("outcome")
    first = whole.slice(0, 1).to_pylist()[0]
    assert (first["credit_champion"], first["pair_id"], first["time"]) == (1.0, 3, None)
    with pytest.raises(DataError, match="unknown column"):
        conform("outcome", pa.table({"credit": [1.0]}))


def test_events_are_grouped_by_table():
    groups = by_table([click(1), impression(2), click(3)])
    assert {table: len(events) for table, events in groups.items()} == {"feedback": 2, "impression": 1}
    with pytest.raises(DataError, match="not an event"):
        by_table([object()])


def test_the_schemas_are_what_is_published():
    assert set(SCHEMAS) == set(TABLES)
    with pytest.raises(NotFoundError):
        schema("clicks")
    for struct in Event.__args__:
        tag = struct.__struct_config__.tag
        if tag in SCHEMAS:
            assert SCHEMAS[tag].names == [*struct.__struct_fields__, "day", "bucket"], tag
    assert set(USER_TABLES) == {"impression", "feedback", "outcome", "quarantine"}
    slot = schema("impression").field("slots").type.value_type
    assert [field.name for field in slot] == list(Slot.__struct_fields__)
    assert schema("feedback").field("context").type == pa.string()
    assert schema("feedback").field("value_minor").type == pa.int64()
    for table in TABLES:
        assert schema(table).field("time").type == TIME
        assert [schema(table).field(name).type for name in ("day", "bucket")] == [pa.date32(), pa.int32()]


def test_a_row_that_is_no_event_is_an_error():
    rows = to_arrow("feedback", [click(1)], 16).set_column(4, "action", pa.array(["stare"]))
    with pytest.raises(DataError, match="no event"):
        from_arrow("feedback", rows)
    with pytest.raises(DataError, match="derived"):
        from_arrow("outcome", schema("outcome").empty_table())


def test_a_null_in_a_nested_struct_takes_the_default_of_its_field():
    sent = impression(1)
    rows = to_arrow("impression", [sent], 16)
    models = [{**model, "truncated": None, "items": None} for model in rows["models"].to_pylist()[0]]
    at = rows.column_names.index("models")
    older = rows.set_column(at, "models", pa.array([models], rows.field("models").type))
    read = from_arrow("impression", older)[0]
    assert read.models and all(model.items == [] and model.truncated is False for model in read.models)
    assert (read.slots, read.event_id) == (sent.slots, sent.event_id)
