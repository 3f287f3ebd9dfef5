"""A shop of two models, small enough to read in a minute. Replace both functions by your own.

A model is any function of a request that returns (item_id, score) pairs, best first; a score may be None. It may be
`async`; a plain one runs in a thread pool. What it may read: `request.user_id`, `request.context`, `request.exclude`.
"""

from __future__ import annotations

import hashlib
from typing import Any

CATALOGUE = {f"{kind}-{number}": kind for kind in ("book", "film", "game", "song") for number in range(1, 26)}


def popular(request: Any, k: int) -> list[tuple[str, float]]:
    """The champion: the same list for everybody, as if it had been counted over last month's sales."""
    sales = {item: 1000 / (1 + _spread(item, 100)) for item in CATALOGUE}
    return sorted(sales.items(), key=lambda pair: (-pair[1], pair[0]))[:k]


def favourites(request: Any, k: int) -> list[tuple[str, float]]:
    """The candidate: popular items, with those of the shopper's favourite kind in front."""
    kinds = sorted(set(CATALOGUE.values()))
    favourite = request.context.get("favourite") or kinds[_spread(request.user_id, len(kinds))]
    lifted = [(item, score * (4.0 if CATALOGUE[item] == favourite else 1.0)) for item, score in popular(request, 100)]
    return sorted(lifted, key=lambda pair: (-pair[1], pair[0]))[:k]


def _spread(text: str, n: int) -> int:
    """A number in [0, n) that is always the same for the same text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") % n
