"""Agreement of two lists for one user: overlap, rank-biased overlap and Kendall's tau, as of champion and candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.frames import Codes, code_together
from incumbent.metrics.lists import Lists, read_lists
from incumbent.metrics.per_list import check_k
from incumbent.stats.bounded_share import within
from incumbent.stats.estimate import Estimate
from incumbent.stats.moments import Moments

PerUser = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Agreement:
    """How alike two lists are, (n,) for the n users who have both; NaN where a number is not defined.

    `one_sided`: users who have one of the lists alone, and are in nothing else.
    """

    users: pa.Array
    overlap: PerUser
    rank_biased: PerUser
    kendall: PerUser
    one_sided: int

    def estimates(self) -> dict[str, Estimate]:
        """The mean over users of each; users for whom it is not defined are missing.

        The interval is Student's, of the two that are shares that of `stats.bounded_share`.
        """
        found = {name: Moments.zero().update(getattr(self, name)).mean(unit="per user")
                 for name in ("overlap", "rank_biased", "kendall")}
        return {name: one if name == "kendall" else within(one, one.n) for name, one in found.items()}


def agreement(first: Any, second: Any, *, k: int = 10, persistence: float = 0.9) -> Agreement:
    """Compare the first k of two lists of every user.

    `overlap` ``|A & B| / k'`` with k' the longer of the two, cut at k. `rank_biased` (RBO, extrapolated) with X_d the
    items in common to depth d, and D the depth that both lists reach:
    ``X_D p^D / D + (1 - p) / p * sum_{d <= D} X_d p^d / d``. `kendall`: tau-a over the items that stand in both,
    ``(concordant - discordant) / pairs``; missing with fewer than two. Frames as for `evaluate`; an item that a list
    repeats counts at its first place. `DataError` for k below 1 and persistence outside (0, 1).

    Sources: Webber, Moffat, Zobel, TOIS 28 (2010), equation 30; M. G. Kendall, Biometrika 30 (1938).

    >>> champion = {"user_id": ["u"] * 3, "item_id": ["a", "b", "c"], "rank": [1, 2, 3]}
    >>> candidate = {"user_id": ["u"] * 3, "item_id": ["b", "a", "d"], "rank": [1, 2, 3]}
    >>> made = agreement(champion, candidate, k=3)
    >>> made.overlap.round(4).tolist(), made.rank_biased.round(4).tolist(), made.kendall.tolist()
    ([0.6667], [0.63], [-1.0])
    """
    k = check_k(k)
    if not 0 < persistence < 1:
        raise DataError("persistence must be in (0, 1)", got=persistence, field="persistence")
    sides = read_lists(first), read_lists(second)
    (left, right), size = code_together({"first.user_id": sides[0].users, "second.user_id": sides[1].users})
    items, n_items = code_together({"first.item_id": sides[0].items, "second.item_id": sides[1].items})
    place = [np.full(size, -1) for _ in sides]
    for at, users in enumerate((left, right)):
        if len(np.unique(users)) < len(users):
            raise DataError("agreement takes one list per user and side", field="list_id")
        place[at][users] = np.arange(len(users))
    both = left[place[1][left] >= 0]
    ranks = np.full(size, -1)
    ranks[both] = np.arange(len(both))
    found = [_head(lists, ranks[users], codes, n_items, k)
             for lists, users, codes in zip(sides, (left, right), items, strict=True)]
    keys, one, other = np.intersect1d(found[0][0], found[1][0], assume_unique=True, return_indices=True)
    owner, a, b = keys // max(n_items, 1), found[0][1][one], found[1][1][other]
    depth = np.stack([lists.lengths[where[both]] for lists, where in zip(sides, place, strict=True)]).clip(max=k)
    n = len(both)
    overlap = np.bincount(owner, minlength=n) / depth.max(axis=0)
    return Agreement(sides[0].users.take(pa.array(place[0][both])), overlap,
                     _rank_biased(owner, np.maximum(a, b), depth.min(axis=0), persistence), _kendall(owner, a, b, n),
                     len(left) + len(right) - 2 * n)


def _head(lists: Lists, user: Codes, items: Codes, n_items: int, k: int) -> tuple[Codes, Codes]:
    """The pair (user, item) of each distinct row of the first k, sorted, and its position from 1."""
    owner = lists.owners()
    rows = np.flatnonzero(lists.head(k) & (user[owner] >= 0))
    keys, first = np.unique(user[owner[rows]] * max(n_items, 1) + items[rows], return_index=True)
    return keys, rows[first] - lists.starts[owner[rows[first]]] + 1


def _rank_biased(owner: Codes, enters: Codes, depth: Codes, p: float) -> PerUser:
    """An item in common counts in X_d from the later of its two positions on: its sum of p^d / d from there to D."""
    most = int(depth.max(initial=0))
    steps = np.concatenate([[0.0], np.cumsum(p ** np.arange(1, most + 1) / np.arange(1, most + 1))])
    there = enters <= depth[owner]
    owner, enters = owner[there], enters[there]
    common = np.bincount(owner, minlength=len(depth))
    tails = np.bincount(owner, weights=steps[depth[owner]] - steps[enters - 1], minlength=len(depth))
    value: PerUser = common * p**depth / depth + (1 - p) / p * tails
    return value


def _kendall(owner: Codes, a: Codes, b: Codes, n: int) -> PerUser:
    """Pairs at every distance within the runs of one user, in the order of the first list."""
    order = np.lexsort((a, owner))
    owner, b = owner[order], b[order]
    score: PerUser = np.zeros(n)
    common = np.bincount(owner, minlength=n)
    for step in range(1, int(common.max(initial=0))):
        same = np.flatnonzero(owner[step:] == owner[:-step])
        score += np.bincount(owner[same], weights=np.sign(b[same + step] - b[same]), minlength=n)
    pairs = common * (common - 1) / 2
    tau: PerUser = np.full(n, np.nan)
    np.divide(score, pairs, out=tau, where=pairs > 0)
    return tau
