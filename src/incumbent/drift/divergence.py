"""Divergences of two tables of counts over the same frozen cells: Kullback-Leibler, Jensen-Shannon, PSI.

Each takes one table (K,) and gives a number, or many tables at once (..., K) by its `_each` form and gives an array.
"""

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
    return float(kl_each(current, reference, corrected=corrected))


def js(current: ArrayLike, reference: ArrayLike, *, corrected: bool = False) -> float:
    """The Jensen-Shannon divergence ``(KL(p || m) + KL(q || m)) / 2``, m = (p + q) / 2, in nats: in [0, ln 2].

    Not its square root. `corrected` subtracts ``(K - 1)(1/n + 1/N) / 8``. Empty cells need nothing added.
    Source: J. Lin, IEEE Trans. Inf. Theory 37 (1991).

    >>> round(js([1, 0], [0, 1]), 4), js([2, 2], [5, 5])
    (0.6931, 0.0)
    """
    return float(js_each(current, reference, corrected=corrected))


def psi(current: ArrayLike, reference: ArrayLike, *, corrected: bool = False) -> float:
    """The population stability index ``sum (p - q) ln(p / q)``, half a count added to every cell.

    `corrected` subtracts ``(K - 1)(1/n + 1/N)``: without that, thresholds such as 0.1 are passed by many cells or
    few rows alone. Source: B. Yurdakul, The Population Stability Index (2018); H. Jeffreys, Proc. R. Soc. A 186 (1946).

    >>> round(psi([50, 50], [25, 75]), 3)
    0.269
    """
    return float(psi_each(current, reference, corrected=corrected))


def kl_each(current: ArrayLike, reference: ArrayLike, *, corrected: bool = False) -> Array:
    """`kl` along the last axis."""
    p, q, noise = _shares(current, reference, 0.5)
    return np.asarray(rel_entr(p, q).sum(axis=-1) - (noise / 2 if corrected else 0.0))


def js_each(current: ArrayLike, reference: ArrayLike, *, corrected: bool = False) -> Array:
    """`js` along the last axis."""
    noise = _shares(current, reference, 0.0)[2] / 8 if corrected else 0.0
    return np.asarray(js_parts(current, reference).sum(axis=-1) - noise)


def psi_each(current: ArrayLike, reference: ArrayLike, *, corrected: bool = False) -> Array:
    """`psi` along the last axis."""
    p, q, noise = _shares(current, reference, 0.5)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1) - (noise if corrected else 0.0))


def js_parts(current: ArrayLike, reference: ArrayLike) -> Array:
    """What each cell adds to `js`: none below 0, their sum the divergence."""
    p, q, _ = _shares(current, reference, 0.0)
    middle = (p + q) / 2
    parts: Array = np.maximum(rel_entr(p, middle) + rel_entr(q, middle), 0.0) / 2
    return parts


def _shares(current: ArrayLike, reference: ArrayLike, add: float) -> tuple[Array, Array, Array]:
    """Shares of both, and ``(K - 1)(1/n + 1/N)`` over the K cells that either side has."""
    a, b = np.asarray(current, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if a.shape != b.shape or a.ndim < 1:
        raise DataError("counts over different cells", got=a.shape, expected=str(b.shape))
    n, m = a.sum(axis=-1, keepdims=True), b.sum(axis=-1, keepdims=True)
    if (n <= 0).any() or (m <= 0).any():
        raise DataError("counts of nothing", got=(float(n.min()), float(m.min())), expected="at least one on each side")
    noise = ((a + b > 0).sum(axis=-1) - 1) * (1 / n + 1 / m)[..., 0]
    size = add * a.shape[-1]
    return (a + add) / (n + size), (b + add) / (m + size), noise
