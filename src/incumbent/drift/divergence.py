"""Divergences of two tables of counts over the same frozen cells: Kullback-Leibler, Jensen-Shannon, PSI."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from incumbent.errors import DataError

Array = NDArray[np.float64]


def kl(current: ArrayLike, reference: ArrayLike, *, corrected: bool = False) -> float:
    """``sum p ln(p / q)`` in nats, p and q the shares of the counts with half a count added to every cell.

    `corrected` subtracts what it is without drift, ``(K - 1)(1/n + 1/N) / 2`` for K well-filled cells, and may go
    below 0. The half count (Jeffreys) keeps an empty cell finite. Source: S. Kullback, R. A. Leibler, Ann. Math. Stat.
    22 (1951).

    >>> round(kl([50, 50], [25, 75]), 3)
    0.141
    """
    p, q, noise = _shares(current, reference, 0.5)
    return float(rel_entr(p, q).sum()) - (noise / 2 if corrected else 0.0)


def js(current: ArrayLike, reference: ArrayLike, *, corrected: bool = False) -> float:
    """The Jensen-Shannon divergence ``(KL(p || m) + KL(q || m)) / 2``, m = (p + q) / 2, in nats: in [0, ln 2].

    Not its square root. `corrected` subtracts ``(K - 1)(1/n + 1/N) / 8``. Empty cells need nothing added.
    Source: J. Lin, IEEE Trans. Inf. Theory 37 (1991).

    >>> round(js([1, 0], [0, 1]), 4), js([2, 2], [5, 5])
    (0.6931, 0.0)
    """
    return float(js_parts(current, reference).sum()) - (_shares(current, reference, 0.0)[2] / 8 if corrected else 0.0)


def js_parts(current: ArrayLike, reference: ArrayLike) -> Array:
    """What each cell adds to `js`: none below 0, their sum the divergence."""
    p, q, _ = _shares(current, reference, 0.0)
    middle = (p + q) / 2
    parts: Array = np.maximum(rel_entr(p, middle) + rel_entr(q, middle), 0.0) / 2
    return parts


def psi(current: ArrayLike, reference: ArrayLike, *, corrected: bool = False) -> float:
    """The population stability index ``sum (p - q) ln(p / q)``, half a count added to every cell.

    `corrected` subtracts ``(K - 1)(1/n + 1/N)``: without that, thresholds such as 0.1 are passed by many cells or
    few rows alone. Source: B. Yurdakul, The Population Stability Index (2018); H. Jeffreys, Proc. R. Soc. A 186 (1946).

    >>> round(psi([50, 50], [25, 75]), 3)
    0.269
    """
    p, q, noise = _shares(current, reference, 0.5)
    return float((rel_entr(p, q) + rel_entr(q, p)).sum()) - (noise if corrected else 0.0)


def _shares(current: ArrayLike, reference: ArrayLike, add: float) -> tuple[Array, Array, float]:
    """Shares of both, and ``(K - 1)(1/n + 1/N)`` over the K cells that either side has."""
    a, b = np.asarray(current, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise DataError("counts over different cells", got=a.shape, expected=str(b.shape))
    if a.sum() <= 0 or b.sum() <= 0:
        raise DataError("counts of nothing", got=(a.sum(), b.sum()), expected="at least one on each side")
    noise = (int(((a + b) > 0).sum()) - 1) * float(1 / a.sum() + 1 / b.sum())
    a, b = a + add, b + add
    return a / a.sum(), b / b.sum(), noise
