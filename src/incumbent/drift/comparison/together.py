"""One alarm over many columns: their largest standardised score, by exchanging windows. Columns keep their own p-values.

Every window is a row of scores, one per column, as far off as the leave-one-window-out null of the column says. Under no
drift the k current windows are any k of the m + k; so the mean score of a column over them is compared with the largest
column's mean over every other choice of k windows (all of them, or many drawn at random). The p-value of each column is
then adjusted for having looked at all of them, whatever their dependence, and it costs no resolution: one window among m
still reaches 1 / (m + 1). Step-down: the column furthest off is compared with all, the next with all but that one, so that one column
that is far off hides no other. Source: Westfall, Young, Resampling-Based Multiple Testing (1993), step-down max-T.
"""  # noqa: E501

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from incumbent.drift.robust import standardised
from incumbent.errors import DataError

Array = NDArray[np.float64]
LEAST_SCALE = 0.5  # scores are in standard units of their own null already
CHOICES = 5000  # choices of windows looked at; fewer where there are not so many


@dataclass(frozen=True, eq=False)
class Together:
    """Per column: the mean score of the current windows, its p-value alone and among all columns.

    `resolution` is the least p-value there could be. `threshold` is what one window's score must pass to be off at
    alpha by itself.
    """

    scores: Array
    alone: Array
    adjusted: Array
    resolution: float
    threshold: Array


def together(null: Array, current: Array, *, alpha: float, seed: int = 0) -> Together:
    """Judge the current windows (k, s) by the baseline's (m, s), s columns at once.

    Scores: larger is further off; NaN where a column has none in a window. `DataError` with fewer than three baseline
    windows, or without current ones.

    >>> rng = np.random.default_rng(0)
    >>> baseline, today = rng.normal(size=(39, 3)), np.array([[0.0, 9.0, 0.0]])
    >>> found = together(baseline, today, alpha=0.05)
    >>> found.adjusted.round(3).tolist(), found.resolution
    ([0.75, 0.025, 0.75], 0.025)
    """
    m, k = len(null), len(current)
    if m < 3 or k < 1 or null.shape[1:] != current.shape[1:]:
        raise DataError("too few windows to compare", got=(m, k), expected="three of the baseline and a current one")
    rows = np.vstack([null, current])
    units = np.full(rows.shape, np.nan)
    for j in range(rows.shape[1]):
        held = ~np.isnan(rows[:, j])
        if held.sum() >= 4:  # every window by all the others, current ones too: exchangeable they stay exchangeable
            units[held, j] = standardised(rows[held, j][:, None], LEAST_SCALE)[0][:, 0]
    means = _means(units, choices(m, k, np.random.default_rng([seed, m, k])))
    seen = means[0]
    with np.errstate(invalid="ignore"):
        alone = np.where(np.isnan(seen), np.nan, (means >= seen).sum(axis=0) / np.maximum((~np.isnan(means)).sum(0), 1))
    with np.errstate(invalid="ignore"):
        scores = np.nansum(current, axis=0) / np.maximum((~np.isnan(current)).sum(axis=0), 1)
    return Together(np.where(np.isnan(seen), np.nan, scores), alone, _stepped_down(means), 1 / len(means),
                    _threshold(null, alpha))


def choices(m: int, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Choices of k among m + k windows (b, k), the last k first: all where they are few, else `CHOICES`."""
    now = np.arange(m, m + k)
    if math.comb(m + k, k) <= CHOICES:
        rest = [one for one in combinations(range(m + k), k) if one != tuple(now.tolist())]
        return np.array([now.tolist(), *rest])
    drawn = np.argpartition(rng.random((CHOICES - 1, m + k)), k - 1, axis=1)[:, :k]
    return np.vstack([now, drawn])


def _means(rows: Array, chosen: NDArray[np.int64]) -> Array:
    """The mean row of every choice, over what is there."""
    out = np.empty((len(chosen), rows.shape[1]))
    there, filled = ~np.isnan(rows), np.nan_to_num(rows)
    for start in range(0, len(chosen), 500):
        part = chosen[start:start + 500]
        count = there[part].sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            out[start:start + 500] = np.where(count > 0, filled[part].sum(axis=1) / count, np.nan)
    return out


def _stepped_down(means: Array) -> Array:
    """The adjusted p-values of the first row of (b, s): each against the largest of those no further off."""
    seen, adjusted = means[0], np.full(means.shape[1], np.nan)
    largest = np.full(len(means), -np.inf)
    for j in np.argsort(np.where(np.isnan(seen), -np.inf, seen), kind="stable"):  # from the least far off up
        largest = np.fmax(largest, means[:, j])
        if not np.isnan(seen[j]):
            adjusted[j] = (largest >= seen[j]).mean()
    order = [j for j in np.argsort(-np.nan_to_num(seen, nan=-np.inf), kind="stable") if not np.isnan(seen[j])]
    adjusted[order] = np.maximum.accumulate(adjusted[order])
    return adjusted


def _threshold(null: Array, alpha: float) -> Array:
    """The score that a window alone must pass for a rank of alpha; infinite where there are too few windows."""
    out = np.full(null.shape[1], np.inf)
    for j in range(null.shape[1]):
        held = np.sort(null[~np.isnan(null[:, j]), j])
        place = math.floor(alpha * (len(held) + 1))  # of those above or equal, itself counted
        if place >= 1 and len(held):
            out[j] = held[len(held) - place]
    return out
