"""Fitting the cells of a numeric column on a baseline sample: an even grid, quantiles, and the values that repeat."""

from __future__ import annotations

from typing import Any

import numpy as np

from incumbent.errors import DataError
from incumbent.stats.numeric_read import column

LEAST = 100  # sound values below which quantiles mean nothing


def fit_edges(sample: Any, *, grid: int = 256, quantiles: int = 20) -> dict[str, Any]:
    """The configuration of a `Numeric` state: its edges, the coarse ones among them, center and scale.

    Edges are the union of `grid` even steps between the quantiles 0.001 and 0.999, of the `quantiles` - 1 inner
    quantiles, and, for every value v that alone holds ``1 / (2 quantiles)`` of the sample or more (a zero, a default,
    a rating), of v and the next number above it: such a value has a cell of its own, without width. Coarse are
    the quantiles and those values. Center is the mean and scale the standard deviation of the sample drawn in to its
    0.001 and 0.999 quantiles (1 where nothing varies). Missing, NaN and infinite values are left out; `DataError` with
    fewer than 100 sound ones.

    >>> config = fit_edges([0.0] * 50 + list(range(1, 51)), grid=4, quantiles=4)
    >>> config["edges"][:2], len(config["edges"]), config["coarse"]
    ([0.0, 5e-324], 7, [0, 1, 4])
    """
    for field, value in (("grid", grid), ("quantiles", quantiles)):
        if isinstance(value, bool) or not isinstance(value, int) or not 2 <= value <= 4096:
            raise DataError(f"{field} must be a whole number in [2, 4096]", got=value, field=field)
    flat, _ = column(sample, "sample")
    flat = flat[np.isfinite(flat)]
    if len(flat) < LEAST:
        raise DataError("too few sound values to fit cells", got=len(flat), expected=f"{LEAST} or more", field="sample")
    low, high = np.quantile(flat, [0.001, 0.999])
    if not np.abs(flat).max() < 1e150:
        raise DataError("values too large to square", got=float(np.abs(flat).max()), expected="below 1e150")
    values, counts = np.unique(flat, return_counts=True)
    atoms = values[counts >= len(flat) / (2 * quantiles)]
    own = np.concatenate([atoms, np.nextafter(atoms, np.inf)])
    inner = np.quantile(flat, np.arange(1, quantiles) / quantiles, method="inverted_cdf")
    coarse = np.unique(np.concatenate([own, inner[~np.isin(inner, atoms)]]) + 0.0)
    edges = np.unique(np.concatenate([coarse, np.linspace(low, high, grid + 1)]) + 0.0)
    drawn_in = np.clip(flat, low, high)
    return {"edges": edges.tolist(), "coarse": np.searchsorted(edges, coarse).tolist(),
            "center": float(drawn_in.mean()), "scale": float(drawn_in.std()) or 1.0}
