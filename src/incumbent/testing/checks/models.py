"""The laws of a model adapter, asked of real endpoints.

An adapter of your own gives ``example_plan(behaviour, url, **changes) -> ModelPlan`` as a static method: the plan by
which it reaches each behaviour of `incumbent.testing.endpoints` (served at `url`, or by a server of yours).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from incumbent import registry
from incumbent.clock import SystemClock
from incumbent.events.plan import ModelPlan
from incumbent.models.both import ask_all
from incumbent.models.guard import Guarded
from incumbent.models.recommender import Answer, Ask
from incumbent.testing import endpoints
from incumbent.testing.checks.suite import Suite

Plans = Callable[..., ModelPlan]


class Subject:
    """An adapter with the plans that reach each behaviour."""

    def __init__(self, adapter: Any, url: str) -> None:
        self._adapter = adapter
        self._url = url

    def guard(self, behaviour: str, **changes: Any) -> Guarded:
        """A guarded model of that behaviour."""
        if hasattr(self._adapter, "example_plan"):
            plan = self._adapter.example_plan(behaviour, self._url, **changes)
        else:
            plan = endpoints.example_plan(_name(self._adapter), behaviour, self._url, **changes)
        return Guarded(plan, self._adapter(plan), SystemClock())

    def run(self, behaviour: str, ask: Callable[[Guarded], Awaitable[Any]], **changes: Any) -> Any:
        """Run a conversation with one model in a loop of its own."""
        async def talk() -> Any:
            guard = self.guard(behaviour, **changes)
            try:
                return await ask(guard)
            finally:
                await guard.recommender.close()
        return asyncio.run(talk())

    def once(self, behaviour: str, *, k: int = 5, **changes: Any) -> Answer:
        """One answer."""
        answer: Answer = self.run(behaviour, lambda guard: one(guard, k=k), **changes)
        return answer


async def one(guard: Guarded, user: str = "u1", k: int = 5, deadline_s: float = 2.0) -> Answer:
    """Ask one model once."""
    return (await ask_all([guard], Ask(user, "home", k), k, deadline_s))[0]


def _name(adapter: Any) -> str:
    return next(name for name in registry.names("models") if registry.load("models", name) is adapter)


@contextmanager
def _prepare(adapter: Any) -> Iterator[Subject]:
    with endpoints.serving() as url:
        yield Subject(adapter, url)


SUITE = Suite("models", _prepare)


@SUITE.law()
def keeps_order_and_scores(subject: Subject) -> None:
    """Items come in the model's own order with their own scores."""
    answer = subject.once("good")
    assert (answer.status, answer.items) == ("ok", ["i0", "i1", "i2", "i3", "i4"]), answer
    assert answer.scores is not None and abs(answer.scores[1] - 0.5) < 1e-6, answer


@SUITE.law()
def scores_may_be_missing(subject: Subject) -> None:
    """A list without scores is a list."""
    answer = subject.once("unscored")
    assert (answer.status, len(answer.items), answer.scores) == ("ok", 5, None), answer


@SUITE.law()
def few_and_none_are_answers(subject: Subject) -> None:
    """Too few items, or none, are ok: the merge decides what to do with them."""
    assert (subject.once("short", k=10).items, subject.once("empty").status) == (["i0", "i1", "i2"], "ok")


@SUITE.law()
def ids_beyond_ascii(subject: Subject) -> None:
    """Ids arrive letter by letter."""
    assert subject.once("unicode_ids", k=1).items == ["ÅŁ🛒-0"]


@SUITE.law()
def garbage_is_a_failure(subject: Subject) -> None:
    """What is no list, or has no numbers for scores, is error or invalid, with a reason."""
    for behaviour in ("garbage", "nan"):
        answer = subject.once(behaviour)
        assert answer.status in ("invalid", "error") and answer.reason and not answer.items, (behaviour, answer)


@SUITE.law()
def failure_is_an_answer(subject: Subject) -> None:
    """A model that raises is answered for, with status error and a reason."""
    answer = subject.once("error")
    assert answer.status == "error" and answer.reason, answer


@SUITE.law()
def deadline_holds(subject: Subject) -> None:
    """A model that hangs is answered for at the deadline, and the loop is free meanwhile."""
    async def ask(guard: Guarded) -> tuple[Answer, float]:
        started = guard.monotonic()
        answer = await one(guard)
        return answer, guard.monotonic() - started
    answer, elapsed_s = subject.run("hang", ask, deadline_ms=150)
    assert answer.status == "timeout" and elapsed_s < 1.0, (answer, elapsed_s)


@SUITE.law()
def concurrent_answers_do_not_mix(subject: Subject) -> None:
    """Each of many requests under way gets its own answer."""
    async def ask(guard: Guarded) -> list[Answer]:
        return list(await asyncio.gather(*(one(guard, f"user-{n}") for n in range(8))))
    answers = subject.run("echo", ask)
    assert [a.items for a in answers] == [[f"user-{n}"] for n in range(8)], answers


@SUITE.law()
def limit_refuses_at_once(subject: Subject) -> None:
    """Over the concurrency limit the answer is busy, at once."""
    async def ask(guard: Guarded) -> list[Answer]:
        return list(await asyncio.gather(*(one(guard) for _ in range(4))))
    statuses = [a.status for a in subject.run("hang", ask, concurrency=2, deadline_ms=200)]
    assert sorted(statuses) == ["busy", "busy", "timeout", "timeout"], statuses


@SUITE.law()
def closes_twice(subject: Subject) -> None:
    """Closing is idempotent, also of a model that was never asked."""
    async def ask(guard: Guarded) -> None:
        await guard.recommender.close()
    subject.run("good", ask)


def run(names: list[str] | None = None) -> list[Any]:
    """The results of all laws, for `incumbent check models`."""
    return list(SUITE.run(names))
