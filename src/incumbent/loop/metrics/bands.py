"""Bands: where the days of a metric lay before, so that one day can be told from the others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from incumbent.drift.robust import biweight

LEAST, WIDTH = 7, 3.0  # days below which there is no band, and half its width in robust scales


class Band(Struct, frozen=True):
    """What is ordinary for a day, or the reason why nobody knows yet. `status` says how the judged day lies to it."""

    status: str  # ok, above, below, no_data
    value: float | None = None  # of the day that is judged
    low: float | None = None
    high: float | None = None
    location: float | None = None
    days: int = 0
    reason: str | None = None
    method: str = f"biweight location -+ {WIDTH:g} scales of past days"


def band(past: Sequence[float | None], value: float | None, most: float = math.inf) -> Band:
    """The band of past day values, and where `value` lies.

    Where the past never moved, any other value is outside; where it was never negative, the band ends at 0, and that of
    what cannot be more than `most` ends there.
    A band of robust scales is a description of the past and no test: of ordinary days a few in a thousand lie outside
    where days are normal and independent, more where they are not. Alarms with a stated rate are those of drift.

    >>> made = band([10.0, 11.0, 9.0, 10.5, 9.5, 10.0, 10.2, 500.0], 20.0)
    >>> made.status, made.days, made.high < 20
    ('above', 8, True)
    """
    known = np.array([one for one in past if one is not None], np.float64)
    if len(known) < LEAST:
        return Band("no_data", value, days=len(known), reason=f"{len(known)} past days, fewer than {LEAST}")
    location, scale = biweight(known[:, None])
    middle = float(location[0])
    low, high = middle - WIDTH * float(scale[0]), min(middle + WIDTH * float(scale[0]), most)
    low = max(low, 0.0) if known.min() >= 0 else low
    if value is None:
        return Band("no_data", None, low, high, middle, len(known), reason="the day has no value")
    slack = 1e-12 * max(abs(low), abs(high), 1.0)
    status = "above" if value > high + slack else "below" if value < low - slack else "ok"
    return Band(status, value, low, high, middle, len(known))
