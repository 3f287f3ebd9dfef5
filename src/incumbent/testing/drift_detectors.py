"""Two detectors that look at nothing: the rows without which no table of detectors means anything."""

from __future__ import annotations

from typing import Any

from incumbent.drift.alarm import embedding
from incumbent.drift.detector import Memory, Reference, Result, settings_hash, sound


class Blind:
    """Says the same of every window that could be judged."""

    tags: frozenset[str] = frozenset({"two_sample"})
    alpha = 0.05

    def __init__(self, name: str, fires: bool) -> None:
        self.name, self.fires = name, fires

    @property
    def hash(self) -> str:
        """16 hex digits over name and settings."""
        return settings_hash(self.name, {"fires": self.fires})

    def least_windows(self) -> int:
        """It needs one to be asked at all."""
        return 1

    def calibrate(self, reference: Reference, like: int | None = None) -> Reference:
        """There is nothing to calibrate."""
        return reference

    def step(self, current: Any, reference: Reference, memory: Memory) -> tuple[Result, Memory]:
        """Drift, or none, whatever is seen."""
        problem = sound(current, reference, 1)
        if problem is not None:
            return problem, memory
        return Result(status="drift" if self.fires else "ok", severity="ticket" if self.fires else "info",
                      reason="it always fires" if self.fires else "it never fires"), memory

    def example(self, rng: Any, windows: int, drifted: int = 0) -> list[Any]:
        """That of the embedding detector."""
        return embedding().example(rng, windows, drifted)


def always_fire() -> Blind:
    """Every window is drift."""
    return Blind("always_fire", True)


def never_fire() -> Blind:
    """No window is."""
    return Blind("never_fire", False)
