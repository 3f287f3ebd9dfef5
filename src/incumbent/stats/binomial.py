"""Exact binomial inference: the sign test, and the Clopper-Pearson interval that agrees with it."""

from __future__ import annotations

from functools import lru_cache

from scipy import stats

from incumbent.errors import DataError
from incumbent.stats.estimate import Estimate
from incumbent.stats.fixed import check_alpha


def sign_test(wins: int, losses: int, *, null: float = 0.5) -> float:
    """The exact two-sided p-value of wins against losses: twice the smaller tail, at most 1; 1.0 without any.

    ``p < alpha`` exactly where `proportion` at that alpha leaves `null` out. Ties are left out by the caller.
    Source: Clopper, Pearson, Biometrika 26 (1934).

    >>> round(sign_test(60, 40), 7), round(sign_test(70, 40), 8)
    (0.0568879, 0.00544743)
    """
    n = _checked(wins, losses)
    if not 0 < null < 1:
        raise DataError("null must be in (0, 1)", got=null, field="null")
    below, above = stats.binom.cdf(wins, n, null), stats.binom.sf(wins - 1, n, null)
    return float(min(1.0, 2 * min(below, above)))


def proportion(successes: int, n: int, *, alpha: float = 0.05, unit: str = "") -> Estimate:
    """A share of independent units with its Clopper-Pearson interval; missing without units.

    Ends: the alpha/2 quantile of Beta(x, n - x + 1) and the 1 - alpha/2 quantile of Beta(x + 1, n - x); 0 where x = 0
    and 1 where x = n. se is ``sqrt(p (1 - p) / n)``.

    >>> e = proportion(0, 10)
    >>> e.value, e.low, round(e.high, 4)
    (0.0, 0.0, 0.3085)
    """
    check_alpha(alpha)
    _checked(successes, n - successes)
    if n == 0:
        return Estimate.missing("no units", method="Clopper-Pearson", unit=unit)
    share = successes / n
    low, high = _ends(int(successes), int(n), float(alpha))
    return Estimate(share, low, high, (share * (1 - share) / n) ** 0.5, n, "Clopper-Pearson", unit=unit)


@lru_cache(maxsize=16_384)  # the same days are asked again every day
def _ends(x: int, n: int, alpha: float) -> tuple[float, float]:
    low = float(stats.beta.ppf(alpha / 2, x, n - x + 1)) if x > 0 else 0.0
    return low, float(stats.beta.ppf(1 - alpha / 2, x + 1, n - x)) if x < n else 1.0


def _checked(successes: int, failures: int) -> int:
    if min(successes, failures) < 0 or int(successes) != successes or int(failures) != failures:
        raise DataError("counts must be whole and not negative", got=(successes, failures))
    return int(successes) + int(failures)
