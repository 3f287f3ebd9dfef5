"""Judged: where the relevant items stand in each list. The one join that every ranking metric shares.

Relevant pairs are keys ``user * items + item``, sorted. A table of bits, hashed by the key, tells at once which rows
cannot be hits; the few that may be are searched among the keys. So the cost is one look per row, whatever the number of
relevant items a user has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.frames import Codes, as_ids, code_together, columns, numbers
from incumbent.metrics.lists import WHAT, Lists, lists_of
from incumbent.metrics.metric import Batch, Side

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class Judged:
    """n rankings (lists, then users who have relevant items but no list) and h hits, sorted by ranking and position.

    A hit: its ranking `where` (h,), `position` (h,) from 1, `index` (h,): the how-manieth hit of its ranking, and
    `gain` (h,). A ranking: `relevant` (n,) the number of its user's relevant items, `lengths` (n,), its `user` (n,).
    `ideal_user`, `ideal_gain`: user and gain of every relevant pair, by user; `binary` where every gain is 1.

    Counts of what is not in the sums: `repeats` (a relevant item again in one list: it keeps its slot and is no second
    hit), `dropped` (rows without user or item), `not_relevant` (gain 0 or less), `twice` (relevant pairs given again).
    """

    users: pa.Array
    where: Codes
    position: Codes
    index: Codes
    gain: NDArray[np.float64]
    relevant: Codes
    lengths: Codes
    user: Codes
    ideal_user: Codes
    ideal_gain: NDArray[np.float64]
    binary: bool
    unserved: int
    repeats: int
    dropped: int
    not_relevant: int
    twice: int

    @property
    def n(self) -> int:
        """Rankings: lists, and unserved users."""
        return len(self.relevant)

    def sums(self, weights: NDArray[Any] | float, k: int | None = None) -> NDArray[np.float64]:
        """The sum of `weights` (h,) over the hits of each ranking within its first k, (n,)."""
        there = slice(None) if k is None else self.position <= k
        parts = None if isinstance(weights, float) else weights[there]
        counts = np.bincount(self.where[there], weights=parts, minlength=self.n)
        return np.asarray(counts * weights if parts is None else counts, np.float64)

    def hits(self, k: int | None = None) -> NDArray[np.float64]:
        """The number of hits of each ranking within its first k, (n,)."""
        return self.sums(1.0, k)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Relevant pairs, each once, with its greatest gain, sorted by key."""

    keys: Codes
    gains: NDArray[np.float64] | None
    twice: int


def judged_of(batch: Batch, side: Side) -> Judged:
    """The lists of a batch against ``side.relevant``; users without a list are not asked for."""
    return judge(batch.once(lists_of), side.need("relevant", "a ranking metric"), unserved=False)


def judge(lists: Lists, relevant: Any, *, unserved: bool = True) -> Judged:
    """Find the hits of every list among the relevant pairs (user_id, item_id, perhaps gain).

    Rows without user or item, and gains of 0 or less, are no relevant pairs and are counted; of a pair given twice the
    greatest gain holds. With `unserved`, users who have relevant items but no list follow as rankings of length 0.
    `DataError` for absent columns, a gain that is not finite, and ids of different types on the two sides.

    >>> from incumbent.metrics.lists import read_lists
    >>> lists = read_lists({"user_id": ["u", "u", "v"], "item_id": ["a", "b", "a"], "rank": [1, 2, 1]})
    >>> found = judge(lists, {"user_id": ["u", "u", "w"], "item_id": ["b", "c", "a"]})
    >>> found.where.tolist(), found.position.tolist(), found.relevant.tolist(), found.unserved
    ([0], [2], [2, 0, 1], 1)
    """
    found = columns(relevant, "relevant", ("user_id", "item_id"), ["gain"])
    users, items, gains, dropped, not_relevant = _positive(found)
    (listed, wanted), n_users = code_together({f"{WHAT}.user_id": lists.users, "relevant.user_id": users})
    (shown, items_wanted), n_items = code_together({f"{WHAT}.item_id": lists.items, "relevant.item_id": items})
    width = max(n_items, 1)
    if n_users * width >= 2**63:
        raise DataError("too many users times items", got=(n_users, n_items), hint="encode ids as text")
    pairs = _pairs(wanted * width + items_wanted, gains)
    rows, which = _search(pairs.keys, listed, shown, lists, width)
    owner = np.searchsorted(lists.starts, rows, side="right") - 1
    first = _first(owner * max(len(pairs.keys), 1) + which)
    rows, which, where = rows[first], which[first], owner[first]
    ideal_user = pairs.keys // width
    count = np.bincount(ideal_user, minlength=n_users)
    extra = np.zeros(0, np.int64)
    if unserved:
        seen = np.zeros(n_users, bool)
        seen[listed] = True
        extra = np.flatnonzero((count > 0) & ~seen)
    user = np.concatenate([listed, extra])
    starts = np.flatnonzero(np.diff(where, prepend=-1))
    index = np.arange(1, len(where) + 1) - np.repeat(starts, np.diff(starts, append=len(where)))
    return Judged(
        _names(lists.users, users, wanted, extra, n_users), where, rows - lists.starts[where] + 1, index,
        np.ones(len(which)) if pairs.gains is None else pairs.gains[which],
        count[user], np.concatenate([lists.lengths, np.zeros(len(extra), np.int64)]), user, ideal_user,
        np.ones(len(pairs.keys)) if pairs.gains is None else pairs.gains, pairs.gains is None,
        len(extra), len(owner) - len(first), dropped, not_relevant, pairs.twice)


def among(lists: Lists, pairs: Any, what: str) -> NDArray[np.bool_]:
    """Which recommended rows, (m,), are among the pairs (user_id, item_id); pairs without an id are left out.

    >>> from incumbent.metrics.lists import read_lists
    >>> lists = read_lists({"user_id": ["u", "u", "v"], "item_id": ["a", "b", "b"], "rank": [1, 2, 1]})
    >>> among(lists, {"user_id": ["u"], "item_id": ["b"]}, "history").tolist()
    [False, True, False]
    """
    found = columns(pairs, what, ("user_id", "item_id"))
    (listed, users), _ = code_together({f"{WHAT}.user_id": lists.users, f"{what}.user_id": found["user_id"]})
    (shown, items), n_items = code_together({f"{WHAT}.item_id": lists.items, f"{what}.item_id": found["item_id"]})
    good, width = (users >= 0) & (items >= 0), max(n_items, 1)
    there = np.zeros(len(shown), np.bool_)
    there[_search(_pairs(users[good] * width + items[good], None).keys, listed, shown, lists, width)[0]] = True
    return there


def _positive(found: dict[str, pa.Array]) -> tuple[pa.Array, pa.Array, NDArray[np.float64] | None, int, int]:
    users, items = (as_ids(found[key], f"relevant.{key}") for key in ("user_id", "item_id"))
    gains = numbers(found["gain"], "relevant.gain") if "gain" in found else None
    if gains is not None and not np.isfinite(gains).all():
        raise DataError("a gain is not finite", got=int((~np.isfinite(gains)).sum()), field="relevant.gain")
    dropped = not_relevant = 0
    if users.null_count or items.null_count or gains is not None:
        there = pc.and_(pc.is_valid(users), pc.is_valid(items)).to_numpy(zero_copy_only=False)
        good = there if gains is None else there & (gains > 0)
        dropped, not_relevant = int((~there).sum()), int((there & ~good).sum())
        keep = pa.array(good)
        users, items = users.filter(keep), items.filter(keep)
        gains = None if gains is None else gains[good]
        if gains is not None and (gains == 1).all():
            gains = None
    return users, items, gains, dropped, not_relevant


def _pairs(keys: Codes, gains: NDArray[np.float64] | None) -> _Pairs:
    if gains is None:
        keys = np.sort(keys) if len(keys) and (np.diff(keys) <= 0).any() else keys
    else:
        order = np.lexsort((-gains, keys))
        keys, gains = keys[order], gains[order]
    new = np.diff(keys, prepend=-1) > 0
    if new.all():
        return _Pairs(keys, gains, 0)
    return _Pairs(keys[new], None if gains is None else gains[new], int((~new).sum()))


def _search(keys: Codes, listed: Codes, shown: Codes, lists: Lists, width: int) -> tuple[Codes, Codes]:
    """The rows whose pair is among the sorted keys, rising, and which key each is."""
    if not len(keys) or not len(shown):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    bits = min(max(int(8 * len(keys)).bit_length(), 10), 27)
    shift = np.uint64(64 - bits)
    table = np.zeros(1 << bits, bool)
    table[(keys.view(np.uint64) * _GOLDEN) >> shift] = True
    base, lengths, rows, which = listed * width, lists.lengths, [], []
    for begin in range(0, lists.n, _BLOCK // 8):
        end = min(begin + _BLOCK // 8, lists.n)
        start, stop = lists.starts[begin], lists.starts[end]
        pair = np.repeat(base[begin:end], lengths[begin:end]) + shown[start:stop]
        maybe = np.flatnonzero(table[(pair.view(np.uint64) * _GOLDEN) >> shift])
        asked = pair[maybe]
        place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        hit = keys[place] == asked
        rows.append(maybe[hit] + start)
        which.append(place[hit])
    return np.concatenate(rows), np.concatenate(which)


def _first(pairs: Codes) -> Codes:
    """The rows at which a value is seen for the first time, rising."""
    order = np.argsort(pairs, kind="stable")
    again = np.diff(pairs[order]) == 0
    if not again.any():
        return np.arange(len(pairs))
    return np.sort(np.delete(order, np.flatnonzero(again) + 1))


def _names(served: pa.Array, users: pa.Array, wanted: Codes, extra: Codes, size: int) -> pa.Array:
    """The user ids of all rankings."""
    if not len(extra):
        return served
    where = np.zeros(size, np.int64)
    where[wanted] = np.arange(len(wanted))
    names = users.take(pa.array(where[extra]))
    return pa.concat_arrays([served.cast(names.type), names])
