"""A shop of two models, small enough to read in a minute. Replace both functions by your own.

A model is any function of a request that returns (item_id, score) pairs, best first; a score may be None. It may be
`async`; a plain one runs in threads of its own. What it may read: `request.user_id`, `request.context`, and what the
shopper wants to see no more: `request.exclude` (items), `request.exclude_categories`, `request.ignore_events` (of their
past).
"""

from __future__ import annotations

import hashlib
from typing import Any

CATALOGUE = {f"{kind}-{number}": kind for kind in ("book", "film", "game", "song") for number in range(1, 26)}


def popular(request: Any, k: int) -> list[tuple[str, float]]:
    """The champion: the same list for everybody, as if it had been counted over last month's sales.

    What the shopper excludes is left out here. The gateway would take it out of any list, which is then too short.
    """
    wanted = (item for item, kind in CATALOGUE.items()
              if item not in request.exclude and kind not in request.exclude_categories)
    sales = {item: 1000 / (1 + _spread(item, 100)) for item in wanted}
    return sorted(sales.items(), key=lambda pair: (-pair[1], pair[0]))[:k]


def favourites(request: Any, k: int) -> list[tuple[str, float]]:
    """The candidate: popular items, with those of the shopper's favourite kind in front."""
    kinds = sorted(set(CATALOGUE.values()))
    favourite = request.context.get("favourite") or kinds[_spread(request.user_id, len(kinds))]
    lifted = [(item, score * (4.0 if CATALOGUE[item] == favourite else 1.0))
              for item, score in popular(request, len(CATALOGUE))]
    return sorted(lifted, key=lambda pair: (-pair[1], pair[0]))[:k]


def _spread(text: str, n: int) -> int:
    """A number in [0, n) that is always the same for the same text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") % n
