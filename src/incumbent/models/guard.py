"""The guard around one model: deadline, concurrency limit, circuit breaker, validation. It never raises."""

from __future__ import annotations

import asyncio
import math
import sys
from typing import Any

from incumbent import registry
from incumbent.clock import Clock
from incumbent.events.plan import ModelPlan
from incumbent.events.schema import ModelStatus
from incumbent.models.breaker import Breaker
from incumbent.models.generated import Told, limited
from incumbent.models.recommender import Answer, Ask, ModelBusy, ModelFailure, Recommender

MAX_ID_CHARS = 256
MOST = sys.float_info.max


class Guarded:
    """One model with what protects the request from it.

    `admit` and `start` are the two halves of asking; `incumbent.models.both.ask_all` puts them together for several
    models at once, each with its own deadline.
    """

    def __init__(self, plan: ModelPlan, recommender: Recommender, clock: Clock) -> None:
        self.plan = plan
        self.recommender = recommender
        self.breaker = Breaker(calls=plan.breaker_calls, failure_rate=plan.breaker_failure_rate,
                               cool_down_s=plan.breaker_cool_down_s)
        self.running = 0
        self.monotonic = clock.monotonic
        self.deadline_s = plan.deadline_ms / 1000
        self.at_once: bool = getattr(recommender, "at_once", False)  # never suspends: it needs no task
        self.concurrency = plan.concurrency

    def admit(self) -> Answer | None:
        """None where the model may be asked now, else the answer that says why not; whoever asks counts `running`."""
        if self.running >= self.concurrency:
            return Answer("busy", [], None, 0.0, 0, f"{self.running} requests are under way")
        if not self.breaker.closed and not self.breaker.admit(self.monotonic()):
            return Answer("open", [], None, 0.0, 0, "circuit breaker is open")
        return None

    async def start(self, request: Ask, k: int) -> Answer:
        """Ask the model, admitted before; its failure is an answer, its cancellation is passed on."""
        started = self.monotonic()
        generated = None
        try:
            raw = await self.recommender.recommend(request, k)
            if type(raw) is Told:
                found = limited(raw.generated)
                if isinstance(found, str):
                    return self._failed("invalid", started, found)
                raw, generated = raw.items, found
            checked = (_sound(raw[:k]) if type(raw) is list else None) or check_list(raw, k)
            n = 0 if isinstance(checked, str) else len(raw)
        except ModelBusy as busy:
            self.breaker.forget()
            return Answer("busy", [], None, self._since(started), 0, said(busy))
        except ModelFailure as failure:
            return self._failed("error", started, said(failure))
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # the caller gave up: that is no outcome
                raise
            return self._failed("error", started, f"CancelledError: {said(cancelled)}")
        except GeneratorExit:
            raise
        except BaseException as error:  # a model may raise anything, its answer too: all is its failure
            return self._failed("error", started, f"{type(error).__name__}: {said(error)}")
        if isinstance(checked, str):
            return self._failed("invalid", started, checked)
        items, scores, ranks = checked
        now = self.monotonic()
        self.breaker.record(ok=True, now=now)
        return Answer("ok", items, scores, (now - started) * 1000, n, None, generated, ranks)

    def timed_out(self, started: float) -> Answer:
        """The answer of a model that did not make it in time; counts against it."""
        elapsed_ms = self._since(started)
        return self._failed("timeout", started, f"no answer after {elapsed_ms:.0f} ms")

    def _failed(self, status: ModelStatus, started: float, reason: str) -> Answer:
        self.breaker.record(ok=False, now=self.monotonic())
        return Answer(status, [], None, self._since(started), 0, written(reason[:200]))

    def _since(self, started: float) -> float:
        return (self.monotonic() - started) * 1000


def said(error: BaseException) -> str:
    """An error's text, whatever its class makes of it.

    >>> said(ValueError("no such user"))
    'no such user'
    """
    try:
        return written(str(error)[:200])
    except Exception:
        return "(its text cannot be read)"


def written(text: str) -> str:
    """The text with a question mark for what UTF-8 cannot write: half a surrogate pair.

    >>> written("a\\ud800b")
    'a?b'
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def check_list(raw: Any, k: int) -> tuple[list[str], list[float] | None, None] | str:
    """A model's answer as ids and scores, cut to `k`; or the sentence that says what is wrong with it.

    Scores are all there and finite, or all missing. Duplicates and order are the merge's business, not this one's: the
    ranks, which it wants, are left to it.

    >>> check_list([("a", 0.5), ("b", 0.25)], 10)
    (['a', 'b'], [0.5, 0.25], None)
    >>> check_list([("a", float("nan"))], 10)
    'score of rank 1 is nan, expected a finite number'
    """
    if not isinstance(raw, list | tuple):
        return f"answer is a {type(raw).__name__}, expected a list of (item_id, score)"
    items: list[str] = []
    scores: list[float] = []
    unscored = 0
    for pair in raw[:k]:
        try:
            item, score = pair
        except (TypeError, ValueError):
            return f"rank {len(items) + 1} is {str(pair)[:60]!r}, expected (item_id, score)"
        if type(item) is not str or not item or len(item) > MAX_ID_CHARS or written(item) != item:
            return f"item of rank {len(items) + 1} is {str(item)[:60]!r}, expected text of 1 to {MAX_ID_CHARS} letters"
        items.append(item)
        if score is None:
            unscored += 1
        elif isinstance(score, bool) or not isinstance(score, int | float) or not -MOST <= score <= MOST:
            return f"score of rank {len(items)} is {_short(score)}, expected a finite number"
        else:
            scores.append(float(score))
    if scores and unscored:
        return f"{unscored} of {len(items)} items have no score, expected all or none"
    return items, scores or None, None


def _sound(raw: list[Any]) -> tuple[list[str], list[float], dict[str, int]] | None:
    """The usual answer, (text, float) throughout and no item twice, with its ranks, in half the time; None where
    `check_list` must look."""
    ranks: dict[str, int] = {}
    scores: list[float] = []
    rank = 0
    try:
        for item, score in raw:
            if type(item) is not str or type(score) is not float:
                return None
            ranks[item] = rank = rank + 1
            scores.append(score)
    except (TypeError, ValueError):
        return None
    text = "".join(items := [*ranks])
    named = "" not in ranks and (len(text) <= MAX_ID_CHARS or max(map(len, items)) <= MAX_ID_CHARS)
    if (rank == len(items) > 0 and named and math.isfinite(sum(scores))
            and (text.isascii() or written(text) == text)):
        return items, scores, ranks
    return None


def _short(score: Any) -> str:
    """At most 60 letters of a score; a whole number of thousands of digits has no text at all."""
    return f"a whole number of {score.bit_length()} bits" if type(score) is int else str(score)[:60]


def build(plan: ModelPlan, clock: Clock) -> Guarded:
    """The guarded model that a plan names; `ConfigError` or `NotFoundError` where it cannot be built."""
    return Guarded(plan, registry.load("models", plan.adapter)(plan), clock)
