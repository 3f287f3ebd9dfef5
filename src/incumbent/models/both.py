"""Ask several models at once, each with its own deadline; a late one never costs the other's list."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from incumbent.eager import Rest, begin
from incumbent.models.guard import Guarded
from incumbent.models.recommender import Answer, Ask


def _begin(guard: Guarded, request: Ask, k: int) -> Answer | asyncio.Task[Answer]:
    """A model's answer where it is there at once, else the task that will have it.

    A local model without an await in it is run on the caller's stack and costs no task (3 us, not 30): it cannot
    suspend, so nothing that needs a task of its own (`asyncio.timeout`, a `TaskGroup`, aiohttp) is missed.
    """
    refused = guard.admit()
    if refused is not None:
        return refused
    asked: Awaitable[Answer] = guard.start(request, k)
    guard.running += 1
    if guard.at_once:
        try:
            begun = begin(asked)
        except BaseException:
            _leave(guard, gave_up=True)
            raise
        if not isinstance(begun, Rest):
            guard.running -= 1
            return begun
        asked = begun
    task = asyncio.ensure_future(asked)
    task.add_done_callback(lambda done: _leave(guard, gave_up=done.cancelled()))  # also before its first step
    return task


def _leave(guard: Guarded, *, gave_up: bool) -> None:
    """One less under way; where nobody waited for the outcome, a probe's place is free again."""
    guard.running -= 1
    if gave_up:
        guard.breaker.forget()


async def ask_all(guards: Sequence[Guarded], request: Ask, k: int, deadline_s: float) -> list[Answer]:
    """The answers of all models, in their order, within the smaller of `deadline_s` and each model's own deadline.

    A model that is late is cancelled and answered for with status `timeout`; nothing is awaited past the deadline,
    not even its cancellation.
    """
    first = guards[0].monotonic()
    begun = [_begin(guard, request, k) for guard in guards]
    there = [one for one in begun if type(one) is Answer]
    if len(there) == len(begun):
        return there
    answers: list[Answer | None] = [one if isinstance(one, Answer) else None for one in begun]
    waiting = sorted((min(guards[n].deadline_s, deadline_s), n) for n, answer in enumerate(answers) if answer is None)
    tasks = {n: task for n, task in enumerate(begun) if isinstance(task, asyncio.Task)}
    while waiting:  # most often once: all are there before the first of their deadlines
        limit_s = waiting[0][0]
        left_s = limit_s - (guards[0].monotonic() - first)
        pending = [tasks[n] for _, n in waiting if not tasks[n].done()]
        if left_s > 0 and pending:
            try:
                await asyncio.wait(pending, timeout=left_s)
            except asyncio.CancelledError:
                for task in tasks.values():
                    task.cancel()
                raise
        for _, n in [one for one in waiting if one[0] <= limit_s or tasks[one[1]].done()]:
            answers[n] = _harvest(guards[n], tasks[n], first)
        waiting = [one for one in waiting if answers[one[1]] is None]
    return [answer for answer in answers if answer is not None]


def _harvest(guard: Guarded, task: asyncio.Task[Answer], started: float) -> Answer:
    if task.done() and not task.cancelled():
        return task.result()
    task.cancel()
    return guard.timed_out(started)
