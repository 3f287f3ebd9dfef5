"""Age of the vectors that an index serves: how old the oldest and the typical ones are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from incumbent.errors import DataError
from incumbent.stats.estimate import Estimate
from incumbent.stats.log_histogram import LogHistogram


def age_zero() -> LogHistogram:
    """No vectors yet: log-spaced cells of 1 % from a second to 317 years; the same everywhere, so that shards add."""
    return LogHistogram.zero(accuracy=0.01, low=1.0, high=1e10)


def age_update(state: LogHistogram, made_s: ArrayLike, now_s: float) -> LogHistogram:
    """Add vectors made at `made_s` (m,), seconds of the epoch, as they stand at `now_s`.

    NaN (no time known) counts as missing; a time after now as a negative age. Ages belong to the moment at which they
    were taken: add shards of one moment, not days.

    >>> state = age_update(age_zero(), [1000.0, 90_000.0, float("nan")], now_s=90_060.0)
    >>> round(oldest_s(state).value / 3600), int(state.missing)
    (25, 1)
    """
    if not np.isfinite(now_s):
        raise DataError("now must be a time in seconds", got=now_s, field="now_s")
    return state.update(float(now_s) - np.asarray(made_s, dtype=np.float64))


def age_s(state: LogHistogram, q: float = 0.5) -> Estimate:
    """The age that a share q of the vectors does not pass, within 1 %; missing without vectors of a known time."""
    return state.quantile(q, unit="s")


def oldest_s(state: LogHistogram) -> Estimate:
    """The age of the oldest vector, within 1 %; missing without vectors of a known time."""
    return state.quantile(1.0, unit="s")
