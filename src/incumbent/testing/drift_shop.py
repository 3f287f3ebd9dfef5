"""A seeded shop whose windows are served items: ids and vectors together, and the faults that recommenders have.

Items stand in clusters, sell by a power law, and every day moves what is in demand a little, which is no drift.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError


@dataclass(frozen=True, eq=False)
class Served:
    """One window: `ids` (n,) of the items served, `vectors` (n, d) of what the index held for them."""

    ids: NDArray[np.int64]
    vectors: NDArray[np.float64]

    @property
    def names(self) -> list[str]:
        """The ids as text."""
        return [f"item {i}" for i in self.ids.tolist()]


@dataclass(frozen=True, eq=False)
class ShopWorld:
    """Items (m, d) in their clusters (m,), with the share that each has of an ordinary day's rows (m,).

    With `day` 1 the logarithm of every cluster's demand moves by a normal of 0.1 and that of every item's by one of
    0.05, each day anew. Ids of m and above are items that the baseline never had.

    >>> shop = ShopWorld.seeded(3, items=50, dimension=8, clusters=4)
    >>> rng = np.random.default_rng(1)
    >>> shop.window(rng, 20).vectors.shape, int((shop.window(rng, 100, "new_items_5").ids >= 50).sum())
    ((20, 8), 5)
    """

    vectors: NDArray[np.float64]
    cluster: NDArray[np.int64]
    share: NDArray[np.float64]
    day: float = 1.0

    @classmethod
    def seeded(
        cls, *seed: int, items: int = 2000, dimension: int = 64, clusters: int = 20, day: float = 1.0
    ) -> ShopWorld:
        """A shop drawn from its seed: items of unit normal spread about normal centres, shares as 1 / rank."""
        rng = np.random.default_rng(seed)
        centers = rng.normal(size=(clusters, dimension))
        cluster = rng.integers(0, clusters, items)
        share = 1 / rng.permutation(np.arange(1.0, items + 1))
        return cls(centers[cluster] + rng.normal(size=(items, dimension)), cluster, share / share.sum(), day)

    def window(self, rng: np.random.Generator, n: int, fault: str | None = None) -> Served:
        """n rows of one day, with a fault of `SHOP_FAULTS` in it or none."""
        if fault is not None and fault not in SHOP_FAULTS:
            raise DataError("no such fault", got=fault, expected=", ".join(SHOP_FAULTS))
        demand = np.exp(0.1 * self.day * rng.normal(size=int(self.cluster.max()) + 1))[self.cluster]
        today = self.share * demand * np.exp(0.05 * self.day * rng.normal(size=len(self.share)))
        if fault == "sale_day":  # a tenth of the items sells three times as often
            today[rng.choice(len(today), len(today) // 10, replace=False)] *= 3
        ids = rng.choice(len(today), n, p=today / today.sum())
        served = Served(ids, self.vectors[ids])
        return SHOP_FAULTS[fault](self, rng, served) if fault is not None else served

    def fresh(self, rng: np.random.Generator, like: NDArray[np.int64]) -> NDArray[np.float64]:
        """Vectors of new items of the kinds that the given ids are of: another item of each one's cluster, moved."""
        order = np.argsort(self.cluster, kind="stable")
        first = np.searchsorted(self.cluster[order], self.cluster[like])
        size = np.bincount(self.cluster)[self.cluster[like]]
        other = self.vectors[order[first + rng.integers(0, size)]]
        moved: NDArray[np.float64] = other + 0.7 * rng.normal(size=other.shape)
        return moved


ShopFault = Callable[[ShopWorld, np.random.Generator, Served], Served]


def _churn(shop: ShopWorld, rng: np.random.Generator, served: Served) -> Served:
    """A tenth of the items went overnight; a new item of the same kind stands in for each."""
    m = len(shop.share)
    gone = rng.choice(m, m // 10, replace=False)
    vectors = shop.vectors.copy()
    vectors[gone] = shop.fresh(rng, gone)
    hit = np.isin(served.ids, gone)
    return Served(np.where(hit, served.ids + m, served.ids), vectors[served.ids])


def _new(shop: ShopWorld, rng: np.random.Generator, served: Served) -> Served:
    """5 % of the rows are items never seen, of kinds that the shop had: forty of them."""
    hit = rng.choice(len(served.ids), round(0.05 * len(served.ids)), replace=False)
    like = rng.integers(0, len(shop.share), 40)
    vectors, which = shop.fresh(rng, like), rng.integers(0, 40, len(hit))
    ids, rows = served.ids.copy(), served.vectors.copy()
    ids[hit], rows[hit] = len(shop.share) + which, vectors[which]
    return Served(ids, rows)


def _zeroed(shop: ShopWorld, rng: np.random.Generator, served: Served) -> Served:
    """One of eight groups of features reads 0 in a tenth of the rows."""
    rows = served.vectors.copy()
    hit = rng.choice(len(rows), len(rows) // 10, replace=False)
    rows[hit, :rows.shape[1] // 8] = 0
    return Served(served.ids, rows)


def _skew(shop: ShopWorld, rng: np.random.Generator, served: Served) -> Served:
    """A tenth of the rows come from a replica whose index is of another version: the same space, rotated."""
    d, rows = served.vectors.shape[1], served.vectors.copy()
    hit = rng.choice(len(rows), len(rows) // 10, replace=False)
    rows[hit] = rows[hit] @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    return Served(served.ids, rows)


def _bots(shop: ShopWorld, rng: np.random.Generator, served: Served) -> Served:
    """5 % of the rows are one bot's, which goes round twenty items."""
    ids = served.ids.copy()
    hit = rng.choice(len(ids), round(0.05 * len(ids)), replace=False)
    ids[hit] = rng.choice(rng.choice(len(shop.share), 20, replace=False), len(hit))
    return Served(ids, shop.vectors[ids])


#: name -> what it does to a window (a sale changes the demand before the window is drawn)
SHOP_FAULTS: Mapping[str, ShopFault] = MappingProxyType({
    "item_churn": _churn, "new_items_5": _new, "zeroed_features": _zeroed, "version_skew": _skew,
    "sale_day": lambda shop, rng, served: served, "bot_traffic": _bots})
