"""Calibration: whether a list keeps the mix of categories that the user's history has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.frames import Codes, as_ids, code_together, columns
from incumbent.metrics.item_facts import categories_of
from incumbent.metrics.lists import WHAT, lists_of
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.per_list import PerList, check_k


def category_calibration(*, k: int = 10, smoothing: float = 0.01, **policy: Any) -> PerList:
    """``KL(p || (1 - a) q + a p)`` in nats, p the shares of the user's history, q of the first k; 0 is best.

    `smoothing` a in (0, 1), else `DataError`; it stands in the name where it is not 0.01. Items without a category
    count in neither share; a user without history, or a list without any category, is missing. Source: H. Steck,
    RecSys 2018.

    >>> batch = Batch({"user_id": ["u"] * 2, "item_id": ["a", "b"], "rank": [1, 2]})
    >>> side = Side(catalogue={"item_id": ["a", "b", "c"], "category": ["x", "x", "y"]},
    ...             history={"user_id": ["u"] * 2, "item_id": ["a", "c"]})
    >>> round(float(category_calibration().values(batch, side)[0]), 4)  # .5 ln(.5 / .995) + .5 ln(.5 / .005)
    1.9585
    """
    k = check_k(k)
    if not 0 < smoothing < 1:
        raise DataError("smoothing must be in (0, 1)", got=smoothing, field="smoothing")
    name = f"category_calibration@{k}" if smoothing == 0.01 else f"category_calibration_{smoothing:g}@{k}"

    def values(batch: Batch, side: Side) -> NDArray[np.float64]:
        side.need("catalogue", name)
        side.need("history", name)
        lists, (facts, kinds, size) = batch.once(lists_of), batch.once(categories_of, side)
        size = max(size, 1)
        users, listed, kind_had, n_users = _history(batch, side, facts.ids, kinds)
        had_cells, had = np.unique(users * size + kind_had, return_counts=True)
        had_total = np.bincount(users, minlength=n_users)
        kind = np.append(kinds, -1)[facts.place]
        there = lists.head(k) & (kind >= 0)
        owner = lists.owners()[there]
        cells, shown = np.unique(owner * size + kind[there], return_counts=True)
        total = np.bincount(owner, minlength=lists.n)
        # every cell of the history of a list's user, list by list
        first = np.searchsorted(had_cells, listed * size)
        number = np.searchsorted(had_cells, (listed + 1) * size) - first
        row = np.repeat(np.arange(lists.n), number)
        at = np.arange(len(row)) - np.repeat(np.cumsum(number) - number, number) + np.repeat(first, number)
        p = had[at] / had_total[listed[row]]
        q = _counts_at(cells, shown, row * size + had_cells[at] % size) / np.maximum(total[row], 1)
        terms = p * np.log(p / ((1 - smoothing) * q + smoothing * p))
        value = np.bincount(row, weights=terms, minlength=lists.n)
        return np.where((number > 0) & (total > 0), np.maximum(value, 0.0), np.nan)

    return PerList(name, values, unit="nats", direction="down", **policy)


def _history(batch: Batch, side: Side, ids: pa.Array, kinds: Codes) -> tuple[Codes, Codes, Codes, int]:
    """User and category of each interaction that has both, the user of each list, and the number of users."""
    lists = batch.once(lists_of)
    found = columns(side.need("history", "category_calibration"), "history", ("user_id", "item_id"))
    (listed, users), n_users = code_together({f"{WHAT}.user_id": lists.users, "history.user_id": as_ids(
        found["user_id"], "history.user_id")})
    (known, items), size = code_together({"catalogue.item_id": ids, "history.item_id": found["item_id"]})
    kind_of = np.full(size + 1, -1)  # the last is that of no item
    kind_of[known[known >= 0]] = kinds[known >= 0]
    kind = kind_of[items]
    good = (users >= 0) & (kind >= 0)
    return users[good], listed, kind[good], n_users


def _counts_at(cells: Codes, counts: Codes, asked: Codes) -> NDArray[np.float64]:
    """The count of each asked cell, 0 where it is not among the sorted cells."""
    if not len(cells):
        return np.zeros(len(asked))
    place = np.minimum(np.searchsorted(cells, asked), len(cells) - 1)
    return np.where(cells[place] == asked, counts[place], 0).astype(np.float64)
