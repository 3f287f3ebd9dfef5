"""The sample-ratio check for every look: the Dirichlet-multinomial e-process."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln

from incumbent.errors import DataError
from incumbent.stats.sample_ratio import checked_lanes


def sample_ratio_e(counts: Sequence[int], weights: Sequence[float], *, prior: float = 1.0) -> float:
    """The evidence against the configured shares: ``P(counts | Dirichlet(prior)) / P(counts | weights)``.

    An e-process in the order in which units arrive: under the configured shares it ever exceeds 1/alpha with
    probability alpha at most, so it may be looked at after every unit. Alarm above 1000. 1.0 without units; inf beyond
    1e308. Source: Lindon, Malek, arXiv 2011.03567.

    >>> round(sample_ratio_e([9600, 400], [0.95, 0.05]), 2)
    384.17
    """
    observed, shares = checked_lanes(counts, weights)
    if not 0 < prior < math.inf:
        raise DataError("prior must be positive", got=prior, field="prior")
    k, n = len(observed), observed.sum()
    log_e = float(gammaln(k * prior) - gammaln(k * prior + n) + (gammaln(prior + observed) - gammaln(prior)).sum()
                  - (observed * np.log(shares)).sum())
    return math.exp(log_e) if log_e < 709 else math.inf
