"""Things: the items of one side by id, with how often each came, a vector, a title and a category: for explanations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.drift.comparison.options import Options
from incumbent.drift.frames.source import Batch
from incumbent.drift.frames.values import chosen, ids
from incumbent.drift.item_table import ItemTable
from incumbent.errors import DataError
from incumbent.stats.vectors_read import matrices

MOST = 20_000  # items that are kept, those that come first


class Things:
    """The items of a side, gathered batch by batch; empty where no column names items.

    `vectors` is the first sound one seen of each item, per vector column. Rows of items beyond the first `MOST` are
    counted in `left`.
    """

    def __init__(self, options: Options, streams: Sequence[str]) -> None:
        self._item = options.item or options.title
        self._title, self._category = options.title, options.category
        self._streams = list(streams)
        self._place: dict[str, int] = {}
        self.counts: list[int] = []
        self.titles: list[str] = []
        self.categories: list[str | None] = []
        self._vectors: dict[str, list[NDArray[Any]]] = {name: [] for name in streams}
        self.left = 0

    @property
    def columns(self) -> list[str]:
        """What must be read."""
        found = [self._item, self._title, self._category] if self._item else []
        return [*(name for name in found if name), *(self._streams if self._item else ())]

    @property
    def ids(self) -> list[str]:
        """The ids, in the order in which they came."""
        return list(self._place)

    def add(self, batch: Batch) -> None:
        """Count a batch's items, and keep what the new ones are."""
        if self._item is None:
            return
        values, index = ids(batch[self._item])
        each = np.bincount(index, minlength=len(values))
        first = np.full(len(values), -1, dtype=np.int64)
        first[index[::-1]] = np.arange(len(index) - 1, -1, -1)
        fresh: list[int] = []
        for at, value in enumerate(values):
            if value is None or first[at] < 0:
                continue
            place = self._place.get(value)
            if place is None:
                if len(self._place) >= MOST:
                    self.left += int(each[at])
                    continue
                place = self._place[value] = len(self._place)
                self.counts.append(0)
                fresh.append(int(first[at]))
            self.counts[place] += int(each[at])
        if fresh:
            self._keep(batch, np.array(fresh, dtype=np.int64), len(self._place) - len(fresh))

    def _keep(self, batch: Batch, rows: NDArray[np.int64], start: int) -> None:
        self.titles += self._texts(batch, self._title, rows, self.ids[start:])
        self.categories += self._texts(batch, self._category, rows, [None] * len(rows))
        for name in self._streams:
            try:
                self._vectors[name] += [np.asarray(one, dtype=np.float32)
                                        for one in matrices(chosen(batch[name], rows))]
            except DataError:  # the column's own stream says so
                self._streams = [one for one in self._streams if one != name]

    def _texts(self, batch: Batch, name: str | None, rows: NDArray[np.int64], other: Sequence[Any]) -> list[Any]:
        if name is None:
            return list(other)
        values, index = ids(chosen(batch[name], rows))
        return [value if (value := values[at]) is not None else fallback
                for at, fallback in zip(index.tolist(), other, strict=True)]

    def vectors(self, name: str) -> NDArray[np.float32] | None:
        """The vectors (m, d) of a column, None where it could not be read."""
        held = self._vectors.get(name, [])
        if name not in self._streams or not held or len({part.shape[1] for part in held}) > 1:
            return None
        return np.concatenate(held)

    def of(self, item: str) -> int | None:
        """The place of an item."""
        return self._place.get(item)


def table(old: Things, new: Things, stream: str, dimension: int) -> ItemTable:
    """Both sides' items as an explanation takes them: the current vector where there is one, counts of both."""
    theirs, ours = old.vectors(stream), new.vectors(stream)
    names = list(dict.fromkeys([*(old.ids if theirs is not None else ()), *(new.ids if ours is not None else ())]))
    if not names or any(one is not None and one.shape[1] != dimension for one in (theirs, ours)):
        return ItemTable([], np.empty((0, dimension), dtype=np.float32))
    rows = np.empty((len(names), dimension), dtype=np.float32)
    counts = np.zeros((2, len(names)))
    titles: list[str] = []
    kinds: list[str | None] = []
    for i, name in enumerate(names):
        mine, before = new.of(name), old.of(name)
        if mine is not None and ours is not None:
            rows[i], side, place = ours[mine], new, mine
        else:
            assert before is not None and theirs is not None
            rows[i], side, place = theirs[before], old, before
        titles.append(side.titles[place])
        kinds.append(side.categories[place])
        counts[0, i] = 0 if before is None else old.counts[before]
        counts[1, i] = 0 if mine is None else new.counts[mine]
    attributes = {"category": kinds} if any(kinds) else {}
    return ItemTable(titles, rows, attributes, reference=counts[0], current=counts[1])


def paired(old: Things, new: Things, stream: str) -> tuple[list[str], NDArray[np.float32], NDArray[np.float32]] | None:
    """The titles and both vectors of the items that both sides hold; None without vectors."""
    theirs, ours = old.vectors(stream), new.vectors(stream)
    if theirs is None or ours is None:
        return None
    places = [(before, mine) for name, before in old._place.items() if (mine := new.of(name)) is not None]
    left, right = (np.array(side, dtype=np.int64) for side in zip(*places, strict=True)) if places else (
        np.zeros(0, np.int64), np.zeros(0, np.int64))
    return [new.titles[i] for i in right.tolist()], theirs[left], ours[right]
