"""Pairs: (user, item) pairs by user and item, and which rows of lists are among them.

The rows of all lists are one sparse matrix, the pairs of their users another; their product entry by entry, which SciPy
makes in one walk over both with a dense row of items that stays in the cache, holds the places of the common entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from incumbent.errors import DataError
from incumbent.metrics.frames import Codes, rising, runs, small
from incumbent.metrics.lists import Lists

_BLOCK = 1 << 13  # questions at a time: a search stays in the cache


@dataclass(frozen=True, eq=False)
class Pairs:
    """Distinct pairs by user, then item in [0, width); `twice` were given again.

    `ends` (users + 1,): where each user's pairs begin, and the length at the end. `gains`: the greatest of each pair,
    None where all are 1.
    """

    users: Codes
    items: Codes
    gains: NDArray[np.float64] | None
    ends: Codes
    width: int
    twice: int

    def places(self, users: Codes, items: Codes) -> Codes:
        """The place of each asked pair, -1 where it is not there: a binary search among its user's, all at once."""
        if not len(self.items):
            return np.full(len(users), -1)
        steps = 1 << np.arange(int(np.diff(self.ends).max()).bit_length())[::-1]
        found = np.empty(len(users), np.int64)
        for begin in range(0, len(users), _BLOCK):
            user, item = users[begin:begin + _BLOCK], items[begin:begin + _BLOCK]
            place, end = self.ends.take(user), self.ends.take(user + 1)
            for step in steps:  # past all that are less
                ahead = place + step
                less = self.items.take(ahead - 1, mode="clip") < item
                less &= ahead <= end
                place += less * step
            there = (self.items.take(place, mode="clip") == item) & (place < end)
            found[begin:begin + _BLOCK] = np.where(there, place, -1)
        return found

    def find(self, listed: Codes, shown: Codes, lists: Lists) -> tuple[Codes, bool]:
        """The rows of `lists` that are among the pairs, rising; and whether a list may hold one of them twice.

        `listed` (n,): the user of each list; `shown` (m,): the item of each row.
        """
        if not len(self.items) or not len(shown):
            return np.zeros(0, np.int64), False
        # of an item that a list holds twice SciPy adds the places: past the later one, so another item stands there
        kind = np.min_scalar_type(lists.longest * (lists.longest + 1) // 2)
        place = np.tile(np.arange(1, lists.longest + 1, dtype=kind), lists.n) if lists.even else (
            lists.positions(0, lists.n) + 1).astype(kind)
        found = _matrix(place, shown, lists.starts, self.width).multiply(self._of(listed, kind))
        owner = np.repeat(np.arange(lists.n), np.diff(found.indptr))
        rows = lists.starts[owner] + found.data.astype(np.int64) - 1
        sure = rows < lists.starts[owner + 1]
        sure &= shown[np.minimum(rows, len(shown) - 1)] == found.indices
        if sure.all():
            return np.sort(rows), False
        doubtful = np.zeros(lists.n, np.bool_)
        doubtful[owner[~sure]] = True
        more = np.flatnonzero(np.repeat(doubtful, lists.lengths))
        more = more[self.places(listed[lists.owner_of(more)], shown[more]) >= 0]
        return np.sort(np.concatenate([rows[~doubtful[owner]], more])), True

    def _of(self, listed: Codes, kind: Any) -> csr_array:
        """A row of ones per list: the pairs of its user."""
        all_of_them = _matrix(np.ones(len(self.items), kind), self.items, self.ends, self.width)
        if len(listed) == len(self.ends) - 1 and (listed == np.arange(len(listed))).all():
            return all_of_them
        return all_of_them[listed]


def pairs_of(users: Codes, items: Codes, gains: NDArray[np.float64] | None, width: int, n_users: int) -> Pairs:
    """Pairs of codes in any order; of a pair given twice the greatest gain holds. `DataError` past 2^63 possible pairs.

    >>> pairs_of(np.array([1, 0, 1]), np.array([2, 1, 2]), np.array([1.0, 2.0, 3.0]), 3, 2).gains.tolist()
    [2.0, 3.0]
    """
    starts = runs(users)
    own, twice = users[starts[:-1]], 0
    if not ((own[1:] > own[:-1]).all() and rising(items, starts)):
        if n_users * width >= 2**63:
            raise DataError("too many users times items", got=(n_users, width), hint="encode ids as text")
        keys = users * width + items
        if gains is None:
            keys = np.sort(keys)
        else:
            order = np.lexsort((-gains, keys))
            keys, gains = keys[order], gains[order]
        new = np.diff(keys, prepend=-1) > 0
        twice = int((~new).sum())
        if twice:
            keys, gains = keys[new], None if gains is None else gains[new]
        users = keys // width
        items, starts = keys - users * width, runs(users)
        own = users[starts[:-1]]
    count = np.zeros(n_users + 1, np.int64)
    count[own + 1] = np.diff(starts)
    return Pairs(users, items, gains, np.cumsum(count), width, twice)


def _matrix(data: NDArray[Any], items: Codes, ends: Codes, width: int) -> csr_array:
    most = max(2 * len(items), width)
    return csr_array((data, small(items, most), small(ends, most)), shape=(len(ends) - 1, width))
