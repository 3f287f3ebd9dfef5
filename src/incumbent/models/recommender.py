"""Recommender: the one method of a model endpoint, whatever stands behind it."""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct

from incumbent.events.plan import ModelPlan
from incumbent.events.schema import Context, Generated, ModelStatus


class Ask(Struct, frozen=True):
    """What a model is asked: whose list, for which surface, and what must not be in it."""

    user_id: str
    surface: str
    k: int
    context: Context = {}
    session_id: str | None = None
    exclude: tuple[str, ...] = ()
    request_id: str = ""
    exclude_categories: tuple[str, ...] = ()  # categories that the shopper wants to see no more
    ignore_events: tuple[str, ...] = ()  # past interactions (event ids) that must not shape the list


Scored = list[tuple[str, float | None]]


class Answer(Struct, frozen=True):
    """What came of asking: a usable list, or the status that says why there is none."""

    status: ModelStatus
    items: list[str]
    scores: list[float] | None
    latency_ms: float
    n_items: int
    reason: str | None = None
    generated: Generated | None = None  # of a model that writes
    ranks: dict[str, int] | None = None  # of the items, from 1, where they are known and no item comes twice


class ModelFailure(Exception):
    """A model answered, but not with a list; the text becomes the answer's reason."""


class ModelBusy(Exception):
    """The model's own concurrency limit is reached; asking it again now would only queue."""


class Recommender(Protocol):
    """Best first. Scores may be missing. Raises what it likes: the guard around it counts that against the model.

    One whose coroutine never suspends may say so by an attribute ``at_once = True``: it is called without a task.
    """

    async def recommend(self, request: Ask, k: int) -> Any:
        """Up to `k` items with their scores (`Scored`); of a model that writes, `models.generated.Told`."""
        ...

    async def close(self) -> None:
        """Give connections and threads back."""
        ...


class RecommenderFactory(Protocol):
    """What stands behind a registered adapter name."""

    def __call__(self, plan: ModelPlan) -> Recommender: ...


def pairs(items: Any, scores: Any) -> Scored:
    """Two parallel arrays of a wire format as scored pairs; raises `ModelFailure` where their lengths differ.

    >>> pairs(["a", "b"], [0.9, 0.1])
    [('a', 0.9), ('b', 0.1)]
    >>> pairs(["a"], None)
    [('a', None)]
    """
    if not isinstance(items, list) or not (scores is None or isinstance(scores, list)):
        raise ModelFailure(f"items are a {type(items).__name__} and scores a {type(scores).__name__}, expected lists")
    if scores is None:
        return [(item, None) for item in items]
    if len(items) != len(scores):
        raise ModelFailure(f"{len(items)} items but {len(scores)} scores")
    return list(zip(items, scores, strict=True))
