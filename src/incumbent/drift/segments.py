"""Which segments feel a drift: every segment's own change of mix, and its part of the whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from incumbent.drift import divergence
from incumbent.drift.comparable import frame_of, noise
from incumbent.stats.vectors import Vectors

LEAST = 100  # vectors on each side, below which a segment's mix says little


@dataclass(frozen=True)
class SegmentChange:
    """One segment: its vectors now and then, its corrected js, that in standard units of rows, its part of the whole.

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
    current: Mapping[str, Vectors], reference: Mapping[str, Vectors], *, least: int = LEAST
) -> list[SegmentChange]:
    """Every segment's change of the counts per centroid against itself, by how much the whole feels it, most first.

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


def _change(name: str, current: Vectors | None, reference: Vectors | None, least: int) -> SegmentChange:
    n, m = (0 if state is None else int(state.n) for state in (current, reference))
    if current is None or reference is None or min(n, m) < max(least, 1):
        side, size = ("now", n) if n < m else ("in the reference", m)
        return SegmentChange(name, n, m, reason=f"no vectors {side}" if not size else f"only {size} vectors {side}")
    frame_of(current, reference)
    used = int(((current.cells + reference.cells) > 0).sum()) - 1
    js = divergence.js(current.cells, reference.cells, corrected=True)
    expected = used * noise(current, reference) / 8
    return SegmentChange(name, n, m, js, js / expected * math.sqrt(used / 2) if used else 0.0, 0.0)
