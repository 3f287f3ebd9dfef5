"""Vocabulary: the item ids of a baseline by popularity, with their categories. What an `Items` state is frozen in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError

Codes = NDArray[np.int64]
NEW, DELISTED, MISSING = -1, -2, -3  # what a code below 0 says of an item
UNKNOWN = -1  # a category that the baseline did not know


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Ids by falling baseline count (then by id), the `seen` ones first, then those listed but never seen.

    `counts` are those of the seen ids, `category` (one index into `categories` per id, -1 unknown). Persist `plain`.

    >>> v = Vocabulary.fit({"a": 6, "b": 3, "c": 1}, catalogue={"a": "shoes", "b": "bags", "d": "bags"})
    >>> v.ids, v.seen, v.unseen_share
    (('a', 'b', 'c', 'd'), 3, 0.1)
    >>> v.encode(["b", "x", None, "d", "a"], delisted={"a"})
    (array([ 1, -1, -3,  3, -2]), array([ 0, -1, -1,  0,  1]))
    """

    ids: tuple[str, ...]
    counts: tuple[int, ...]
    categories: tuple[str, ...]
    category: tuple[int, ...]

    @classmethod
    def fit(cls, counts: Mapping[str, int], catalogue: Mapping[str, str | None] | None = None) -> Vocabulary:
        """From the baseline's counts per id (`Counts.counts`) and the catalogue's id -> category, where there is one.

        An id that is in neither is new. Without a catalogue, so is every item that the baseline happened not to show:
        `unseen_share` says how many rows that will be. The rows counted here must not be the reference of a comparison,
        since to them none of their own items is unseen. `DataError` without a count.
        """
        for key, count in counts.items():
            if not isinstance(key, str) or isinstance(count, bool) or int(count) != count or count < 0:
                raise DataError("counts map ids to whole numbers", got=(key, count), field="counts")
        seen = sorted((key for key, count in counts.items() if count), key=lambda key: (-counts[key], key))
        if not seen:
            raise DataError("a vocabulary needs items that were seen", got=len(counts), expected="at least one")
        listed = catalogue or {}
        ids = (*seen, *sorted(set(listed) - set(seen)))
        names = sorted({name for name in listed.values() if name is not None})
        index = {name: at for at, name in enumerate(names)}
        found = [listed.get(key) for key in ids]
        where = tuple(UNKNOWN if name is None else index[name] for name in found)
        return cls(ids, tuple(int(counts[key]) for key in seen), tuple(names), where)

    @property
    def seen(self) -> int:
        """How many of the ids the baseline showed."""
        return len(self.counts)

    @property
    def unseen_share(self) -> float:
        """The share of rows that will hold an id that the baseline did not show, without drift: ids seen once over rows.

        Source: I. J. Good, Biometrika 40 (1953), after Turing.
        """  # noqa: E501
        return self.counts.count(1) / sum(self.counts)

    @cached_property
    def plain(self) -> dict[str, Any]:
        """Plain JSON values; `Vocabulary.of` reads them."""
        return {"ids": list(self.ids), "counts": list(self.counts), "categories": list(self.categories),
                "category": list(self.category)}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Vocabulary:
        """The vocabulary of its plain form; `DataError` where it is none."""
        try:
            made = cls(*(tuple(plain[key]) for key in ("ids", "counts", "categories", "category")))
        except (KeyError, TypeError):
            raise DataError("not a vocabulary", got=sorted(plain), expected="what `plain` gave") from None
        ranks = list(made.counts)
        sound = len(set(made.ids)) == len(made.ids) == len(made.category) and 0 < made.seen <= len(made.ids)
        if not sound or ranks != sorted(ranks, reverse=True) or ranks[-1] < 1 or not all(
                isinstance(at, int) and UNKNOWN <= at < len(made.categories) for at in made.category):
            raise DataError("not a vocabulary", got=(len(made.ids), made.seen, len(made.category)),
                            expected="distinct ids by falling count, one category each")
        return made

    @cached_property
    def hash(self) -> str:
        """16 hex digits over the plain form."""
        return hashlib.blake2b(json.dumps(self.plain, sort_keys=True).encode(), digest_size=8).hexdigest()

    def config(self, *, top: int = 1000, deciles: int = 10) -> dict[str, Any]:
        """The configuration of an `Items` state: cells of about equal baseline mass, and the `top` ids on their own."""
        if top < 1 or deciles < 1:
            raise DataError("top and deciles must be positive", got=(top, deciles))
        mass = np.cumsum(self.counts)
        ends = np.searchsorted(mass, mass[-1] * np.arange(1, deciles) / deciles) + 1
        cutoffs = sorted({int(end) for end in ends if end < self.seen} | {self.seen})
        return {"vocabulary": self.hash, "size": len(self.ids), "cutoffs": cutoffs, "top": min(top, self.seen),
                "categories": list(self.categories), "unseen_share": self.unseen_share}

    @cached_property
    def _rank(self) -> dict[str, int]:
        return {key: rank for rank, key in enumerate(self.ids)}

    def encode(
        self, ids: Iterable[str | None], categories: Iterable[str | None] | None = None, *,
        delisted: Collection[str] = (),
    ) -> tuple[Codes, Codes]:
        """What `Items.update` takes: a code per row (rank, NEW, DELISTED, MISSING) and a category (index or UNKNOWN).

        `delisted` are the ids out of the catalogue at the time of the rows, known or not. Categories are those of the
        rows where given, else the frozen ones, so that new items are of unknown category. `DataError` for other types.
        """
        rows = [ids] if isinstance(ids, str) else list(ids)
        wrong = next((key for key in rows if key is not None and not isinstance(key, str)), None)
        if wrong is not None or isinstance(ids, str):
            raise DataError("ids must be a list of text or None", got=wrong or ids, field="ids", hint="str(id)")
        rank = self._rank
        ranks = np.array([MISSING if key is None else rank.get(key, NEW) for key in rows], dtype=np.int64)
        if categories is None:
            frozen = np.array([*self.category, UNKNOWN], dtype=np.int64)
            where = frozen[np.where(ranks >= 0, ranks, len(self.ids))]
        else:
            index = {name: at for at, name in enumerate(self.categories)}
            where = np.array([UNKNOWN if name is None else index.get(name, UNKNOWN) for name in categories], np.int64)
            if where.shape != ranks.shape:
                raise DataError("one category per id", got=where.shape, expected=str(ranks.shape), field="categories")
        if delisted:
            gone = np.array([key is not None and key in delisted for key in rows], dtype=bool)
            ranks = np.where(gone, DELISTED, ranks)
        return ranks, where
