"""The pair-level e-process of wins against losses: for the quality of coins, never for preference."""

from __future__ import annotations

import math

from scipy.special import betaln

from incumbent.errors import DataError


def pair_e(wins: int, losses: int, *, a: float = 1.0, b: float = 1.0) -> float:
    """The evidence against fair and independent pairs: ``B(a + w, b + l) / B(a, b) * 2^(w + l)``.

    Valid at every look under the *sharp* null only, in which every single pair is a fair coin: right for coins and
    parity, wrong for preference, where the pairs of one user go together. 1.0 without pairs; inf beyond 1e308.
    `DataError` for counts or priors that cannot be. Source: Ville 1939; Robbins 1970.

    >>> round(pair_e(6, 0), 6), round(pair_e(70, 40), 7)
    (9.142857, 7.1962957)
    """
    if min(wins, losses) < 0 or int(wins) != wins or int(losses) != losses:
        raise DataError("counts must be whole and not negative", got=(wins, losses))
    if not (0 < a < math.inf and 0 < b < math.inf):
        raise DataError("the prior must be positive", got=(a, b))
    log_e = float(betaln(a + wins, b + losses) - betaln(a, b)) + (wins + losses) * math.log(2)
    return math.exp(log_e) if log_e < 709 else math.inf
