"""Drift of the marginals on frozen projections: Wasserstein per projection and sliced, divergences of their cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from incumbent.drift import divergence
from incumbent.drift.comparable import frame_of
from incumbent.drift.divergence import Array
from incumbent.stats.vectors import Vectors

Which = Literal["all", "principal", "random"]


def wasserstein_by_projection(current: Vectors, reference: Vectors) -> Array:
    """The 1-Wasserstein distance on every projection, shape (P,), principal directions first.

    ``integral |F - G|`` with both distribution functions linear within a cell, in units of the range between the
    baseline's quantiles 0.001 and 0.999. What lies beyond a grid's end counts as lying on it (half a range outside that
    range). Sources: S. S. Vallender, Theory Probab. Appl. 18 (1974); Rabin et al., SSVM 2011 (sliced).
    """
    frame = frame_of(current, reference, part="bins")
    gap = np.cumsum(current.bins / int(current.n) - reference.bins / int(reference.n), axis=1)
    gap = np.hstack([np.zeros((len(gap), 1)), gap[:, :-1], np.zeros((len(gap), 1))])
    left, right = gap[:, :-1], gap[:, 1:]
    size = np.abs(left) + np.abs(right)
    crossing = left * right < 0
    mean = np.where(crossing, (left**2 + right**2) / np.where(size > 0, 2 * size, 1.0), size / 2)
    widths = np.diff(frame.edge_values, axis=1)
    total: Array = (mean * widths).sum(axis=1) / (frame.edge_values[:, -1] - frame.edge_values[:, 0]) * 2
    return total


def sliced_wasserstein(current: Vectors, reference: Vectors, *, which: Which = "all") -> float:
    """The mean of `wasserstein_by_projection` over the principal directions, the random ones, or all of them.

    Without drift it falls with ``sqrt(1/n + 1/N)``: judge it against windows of the same size.

    >>> rows = np.random.default_rng(0).normal(size=(4000, 4))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> round(sliced_wasserstein(zero.update(rows + 0.1), zero.update(rows)), 2) > 0
    True
    """
    return float(_chosen(current, which, wasserstein_by_projection(current, reference)).mean())


def projections_kl(current: Vectors, reference: Vectors, *, which: Which = "all", corrected: bool = True) -> float:
    """The mean `divergence.kl` of the cells of the projections."""
    return _mean(divergence.kl_each, current, reference, which, corrected)


def projections_js(current: Vectors, reference: Vectors, *, which: Which = "all", corrected: bool = True) -> float:
    """The mean `divergence.js` of the cells of the projections, corrected for ``1/n + 1/N`` unless told otherwise.

    >>> rows = np.random.default_rng(0).normal(size=(4000, 4))
    >>> zero = Vectors.fit(rows, seed=1, centroids=4)
    >>> projections_js(zero.update(rows), zero.update(rows), corrected=False)
    0.0
    """
    return _mean(divergence.js_each, current, reference, which, corrected)


def projections_psi(current: Vectors, reference: Vectors, *, which: Which = "all", corrected: bool = True) -> float:
    """The mean `divergence.psi` of the cells of the projections."""
    return _mean(divergence.psi_each, current, reference, which, corrected)


def _mean(measure: Callable[..., Array], current: Vectors, reference: Vectors, which: Which, corrected: bool) -> float:
    frame_of(current, reference, part="bins")
    tables = _chosen(current, which, current.bins), _chosen(current, which, reference.bins)
    return float(measure(*tables, corrected=corrected).mean())


def _chosen(state: Vectors, which: Which, values: NDArray[Any]) -> NDArray[Any]:
    count = state.frame.principal
    return {"all": values, "principal": values[:count], "random": values[count:]}[which]
