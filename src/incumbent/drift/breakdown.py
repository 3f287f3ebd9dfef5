"""Breakdown: how much of a change of mix each value explains, by category, brand, price band or item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from incumbent.drift import divergence
from incumbent.errors import DataError

MISSING = "(missing)"


@dataclass(frozen=True)
class ShareChange:
    """One value: its share of the reference and of the current window, and its part of the divergence (sum 1)."""

    name: str
    reference: float
    current: float
    part: float


@dataclass(frozen=True)
class Breakdown:
    """A change of mix by one attribute: `js` in nats, what of it is expected without drift, and every value's part."""

    by: str
    js: float
    noise: float
    changes: tuple[ShareChange, ...]


def breakdown(
    by: str, labels: Sequence[str | None], current: ArrayLike, reference: ArrayLike, *,
    sizes: tuple[float, float] | None = None,
) -> Breakdown:
    """The Jensen-Shannon divergence of two weightings of the same rows, dealt over the values of a label.

    A value's part is what its two shares add to ``js`` (`divergence.js_parts`) over the sum; most first; all 0 where
    nothing differs. None and "" count as ``(missing)``. `noise` is ``(K - 1)(1/n + 1/N) / 8`` for K values and windows
    of n and N rows (`sizes`, or the sums of the weights): a js near it is no change. `DataError` for columns of unequal
    length or a window without weight. Source: J. Lin, IEEE Trans. Inf. Theory 37 (1991).

    >>> found = breakdown("color", ["red", "blue", "red", None], [60, 20, 0, 20], [20, 60, 0, 20])
    >>> [(change.name, change.reference, change.current, round(change.part, 2)) for change in found.changes]
    [('blue', 0.6, 0.2, 0.5), ('red', 0.2, 0.6, 0.5), ('(missing)', 0.2, 0.2, 0.0)]
    """
    now, then = np.asarray(current, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if not len(labels) == len(now) == len(then):
        raise DataError("columns of unequal length", got=(len(labels), len(now), len(then)),
                        expected="one label and two weights per row", field=by)
    names, where = np.unique(np.array([label or MISSING for label in labels], dtype=object).astype(str),
                             return_inverse=True)
    a, b = (np.bincount(where, weights=side, minlength=len(names)) for side in (now, then))
    parts = divergence.js_parts(a, b)
    total = float(parts.sum())
    n, m = sizes if sizes is not None else (float(a.sum()), float(b.sum()))
    used = int(((a + b) > 0).sum())
    return Breakdown(by, total, (used - 1) * (1 / n + 1 / m) / 8, tuple(
        ShareChange(str(names[k]), float(b[k] / b.sum()), float(a[k] / a.sum()),
                    float(parts[k] / total) if total > 0 else 0.0)
        for k in np.argsort(-parts, kind="stable") if a[k] + b[k] > 0))


def price_bands(prices: ArrayLike, reference: ArrayLike, *, bands: int = 5) -> list[str | None]:
    """Every item's price band, with edges at the quantiles of what the reference window held; None without a price.

    The edges are prices, so that a band has a name; equal quantiles make fewer bands.

    >>> price_bands([1.0, 2.0, 3.0, float("nan"), 9.0], [5, 5, 5, 5, 5], bands=2)
    ['below 3', 'below 3', '3 or more', None, '3 or more']
    """
    values, weights = np.asarray(prices, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    good = np.isfinite(values)
    order = np.argsort(values[good], kind="stable")
    rising, mass = values[good][order], np.cumsum(weights[good][order])
    if not len(mass) or not mass[-1] > 0:
        return [None] * len(values)
    at = np.searchsorted(mass, mass[-1] * np.arange(1, bands) / bands, side="right")
    edges = np.unique(rising[np.minimum(at, len(rising) - 1)])
    edges = edges[edges > rising[0]]
    if not len(edges):
        return ["any price" if ok else None for ok in good]
    names = [f"below {edges[0]:g}", *(f"{low:g} to {high:g}" for low, high in pairwise(edges)),
             f"{edges[-1]:g} or more"]
    return [names[int(np.searchsorted(edges, value, side="right"))] if ok else None
            for value, ok in zip(values.tolist(), good.tolist(), strict=True)]
