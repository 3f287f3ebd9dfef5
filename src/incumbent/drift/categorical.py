"""Drift of item ids and categories, from two `Items` states: divergences of frozen cells, shares of new and delisted.

Raw divergences over ids are noise: over 20,000 Zipf ids, 10,000 rows against 20,000 read .16 nats (a distance of .40)
without any drift. So ids stand in cells of the baseline's mass, and what finite samples add is subtracted. Rows without
an id enter none of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from incumbent.drift import divergence
from incumbent.drift.divergence import Array
from incumbent.errors import DataError, StateError
from incumbent.stats.items import Items

Table = Literal["popularity", "category", "top"]
LEAST = 5.0  # rows that a cell must be expected to hold to stand alone


def items_js(current: Items, reference: Items, *, table: Table = "popularity", corrected: bool = True) -> float:
    """`divergence.js` of the cells of one table, less ``(K - 1)(1/n + 1/N) / 8`` nats for the K cells in use.

    Tables: ``popularity`` with unseen, new and delisted ids; ``category`` with the unknown; ``top``, the most popular ids
    one by one with all others, new and delisted ids as three more cells. An id of which fewer than five of the current
    rows are expected stands with the others. `StateError` for different cells; `DataError` for a state without rows, and
    where the reference is what the vocabulary was fitted on (see `comparable`).

    >>> from incumbent.stats.items_vocabulary import Vocabulary
    >>> v = Vocabulary.fit({"a": 60, "b": 30, "c": 10})
    >>> usual, changed = (Items.over(v, deciles=3).update(*v.encode(list(ids)))
    ...                   for ids in ("aab" * 90 + "c" * 30, "abc" * 80))
    >>> round(items_js(changed, usual), 3)
    0.051
    """  # noqa: E501
    return divergence.js(*tables(current, reference, table), corrected=corrected)


def items_kl(current: Items, reference: Items, *, table: Table = "popularity", corrected: bool = True) -> float:
    """`divergence.kl` of the cells of one table, less ``(K - 1)(1/n + 1/N) / 2``."""
    return divergence.kl(*tables(current, reference, table), corrected=corrected)


def items_psi(current: Items, reference: Items, *, table: Table = "popularity", corrected: bool = True) -> float:
    """`divergence.psi` of the cells of one table, less ``(K - 1)(1/n + 1/N)``."""
    return divergence.psi(*tables(current, reference, table), corrected=corrected)


def items_chi2(current: Items, reference: Items, *, table: Table = "popularity", corrected: bool = True) -> float:
    """The chi-square divergence ``sum (p - q)^2 / r``, r the share in both together, less ``(K - 1)(1/n + 1/N)``.

    Uncorrected and times ``n N / (n + N)`` it is Pearson's statistic of homogeneity. Source: K. Pearson, Biometrika 8
    (1911).
    """
    a, b = tables(current, reference, table)
    n, m = float(a.sum()), float(b.sum())
    value = float(((a / n - b / m) ** 2 / ((a + b) / (n + m))).sum())
    return value - ((len(a) - 1) * (1 / n + 1 / m) if corrected else 0.0)


def items_rare(current: Items, reference: Items) -> float:
    """How unevenly the rare ids are hit, ``sqrt(2 X) - sqrt(2 K - 1)``, about standard normal without drift.

    X is Pearson's ``sum (p - q)^2 / r / (1/n + 1/N)`` over the K ids of the ``top`` table that `items_js` puts
    together, those with fewer than five rows expected. A bot that goes round a few of them leaves their sum as it was,
    and is seen here. 0 with fewer than two of them.

    >>> from incumbent.stats.items_vocabulary import Vocabulary
    >>> v = Vocabulary.fit({f"i{k}": 1000 // k for k in range(1, 201)})
    >>> rng, zero, p = np.random.default_rng(0), Items.over(v), 1 / np.arange(1, 201) / (1 / np.arange(1, 201)).sum()
    >>> base, day = (zero.update(rng.choice(200, n, p=p), np.full(n, -1)) for n in (20_000, 300))
    >>> bot = day.merge(zero.update(np.full(9, 150), np.full(9, -1)))
    >>> abs(items_rare(day, base)) < 3 < 5 < items_rare(bot, base)
    True
    """
    comparable(current, reference)
    n, m = current.n, reference.n
    rare = (reference.top[:-1] * (n / m) < LEAST) & (current.top[:-1] + reference.top[:-1] > 0)
    a, b = current.top[:-1][rare], reference.top[:-1][rare]
    if len(a) < 2:
        return 0.0
    x = float(((a / n - b / m) ** 2 / ((a + b) / (n + m))).sum()) / (1 / n + 1 / m)
    return math.sqrt(2 * x) - math.sqrt(2 * len(a) - 1)


def share_scores(current: Items, reference: Items) -> dict[str, float]:
    """By how many standard errors the shares of new, delisted, unseen and missing ids rose.

    ``(p - q) / sqrt(r (1 - r) (1/n + 1/N))`` as in `defects.defect_scores`; 0 where there are none on either side.
    Shares of new, delisted and unseen are of the rows with an id, that of missing of all rows.
    """
    comparable(current, reference)
    pairs = {kind: ((getattr(current, kind), current.n), (getattr(reference, kind), reference.n))
             for kind in ("new", "delisted", "unseen")}
    pairs["missing"] = tuple((int(s.missing), s.n + int(s.missing)) for s in (current, reference))  # type: ignore[assignment]
    out = {}
    for kind, ((count, n), (theirs, m)) in pairs.items():
        both = (count + theirs) / (n + m)
        spread = math.sqrt(both * (1 - both) * (1 / n + 1 / m))
        out[kind] = (count / n - theirs / m) / spread if spread > 0 else 0.0
    return out


def new_share(current: Items, reference: Items) -> float:
    """By how much the share of new ids rose."""
    comparable(current, reference)
    return current.new / current.n - reference.new / reference.n


def delisted_share(current: Items, reference: Items) -> float:
    """By how much the share of delisted ids rose: a recommender that shows them is stale."""
    comparable(current, reference)
    return current.delisted / current.n - reference.delisted / reference.n


@dataclass(frozen=True)
class CellChange:
    """One cell: its shares in the reference and the current rows, and its part of the divergence (they sum to 1)."""

    cell: str
    reference: float
    current: float
    part: float


def cell_changes(current: Items, reference: Items) -> list[CellChange]:
    """Every popularity cell by how much of the Jensen-Shannon divergence it explains, most first."""
    comparable(current, reference)
    parts = divergence.js_parts(current.popularity, reference.popularity)
    total = float(parts.sum())
    return [CellChange(current.cells[k], float(reference.popularity[k] / reference.n),
                       float(current.popularity[k] / current.n), float(parts[k] / total) if total > 0 else 0.0)
            for k in np.argsort(-parts, kind="stable")]


#: name -> statistic, corrected for the sizes; larger is further apart
STATISTICS: Mapping[str, Callable[[Items, Items], float]] = MappingProxyType({
    "popularity_js": items_js, "popularity_chi2": items_chi2,
    "category_js": lambda a, b: items_js(a, b, table="category"),
    "top_js": lambda a, b: items_js(a, b, table="top"),
    "new": new_share, "delisted": delisted_share,
})


def scores(current: Items, reference: Items) -> dict[str, float]:
    """All of `STATISTICS` for one pair of states: the row that a null of windows standardises."""
    return {name: statistic(current, reference) for name, statistic in STATISTICS.items()}


def comparable(current: Items, reference: Items) -> None:
    """Raise unless both are of one vocabulary, both have rows, and the reference did not fit the vocabulary.

    A reference that holds no unseen and no new id where chance would have brought 20 or more (Good and Turing's share)
    is the very sample that the vocabulary was made of: against it every other window would look full of new items.
    """
    if current._config is not reference._config and current.config_hash != reference.config_hash:
        raise StateError("states of different cells do not compare", got=current.config_hash,
                         expected=reference.config_hash, hint="both must come from one baseline's Vocabulary")
    if not current.n or not reference.n:
        raise DataError("a state without ids does not compare", got=(current.n, reference.n),
                        expected="at least one on each side")
    expected = reference._config["unseen_share"] * reference.n
    if expected >= 20 and reference.new + reference.unseen == 0:
        raise DataError("the reference is what the vocabulary was fitted on", got="0 new or unseen ids",
                        expected=f"about {expected:.0f}", hint="fit the vocabulary on an earlier part of the baseline")


def tables(current: Items, reference: Items, table: Table = "popularity") -> tuple[Array, Array]:
    """The counts of both over the cells of a table that either side has."""
    comparable(current, reference)
    pair = [state.category if table == "category" else state.popularity for state in (current, reference)]
    if table == "top":
        alone = reference.top[:-1] * (current.n / reference.n) >= LEAST
        pair = [np.concatenate([state.top[:-1][alone], [state.top[:-1][~alone].sum() + state.top[-1]],
                                state.popularity[-2:]]) for state in (current, reference)]
    used = pair[0] + pair[1] > 0
    return pair[0][used].astype(np.float64), pair[1][used].astype(np.float64)
