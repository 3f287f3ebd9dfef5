"""Models of a simulated system: two rankings per shopper, and every way in which a model endpoint lets one down."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from random import Random
from typing import Any

from msgspec import Struct

from incumbent.models.recommender import Ask, ModelBusy

#: what goes wrong in single answers, and how often
TROUBLES: dict[str, float] = {
    "slow": 0.004, "hang": 0.002, "error": 0.004, "busy": 0.002, "not_a_list": 0.001, "bad_score": 0.001,
    "bad_item": 0.001, "empty": 0.002, "few": 0.004, "duplicates": 0.01, "too_many": 0.002,
}


class Burst(Struct, frozen=True):
    """A time in which a model answers nothing well: seconds of model time, and how it fails."""

    start: float
    end: float
    trouble: str


class SimulatedModel:
    """Answers each shopper's own list, mostly at once; counts in `faults` what it did instead."""

    def __init__(self, name: str, lists: Mapping[str, list[tuple[str, float]]], bursts: Sequence[Burst], rng: Random,
                 faults: Counter[str]) -> None:
        self.name = name
        self._lists, self._bursts, self._rng, self._faults = lists, bursts, rng, faults
        self._names, self._limits = [*TROUBLES, ""], [*accumulate(TROUBLES.values()), 1.0]

    async def recommend(self, request: Ask, k: int) -> Any:
        """The shopper's list; what is excluded stays in it, as in a model that does not care."""
        rng = self._rng
        now = asyncio.get_running_loop().time()
        trouble = next((burst.trouble for burst in self._bursts if burst.start <= now < burst.end), None)
        if trouble is None:
            trouble = rng.choices(self._names, cum_weights=self._limits)[0]
        if trouble:
            self._faults[f"model {trouble}"] += 1
        elif rng.random() < 0.2:
            await asyncio.sleep(min(rng.lognormvariate(-4.5, 0.8), 0.09))
        items = self._lists[request.user_id]
        return items[:k] if not trouble else await _troubled(trouble, items, rng)

    async def close(self) -> None:
        """Nothing to give back."""


async def _troubled(trouble: str, items: list[tuple[str, float]], rng: Random) -> Any:
    if trouble in ("slow", "hang"):
        await asyncio.sleep(rng.uniform(0.1, 2.0) if trouble == "slow" else 86_400.0)
    elif trouble == "error":
        raise rng.choice([RuntimeError("the model broke"), KeyError("user"), OSError(104, "connection reset")])
    elif trouble == "busy":
        raise ModelBusy("a simulated pool is full")
    broken: dict[str, Any] = {
        "not_a_list": {"items": [item for item, _ in items]}, "bad_score": [(item, float("nan")) for item, _ in items],
        "bad_item": [("x" * 300, 1.0), *items], "empty": [], "few": items[:1 + rng.randrange(2)],
        "duplicates": [items[0], *items], "too_many": items * 40}
    return broken.get(trouble, items)
