"""ItemCounts: how often each item was recommended, listed items that never were among them, and in how many lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from incumbent.errors import DataError, StateError
from incumbent.stats.array_state import ArrayState
from incumbent.stats.estimate import Estimate


class ItemCounts(ArrayState):
    """Item -> the number of lists that hold it in their first k; `lists`, `outside` (slots of items of no catalogue).

    An item of the catalogue that no list held counts 0, so that coverage and Gini are over everything listed. Whole
    numbers, equal to the bit however the lists were dealt; the catalogue of a sum is the union of the parts'. Its size
    is that of the catalogue, not of the rows. `k` is part of the configuration.

    >>> s = ItemCounts.zero(k=2).update(["a", "b", "c"], [2, 1, 0], lists=2, outside=1)
    >>> s.counts, s.merge(s).counts["a"], int(s.lists)
    ({'a': 2, 'b': 1, 'c': 0}, 4, 2)
    """

    name = "item_counts"
    version = 1
    tags = frozenset({"exact"})
    arrays: ClassVar[dict[str, str]] = {
        "text": "|u1", "lengths": "<i8", "shown": "<i8", "lists": "<i8", "outside": "<i8"}
    example_configs = ({"k": 10}, {"k": 5})
    text: NDArray[np.uint8]
    lengths: NDArray[np.int64]
    shown: NDArray[np.int64]
    lists: NDArray[np.int64]
    outside: NDArray[np.int64]

    @classmethod
    def zero(cls, *, k: int = 10, **unknown: Any) -> Self:
        """Nothing shown yet in the first k of any list."""
        if unknown or isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise DataError("settings of item counts", got=sorted(unknown) or k, expected="k, at least 1", field="k")
        return cls({"k": k}, text=[], lengths=[], shown=[], lists=0, outside=0)

    @property
    def counts(self) -> dict[str, int]:
        """Item -> lists that hold it, 0 for one that is listed and never shown; in the order of the ids."""
        raw, at, found = self.text.tobytes(), 0, {}
        for length, count in zip(self.lengths.tolist(), self.shown.tolist(), strict=True):
            found[raw[at:at + length].decode("utf-8", "surrogatepass")] = count
            at += length
        return found

    @property
    def empty(self) -> bool:
        """True where no list was seen, whatever the catalogue."""
        return int(self.lists) == 0

    def update(self, items: Iterable[str], counts: ArrayLike, lists: int = 0, outside: int = 0) -> Self:
        """Add the counts of distinct items, 0 and more, over so many lists."""
        names, numbers = list(items), np.asarray(counts, np.int64)
        if len(set(names)) < len(names) or numbers.shape != (len(names),) or min(
                int(numbers.min(initial=0)), lists, outside) < 0:
            raise DataError("one count of 0 or more per distinct item", got=(len(names), numbers.shape), field="counts")
        return self._added(dict(zip(names, numbers.tolist(), strict=True)), lists, outside)

    def _combine(self, other: Self, sign: int) -> Self:
        if sign < 0:
            raise StateError("this state cannot subtract", got=self.name)
        return self._added(other.counts, int(other.lists), int(other.outside))

    def _added(self, more: Mapping[str, int], lists: int, outside: int) -> Self:
        table = self.counts
        for item, count in more.items():
            table[item] = table.get(item, 0) + count
        names = sorted(table)
        texts = [item.encode("utf-8", "surrogatepass") for item in names]
        return self._with(text=np.frombuffer(b"".join(texts), "|u1"), lengths=[len(text) for text in texts],
                          shown=[table[item] for item in names], lists=self.lists + lists,
                          outside=self.outside + outside)

    def _checked(self) -> Self:
        if len(self.lengths) != len(self.shown) or int(self.lengths.sum()) != len(self.text):
            raise StateError("items and counts do not fit together", got=(len(self.lengths), len(self.shown)),
                             expected="equal lengths")
        return self

    def estimates(self) -> dict[str, Estimate]:
        """The share of known items that were shown."""
        if self.empty or not len(self.shown):
            return {"shown": Estimate.missing("no lists")}
        return {"shown": Estimate(float((self.shown > 0).mean()), n=int(self.lists), method="count")}
