"""How many windows of a stretch may rank high among the same others: their p-values share one null, so they are not
independent and no binomial counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import hypergeom


@dataclass(frozen=True)
class Ranks:
    """The conformal p-values of windows that were ranked against the same `windows` others."""

    p_values: tuple[float, ...]
    windows: int


@dataclass(frozen=True)
class Excess:
    """So many p-values at or below a level, of so many; how many would be, and the chance of as many or more."""

    count: int
    judged: int
    expected: float
    tail: float


def excess(groups: Sequence[Ranks], level: float) -> Excess:
    """The count of p-values at most `level` over groups that share no window, and its exact tail under exchangeability.

    Of n windows ranked among m others p is at most ``c / (m + 1)``, ``c = floor(level (m + 1))``, for those above the
    c-th highest of the others. At least k are where at least k of the highest k + c - 1 of all n + m are of the n:
    ``P(K >= k) = P(Hypergeometric(n + m, n, k + c - 1) >= k)``, the negative hypergeometric; sums over groups by
    convolution. Ties make it smaller. Source: N. L. Johnson, A. W. Kemp, S. Kotz, Univariate Discrete Distributions
    (2005), section 6.2.2.

    >>> found = excess([Ranks((0.25, 0.25), 3)], 0.25)  # both windows above all three others: 1 / C(5, 2)
    >>> found.count, found.expected, round(found.tail, 9)
    (2, 0.5, 0.1)
    """
    whole, count, expected = np.ones(1), 0, 0.0
    for group in groups:
        n, m = len(group.p_values), group.windows
        c = int(level * (m + 1) + 1e-9)
        count += sum(p * (m + 1) < c + 0.5 for p in group.p_values)
        expected += n * c / (m + 1)
        k = np.arange(1, n + 1)
        at_least = np.concatenate([[1.0], hypergeom.sf(k - 1, n + m, n, k + c - 1) if c else np.zeros(n), [0.0]])
        whole = np.convolve(whole, at_least[:-1] - at_least[1:])
    return Excess(count, len(whole) - 1, expected, float(min(whole[count:].sum(), 1.0)))
