"""Item-to-item collaborative filtering: the candidate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from incumbent.demo.data import Lines, distinct
from incumbent.demo.lists import Lists, Pair

MIN_HOUSEHOLDS = 20
SHRINKAGE = 20.0
MIN_TOGETHER = 3


def train(
    lines: Lines, *, name: str = "cf", depth: int = 20, fallback: Lists | None = None,
    learn: NDArray[np.bool_] | None = None, shrinkage: float = SHRINKAGE, min_households: int = MIN_HOUSEHOLDS,
) -> Lists:
    """One list per household, from what it bought in the training months and what goes together in baskets.

    ``sim(i, j) = c_ij / sqrt(c_i c_j) * c_ij / (c_ij + shrinkage)`` over baskets, where c_ij counts the baskets that
    hold both, sim(i, i) = 1, and pairs met in fewer than 3 baskets are left out;
    ``score(h, j) = sum_i n_hi sim(i, j)`` with n_hi the number of the household's baskets that hold i. The product
    itself counts: in groceries people buy again. Only products of at least `min_households` households take part.
    `learn` selects the rows from which similarities are learnt (all by default); the households' own history always
    comes from all rows. A household without history gets the list of `fallback`.

    Source: Linden, Smith and York, Amazon.com Recommendations (2003); shrinkage as in Bell and Koren (2007).
    """
    products, item = np.unique(lines.product, return_inverse=True)
    households, household = np.unique(lines.household, return_inverse=True)
    history = sparse.csr_matrix((np.ones(len(lines), np.float32), (household, item)),
                                shape=(len(households), len(products)))
    rows = np.ones(len(lines), dtype=bool) if learn is None else learn
    buyers = distinct(item[rows], household[rows], len(products))
    kept = np.flatnonzero(buyers >= min_households)
    similar = similarity(lines.basket[rows], item[rows], len(products), kept, shrinkage)
    names = [str(product) for product in products[kept].tolist()]
    history = history[:, kept]
    out: dict[str, list[Pair]] = {}
    for start in range(0, len(households), 256):
        scores = (history[start:start + 256] @ similar).toarray()
        for number, best in enumerate(_top(scores, min(depth, len(kept))), start):
            row = scores[number - start]
            out[str(households[number])] = [(names[i], round(float(row[i]), 4)) for i in best.tolist() if row[i] > 0]
    keys = [["user"]]
    if fallback is not None:
        out = {user: _filled(pairs, fallback.of("", {}), depth) for user, pairs in out.items()}
        out[""] = fallback.of("", {})[:depth]
        keys.append([])
    return Lists(name, keys, out)


def similarity(
    basket: NDArray[np.int64], item: NDArray[np.int64], n_items: int, kept: NDArray[np.int64], shrinkage: float,
) -> sparse.csr_matrix:
    """The shrunk cosine of the kept items over baskets, as a sparse (kept, kept) matrix with ones on its diagonal."""
    _, number = np.unique(basket, return_inverse=True)
    held = sparse.csr_matrix((np.ones(len(item), np.float32), (number, item)),
                             shape=(int(number.max(initial=-1)) + 1, n_items))[:, kept]
    held.data[:] = 1.0
    together = (held.T @ held).tocoo()
    diagonal = together.row == together.col
    alone = np.zeros(len(kept), np.float32)
    alone[together.row[diagonal]] = together.data[diagonal]
    use = (together.data >= MIN_TOGETHER) & ~diagonal
    i, j, c = together.row[use], together.col[use], together.data[use]
    value = c / np.sqrt(alone[i] * alone[j]) * c / (c + shrinkage)
    return sparse.csr_matrix((value, (i, j)), shape=together.shape) + sparse.identity(
        len(kept), dtype=np.float32, format="csr")


def _top(scores: NDArray[np.float32], depth: int) -> NDArray[np.int64]:
    """The column numbers of each row's `depth` largest scores, best first, ties by column."""
    some = np.sort(np.argpartition(-scores, depth - 1, axis=1)[:, :depth], axis=1)
    order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


def _filled(pairs: list[Pair], fallback: list[Pair], depth: int) -> list[Pair]:
    """A short list made `depth` long with fallback items that it does not hold, scored 0."""
    held = {item for item, _ in pairs}
    return pairs + [(item, 0.0) for item, _ in fallback if item not in held][:depth - len(pairs)]
