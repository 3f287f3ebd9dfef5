"""Which segments feel a drift: every segment's own change of mix, and its part of the whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.drift import divergence
from incumbent.drift.categorical import tables
from incumbent.drift.comparable import frame_of
from incumbent.errors import DataError, StateError
from incumbent.stats.items import Items
from incumbent.stats.numeric import Numeric
from incumbent.stats.vectors import Vectors

LEAST = 100  # vectors or ids on each side, below which a segment's mix says little


@dataclass(frozen=True)
class SegmentChange:
    """One segment: its vectors or ids now and then, its corrected js, that in standard units, its part of the whole.

    `js`, `z` and `part` are None exactly when `reason` says why.
    """

    segment: str
    n: int
    reference_n: int
    js: float | None = None
    z: float | None = None
    part: float | None = None
    reason: str | None = None


def segment_changes(
    current: Mapping[str, Any], reference: Mapping[str, Any], *, least: int = LEAST,
) -> list[SegmentChange]:
    """Every segment's change of mix against itself, by how much the whole feels it, most first.

    States are `Vectors`, `Items`, `Numeric`, or counts per cell (K,) as they are; the mix is that of counts per centroid,
    of the most popular ids and of all others, of values per quantile cell, or of the counts.

    ``js`` is `divergence.js` less its expectation E without drift; ``z = (js / E) sqrt((K - 1) / 2)``, standard units if
    rows were independent (8 n N / (n + N) js is about chi-squared with K - 1 degrees of freedom); `part` is
    ``n max(js, 0)`` over the sum. They rank and do not alarm: days differ by more than rows. A segment under `least`
    sound vectors, or absent on a side, has a reason and no number; these come last. Source: as `divergence.js`.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> zero = Vectors.fit(rng.normal(size=(1000, 4)), seed=1, centroids=8)
    >>> def draw(shift):
    ...     return zero.update(rng.normal(size=(500, 4)) + shift)
    >>> found = segment_changes({"uk": draw(0), "fr": draw(1)}, {"uk": draw(0), "fr": draw(0), "de": draw(0)})
    >>> [(change.segment, change.reason) for change in found]
    [('fr', None), ('uk', None), ('de', 'no vectors now')]
    """  # noqa: E501
    found = [_change(name, current.get(name), reference.get(name), least)
             for name in sorted({*current, *reference})]
    whole = sum(change.n * max(change.js, 0.0) for change in found if change.js is not None)
    told = [SegmentChange(c.segment, c.n, c.reference_n, c.js, c.z, c.n * max(c.js, 0.0) / whole if whole else 0.0)
            for c in found if c.js is not None]
    return [*sorted(told, key=lambda c: (-(c.part or 0.0), -(c.js or 0.0))),
            *(c for c in found if c.js is None)]


def _change(name: str, current: Any, reference: Any, least: int) -> SegmentChange:
    n, m = (0 if state is None else size(state) for state in (current, reference))
    if current is None or reference is None or min(n, m) < max(least, 1):
        what = _WHAT.get(type(reference if current is None else current), "vectors")
        side, rows = ("now", n) if n < m else ("in the reference", m)
        return SegmentChange(name, n, m, reason=f"no {what} {side}" if not rows else f"only {rows} {what} {side}")
    try:
        now, then = _cells(current, reference)
    except DataError as error:
        return SegmentChange(name, n, m, reason=error.what)
    used = int(((now + then) > 0).sum()) - 1
    js = divergence.js(now, then, corrected=True)
    expected = used * (1 / n + 1 / m) / 8
    return SegmentChange(name, n, m, js, js / expected * math.sqrt(used / 2) if used else 0.0, 0.0)


_WHAT: dict[type, str] = {Items: "ids", Numeric: "values"}


def size(state: Any) -> int:
    """The rows of a state, or of counts."""
    return int(state.sum() if isinstance(state, np.ndarray) else state.n)


def cells(state: Any) -> NDArray[Any]:
    """The counts whose shares are a state's mix.

    >>> cells(np.array([3, 1])).tolist(), int(cells(Numeric.zero(edges=[0.0, 1.0]).update([0.5])).sum())
    ([3, 1], 1)
    """
    if isinstance(state, Items):
        return np.append(state.top[:-1], state.top[-1] + state.new)
    found: NDArray[Any] = state.cells if isinstance(state, Vectors) else (
        state.coarse if isinstance(state, Numeric) else np.asarray(state))
    return found


def _cells(current: Any, reference: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """The counts of both sides, which must be of one kind and frame."""
    if type(current) is not type(reference):
        raise StateError("states of two kinds do not compare", got=type(current).__name__,
                         expected=type(reference).__name__)
    if isinstance(current, Items):
        return tables(current, reference, "top")
    if isinstance(current, Vectors):
        frame_of(current, reference, part="cells")
    elif isinstance(current, Numeric) and current.config_hash != reference.config_hash:
        raise StateError("states of different cells do not compare", got=current.config_hash,
                         expected=reference.config_hash)
    return cells(current), cells(reference)
