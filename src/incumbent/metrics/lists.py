"""Lists: recommendation rows as lists in the order of their ranks, whatever order the rows came in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array

from incumbent.errors import DataError
from incumbent.metrics.frames import Codes, as_ids, code_together, columns, numbers, rising, runs, small
from incumbent.metrics.metric import Batch, Side
from incumbent.stats.buckets import bucket_of

COLUMNS = ("user_id", "item_id", "rank")
WHAT = "recommendations"
_NEAR, _LISTS = 32, 1 << 13


@dataclass(frozen=True, eq=False)
class Lists:
    """n lists of m items: list j is ``items[starts[j]:starts[j + 1]]``, best first, of the user ``users[j]``.

    `dropped` rows held no user or no item and are in nothing else; `ties` rows had the rank of the row before them and
    stand in the order of their item ids. Positions count from 1 in that order, so gaps between ranks close. `apart`:
    no user has two lists.
    """

    users: pa.Array
    items: pa.Array
    starts: Codes
    dropped: int = 0
    ties: int = 0
    apart: bool = False

    @property
    def n(self) -> int:
        """The number of lists."""
        return len(self.users)

    @cached_property
    def lengths(self) -> Codes:
        """The number of items of each list, (n,)."""
        return np.diff(self.starts)

    @cached_property
    def longest(self) -> int:
        """The number of items of the longest list."""
        return int(self.lengths.max(initial=0))

    @cached_property
    def even(self) -> bool:
        """Whether all lists are of one length, so that rows are a matrix."""
        return self.n > 0 and len(self.items) == self.n * self.longest

    def blocks(self, rows: int) -> Iterator[tuple[int, int]]:
        """Runs of whole lists, from and to, of at most so many rows (or of one list): a pass stays in the cache."""
        begin = 0
        while begin < self.n:
            most = int(np.searchsorted(self.starts, int(self.starts[begin]) + rows, side="right")) - 1
            end = min(max(most, begin + 1), self.n)
            yield begin, end
            begin = end

    def positions(self, begin: int, end: int) -> Codes:
        """The position of each row within its list, from 0, of the lists from `begin` to `end`."""
        start = self.starts[begin:end] - self.starts[begin]
        place: Codes = np.arange(self.starts[end] - self.starts[begin]) - np.repeat(start, self.lengths[begin:end])
        return place

    def owner_of(self, rows: Codes) -> Codes:
        """The list of each of some rows."""
        if self.even:
            return np.asarray(rows // self.longest)
        return np.asarray(np.searchsorted(self.starts, rows, side="right") - 1)

    @cached_property
    def coded(self) -> tuple[Codes, pa.Array]:
        """The items as whole numbers, (m,), and the ids they stand for; some of them may stand in no list."""
        if pa.types.is_integer(self.items.type) and len(self.items):
            low, high = (int(end) for end in pc.min_max(self.items).as_py().values())
            if high - low < len(self.items) // 4 + 1024:
                values = self.items.to_numpy()
                return (values - low if low else values), pa.array(np.arange(low, high + 1))
        made = self.items.dictionary_encode()
        return made.indices.to_numpy().astype(np.int64), made.dictionary

    @cached_property
    def narrow(self) -> NDArray[Any]:
        """The codes of `coded`, with no more bytes than they need to be walked through often, (m,)."""
        return small(self.coded[0], max(len(self.coded[1]), len(self.items)))

    def coded_with(self, ids: pa.Array, path: str) -> tuple[NDArray[Any], Codes, int]:
        """The items (m,) and other ids as whole numbers in [0, size), equal where they are equal, -1 for null; size."""
        known = self.coded[1]
        (mine, others), size = code_together({f"{WHAT}.item_id": known, path: ids})
        if len(mine) and mine[-1] - mine[0] == len(mine) - 1 and (np.diff(mine) == 1).all():
            return self.narrow + int(mine[0]) if mine[0] else self.narrow, others, size
        return small(mine, size)[self.narrow], others, size

    def heads(self, k: int) -> csr_array:
        """A matrix (n, d) of 1 where an id of `coded` stands in the first k of a list: sums over heads are products."""
        ones = np.ones(len(self.items)) if self.longest <= k else (self.positions(0, self.n) < k).astype(np.float64)
        shape = (self.n, max(len(self.coded[1]), 1))
        return csr_array((ones, self.narrow, small(self.starts, len(self.items) + 1)), shape=shape)

    def again(self, k: int) -> Codes:
        """The rows in the first k of a list whose item stands before them in that list, rising."""
        cut = min(k, self.longest)
        some = np.full(self.n, cut > 1) if cut < 2 or cut > _NEAR else self._repeating(cut)
        if not some.any():
            return np.zeros(0, np.int64)
        rows = np.flatnonzero(np.repeat(some, self.lengths) & self.head(k))
        owner, codes = self.owner_of(rows), self.coded[0][rows]
        order = np.lexsort((rows, codes, owner))
        same = (np.diff(owner[order]) == 0) & (np.diff(codes[order]) == 0)
        return np.sort(rows[order[1:][same]])

    def _repeating(self, cut: int) -> NDArray[np.bool_]:
        """Which lists hold an item twice in their first `cut`, (n,): every position against those before it."""
        size, found = len(self.coded[1]), np.zeros(self.n, np.bool_)
        kind = np.min_scalar_type(size + cut)
        for begin in range(0, self.n, _LISTS):
            end = min(begin + _LISTS, self.n)
            codes = self.narrow[self.starts[begin]:self.starts[end]].astype(kind)
            if self.even:
                table = codes.reshape(end - begin, self.longest)
            else:  # past the end of a list stands what stands in no other position
                table = np.tile(np.arange(size, size + cut, dtype=kind), (end - begin, 1))
                table[np.arange(cut) < self.lengths[begin:end, None]] = codes[self.positions(begin, end) < cut]
            places = np.ascontiguousarray(table[:, :cut].T)
            for at in range(1, cut):
                for before in range(at):
                    found[begin:end] |= places[at] == places[before]
        return found

    def owners(self) -> Codes:
        """The list of each row, (m,)."""
        return np.repeat(np.arange(self.n), self.lengths)

    def head(self, k: int) -> NDArray[np.bool_]:
        """Which rows stand in the first k of their list, (m,)."""
        return np.ones(len(self.items), np.bool_) if self.longest <= k else self.positions(0, self.n) < k

    def buckets(self, k: int) -> Codes:
        """The bucket of each list's user, (n,), by `bucket_of`; whole numbers as their decimal text."""
        return bucket_of(self.users.cast(pa.string()).to_pylist(), k)


def lists_of(batch: Batch, side: Side | None = None) -> Lists:
    """The lists of a batch, sorted once for every metric; `side` is not read."""
    return read_lists(batch.rows)


def read_lists(frame: Any) -> Lists:
    """Rows of user_id, item_id, rank (and list_id, where a user has several lists) as lists.

    Rows may come in any order. Ranks are numbers, the least is the best; a null or NaN rank is a `DataError`, as are
    absent columns. Where list_id is absent the user is the list; a list of two users is a `DataError`.

    >>> made = read_lists({"user_id": ["u", "v", "u"], "item_id": ["b", "c", "a"], "rank": [2, 1, 1]})
    >>> made.users.to_pylist(), made.items.to_pylist(), made.starts.tolist()
    (['u', 'v'], ['a', 'b', 'c'], [0, 2, 3])
    """
    found = columns(frame, WHAT, COLUMNS, ["list_id"])
    users, items = (as_ids(found[key], f"{WHAT}.{key}") for key in ("user_id", "item_id"))
    ranks = found["rank"]
    keys = as_ids(found["list_id"], f"{WHAT}.list_id") if "list_id" in found else users
    dropped = 0
    if users.null_count or items.null_count or keys.null_count:
        there = pc.and_(pc.and_(pc.is_valid(users), pc.is_valid(items)), pc.is_valid(keys))
        dropped = len(users) - there.true_count
        users, items, ranks, keys = (part.filter(there) for part in (users, items, ranks, keys))
    order = numbers(ranks, f"{WHAT}.rank") if not pa.types.is_integer(ranks.type) or ranks.null_count else (
        ranks.to_numpy())
    if order.dtype.kind == "f" and np.isnan(order).any():
        raise DataError("a rank is missing", got=int(np.isnan(order).sum()), expected="a number per row",
                        field=f"{WHAT}.rank")
    ties = 0
    starts = _runs(keys)
    first = keys.take(pa.array(starts[:-1]))
    if not (rising(order, starts) and _distinct(first)):
        rows, ties = _order(keys, items, order)
        taken = pa.array(rows)
        items, users, keys = items.take(taken), users.take(taken), keys.take(taken) if keys is not users else None
        keys = users if keys is None else keys
        starts = _runs(keys)
        first = keys.take(pa.array(starts[:-1]))
    if keys is users:
        return Lists(first, items, starts, dropped, ties, True)
    if len(np.setdiff1d(_runs(users), starts)):
        raise DataError("a list belongs to two users", field=f"{WHAT}.list_id", hint="give every list an id of its own")
    owners = users.take(pa.array(starts[:-1]))
    return Lists(owners, items, starts, dropped, ties, _distinct(owners))


def _runs(keys: pa.Array) -> Codes:
    """`runs` of ids."""
    if pa.types.is_integer(keys.type) or not len(keys):
        return runs(keys.to_numpy(zero_copy_only=False))
    turns = pc.not_equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.flatnonzero(turns) + 1, [len(keys)]])


def _distinct(ids: pa.Array) -> bool:
    """Whether no id stands there twice; rising whole numbers need no hashing."""
    if pa.types.is_integer(ids.type):
        values = ids.to_numpy()
        if (values[1:] > values[:-1]).all():
            return True
    return len(ids.unique()) == len(ids)


def _order(keys: pa.Array, items: pa.Array, order: NDArray[Any]) -> tuple[Codes, int]:
    """The rows by list (in the order of first appearance), rank, and item id where ranks tie; and how many tied."""
    codes = keys.dictionary_encode().indices.to_numpy()
    rows = np.lexsort((order, codes))
    tied = (np.diff(codes[rows]) == 0) & (np.diff(order[rows]) == 0)
    if tied.any():
        places = pc.rank(items, sort_keys="ascending", tiebreaker="dense").to_numpy()
        rows = np.lexsort((places, order, codes))
    return rows, int(tied.sum())
