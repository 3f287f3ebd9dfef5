import asyncio
import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incumbent.clock import SystemClock
from incumbent.eager import begin
from incumbent.errors import ConfigError, NotFoundError
from incumbent.events.plan import ModelPlan
from incumbent.models import callable as callables
from incumbent.models import guard as guards
from incumbent.models.both import ask_all
from incumbent.models.callable import CallableModel
from incumbent.models.guard import Guarded, check_list
from incumbent.models.recommender import Ask

ASK = Ask("u1", "home", 5)


def make(function, **changes):
    settings = {"adapter": "callable", "target": "x:y", "version": "1", "deadline_ms": 5000} | changes
    plan = ModelPlan(name=getattr(function, "__name__", "m"), **settings)
    return Guarded(plan, CallableModel(plan, function), SystemClock())


async def quick(request, k):
    return [("a", 1.0)]


async def slow(request, k):
    await asyncio.sleep(0.4)
    return [("b", 1.0)]


async def hang(request, k):
    await asyncio.sleep(30)


async def stubborn(request, k):
    """Swallows its cancellation."""
    for _ in range(3):
        try:
            await asyncio.sleep(3.0)
        except asyncio.CancelledError:
            continue
    return []


async def leaves(request, k):
    raise SystemExit(3)


def ask(*models, deadline_s=5.0, k=5):
    async def talk():
        loop = asyncio.get_running_loop()
        started = loop.time()
        answers = await ask_all(models, ASK, k, deadline_s)
        return answers, loop.time() - started
    return asyncio.run(talk())


@pytest.mark.parametrize("local", [True, False])
def test_both_are_asked_at_once(local):
    (one, two), elapsed = ask(make(slow, local=local, deadline_ms=5000), make(slow, local=local, deadline_ms=5000),
                              deadline_s=5.0)
    assert one.items == two.items == ["b"]
    assert elapsed < 0.79  # not one after the other


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("bad", [hang, stubborn])
def test_a_late_model_costs_the_other_nothing(local, bad):
    (good, late), elapsed = ask(make(slow, local=local, deadline_ms=5000), make(bad, local=local, deadline_ms=600),
                                deadline_s=5.0)
    assert good.items == ["b"]
    assert late.status == "timeout"
    assert "ms" in late.reason
    assert elapsed < 4.0  # nobody waits for it


def test_each_model_has_its_own_deadline_inside_the_requests():
    (one, two), elapsed = ask(make(hang, deadline_ms=50), make(slow, deadline_ms=5000), deadline_s=2.0)
    assert (one.status, two.status) == ("timeout", "ok")
    assert one.latency_ms < two.latency_ms
    (one,), elapsed = ask(make(hang, deadline_ms=9000), deadline_s=0.1)
    assert one.status == "timeout"
    assert elapsed < 4.0


def test_a_model_that_exits_is_a_failed_model_and_not_a_dead_gateway():
    (answer,), _ = ask(make(leaves))
    assert answer.status == "error"
    assert "SystemExit" in answer.reason


@pytest.mark.parametrize("local", [True, False])
def test_a_cancelled_request_cancels_its_models(local):
    started, seen = threading.Event(), threading.Event()

    async def watched(request, k):
        started.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.set()
            raise

    async def talk():
        request = asyncio.ensure_future(ask_all([make(watched, local=local, deadline_ms=20_000)], ASK, 5, 20.0))
        await asyncio.to_thread(started.wait, 10)
        request.cancel()
        await asyncio.wait([request])
        await asyncio.to_thread(seen.wait, 10)

    asyncio.run(talk())
    assert seen.is_set()


def test_an_async_model_that_blocks_without_await_is_late_and_then_busy_and_runs_nothing_for_nobody():
    begun, entered, release = [], threading.Event(), threading.Event()

    async def blocks(request, k):
        begun.append(1)
        entered.set()
        release.wait(30)
        return [("late", 1.0)]

    model = make(blocks, breaker_calls=100, concurrency=3, deadline_ms=100)
    (late, good), _ = ask(model, make(quick, local=True), deadline_s=5.0)
    assert (late.status, good.items) == ("timeout", ["a"])
    assert entered.wait(10)
    said = [ask(model)[0][0] for _ in range(4)]
    assert [one.status for one in said] == ["timeout", "timeout", "busy", "busy"], "the first still has its place"
    release.set()
    after = make(quick)
    assert ask(after)[0][0].items == ["a"] and len(begun) == 1


def test_what_an_async_model_keeps_serves_others_of_its_module_and_the_next_version():
    kept = []

    async def shares(request, k):
        if not kept:
            kept.append(asyncio.Lock())
            await kept[0].acquire()
            asyncio.get_running_loop().call_later(0.01, kept[0].release)  # the next one waits on this loop
        async with kept[0]:
            return [("a", 1.0)]

    for _ in range(3):  # each on a loop of its caller, and closed
        model = make(shares)
        assert ask(model)[0][0].items == ["a"]
        asyncio.run(model.recommender.close())


def test_a_loop_that_a_models_own_task_ended_is_made_anew():
    ended = threading.Event()

    async def leaves_behind(request, k):
        async def exits():
            ended.set()
            raise SystemExit(3)

        task = asyncio.get_running_loop().create_task(exits())
        task.add_done_callback(lambda done: done.exception())
        await asyncio.wait([task])
        return []

    before = callables._shared.loop()
    ask(make(leaves_behind))
    assert ended.wait(10)
    callables._shared._thread.join(10)
    assert ask(make(quick))[0][0].items == ["a"] and callables._shared.loop() is not before


def test_breaker_opens_and_a_probe_closes_it():
    state = {"broken": True}

    async def moody(request, k):
        if state["broken"]:
            raise RuntimeError("no")
        return [("a", None)]

    async def talk():
        model = make(moody, breaker_calls=3, breaker_cool_down_s=0.05)
        statuses = [(await ask_all([model], ASK, 5, 1.0))[0].status for _ in range(5)]
        state["broken"] = False
        await asyncio.sleep(0.06)
        statuses += [(await ask_all([model], ASK, 5, 1.0))[0].status for _ in range(2)]
        return statuses

    assert asyncio.run(talk()) == ["error", "error", "error", "open", "open", "ok", "ok"]


def test_threads_that_hang_keep_their_places():
    import threading
    release = threading.Event()

    def blocked(request, k):
        release.wait(5)
        return [("a", 1.0)]

    async def talk():
        model = make(blocked, concurrency=2, deadline_ms=50, breaker_calls=1000)
        first = await asyncio.gather(*(ask_all([model], ASK, 5, 1.0) for _ in range(2)))
        second = (await ask_all([model], ASK, 5, 1.0))[0].status
        release.set()
        await asyncio.sleep(0.1)
        third = (await ask_all([model], ASK, 5, 1.0))[0].status
        return [answers[0].status for answers in first], second, third

    assert asyncio.run(talk()) == (["timeout", "timeout"], "busy", "ok")


@pytest.mark.parametrize(("raw", "words"), [
    (None, "NoneType"), ("abc", "str"), ([1], "rank 1"), ([("a", 1.0), ("", 1.0)], "rank 2"),
    ([("a" * 257, 1.0)], "256"), ([(7, 1.0)], "rank 1"), ([("a", float("inf"))], "finite"), ([("a", True)], "finite"),
    ([("a", "0.5")], "finite"), ([("a", 1.0), ("b", None)], "no score"),
])
def test_what_is_no_list_is_said(raw, words):
    said = check_list(raw, 10)
    assert isinstance(said, str)
    assert words in said


def test_list_is_cut_to_k_and_its_true_length_kept():
    async def long(request, k):
        return [(f"i{n}", None) for n in range(100)]

    (answer,), _ = ask(make(long), k=5)
    assert (len(answer.items), answer.n_items) == (5, 100)


def test_unknown_adapter_and_target_are_named():
    with pytest.raises(NotFoundError, match="did you mean 'http'"):
        guards.build(ModelPlan(name="m", adapter="htp", target="x", version="1"), SystemClock())
    with pytest.raises(ConfigError, match="module:function"):
        guards.build(ModelPlan(name="m", adapter="callable", target="nowhere", version="1"), SystemClock())
    with pytest.raises(ConfigError, match="not a URL"):
        guards.build(ModelPlan(name="m", adapter="http", target="localhost:80", version="1"), SystemClock())


@pytest.mark.parametrize("local", [True, False])
def test_a_probe_whose_caller_gave_up_is_no_outcome_and_the_next_is_let_through(local):
    mode = ["fails"]

    async def model(request, k):
        if mode[0] == "fails":
            raise RuntimeError("down")
        if mode[0] == "slow":
            await asyncio.sleep(5)
        return [("a", 1.0)]

    guard = make(model, breaker_calls=2, breaker_cool_down_s=0.02, deadline_ms=10_000, local=local)

    async def talk():
        for _ in range(2):
            await ask_all([guard], ASK, 5, 1.0)
        assert guard.breaker.state == "open"
        await asyncio.sleep(0.04)
        mode[0] = "slow"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask_all([guard], ASK, 5, 10.0), 0.05)
        mode[0] = "sound"
        await asyncio.sleep(0.01)
        return [answer.status for answer in await ask_all([guard], ASK, 5, 1.0)]

    assert asyncio.run(talk()) == ["ok"] and guard.breaker.state == "closed" and guard.running == 0


@pytest.mark.parametrize("local", [True, False])
def test_a_model_that_cancels_itself_has_failed_and_keeps_no_place(local):
    async def cancels(request, k):
        raise asyncio.CancelledError("its own affair")

    guard = make(cancels, concurrency=2, local=local, breaker_calls=100)
    for _ in range(4):
        answers, _ = ask(guard)
        assert answers[0].status == "error" and "CancelledError" in answers[0].reason
    assert guard.running == 0


def test_so_it_has_where_no_task_asks():
    async def cancels(request, k):
        raise asyncio.CancelledError("its own affair")

    guard, found = make(cancels, local=True), []

    async def talk():
        asyncio.get_running_loop().call_soon(lambda: found.extend(begin(ask_all([guard], ASK, 5, 1.0))))
        await asyncio.sleep(0.01)

    asyncio.run(talk())
    assert [answer.status for answer in found] == ["error"] and guard.running == 0


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "é", "", "x" * 256, "x" * 257, "\ud800", 7]),
                          st.sampled_from([1.0, 0.5, 2, None, float("nan"), float("inf"), 1e308, True]))),
       st.integers(1, 6))
def test_the_short_way_through_a_list_ends_where_the_long_one_does(raw, k):
    async def model(request, k):
        return raw

    checked = check_list(raw, k)
    answer = begin(ask_all([make(model, local=True)], ASK, k, 1.0))[0]
    if isinstance(checked, str):
        assert (answer.status, answer.reason) == ("invalid", checked)
    else:
        assert (answer.status, answer.items, answer.scores) == ("ok", *checked[:2])
        assert answer.ranks is None or answer.ranks == {item: n for n, item in enumerate(answer.items, 1)}
        assert (answer.ranks is None) or len(set(answer.items)) == len(answer.items)


class Panic(BaseException):
    """What a Rust extension raises."""


@pytest.mark.parametrize("error", [Panic("broken"), KeyboardInterrupt("not yours"), SystemExit(3)])
@pytest.mark.parametrize("how", ["at once", "local", "async", "sync"])
def test_whatever_a_model_raises_is_its_failure(error, how):
    def sync(request, k):
        raise error

    async def at_once(request, k):
        raise error

    async def waits(request, k):
        await asyncio.sleep(0)
        raise error

    function = {"at once": at_once, "local": waits, "async": waits, "sync": sync}[how]
    answers, _ = ask(make(function, local=how in ("at once", "local")), make(quick, local=True))
    assert [answer.status for answer in answers] == ["error", "ok"]
    assert type(error).__name__ in answers[0].reason


async def timed(request, k):
    async with asyncio.timeout(0.02):
        await asyncio.sleep(request.k)
    return [("a", 1.0)]


async def grouped(request, k):
    async with asyncio.TaskGroup() as group:
        task = group.create_task(quick(request, k))
    return task.result()


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize(("model", "k", "status"), [(timed, 0, "ok"), (timed, 5, "error"), (grouped, 5, "ok")])
def test_a_model_that_waits_has_a_task_of_its_own(local, model, k, status):
    guard, found = make(model, local=local), []

    async def talk():
        def ask_without_a_task():
            begun = begin(ask_all([guard], Ask("u1", "home", k), 5, 1.0))
            asyncio.ensure_future(begun).add_done_callback(lambda done: found.extend(done.result()))

        asyncio.get_running_loop().call_soon(ask_without_a_task)
        await asyncio.sleep(0.2)

    asyncio.run(talk())
    assert [answer.status for answer in found] == [status]


def test_only_what_cannot_wait_is_called_without_a_task():
    class Held:
        async def __call__(self, request, k):
            return [("a", 1.0)]

        async def asked(self, request, k):
            return [one async for one in request]

    for function, at_once in [(quick, True), (Held(), True), (slow, False), (Held().asked, False), (grouped, False),
                              (partial(quick), False), (print, False)]:
        assert make(function, local=True).at_once is at_once, function
        assert not make(function, local=False).at_once


def test_a_thread_that_cannot_start_keeps_no_place():
    def sync(request, k):
        return [("a", 1.0)]

    guard = make(sync, concurrency=2, breaker_calls=100)
    pool = guard.recommender._pool
    submit, pool.submit = pool.submit, lambda *a: (_ for _ in ()).throw(RuntimeError("can't start new thread"))
    assert [ask(guard)[0][0].status for _ in range(3)] == ["error"] * 3
    pool.submit = submit
    assert ask(guard)[0][0].status == "ok"
