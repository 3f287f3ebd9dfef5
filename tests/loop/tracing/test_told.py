"""What a shopper did, in sentences."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.loop.tracing.credit import REASONS
from incumbent.loop.tracing.told import VERBS, WAITING, told

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(name, item, action="view", minutes=0, **more):
    return {"event_id": name, "item_id": item, "action": action, "request_id": "r1", "value_minor": None,
            "time": (T0 + timedelta(minutes=minutes)).isoformat(), **more}


def outcome(of, champion=0.0, candidate=0.0, reason=None):
    return {**of, "credit_champion": champion, "credit_candidate": candidate, "reason": reason, "rule": "last_touch"}


def test_views_of_one_page_that_were_credited_alike_are_one_sentence():
    views = [event(f"e{n}", f"i{n}") for n in range(7)]
    found = told(views, [outcome(one, candidate=1.0) for one in views], {"i6": "Milk"})
    assert [one["text"] for one in found] == [
        "looked at Milk, i5, i4, i3, i2 and 2 more: credited to the candidate by last_touch"]
    apart = told(views, [outcome(one, *((1.0, 0.0) if n % 2 else (0.0, 1.0))) for n, one in enumerate(views)])
    assert {one["text"].rpartition(": ")[2] for one in apart} == {
        "credited to the champion by last_touch", "credited to the candidate by last_touch"}


def test_every_purchase_stands_alone_with_its_money_and_who_got_it():
    buys = [event(f"e{n}", "milk", "purchase", value_minor=1250, currency="EUR", request_id=None) for n in range(2)]
    found = told(buys, [outcome(buys[0], 0.5, 0.25), outcome(buys[1], reason="no_exposure")])
    assert sorted(one["text"] for one in found) == [
        f"bought milk for 1,250 EUR minor units: credited to nobody, {REASONS['no_exposure']}",
        "bought milk for 1,250 EUR minor units: credited to the champion (0.5) and the candidate (0.25) by last_touch"]


acts = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(sorted(VERBS)), st.integers(0, 3),
                          st.sampled_from([None, 5, 700]), st.sampled_from([None, *sorted(REASONS)])), max_size=20)


@settings(deadline=None, max_examples=60)
@given(acts, st.integers(0, 20))
def test_every_act_is_in_exactly_one_sentence_newest_first(drawn, attributed):
    events = [event(f"e{n}", item, action, minutes, value_minor=value)
              for n, (item, action, minutes, value, _) in enumerate(drawn)]
    outcomes = [outcome(one, 1.0 if reason is None else 0.0, 0.0, reason)
                for one, (*_, reason) in list(zip(events, drawn, strict=True))[:attributed]]
    found = told(events, outcomes)
    assert sorted(item for one in found for item in one["item_ids"]) == sorted(one["item_id"] for one in events)
    assert [one["time"] for one in found] == sorted((one["time"] for one in found), reverse=True)
    assert sum(len(one["item_ids"]) for one in found if one["text"].endswith(WAITING)) == len(events[attributed:])
