"""Popularity by store and season, falling back to all stores: the champion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from incumbent.demo.data import SEASONS, Lines, distinct, seasons
from incumbent.demo.lists import Lists, Pair

#: lines of the whole chain that are mixed into each store's counts, so that a small store borrows from all stores
PRIOR_LINES = 1_000.0


def train(lines: Lines, *, name: str = "popular", depth: int = 20, prior: float = PRIOR_LINES) -> Lists:
    """The most bought products of each store and season.

    ``score(store, season, item) = n(store, season, item) + prior * n(season, item) / n(season)``, the Dirichlet
    smoothing of the store's counts n towards all stores'. A store unseen in the season gets the season's list, a
    season unseen in the training months the year's. Ties go to the smaller product number.

    >>> one = np.array([1, 1, 1]); rows = Lines(one, one, one, np.array([7, 7, 9]), one, one)
    >>> train(rows).of("h", {"store": "1", "season": "winter"})[0][0], train(rows).of("h", {})[1][0]
    ('7', '9')
    """
    products, item = np.unique(lines.product, return_inverse=True)
    season = seasons(lines.time_s)
    names = [str(product) for product in products.tolist()]
    out = {"": _top(np.bincount(item, minlength=len(products)).astype(float), names, depth)}
    for index in np.unique(season).tolist():
        rows = np.flatnonzero(season == index)
        rows = rows[np.argsort(lines.store[rows], kind="stable")]
        chain = np.bincount(item[rows], minlength=len(products)).astype(float)
        out[SEASONS[index]] = _top(chain, names, depth)
        stores, starts = np.unique(lines.store[rows], return_index=True)
        for store, own in zip(stores.tolist(), np.split(item[rows], starts[1:]), strict=True):
            score = np.bincount(own, minlength=len(products)) + prior * chain / chain.sum()
            out[f"{store}|{SEASONS[index]}"] = _top(score, names, depth)
    return Lists(name, [["store", "season"], ["season"], []], out)


def train_inverted(lines: Lines, *, name: str = "worse", depth: int = 20, min_households: int = 20) -> Lists:
    """The opposite: the products of the catalogue that were bought least, the same for everybody.

    The catalogue is what at least `min_households` households bought. A real model, and a bad one.
    """
    products, item = np.unique(lines.product, return_inverse=True)
    known = distinct(item, lines.household, len(products)) >= min_households
    counts = np.bincount(item, minlength=len(products)).astype(float)
    score = np.where(known, -counts, -np.inf)
    return Lists(name, [[]], {"": _top(score, [str(p) for p in products.tolist()], min(depth, int(known.sum())))})


def _top(score: NDArray[np.float64], names: list[str], depth: int) -> list[Pair]:
    """The `depth` largest scores, best first, ties by position: only what can be among them is sorted."""
    depth = min(depth, len(score))
    some = np.flatnonzero(score >= np.partition(score, -depth)[-depth])
    best = some[np.argsort(-score[some], kind="stable")][:depth]
    return [(names[i], round(float(score[i]), 4)) for i in best.tolist()]
