"""Pairs: (user, item) pairs as sorted keys, and which rows of lists are among them.

A table of marks, a run of it per user, hashed by the item, tells which rows cannot be among them; the few that may be
are searched. Lists and pairs in the order of their users walk through table and keys side by side, within the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from incumbent.metrics.frames import Codes
from incumbent.metrics.lists import Lists

_GOLDEN, _BLOCK, _NEAR, _MOST_BITS = np.uint32(0x9E3779B1), 1 << 16, 1 << 13, 27


@dataclass(frozen=True, eq=False)
class Pairs:
    """Distinct pairs, rising: `keys` ``user * width + item``, their `users` and `items`; `twice` were given again.

    `gains`: the greatest of each pair, None where all are 1.
    """

    keys: Codes
    users: Codes
    items: Codes
    gains: NDArray[np.float64] | None
    width: int
    twice: int

    def search(self, asked: Codes) -> tuple[Codes, Codes]:
        """Which of the asked keys are there, rising places, and the place of each among `keys`."""
        found, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for begin in range(0, len(asked) if len(self.keys) else 0, _NEAR):
            part = asked[begin:begin + _NEAR]
            low, high = np.searchsorted(self.keys, [part.min(), part.max()])
            near = self.keys[low:high + 1]
            if len(near):
                place = np.minimum(np.searchsorted(near, part), len(near) - 1)
                hit = np.flatnonzero(near[place] == part)
                found.append(hit + begin)
                places.append(place[hit] + low)
        return np.concatenate(found), np.concatenate(places)

    def find(self, listed: Codes, shown: Codes, lists: Lists, n_users: int) -> tuple[Codes, Codes]:
        """The rows of `lists` that are among the pairs, rising, and which pair each is.

        `listed` (n,): the user of each list, in [0, n_users); `shown` (m,): the item of each row.
        """
        if not len(self.keys) or not len(shown):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        spread = max(int(8 * len(self.keys) / max(min(n_users, lists.n), 1)), 1).bit_length()
        bits = max(min(spread, _MOST_BITS - n_users.bit_length()), 1)
        table = np.zeros(n_users << bits, np.bool_)
        for begin in range(0, len(self.keys), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            table[(self.users[part] << bits) + _hashed(self.items[part], bits)] = True
        rows, keys = [], []
        for begin, end in lists.blocks(_BLOCK):
            start, stop = lists.starts[begin], lists.starts[end]
            own, items = np.repeat(listed[begin:end] << bits, lists.lengths[begin:end]), shown[start:stop]
            maybe = np.flatnonzero(table.take(own + _hashed(items, bits)))
            rows.append(maybe + start)
            keys.append((own[maybe] >> bits) * self.width + items[maybe])
        candidates = np.concatenate(rows)
        found, places = self.search(np.concatenate(keys))
        return candidates[found], places


def pairs_of(users: Codes, items: Codes, gains: NDArray[np.float64] | None, width: int) -> Pairs:
    """Pairs of codes in any order, items in [0, width); of a pair given twice the greatest gain holds.

    >>> pairs_of(np.array([1, 0, 1]), np.array([2, 1, 2]), np.array([1.0, 2.0, 3.0]), 3).gains.tolist()
    [2.0, 3.0]
    """
    keys = users * width + items
    if (keys[1:] > keys[:-1]).all():
        return Pairs(keys, users, items, gains, width, 0)
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
    return Pairs(keys, users, keys - users * width, gains, width, twice)


def _hashed(items: Codes, bits: int) -> Codes:
    return ((items.astype(np.uint32) * _GOLDEN) >> np.uint32(32 - bits)).astype(np.int64)
