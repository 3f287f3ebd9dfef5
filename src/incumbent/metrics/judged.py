"""Judged: where the relevant items stand in each list. The one join that every ranking metric shares (`pairs`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.frames import Codes, as_ids, code_together, columns, numbers, runs
from incumbent.metrics.lists import WHAT, Lists, lists_of
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.pairs import pairs_of


@dataclass(frozen=True, eq=False)
class Judged:
    """n rankings (lists, then users who have relevant items but no list) and h hits, sorted by ranking and position.

    A hit: its ranking `where` (h,), `position` (h,) from 1, and `gain` (h,). A ranking: `relevant` (n,), how many items
    its user has, `lengths` (n,), its `user` (n,). `ideal_user`, `ideal_gain`: user and gain of every relevant pair, by
    user; `binary` where every gain is 1.

    Counts of what is not in the sums: `repeats` (a relevant item again in one list: it keeps its slot and is no second
    hit), `dropped` (rows without user or item), `not_relevant` (gain 0 or less), `twice` (relevant pairs given again).
    """

    users: pa.Array
    where: Codes
    position: Codes
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
    _hits: dict[int | None, NDArray[np.float64]] = field(default_factory=dict, repr=False)

    @property
    def n(self) -> int:
        """Rankings: lists, and unserved users."""
        return len(self.relevant)

    @cached_property
    def index(self) -> Codes:
        """The how-manieth hit of its ranking each hit is, (h,), from 1."""
        starts = runs(self.where)
        found: Codes = np.arange(1, len(self.where) + 1) - np.repeat(starts[:-1], np.diff(starts))
        return found

    @cached_property
    def deepest(self) -> int:
        """The greatest position of a hit."""
        return int(self.position.max(initial=0))

    def sums(self, weights: NDArray[Any] | float, k: int | None = None) -> NDArray[np.float64]:
        """The sum of `weights` (h,) over the hits of each ranking within its first k, (n,)."""
        there = slice(None) if k is None or self.deepest <= k else self.position <= k
        parts = None if isinstance(weights, float) else weights[there]
        counts = np.bincount(self.where[there], weights=parts, minlength=self.n)
        return np.asarray(counts * weights if parts is None else counts, np.float64)

    def hits(self, k: int | None = None) -> NDArray[np.float64]:
        """The number of hits of each ranking within its first k, (n,)."""
        cut = None if k is None or self.deepest <= k else k
        if cut not in self._hits:
            self._hits[cut] = self.sums(1.0, cut)
        return self._hits[cut]


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
    shown, items_wanted, n_items = lists.coded_with(items, "relevant.item_id")
    pairs = pairs_of(wanted, items_wanted, gains, max(n_items, 1), n_users)
    rows, twice = pairs.find(listed, shown, lists)
    repeats = len(rows)
    if twice:
        rows = _first(rows, shown, lists)
    repeats -= len(rows)
    where, count = lists.owner_of(rows), np.diff(pairs.ends)
    extra = np.zeros(0, np.int64)
    if unserved:
        seen = np.zeros(n_users, bool)
        seen[listed] = True
        extra = np.flatnonzero((count > 0) & ~seen)
    user = np.concatenate([listed, extra])
    return Judged(
        _names(lists.users, users, wanted, extra, n_users), where, rows - lists.starts[where] + 1,
        np.ones(len(rows)) if pairs.gains is None else pairs.gains[pairs.places(listed[where], shown[rows])],
        count[user], np.concatenate([lists.lengths, np.zeros(len(extra), np.int64)]), user, pairs.users,
        np.broadcast_to(1.0, len(pairs.users)) if pairs.gains is None else pairs.gains, pairs.gains is None,
        len(extra), repeats, dropped, not_relevant, pairs.twice)


def among(lists: Lists, pairs: Any, what: str, rows: Codes | None = None) -> NDArray[np.bool_]:
    """Which recommended rows, (m,), are among the pairs (user_id, item_id); pairs without an id are left out.

    With `rows`, only of those, in their order.

    >>> from incumbent.metrics.lists import read_lists
    >>> lists = read_lists({"user_id": ["u", "u", "v"], "item_id": ["a", "b", "b"], "rank": [1, 2, 1]})
    >>> among(lists, {"user_id": ["u"], "item_id": ["b"]}, "history").tolist()
    [False, True, False]
    """
    found = columns(pairs, what, ("user_id", "item_id"))
    (listed, users), n_users = code_together({f"{WHAT}.user_id": lists.users, f"{what}.user_id": found["user_id"]})
    shown, items, n_items = lists.coded_with(found["item_id"], f"{what}.item_id")
    if found["user_id"].null_count or found["item_id"].null_count:
        good = (users >= 0) & (items >= 0)
        users, items = users[good], items[good]
    held = pairs_of(users, items, None, max(n_items, 1), n_users)
    if rows is not None:
        return np.asarray(held.places(listed[lists.owner_of(rows)], shown[rows]) >= 0)
    there = np.zeros(len(shown), np.bool_)
    there[held.find(listed, shown, lists)[0]] = True
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


def _first(rows: Codes, shown: NDArray[Any], lists: Lists) -> Codes:
    """The hits without those that their list has before."""
    owner, items = lists.owner_of(rows), shown[rows]
    order = np.lexsort((rows, items, owner))
    again = (np.diff(owner[order]) == 0) & (np.diff(items[order]) == 0)
    return np.delete(rows, order[1:][again])


def _names(served: pa.Array, users: pa.Array, wanted: Codes, extra: Codes, size: int) -> pa.Array:
    """The user ids of all rankings."""
    if not len(extra):
        return served
    where = np.zeros(size, np.int64)
    where[wanted] = np.arange(len(wanted))
    names = users.take(pa.array(where[extra]))
    return pa.concat_arrays([served.cast(names.type), names])
