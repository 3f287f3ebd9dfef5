"""How concentrated recommendations are on few items, and how much of the catalogue they cover."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.stats.distinct import Distinct
from incumbent.stats.estimate import Estimate
from incumbent.stats.gini import gini as inequality
from incumbent.stats.items import Items


def gini(state: Items) -> Estimate:
    """The Gini coefficient of the rows per known id, ids without rows included: 0 all alike, near 1 all on one.

    ``sum_i (2 i - N - 1) x_i / (N sum x)`` over the N counts in rising order. Ids under the `top` ones are counted
    together, so `low` is with their rows spread evenly and `high` with all of them on one id; `value` is the middle. With
    ``top`` as large as the vocabulary all three agree. New, delisted and missing ids are left out. Missing without known
    ids. Source: C. Gini, Variabilita e mutabilita (1912).

    >>> from incumbent.stats.items_vocabulary import Vocabulary
    >>> v = Vocabulary.fit({"a": 2, "b": 1, "c": 1})
    >>> round(gini(Items.over(v).update(*v.encode(["a", "a", "a", "b"]))).value, 3)
    0.5
    """  # noqa: E501
    ends = _ends(state)
    if ends is None:
        return Estimate.missing("no known ids", method="Gini")
    return _between([inequality(end) for end in ends], int(state.top.sum()), "Gini")


def hhi(state: Items) -> Estimate:
    """The Herfindahl-Hirschman index ``sum s_i^2`` of the shares of the known ids, in [1 / N, 1]; its inverse is their effective number.

    `low`, `high` and `value` as in `gini`. Sources: A. O. Hirschman (1945); O. C. Herfindahl (1950).
    """  # noqa: E501
    ends = _ends(state)
    if ends is None:
        return Estimate.missing("no known ids", method="HHI")
    return _between([float(((end / end.sum()) ** 2).sum()) for end in ends], int(state.top.sum()), "HHI")


def coverage(shown: Distinct, catalogue: int) -> Estimate:
    """The share of a catalogue of so many ids that was shown: `Distinct.count` over its size, not above 1.

    Missing ids do not count; ids from outside the catalogue do, so filter them first. Missing where nothing was shown;
    `DataError` for an empty catalogue.

    >>> round(coverage(Distinct.zero().update(f"i{i}" for i in range(300)), 1000).value, 2)
    0.3
    """
    if isinstance(catalogue, bool) or int(catalogue) != catalogue or catalogue < 1:
        raise DataError("a catalogue has at least one item", got=catalogue, field="catalogue")
    count = shown.count()
    if count.value is None:
        return count
    value, low, high = (min((end or 0.0) / catalogue, 1.0) for end in (count.value, count.low, count.high))
    return Estimate(value, low, high, (count.se or 0.0) / catalogue, count.n, count.method, unit="of the catalogue")


def _ends(state: Items) -> list[NDArray[np.float64]] | None:
    """Counts of all known ids with the tail spread evenly, and with the tail on one id."""
    top, rest = state.top[:-1].astype(np.float64), float(state.top[-1])
    if not state.top.sum():
        return None
    tail = int(state.config["size"]) - len(top)
    if not tail:
        return [top, top]
    one = np.zeros(tail)
    one[0] = rest
    return [np.concatenate([top, np.full(tail, rest / tail)]), np.concatenate([top, one])]


def _between(ends: list[float], n: int, method: str) -> Estimate:
    low, high = min(ends), max(ends)
    return Estimate((low + high) / 2, low, high, None, n, f"{method}, bounds of the tail" if high > low else method)
