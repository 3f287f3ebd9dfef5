"""The page *At the door*, over stores in memory."""

import urllib.request
from datetime import timedelta

import msgspec

from incumbent.loop.door.states import key_of
from incumbent.loop.door.watch import CURSOR, Standing, Watched


def get(port, path="/door"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.read().decode()


def test_an_empty_door_says_that_nothing_is_known(port):
    text = get(port)
    assert "no day is over yet" in text and "nothing waits" in text


def test_checks_stand_with_what_is_usual_the_unusual_first(desk, port):
    day = desk.clock.now().date()
    known = Watched(day, {
        key_of("feedback", "volume"): Standing("ok", day, "within", 900.0, 800.0, 1000.0, 900, "events", 9),
        key_of("feedback", "null[<session>]"): Standing(
            "drift", day, "90 % is above", 0.9, 0.01, 0.05, 900, "of events", 9, since=day)})
    desk.stores.control.set_cursor(CURSOR, msgspec.json.encode(known).decode())
    text = get(port)
    desk.stores.control.set_cursor(CURSOR, msgspec.json.encode(Watched()).decode())
    assert text.index("null[&lt;session&gt;]") < text.index("volume") and "<session>" not in text
    assert "90.00 %" in text and "1.00 % to 5.00 %" in text and "1 unusual" in text


def test_a_day_before_the_service_is_no_day_without_fault(desk, port):
    day = desk.clock.now().date()
    desk.stores.control.set_cursor(CURSOR, msgspec.json.encode(Watched(day)).decode())
    text = get(port)
    known = Watched(day, {key_of("feedback", "volume"): Standing(
        "ok", day - timedelta(days=1), "within", 900.0, 800.0, 1000.0, 900, "events", 9)})
    desk.stores.control.set_cursor(CURSOR, msgspec.json.encode(known).decode())
    later = get(port)
    desk.stores.control.set_cursor(CURSOR, msgspec.json.encode(Watched()).decode())
    assert f"no data came in on {day} or before" in text and "nothing unusual" not in text
    assert f"no data came in on {day}; what stands here is of {day - timedelta(days=1)}" in later
    assert "nothing unusual" in later


def test_one_message_is_one_message(desk, port, monkeypatch):
    one = {"count": 1, "kind": "feedback", "field": "k", "source": "collector", "last": desk.clock.now(),
           "example": "bad"}
    monkeypatch.setattr(desk, "quarantine", lambda *_, **__: {"total": 1, "groups": [one], "rows": []})
    text = get(port)
    assert "1 message." in text and "1 messages" not in text
