"""Recommender: the one method of a model endpoint, whatever stands behind it."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from incumbent.events.schema import Context


class Ask(Struct, frozen=True):
    """What a model is asked: whose list, for which surface, how long, and what must not be in it."""

    user_id: str
    surface: str
    k: int
    context: Context = {}
    session_id: str | None = None
    exclude: tuple[str, ...] = ()
    request_id: str = ""


Scored = list[tuple[str, float | None]]


class Recommender(Protocol):
    """Best first. Order is the model's own; scores may be missing. Raises what it likes: the caller counts it."""

    async def recommend(self, request: Ask, k: int) -> Scored:
        """Up to `k` items with their scores."""
        ...

    async def close(self) -> None:
        """Give connections and threads back."""
        ...
