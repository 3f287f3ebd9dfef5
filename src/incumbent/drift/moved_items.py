"""Which items moved between two versions of a space: the residual of every anchor after alignment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from incumbent.drift.procrustes import Alignment
from incumbent.errors import DataError
from incumbent.stats.pairs import Array, paired_blocks, sound


@dataclass(frozen=True)
class MovedItem:
    """One anchor: its residual in [0, 2], and its part of all that the alignment left (sum over all anchors 1)."""

    item: str
    residual: float
    part: float


def item_residuals(old: Any, new: Any, alignment: Alignment) -> tuple[Array, Array]:
    """Every anchor's ``|z - R x|^2 / (|x|^2 + |z|^2)`` in [0, 2], and its energy ``|x|^2 + |z|^2``, shapes (m,).

    Rows of `old` and `new` are paired as in `Pairs.update`, read in blocks. 0 where nothing moved, about 1 for an item
    whose vector has nothing to do with the old one; weighted by energy, the mean is the alignment's `residual`. NaN where
    a vector is not sound, 0 where both are zero.

    >>> from incumbent.drift.procrustes import align
    >>> from incumbent.stats.pairs import Pairs
    >>> x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    >>> z = -x
    >>> z[7] = x[7]
    >>> residuals, _ = item_residuals(x, z, align(Pairs.zero(dimension=3).update(x, z)))
    >>> int(residuals.argmax()), round(float(residuals[7]), 1), bool(np.delete(residuals, 7).max() < 0.01)
    (7, 2.0, True)
    """  # noqa: E501
    parts = list(_residuals(old, new, alignment.rotation))
    if not parts:
        return np.empty(0), np.empty(0)
    left, energy = (np.concatenate(side) for side in zip(*parts, strict=True))
    return np.divide(left, energy, out=np.zeros_like(left), where=energy != 0), energy


def _residuals(old: Any, new: Any, rotation: Array) -> Iterator[tuple[Array, Array]]:
    for a, b in paired_blocks(old, new, len(rotation)):
        bad = ~(sound(a) & sound(b))
        x, z = a.astype(np.float64), b.astype(np.float64)
        x[bad] = z[bad] = 0.0
        rest = z - x @ rotation.T
        left, energy = (rest**2).sum(axis=1), (x**2).sum(axis=1) + (z**2).sum(axis=1)
        left[bad] = energy[bad] = np.nan
        yield left, energy


def moved_items(
    items: Sequence[str], old: Any, new: Any, alignment: Alignment, *, count: int = 10
) -> list[MovedItem]:
    """The anchors that moved most, by residual and then by energy; unsound ones are left out.

    `DataError` where the names are not one per pair, or for a count below 1.
    """
    residuals, energy = item_residuals(old, new, alignment)
    if len(items) != len(residuals):
        raise DataError("one name per pair of vectors", got=len(items), expected=str(len(residuals)), field="items")
    if count < 1:
        raise DataError("count must be 1 or more", got=count, field="count")
    left = np.nan_to_num(residuals * energy)
    total = float(left.sum())
    order = np.lexsort((-left, -np.nan_to_num(residuals, nan=-1.0)))
    return [MovedItem(str(items[i]), float(residuals[i]), float(left[i] / total) if total > 0 else 0.0)
            for i in order[:count].tolist() if not np.isnan(residuals[i])]
