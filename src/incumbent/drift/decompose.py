"""Mix change and within-segment change: why a rate moved, from counts per segment. Kitagawa's decomposition."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from incumbent.errors import DataError


@dataclass(frozen=True)
class SegmentChange:
    """One segment: its share and its rate on both sides, and what it adds by mix and by change within.

    A rate is None where the segment has no rows on that side.
    """

    segment: str
    reference_share: float
    current_share: float
    reference_rate: float | None
    current_rate: float | None
    mix: float
    within: float

    @property
    def total(self) -> float:
        """What the segment adds in all."""
        return self.mix + self.within


@dataclass(frozen=True)
class Decomposition:
    """``current - reference = mix + within`` up to rounding, and the segments that add up to both, largest first."""

    reference: float
    current: float
    mix: float
    within: float
    segments: tuple[SegmentChange, ...]

    @property
    def change(self) -> float:
        """Current minus reference."""
        return self.current - self.reference


def decompose(
    current: Mapping[str, tuple[float, float]], reference: Mapping[str, tuple[float, float]]
) -> Decomposition:
    """The change of a rate ``sum y / sum n`` in its two parts, from ``segment -> (n, sum of y)`` on both sides.

    With shares v and rates r of a segment and R the mean of both overall rates: mix ``(v1 - v0) ((r0 + r1) / 2 - R)``,
    within ``(r1 - r0) (v0 + v1) / 2``. R changes no sum, since shares add to 1; it makes the mix of a segment mean
    "more of what is better than usual". A segment with rows on one side only has the rate of that side on both, so that
    its coming or going is mix. Sums and counts are those of any additive state per segment; segments must be disjoint and
    hold all rows, so keep one for what is unknown. A rate need not be in [0, 1]: revenue per visit decomposes alike.

    Missing: a segment without rows on both sides is left out. `DataError` where a side has no rows at all, for negative
    counts and numbers that are not finite. Sources: E. M. Kitagawa, J. Am. Stat. Assoc. 50 (1955); A. S. Blinder, J. Hum.
    Resour. 8 (1973); R. Oaxaca, Int. Econ. Rev. 14 (1973).

    >>> before = {"phone": (500, 10.0), "desktop": (500, 30.0)}
    >>> after = {"phone": (800, 16.0), "desktop": (200, 12.0)}
    >>> d = decompose(after, before)
    >>> round(d.change, 3), round(d.mix, 3), round(d.within, 3)
    (-0.012, -0.012, 0.0)
    """  # noqa: E501
    n1, rate1 = _overall(current, "current")
    n0, rate0 = _overall(reference, "reference")
    middle, rows = (rate0 + rate1) / 2, []
    for segment in sorted({*current, *reference}):
        (a1, y1), (a0, y0) = current.get(segment, (0, 0.0)), reference.get(segment, (0, 0.0))
        if not a1 and not a0:
            continue
        r1, r0 = y1 / a1 if a1 else None, y0 / a0 if a0 else None
        ours, theirs = r1 if r1 is not None else y0 / a0, r0 if r0 is not None else y1 / a1
        v1, v0 = a1 / n1, a0 / n0
        mix, within = (v1 - v0) * ((ours + theirs) / 2 - middle), (ours - theirs) * (v0 + v1) / 2
        rows.append(SegmentChange(segment, v0, v1, r0, r1, mix, within))
    rows.sort(key=lambda row: (-abs(row.total), row.segment))
    return Decomposition(rate0, rate1, math.fsum(row.mix for row in rows), math.fsum(row.within for row in rows),
                         tuple(rows))


def _overall(side: Mapping[str, tuple[float, float]], name: str) -> tuple[float, float]:
    for segment, (n, y) in side.items():
        if not (math.isfinite(n) and math.isfinite(y)) or n < 0 or (n == 0 and y != 0):
            raise DataError("segments hold counts and sums", got=(segment, n, y), field=name,
                            expected="finite numbers, n not negative, and no sum without rows")
    total = math.fsum(n for n, _ in side.values())
    if total <= 0:
        raise DataError(f"the {name} side has no rows", got=len(side), expected="at least one row", field=name)
    return total, math.fsum(y for _, y in side.values()) / total
