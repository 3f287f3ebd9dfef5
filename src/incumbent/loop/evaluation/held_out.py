"""held_out: the requests on which two models are compared, and what is known about them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.events.window import Window
from incumbent.metrics.metric import Side
from incumbent.models.recommender import Answer, Ask

_PERIOD = re.compile(r"(\d{4}-\d\d-\d\d)(?:\.\.(\d{4}-\d\d-\d\d))?")


@dataclass(frozen=True, eq=False)
class HeldOut:
    """n requests: what was asked, whose each is, when (seconds since 1970, NaN unknown), and the side of `measures`.

    In `side`, ``user_id`` is the number of the request. `notes` say what the numbers do not stand on. `events` are the ids
    of what the shopper of each request had done before it, oldest first; empty where the data know none.
    """  # noqa: E501

    source: str
    asks: list[Ask]
    time_s: NDArray[np.float64]
    side: Side
    counts: dict[str, int]
    notes: list[str] = field(default_factory=list)
    events: Sequence[Sequence[str]] = ()

    @property
    def users(self) -> NDArray[np.int64]:
        """The user of each request as a number."""
        seen: dict[str, int] = {}
        return np.array([seen.setdefault(ask.user_id, len(seen)) for ask in self.asks], np.int64)

    def values(self, key: str) -> list[str | None]:
        """The value of a context key at each request, as text; None where it has none."""
        return [None if (value := ask.context.get(key)) is None else str(value) for ask in self.asks]

    @property
    def keys(self) -> list[str]:
        """All context keys."""
        return sorted({key for ask in self.asks for key in ask.context})


def period_of(text: str) -> Window | None:
    """The UTC days of a period, both ends included; None where the text is none, `DataError` where it is no calendar's.

    >>> str(period_of("2026-03-01..2026-03-07").end.date()), period_of("sales.csv")
    ('2026-03-08', None)
    """
    found = _PERIOD.fullmatch(text.strip())
    if found is None:
        return None
    try:
        first = date.fromisoformat(found[1])
        return Window.of_days(first, date.fromisoformat(found[2]) if found[2] else first)
    except (ValueError, DataError):
        raise DataError("not a period", got=text, field="--data",
                        expected="YYYY-MM-DD, or YYYY-MM-DD..YYYY-MM-DD with the earlier day first") from None


def whole_users(users: Sequence[str], most: int) -> NDArray[np.int64]:
    """The rows of as many users as make up at most `most` rows (one user at least), in the order of their hashes.

    The same users whenever it is asked, whatever else is there; rows keep their order.

    >>> whole_users(["u", "v", "u", "w"], 10).tolist(), len(whole_users(["u"] * 5, 2))
    ([0, 1, 2, 3], 5)
    """
    if len(users) <= most:
        return np.arange(len(users))
    counts: dict[str, int] = {}
    for user in users:
        counts[user] = counts.get(user, 0) + 1
    kept: set[str] = set()
    total = 0
    for user in sorted(counts, key=lambda user: blake2b(user.encode(), digest_size=8).digest()):
        if kept and total + counts[user] > most:
            break
        kept.add(user)
        total += counts[user]
    return np.flatnonzero([user in kept for user in users])


def by_category(held: HeldOut, answers: Iterable[Sequence[Answer]]) -> HeldOut:
    """The requests, with what was answered of a category that its shopper had excluded among the excluded items."""
    table = held.side.catalogue
    if not any(ask.exclude_categories for ask in held.asks) or table is None or "category" not in table.column_names:
        return held
    category = dict(zip(table["item_id"].to_pylist(), table["category"].to_pylist(), strict=True))
    pairs = [(n, item) for n, ask in enumerate(held.asks) for item in ask.exclude]
    pairs += dict.fromkeys((n, item) for found in answers for n, (ask, answer) in enumerate(
        zip(held.asks, found, strict=True)) for item in answer.items if category.get(item) in ask.exclude_categories)
    excluded = pairs_table(pairs, since=pa.array([held.time_s[n] for n, _ in pairs], pa.float64()))
    return replace(held, side=replace(held.side, excluded=excluded))


def pairs_table(pairs: Iterable[tuple[int, str]], **more: list[Any]) -> pa.Table:
    """(request, item) pairs as the side holds them."""
    found = list(pairs)
    return pa.table({"user_id": pa.array([request for request, _ in found], pa.int64()),
                     "item_id": pa.array([item for _, item in found], pa.string()), **more})


def popularity_table(counts: Mapping[str, int]) -> pa.Table | None:
    """Counts of items as the side holds them; None where nothing was counted."""
    if not counts:
        return None
    return pa.table({"item_id": pa.array(list(counts), pa.string()),
                     "count": pa.array(list(counts.values()), pa.int64())})
