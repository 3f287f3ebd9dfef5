"""Exposure: coverage, Gini, concentration and personalisation, all functions of one state of item counts.

They are numbers of the whole, not means over users, so their estimates have no interval; n counts lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.metrics.frames import Codes, as_ids, code_together, columns
from incumbent.metrics.item_counts import ItemCounts
from incumbent.metrics.item_facts import heads_of
from incumbent.metrics.lists import COLUMNS, WHAT, lists_of
from incumbent.metrics.metric import Batch, Direction, Grain, Level, Side, no_settings
from incumbent.metrics.per_list import check_k
from incumbent.stats.estimate import Estimate
from incumbent.stats.gini import gini as inequality

Counts = NDArray[np.float64]


@dataclass(frozen=True)
class Exposure:
    """A number read from `ItemCounts`. With `listed`, over the items of ``side.catalogue``; else over what was shown.

    An item that one list repeats counts once in it; `repeats` says whether that can change the number. `read` gives the
    number from the counts and the number of lists, or a text where there is none.
    """

    name: str
    k: int
    read: Callable[[Counts, int], float | str]
    unit: str
    direction: Direction
    listed: bool = True
    repeats: bool = True
    level: Level = "quality"
    grain: Grain = "slot"
    columns: tuple[str, ...] = COLUMNS

    def state(self, config: Mapping[str, Any] | None = None) -> ItemCounts:
        """Nothing shown yet. There is nothing that a baseline freezes: any key is a `DataError`."""
        no_settings(self.name, config)
        return ItemCounts.zero(k=self.k)

    def observe(self, batch: Batch, side: Side) -> tuple[list[str], Codes, int, int]:
        """Items, the number of lists that hold each, the number of lists, and slots outside the catalogue."""
        if self.listed:
            side.need("catalogue", self.name)
        counts, ids, outside = batch.once(_counted, side if self.listed else None, self.k)
        return pc.cast(ids, "string").to_pylist(), counts, batch.once(lists_of).n, outside

    def estimate(self, state: ItemCounts) -> Estimate:
        """The number, without an interval; missing without lists."""
        return self._of(state.shown.astype(np.float64), int(state.lists))

    def of(self, batch: Batch, side: Side) -> Estimate:
        """The estimate of one batch, without the names of its items."""
        if self.listed:
            side.need("catalogue", self.name)
        counts = batch.once(_counted, side if self.listed else None, self.k, self.repeats)[0]
        return self._of(counts.astype(np.float64), batch.once(lists_of).n)

    def _of(self, counts: Counts, n: int) -> Estimate:
        method = "item counts"
        found = self.read(counts, n) if n else "no lists"
        if isinstance(found, str):
            return Estimate.missing(found, n=n, method=method, unit=self.unit)
        return Estimate(found, n=n, method=method, unit=self.unit)


def coverage(*, k: int = 10) -> Exposure:
    """The share of the catalogue that stands in the first k of any list. Source: Ge et al., RecSys 2010.

    >>> batch = Batch({"user_id": ["u", "u", "v"], "item_id": ["a", "b", "a"], "rank": [1, 2, 1]})
    >>> side = Side(catalogue={"item_id": list("abcd")})
    >>> [m.estimate(m.state().update(*m.observe(batch, side))).value for m in (coverage(), gini(), concentration())]
    [0.5, 0.5833333333333334, 0.5555555555555556]
    """

    def read(counts: Counts, n: int) -> float | str:
        return float((counts > 0).mean()) if len(counts) else "the catalogue is empty"

    return Exposure(f"coverage@{check_k(k)}", int(k), read, "share of the catalogue", "up", repeats=False)


def gini(*, k: int = 10) -> Exposure:
    """``sum (2 i - N - 1) c_i / (N sum c)`` over the N items of the catalogue, c rising: 0 is equal exposure, 1 - 1/N is one item.

    Source: C. Gini (1912); Fleder and Hosanagar, Management Science 55 (2009).
    """  # noqa: E501

    def read(counts: Counts, n: int) -> float | str:
        return inequality(counts) if counts.any() else _EMPTY

    return Exposure(f"gini@{check_k(k)}", int(k), read, "0 equal, 1 one item", "down")


def concentration(*, k: int = 10) -> Exposure:
    """``sum (c_i / sum c)^2`` over the catalogue, the Herfindahl-Hirschman index: 1/N is equal exposure, 1 one item.

    Source: A. O. Hirschman, American Economic Review 54 (1964).
    """

    def read(counts: Counts, n: int) -> float | str:
        total = float(counts.sum())
        return float(((counts / total) ** 2).sum()) if total else _EMPTY

    return Exposure(f"concentration@{check_k(k)}", int(k), read, "sum of squared shares", "down")


def personalisation(*, k: int = 10) -> Exposure:
    """One minus the mean overlap of two lists: ``1 - sum c (c - 1) / (n (n - 1) m)``, m the mean length, in O(items).

    Over every shown item, listed or not; missing with fewer than two lists. Lists of one user are lists like others.
    Source: the mean over all pairs of 1 - |A & B| / m, summed by item instead of by pair.

    >>> batch = Batch({"user_id": ["u", "u", "v", "v"], "item_id": ["a", "b", "a", "c"], "rank": [1, 2, 1, 2]})
    >>> metric = personalisation()
    >>> metric.estimate(metric.state().update(*metric.observe(batch, Side()))).value
    0.5
    """

    def read(counts: Counts, n: int) -> float | str:
        if n < 2:
            return "fewer than two lists"
        return float(1 - (counts * (counts - 1)).sum() / ((n - 1) * counts.sum()))

    return Exposure(f"personalisation@{check_k(k)}", int(k), read, "share of a list", "none", listed=False)


_EMPTY = "nothing of the catalogue was shown"


def _slots(batch: Batch, side: Side | None, k: int) -> Codes:
    """The number of slots of each id of ``Lists.coded``."""
    lists = batch.once(lists_of)
    slots: Codes = (batch.once(heads_of, None, k).T @ np.ones(lists.n)).astype(np.int64)[:len(lists.coded[1])]
    return slots


def _counted(batch: Batch, side: Side | None, k: int, once: bool = True) -> tuple[Codes, pa.Array, int]:
    """The number of lists that hold each item (without `once`, of its slots), its id, slots outside the catalogue."""
    lists, counts = batch.once(lists_of), batch.once(_slots, None, k)
    codes, ids = lists.coded
    if once:
        counts = counts - np.bincount(codes[lists.again(k)], minlength=len(ids))
    if side is None:
        some = np.flatnonzero(counts)
        return counts[some], ids.take(pa.array(some)), 0
    listed = as_ids(columns(side.catalogue, "catalogue", ("item_id",))["item_id"], "catalogue.item_id")
    (mine, known), size = code_together({f"{WHAT}.item_id": ids, "catalogue.item_id": listed})
    shown = np.zeros(size, np.int64)
    shown[mine] = counts
    place = np.full(size, len(known))
    np.minimum.at(place, known[known >= 0], np.flatnonzero(known >= 0))
    first = np.sort(place[place < len(known)])
    found = shown[known[first]]
    return found, listed.take(pa.array(first)), int(counts.sum() - found.sum())
