"""Control in memory: for tests, and for simulating the whole system in one process."""

from __future__ import annotations

from incumbent.stores.memory_baselines import MemoryBaselines
from incumbent.stores.memory_conclusions import MemoryConclusions
from incumbent.stores.memory_maturity import MemoryMaturity
from incumbent.stores.memory_plans import MemoryPlans


class MemoryControl(MemoryPlans, MemoryConclusions, MemoryMaturity, MemoryBaselines):
    """A Control of plain dictionaries under one lock; gone with its process.

    >>> control = MemoryControl()
    >>> control.set_cursor("attribute", "17")
    >>> control.cursor("attribute")
    '17'
    """

    tags: frozenset[str] = frozenset()

    def close(self) -> None:
        """Nothing is held open."""
