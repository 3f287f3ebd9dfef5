"""The two models as the gateway calls them (``target = "incumbent.demo.models:champion"``): a dictionary look-up each.

The lists stand in ``$INCUMBENT_DEMO_DIR/models/ROLE.msgpack``, where `incumbent demo` wrote them.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from incumbent.demo.lists import Lists, Pair, read
from incumbent.models.recommender import Ask

DIRECTORY_VARIABLE = "INCUMBENT_DEMO_DIR"


@cache
def _lists(role: str) -> Lists:
    return read(Path(os.environ[DIRECTORY_VARIABLE]) / "models" / f"{role}.msgpack")


async def champion(request: Ask, k: int) -> list[Pair]:
    """The champion's list for a household on a trip."""
    return _lists("champion").of(request.user_id, request.context)[:k]


async def candidate(request: Ask, k: int) -> list[Pair]:
    """The candidate's list for a household on a trip."""
    return _lists("candidate").of(request.user_id, request.context)[:k]
