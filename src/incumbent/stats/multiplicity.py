"""Many tests at once: Bonferroni, Benjamini-Hochberg, Benjamini-Yekutieli, and e-BH, each with weights.

Weights say how much of the error each test may take (positive; only their ratios count). A missing value (NaN) is a
test that could not be made: it is never rejected, and its weight stays with it, so that the others gain nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from incumbent.errors import DataError
from incumbent.stats.fixed import check_alpha

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rejections:
    """Which hypotheses are rejected, and the least alpha at which each would be; both in the order given."""

    rejected: NDArray[np.bool_]
    adjusted: Array
    method: str

    @property
    def count(self) -> int:
        """How many are rejected."""
        return int(self.rejected.sum())


def bonferroni(p: ArrayLike, alpha: float = 0.05, weights: ArrayLike | None = None) -> Rejections:
    """Reject where ``p <= alpha w / sum w``: the chance of any false rejection is at most alpha, under any dependence.

    Source: C. Bonferroni (1936); weights: Genovese, Roeder, Wasserman, Biometrika 93 (2006).

    >>> bonferroni([0.01, 0.02, 0.04]).rejected.tolist()
    [True, False, False]
    """
    values, share = _checked(p, alpha, weights, most=1.0)
    adjusted = np.minimum(values / share, 1.0)
    return _done(adjusted, alpha, "Bonferroni")


def benjamini_hochberg(p: ArrayLike, alpha: float = 0.05, weights: ArrayLike | None = None) -> Rejections:
    """Reject the k smallest ``p / w``, k the largest with ``p_(k) / w_(k) <= alpha k / sum w``: false discoveries <= alpha.

    The rate holds for independent and for positively dependent tests; where nothing is true, the chance of any
    rejection is at most alpha. Sources: Benjamini, Hochberg, J. R. Stat. Soc. B 57 (1995); Genovese et al. (2006).

    >>> benjamini_hochberg([0.01, 0.02, 0.04]).rejected.tolist()
    [True, True, True]
    """  # noqa: E501
    values, share = _checked(p, alpha, weights, most=1.0)
    return _done(_step_up(values / share), alpha, "Benjamini-Hochberg")


def benjamini_yekutieli(p: ArrayLike, alpha: float = 0.05, weights: ArrayLike | None = None) -> Rejections:
    """Benjamini-Hochberg at ``alpha / (1 + 1/2 + ... + 1/m)``: the rate holds under any dependence.

    Source: Benjamini, Yekutieli, Ann. Stat. 29 (2001).

    >>> benjamini_yekutieli([0.005, 0.02, 0.04]).rejected.tolist()
    [True, False, False]
    """
    values, share = _checked(p, alpha, weights, most=1.0)
    harmonic = float((1 / np.arange(1, len(values) + 1)).sum())
    return _done(_step_up(values / share * harmonic), alpha, "Benjamini-Yekutieli")


def e_bh(e: ArrayLike, alpha: float = 0.05, weights: ArrayLike | None = None) -> Rejections:
    """Benjamini-Hochberg on e-values, as ``p = 1 / e``: the rate holds under any dependence, with nothing to pay for it.

    Reject the k largest ``w e``, k the largest with ``w_(k) e_(k) >= sum w / (alpha k)``; what is adjusted is the least
    alpha. Source: R. Wang, A. Ramdas, J. R. Stat. Soc. B 84 (2022).

    >>> e_bh([70.0, 45.0, 1.0]).rejected.tolist()
    [True, True, False]
    """  # noqa: E501
    values, share = _checked(e, alpha, weights, most=np.inf)
    with np.errstate(divide="ignore"):
        return _done(_step_up(1 / (values * share)), alpha, "e-BH")


def _step_up(scaled: Array) -> Array:
    """``min over j >= i of scaled_(j) / j``, at most 1, in the order given; NaN stays NaN and sorts last."""
    order = np.argsort(scaled, kind="stable")
    ranked = np.where(np.isnan(scaled[order]), np.inf, scaled[order]) / np.arange(1, len(scaled) + 1)
    least = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    adjusted = np.empty_like(least)
    adjusted[order] = least
    return np.where(np.isnan(scaled), np.nan, adjusted)


def _done(adjusted: Array, alpha: float, method: str) -> Rejections:
    """A hair of room: 3 tests at .05 reject p = .05 / 3, whichever way the product rounds."""
    return Rejections(adjusted <= alpha * (1 + 1e-12), adjusted, method)


def _checked(values: ArrayLike, alpha: float, weights: ArrayLike | None, *, most: float) -> tuple[Array, Array]:
    """The values and the weights as shares of 1."""
    check_alpha(alpha)
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1:
        raise DataError("tests come as one row of numbers", got=given.shape, field="values")
    known = given[~np.isnan(given)]
    if ((known < 0) | (known > most)).any():
        raise DataError("not p-values" if most == 1 else "not e-values", got=known.tolist(),
                        expected="numbers in [0, 1]" if most == 1 else "numbers of 0 or more")
    share = np.ones_like(given) if weights is None else np.asarray(weights, dtype=np.float64)
    if share.shape != given.shape or not (np.isfinite(share) & (share > 0)).all():
        raise DataError("weights must be one positive number per test", got=share.tolist(), field="weights")
    return given, share / share.sum() if len(share) else share
