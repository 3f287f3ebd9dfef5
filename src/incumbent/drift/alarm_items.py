"""The alarm of ids and categories: how far the cells of popularity and the top ids are off, and what is new or gone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from incumbent.drift import divergence
from incumbent.drift.categorical import Table, items_rare, share_scores, tables
from incumbent.drift.null import Tail
from incumbent.drift.present import present
from incumbent.drift.windowed import WindowDetector
from incumbent.stats.items import Items
from incumbent.stats.items_vocabulary import Vocabulary

GROWTH = dict.fromkeys(("popularity", "top", "rare", "category", "new", "delisted", "missing"), (0.0, -0.5))
FLOORS = {"new": 1.0, "delisted": 1.0, "missing": 1.0}  # in standard errors already, and often 0 in every window


def distances(current: Items, reference: Items) -> dict[str, float]:
    """For every table of cells Fisher's ``sqrt(2 X) - sqrt(2 K - 3)`` with ``X = 8 js / (1/n + 1/N)``, about chi-squared
    with K - 1 degrees of freedom without drift; how unevenly rare ids are hit; and the standard errors by which new,
    delisted and missing ids rose.

    All are of the size of rows' noise whatever n, N and K are, so that windows of unequal size compare.

    >>> rng = np.random.default_rng(0)
    >>> v = Vocabulary.fit({"a": 60, "b": 30, "c": 10})
    >>> zero = Items.over(v, deciles=3)
    >>> usual = zero.update(*v.encode(rng.choice(["a", "b", "c"], 900, p=[0.6, 0.3, 0.1]).tolist()))
    >>> odd = zero.update(*v.encode(["a"] * 60 + ["b"] * 90 + ["x"] * 9))
    >>> found = distances(odd, usual)
    >>> found["top"] > 5, found["new"] > 5, found["missing"]
    (True, True, 0.0)
    """  # noqa: E501
    shares = share_scores(current, reference)
    names: tuple[Table, ...] = ("popularity", "top", "category") if len(reference.category) > 1 else (
        "popularity", "top")
    return {**{name: _fisher(current, reference, name) for name in names},
            "rare": items_rare(current, reference), **{name: shares[name] for name in ("new", "delisted", "missing")}}


def _fisher(current: Items, reference: Items, table: Table) -> float:
    a, b = tables(current, reference, table)
    if len(a) < 2:
        return 0.0
    x = 8 * divergence.js(a, b) / (1 / a.sum() + 1 / b.sum())
    return math.sqrt(2 * x) - math.sqrt(2 * len(a) - 3)


def items(*, alpha: float = 0.05, tail: Tail | None = None, **settings: Any) -> WindowDetector:
    """The detector of an id or category column on `Items` states: settings are those of `WindowDetector`.

    It looks at the ids that are there: missing ones are no drift (`categorical.share_scores` counts them).

    >>> items().name, items().least_windows()
    ('items', 19)
    """
    return WindowDetector("items", present(distances), alpha=alpha, tail=tail, **{
        "growth": GROWTH, "floors": FLOORS, "example": _example, **settings})


def _example(rng: np.random.Generator, windows: int, drifted: int) -> list[Items]:
    """Windows of 400 ids with day effects; drift brings a tenth of ids that nobody knew."""
    names, weight = [f"i{k}" for k in range(60)], 1 / np.arange(1, 61)
    vocabulary = Vocabulary.fit({name: int(1000 * w) for name, w in zip(names, weight, strict=True)})
    zero, states = Items.over(vocabulary, top=20), []
    for i in range(windows):
        today = weight * np.exp(0.05 * rng.normal(size=60))
        rows = rng.choice(names, 400, p=today / today.sum()).tolist()
        states.append(zero.update(*vocabulary.encode([*rows[:360], *["new"] * 40] if i >= windows - drifted else rows)))
    return states
