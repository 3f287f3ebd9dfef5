"""ItemCounts: how often each item was recommended, listed items that never were among them, and in how many lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    golden: ClassVar[dict[int, tuple[str, dict[str, float]]]] = {1: (
        "495301a40000007b22617272617973223a5b5b2274657874222c227c7531222c5b395d5d2c5b226c656e67746873222c223c"
        "6938222c5b345d5d2c5b2273686f776e222c223c6938222c5b345d5d2c5b226c69737473222c223c6938222c5b5d5d2c5b22"
        "6f757473696465222c223c6938222c5b5d5d5d2c22636f6e666967223a7b226b223a31307d2c226e616d65223a226974656d"
        "5f636f756e7473222c2276657273696f6e223a317d61626e65766572c3bc0100000000000000010000000000000005000000"
        "0000000002000000000000000200000000000000030000000000000000000000000000000200000000000000070000000000"
        "00000200000000000000", {"shown": 0.75})}
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
        if raw.isascii():  # then a text's characters are its bytes
            text = raw.decode("ascii")
            for length, count in zip(self.lengths.tolist(), self.shown.tolist(), strict=True):
                found[text[at:at + length]] = count
                at += length
            return found
        for length, count in zip(self.lengths.tolist(), self.shown.tolist(), strict=True):
            found[raw[at:at + length].decode("utf-8", "surrogatepass")] = count
            at += length
        return found

    @property
    def empty(self) -> bool:
        """True where no list was seen, whatever the catalogue."""
        return int(self.lists) == 0

    def update(self, items: Iterable[str], counts: ArrayLike, lists: ArrayLike = 0, outside: ArrayLike = 0) -> Self:
        """Add counts of items, 0 and more, over so many lists; `lists` and `outside` may be arrays, and are summed."""
        names, numbers = list(items), np.asarray(counts, np.int64)
        some, beyond = np.asarray(lists, np.int64), np.asarray(outside, np.int64)
        if numbers.shape != (len(names),) or min(int(part.min(initial=0)) for part in (numbers, some, beyond)) < 0:
            raise DataError("one count of 0 or more per item", got=(len(names), numbers.shape), field="counts")
        table: dict[str, int] = {}
        for name, number in zip(names, numbers.tolist(), strict=True):
            table[name] = table.get(name, 0) + number
        return self._added(table, int(some.sum()), int(beyond.sum()))

    def _combine(self, other: Self, sign: int) -> Self:
        if sign < 0:
            raise StateError("this state cannot subtract", got=self.name)
        return self._added(other.counts, int(other.lists), int(other.outside))

    @classmethod
    def _together(cls, states: Sequence[Self]) -> Self:
        """Those of one catalogue are summed as arrays, the sums of several as texts."""
        alike: dict[tuple[bytes, bytes], list[Self]] = {}
        for state in states:
            alike.setdefault((state.text.tobytes(), state.lengths.tobytes()), []).append(state)
        first, *rest = [some[0]._with(**{key: np.array([getattr(state, key) for state in some]).sum(axis=0)
                                         for key in ("shown", "lists", "outside")}) for some in alike.values()]
        more: dict[str, int] = {}
        for state in rest:
            for item, count in state.counts.items():
                more[item] = more.get(item, 0) + count
        return first._added(more, sum(int(one.lists) for one in rest), sum(int(one.outside) for one in rest)
                            ) if rest else first

    def _added(self, more: Mapping[str, int], lists: int, outside: int) -> Self:
        table = self.counts
        for item, count in more.items():
            table[item] = table.get(item, 0) + count
        names = sorted(table)
        texts = [item.encode("utf-8", "surrogatepass") for item in names]
        return self._with(text=np.frombuffer(b"".join(texts), "|u1"), lengths=[len(text) for text in texts],
                          shown=[table[item] for item in names], lists=self.lists + lists,
                          outside=self.outside + outside)

    def _checked(self, empty: Self) -> Self:
        if len(self.lengths) != len(self.shown) or int(self.lengths.sum()) != len(self.text):
            raise StateError("items and counts do not fit together", got=(len(self.lengths), len(self.shown)),
                             expected="equal lengths")
        return self

    def estimates(self) -> dict[str, Estimate]:
        """The share of known items that were shown."""
        if self.empty or not len(self.shown):
            return {"shown": Estimate.missing("no lists")}
        return {"shown": Estimate(float((self.shown > 0).mean()), n=int(self.lists), method="count")}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Skewed items with counts of 0 among them, and lists."""
        items = ["a", "b", "ü", "never"]
        picks = rng.integers(0, 4, rows)
        counts = np.where(picks == 3, 0, rng.integers(0, 5, rows))
        return [items[pick] for pick in picks], counts, rng.integers(1, 3, rows), rng.integers(0, 2, rows)
