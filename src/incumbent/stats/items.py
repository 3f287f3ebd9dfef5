"""Items: the additive state of item ids (or any ids of many values), in cells that a baseline has frozen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from incumbent.errors import DataError, StateError
from incumbent.stats.array_state import ArrayState
from incumbent.stats.binomial import proportion
from incumbent.stats.estimate import Estimate
from incumbent.stats.items_vocabulary import DELISTED, MISSING, NEW, UNKNOWN, Vocabulary


class Items(ArrayState):
    """Rows per popularity cell, per category, and per id for the most popular ids of the baseline.

    `popularity` (D + 3,): cells of about equal baseline mass from the most popular ids on, then ids that were listed but
    not seen, new ids, delisted ids. `top` (T + 1,): the T most popular ids one by one, then every other known id.
    `category` (C + 1,): the baseline's categories, then unknown. `missing`: rows without an id, which enter nothing else.
    All are whole numbers, equal to the bit however the rows were dealt.

    >>> v = Vocabulary.fit({"a": 6, "b": 3, "c": 1}, catalogue={"a": "shoes", "b": "bags", "c": "bags", "d": "bags"})
    >>> zero = Items.zero(**v.config(top=2, deciles=2))
    >>> s = zero.update(*v.encode(["a", "a", "b", "c", "d", "x", None], delisted={"b"}))
    >>> s.popularity.tolist(), s.top.tolist(), s.category.tolist(), int(s.missing)
    ([2, 1, 1, 1, 1], [2, 0, 2], [3, 2, 1], 1)
    """  # noqa: E501

    name = "items"
    version = 1
    tags = frozenset({"subtract", "exact"})
    arrays: ClassVar[dict[str, str]] = {"popularity": "<i8", "top": "<i8", "category": "<i8", "missing": "<i8"}
    example_configs = (
        {"vocabulary": "0" * 16, "size": 6, "cutoffs": [1, 3, 5], "top": 2, "categories": ["bags", "shoes"]},
        {"vocabulary": "1" * 16, "size": 6, "cutoffs": [1, 3, 5], "top": 2, "categories": ["bags", "shoes"]},
        {"vocabulary": "0" * 16, "size": 6, "cutoffs": [5], "top": 5, "categories": ["bags", "shoes"],
         "unseen_share": 0.25})
    popularity: NDArray[np.int64]
    top: NDArray[np.int64]
    category: NDArray[np.int64]
    missing: NDArray[np.int64]

    @classmethod
    def zero(cls, *, vocabulary: str = "", size: int = 0, cutoffs: Sequence[int] = (), top: int = 1,
             categories: Sequence[str] = (), unseen_share: float = 0.0, **unknown: Any) -> Self:
        """Nothing seen yet in the cells of `Vocabulary.config`: `cutoffs` are the ranks where popularity cells end."""
        cuts, names = list(cutoffs), list(categories)
        if unknown or not isinstance(vocabulary, str) or not vocabulary:
            raise DataError("settings of items", got=sorted(unknown) or vocabulary, expected="Vocabulary.config()")
        if not cuts or cuts != sorted(set(cuts)) or cuts[0] < 1 or cuts[-1] > size:
            raise DataError("cutoffs must be rising ranks within the size", got=cuts, field="cutoffs")
        if isinstance(top, bool) or not 1 <= top <= cuts[-1] or not 0 <= unseen_share <= 1:
            raise DataError("top must be within the ids seen, unseen_share in [0, 1]", got=(top, unseen_share))
        config = {"vocabulary": vocabulary, "size": int(size), "cutoffs": cuts, "top": int(top), "categories": names,
                  "unseen_share": float(unseen_share)}
        return cls(config, popularity=np.zeros(len(cuts) + 3), top=np.zeros(top + 1), category=np.zeros(len(names) + 1),
                   missing=0)

    @classmethod
    def over(cls, vocabulary: Vocabulary, *, top: int = 1000, deciles: int = 10) -> Self:
        """The empty state of a vocabulary."""
        return cls.zero(**vocabulary.config(top=top, deciles=deciles))

    @property
    def n(self) -> int:
        """Rows with an id."""
        return int(self.popularity.sum())

    @property
    def new(self) -> int:
        """Rows with an id that the baseline did not know."""
        return int(self.popularity[-2])

    @property
    def delisted(self) -> int:
        """Rows with an id that was out of the catalogue."""
        return int(self.popularity[-1])

    @property
    def unseen(self) -> int:
        """Rows with an id that was listed but that the baseline did not show."""
        return int(self.popularity[-3])

    @property
    def cells(self) -> list[str]:
        """The names of the entries of `popularity`: ranks from 1 on, then unseen, new, delisted."""
        cuts = self._config["cutoffs"]
        starts = [1, *(cut + 1 for cut in cuts[:-1])]
        return [*(f"rank {a}-{b}" for a, b in zip(starts, cuts, strict=True)), "unseen", "new", "delisted"]

    @property
    def empty(self) -> bool:
        """True where no row was seen, not even one without an id."""
        return self.n == 0 and int(self.missing) == 0

    def update(self, codes: ArrayLike, categories: ArrayLike) -> Self:
        """Add rows as `Vocabulary.encode` gives them: a code and a category index each. `DataError` out of range."""
        where, kind = np.asarray(codes), np.asarray(categories)
        size, known = self._config["size"], len(self._config["categories"])
        if where.ndim != 1 or kind.shape != where.shape:
            raise DataError("one code and one category per row", got=(where.shape, kind.shape), field="codes")
        if len(where) and (where.dtype.kind not in "iu" or kind.dtype.kind not in "iu" or where.min() < MISSING
                           or where.max() >= size or kind.min() < UNKNOWN or kind.max() >= known):
            raise DataError("codes out of range", got=(where.min(), where.max(), kind.min(), kind.max()),
                            expected=f"[-3, {size}) and [-1, {known})", hint="use Vocabulary.encode of this vocabulary")
        there = where != MISSING
        where, kind = where[there].astype(np.int64), kind[there].astype(np.int64)
        cuts, top = np.array(self._config["cutoffs"]), self._config["top"]
        cell = np.searchsorted(cuts, where, side="right")
        cell = np.where(where == NEW, len(cuts) + 1, np.where(where == DELISTED, len(cuts) + 2, cell))
        return self._with(
            popularity=self.popularity + np.bincount(cell, minlength=len(cuts) + 3),
            top=self.top + np.bincount(np.minimum(where[where >= 0], top), minlength=top + 1),
            category=self.category + np.bincount(np.where(kind == UNKNOWN, known, kind), minlength=known + 1),
            missing=self.missing + (~there).sum())

    def _combine(self, other: Self, sign: int) -> Self:
        made = super()._combine(other, sign)
        if min(int(getattr(made, key).min()) for key in self.arrays) < 0:
            raise StateError("what is subtracted is no part of this", got=other, expected="a state merged before")
        return made

    def missing_share(self) -> Estimate:
        """The share of rows that hold no id; missing without rows."""
        return proportion(int(self.missing), self.n + int(self.missing))

    def estimates(self) -> dict[str, Estimate]:
        """The share of every popularity cell and category; independent rows."""
        cells = dict(zip(self.cells, self.popularity.tolist(), strict=True))
        kinds = dict(zip(self._config["categories"], self.category.tolist(), strict=False))
        return {**{f"popularity:{key}": proportion(count, self.n) for key, count in cells.items()},
                **{f"category:{key}": proportion(count, self.n) for key, count in kinds.items()},
                "unknown category": proportion(int(self.category[-1]), self.n)}

    @classmethod
    def example_batch(cls, rng: np.random.Generator, rows: int) -> tuple[Any, ...]:
        """Skewed codes with new, delisted and missing ones, and their categories."""
        return rng.integers(-3, 6, rows), rng.integers(-1, 2, rows)
