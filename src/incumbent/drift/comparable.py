"""What two embedding states must have before they are compared."""

from __future__ import annotations

from incumbent.errors import DataError, StateError
from incumbent.stats.vectors import Vectors
from incumbent.stats.vectors_config import VectorsConfig


def frame_of(current: Vectors, reference: Vectors, *, least: int = 1, part: str | None = None) -> VectorsConfig:
    """The frame that both share; `StateError` where it is not one, `DataError` under `least` sound vectors, and where
    it leaves the `part` out."""
    if current.frame is not reference.frame and current.config_hash != reference.config_hash:
        raise StateError("states of different configurations do not compare", got=current.config_hash,
                         expected=reference.config_hash, hint="both must come from one baseline's Vectors.fit")
    if part is not None:
        current.keeps(part)
    for side, state in (("current", current), ("reference", reference)):
        if int(state.n) < least:
            left = int(state.defects.sum())
            raise DataError(f"the {side} state has too few sound vectors to compare", got=int(state.n),
                            expected=f"{least} or more", hint=f"{left} defective ones were left out" if left else None)
    return current.frame


def noise(current: Vectors, reference: Vectors) -> float:
    """``1/n + 1/N``: what the expectation of a squared distance between two samples of one distribution grows with."""
    return 1 / int(current.n) + 1 / int(reference.n)
