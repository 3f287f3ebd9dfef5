from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.models.breaker import Breaker


def make(calls=4, rate=0.5, cool=5.0):
    return Breaker(calls=calls, failure_rate=rate, cool_down_s=cool)


def feed(breaker, outcomes, now=0.0):
    for ok in outcomes:
        breaker.record(ok=ok, now=now)


def test_opens_at_the_rate_and_not_before_its_window_is_full():
    breaker = make()
    feed(breaker, [False, False, False])
    assert breaker.state == "closed"
    feed(breaker, [True])
    assert breaker.state == "open"


def test_stays_closed_below_the_rate():
    breaker = make()
    feed(breaker, [False, True, True, True] * 10)
    assert breaker.state == "closed"


def test_half_open_lets_one_probe_through_at_a_time():
    breaker = make()
    feed(breaker, [False] * 4)
    assert not breaker.admit(4.9)
    assert breaker.admit(5.0)
    assert breaker.state == "half_open"
    assert not breaker.admit(5.0)


def test_failed_probes_double_the_wait_up_to_sixteen_times():
    breaker = make()
    feed(breaker, [False] * 4)
    now, waits = 0.0, []
    for _ in range(7):
        step = 0.0
        while not breaker.admit(now + step):
            step += 1.0
        waits.append(step)
        now += step
        breaker.record(ok=False, now=now)
    assert waits == [5.0, 10.0, 20.0, 40.0, 80.0, 80.0, 80.0]


def test_a_good_probe_closes_and_forgets():
    breaker = make()
    feed(breaker, [False] * 4)
    assert breaker.admit(6.0)
    breaker.record(ok=True, now=6.1)
    feed(breaker, [False, False, False], now=6.2)
    assert breaker.state == "closed"
    assert breaker.admit(6.3)


def test_a_probe_that_was_never_sent_frees_the_place():
    breaker = make()
    feed(breaker, [False] * 4)
    assert breaker.admit(6.0)
    breaker.forget()
    assert breaker.admit(6.0)


def test_outcomes_from_before_the_opening_do_not_count():
    breaker = make()
    feed(breaker, [False] * 4)
    breaker.record(ok=True, now=1.0)
    assert breaker.state == "open"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.booleans(), max_size=80), st.integers(1, 10))
def test_opens_exactly_when_a_naive_window_says_so(outcomes, calls):
    breaker = make(calls=calls)
    for n in range(len(outcomes)):
        breaker.record(ok=outcomes[n], now=0.0)
        window = outcomes[max(0, n + 1 - calls):n + 1]
        if len(window) == calls and window.count(False) >= calls / 2:
            assert breaker.state == "open"
            return
        assert breaker.state == "closed"
