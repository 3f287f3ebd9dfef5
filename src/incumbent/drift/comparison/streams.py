"""Streams: one column as an additive state in cells of the baseline, with the detector that judges it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from incumbent.drift import alarm, alarm_items, alarm_numeric
from incumbent.drift.comparison.options import Options
from incumbent.drift.frames.values import ids
from incumbent.drift.null import Measure, Tail
from incumbent.drift.windowed import WindowDetector
from incumbent.errors import DataError
from incumbent.stats.items import Items
from incumbent.stats.items_vocabulary import Vocabulary
from incumbent.stats.numeric import Numeric
from incumbent.stats.numeric_fit import LEAST
from incumbent.stats.numeric_read import column as numbers
from incumbent.stats.vectors import Vectors
from incumbent.stats.vectors_read import matrices

SAMPLE = 20_000  # rows that vectors and numbers are fitted on
MOST_IDS = 500_000
_TOP = 100  # ids that stand alone
_NEW = 200  # new ids that are counted by name
_ALONE = 0.8  # share of rows with an id seen once, beyond which ids are of no use


Asked = tuple[str, ...] | None  # statistics by name; all where None


class Stream(Protocol):
    """A column: what is kept of its rows, and how two of these are compared."""

    kind: ClassVar[str]
    name: str
    zero: Any

    def update(self, state: Any, column: Any, *, current: bool) -> Any:
        """The state with a column's rows in it."""
        ...

    def detector(self, tail: Tail | None, least_rows: int, rows: bool) -> WindowDetector:
        """What judges a window; `rows` says that rows are the null."""
        ...


class Numbers:
    """A numeric column."""

    kind: ClassVar[str] = "number"

    def __init__(self, name: str, sample: list[NDArray[Any]], asked: Asked = None) -> None:
        self.name, self.asked, self.zero = name, asked, Numeric.fit(np.concatenate(sample) if sample else [])

    def update(self, state: Numeric, column: Any, *, current: bool) -> Numeric:
        """Numbers, null where missing."""
        return state.update(column)

    def detector(self, tail: Tail | None, least_rows: int, rows: bool) -> WindowDetector:
        """`alarm_numeric`."""
        return WindowDetector("numeric", _only(alarm_numeric.distances, self.asked), alpha=0.5, tail=tail,
                              least_rows=least_rows, growth=_growth(alarm_numeric.GROWTH, rows),
                              floors=alarm_numeric.FLOORS)


class Ids:
    """A column of ids, categories or other text of which each value comes more than once."""

    kind: ClassVar[str] = "ids"

    def __init__(self, name: str, counts: Counter[str], asked: Asked = None) -> None:
        if not counts:
            raise DataError("no value of the baseline is there", got=0, field=name, expected="ids")
        vocabulary = Vocabulary.fit(counts)
        if len(counts) > MOST_IDS or vocabulary.unseen_share > _ALONE:
            raise DataError("nearly every row has a value of its own, which no distribution is known of",
                            got=f"{vocabulary.unseen_share:.0%} of rows", field=name,
                            hint="numbers are read as ids where the column is called id, ..._id or ...Id")
        self.name, self.asked, self.vocabulary, self.new = name, asked, vocabulary, Counter[str]()
        self.zero = Items.over(vocabulary, top=_TOP)

    def update(self, state: Items, column: Any, *, current: bool) -> Items:
        """Ids as text, None where missing; of the current side the new ones are counted by name, the first 200."""
        values, index = ids(column)
        codes, kinds = self.vocabulary.encode(values)
        if current:
            each = np.bincount(index, minlength=len(values))
            for place in np.flatnonzero(codes == -1).tolist():
                value = values[place]
                if value is not None and (value in self.new or len(self.new) < _NEW):
                    self.new[value] += int(each[place])
        return state.update(codes[index], kinds[index])

    def detector(self, tail: Tail | None, least_rows: int, rows: bool) -> WindowDetector:
        """`alarm_items`."""
        return WindowDetector("items", _only(alarm_items.distances, self.asked), alpha=0.5, tail=tail,
                              least_rows=least_rows, growth=_growth(alarm_items.GROWTH, rows),
                              floors=alarm_items.FLOORS)


class Embedding:
    """A column of vectors."""

    kind: ClassVar[str] = "vector"

    def __init__(
        self, name: str, sample: list[NDArray[Any]], seed: int, asked: Asked = None, turned: bool = False
    ) -> None:
        some = np.concatenate(sample) if sample else np.empty((0, 2), dtype=np.float32)
        if len(some) < LEAST:
            raise DataError("the baseline is too small for its state", got=f"{len(some)} vectors to fit it on",
                            expected=f"{LEAST} or more, a quarter of all", field=name)
        cells = int(np.clip(len(some) // 30, 8, 128))
        bins = int(np.clip(len(some) // 30, 8, 32))
        self.name, self.asked = name, asked
        settings = {"centroids": cells} | ({} if asked is None else alarm.light(asked))
        if turned:
            settings["covariance"] = True  # squares of coordinates alone do not rotate
        self.zero = Vectors.fit(some, seed=seed + 1, bins=bins, norm_bins=bins, **settings)

    def update(self, state: Vectors, column: Any, *, current: bool) -> Vectors:
        """Vectors of the baseline's dimension."""
        return state.update(column)

    def detector(self, tail: Tail | None, least_rows: int, rows: bool) -> WindowDetector:
        """`alarm.embedding`."""
        return WindowDetector("embedding", alarm.measure(self.asked or alarm.GROWTH), alpha=0.5, tail=tail,
                              least_rows=least_rows, growth=_growth(alarm.MEASURES_GROWTH, rows), floors=alarm.FLOORS)


class Sample:
    """What streams are fitted on, gathered batch by batch: some rows of vectors and numbers, all counts of ids.

    `broken` says of a column why its rows cannot be read.
    """

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self._kinds, self.broken = dict(kinds), dict[str, str]()
        self._columns: dict[str, list[NDArray[Any]]] = {name: [] for name, kind in kinds.items() if kind != "ids"}
        self._counts: dict[str, Counter[str]] = {name: Counter() for name, kind in kinds.items() if kind == "ids"}

    def add(self, name: str, column: Any) -> None:
        """Rows of the fitted windows: all of them for ids, some for the others."""
        if name in self.broken:
            return
        try:
            self._add(name, column)
        except DataError as error:
            self.broken[name] = str(error)

    def _add(self, name: str, column: Any) -> None:
        kind = self._kinds[name]
        if kind == "number":
            self._columns[name].append(numbers(column)[0])
        elif kind == "vector":
            held = self._columns[name]
            for matrix in matrices(column):
                if held and len(matrix) and matrix.shape[1] != held[0].shape[1]:
                    raise DataError("vectors have mixed dimensions", got=matrix.shape[1], field=name,
                                    expected=str(held[0].shape[1]))
                if len(matrix):
                    held.append(matrix)
        elif len(self._counts[name]) <= MOST_IDS:
            values, index = ids(column)
            for value, count in zip(values, np.bincount(index, minlength=len(values)).tolist(), strict=True):
                if value is not None:
                    self._counts[name][value] += count

    def stream(self, name: str, options: Options) -> Stream:
        """The fitted stream; `DataError` where there is too little to fit on."""
        asked = options.asked(self._kinds[name])
        if self._kinds[name] == "ids":
            return Ids(name, self._counts[name], asked)
        if self._kinds[name] == "number":
            return Numbers(name, self._columns[name], asked)
        return Embedding(name, self._columns[name], options.seed, asked, turned=options.versions)


def _only(measure: Measure, asked: Asked) -> Measure:
    """The statistics asked for; all where None."""
    if asked is None:
        return measure
    return lambda current, reference: {name: value for name, value in measure(current, reference).items()
                                       if name in asked}


def _growth(table: Mapping[str, tuple[float, float]], rows: bool) -> dict[str, tuple[float, float]]:
    """How statistics grow with noise: where rows are the null, as rows alone say."""
    return {name: (a, a) if rows else (a, b) for name, (a, b) in table.items()}
