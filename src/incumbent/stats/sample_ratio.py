"""The sample-ratio check for one look: do the counts of units per lane fit the shares that were configured?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from incumbent.errors import DataError


def sample_ratio_p(counts: Sequence[int], weights: Sequence[float]) -> float:
    """The chi-square p-value of counts against weights (any positive scale): ``sum (O - E)^2 / E``, k - 1 degrees of freedom.

    1.0 without units. Alarm below 0.001; it is a test for one look, `dirichlet.sample_ratio_e` is for many.
    `DataError` for fewer than two lanes, negative counts or weights that are not positive.

    >>> round(sample_ratio_p([5000, 5200], [0.5, 0.5]), 7)
    0.0476704
    """  # noqa: E501
    observed, shares = checked_lanes(counts, weights)
    expected = observed.sum() * shares
    if observed.sum() == 0:
        return 1.0
    return float(stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), len(observed) - 1))


def checked_lanes(
    counts: Sequence[int], weights: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts and weights as arrays, the weights summing to 1; `DataError` where they cannot be that."""
    observed, shares = np.asarray(counts, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if observed.ndim != 1 or observed.shape != shares.shape or len(observed) < 2:
        raise DataError("one weight per lane, and two lanes at least", got=(observed.shape, shares.shape))
    if not np.isfinite(observed).all() or (observed < 0).any() or (observed != np.floor(observed)).any():
        raise DataError("counts must be whole and not negative", got=counts, field="counts")
    if not np.isfinite(shares).all() or (shares <= 0).any():
        raise DataError("weights must be positive", got=weights, field="weights", hint="leave out lanes of share 0")
    return observed, shares / shares.sum()
