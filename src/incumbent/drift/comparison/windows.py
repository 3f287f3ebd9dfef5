"""Windows of a source: by time, or by lot where there is none. The same row is in the same window at every reading."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from incumbent.drift.comparison.options import LENGTHS_US, Options, Progress
from incumbent.drift.frames.source import Batch, Source
from incumbent.drift.frames.values import UNDATED, length, times
from incumbent.errors import DataError

Whole = NDArray[np.int64]
NOWHERE = UNDATED  # the window of a row without a time
MOST = 2000  # windows of one side
_FIT_ROWS = (2_000, 20_000)  # rows that the cells are fitted on: an eighth of the baseline, within these
_LOTS = (16, 64)
_ROWS_PER_LOT = 100


class Windows(Protocol):
    """Which window a row is in."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What must be read to know it."""
        ...

    def of(self, batch: Batch, start: int) -> Whole:
        """The window of every row of a batch whose first row is number `start`; `NOWHERE` where it has none."""
        ...

    def label(self, key: int) -> str:
        """A window's name."""
        ...


class TimeWindows:
    """Windows of one length, from 1970 in UTC."""

    def __init__(self, column: str, every: str) -> None:
        self.columns = (column,)
        self._column, self._every, self._length = column, every, LENGTHS_US[every]

    def of(self, batch: Batch, start: int) -> Whole:
        """By the time column."""
        at = times(batch[self._column], self._column)
        shift = 3 * LENGTHS_US["day"] if self._every == "week" else 0  # 1970 began on a Thursday
        found: Whole = np.where(at == UNDATED, NOWHERE, (at + shift) // self._length)
        return found

    def label(self, key: int) -> str:
        """Its start, to the hour where windows are hours."""
        shift = 3 if self._every == "week" else 0
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=key * self._length) - timedelta(days=shift)
        return at.strftime("%Y-%m-%d %H:00" if self._every == "hour" else "%Y-%m-%d")


class Lots:
    """Windows by lot: `count` of them, drawn by the number of the row."""

    columns: tuple[str, ...] = ()

    def __init__(self, count: int, seed: int) -> None:
        self.count, self._seed = count, seed

    def of(self, batch: Batch, start: int) -> Whole:
        """By the row's number."""
        rows = length(next(iter(batch.values())))
        return (lot(np.arange(start, start + rows), self._seed) * self.count).astype(np.int64)

    def label(self, key: int) -> str:
        """Its number."""
        return f"lot {key + 1}"


class All:
    """One window of all rows."""

    columns: tuple[str, ...] = ()

    def of(self, batch: Batch, start: int) -> Whole:
        """The only one."""
        return np.zeros(length(next(iter(batch.values()))), dtype=np.int64)

    def label(self, key: int) -> str:
        """What it is."""
        return "all rows"


def lot(rows: Whole, seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) for every row number, the same however rows come in batches. Source: Steele et al. 2014,
    SplitMix64."""
    with np.errstate(over="ignore"):
        x = (rows.astype(np.uint64) + np.uint64(seed * 2 + 1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((x ^ (x >> np.uint64(31))) >> np.uint64(11), dtype=np.float64) / 2**53


def sizes(source: Source, windows: Windows, progress: Progress) -> Counter[int]:
    """Rows per window, from one reading of the column that says so."""
    found: Counter[int] = Counter()
    if not windows.columns and source.rows is not None and not isinstance(windows, Lots):
        return Counter({0: source.rows}) if source.rows else found
    start = 0
    for batch in source.batches(windows.columns or (next(iter(source.columns)),)):
        keys, counts = np.unique(windows.of(batch, start), return_counts=True)
        found.update(dict(zip(keys.tolist(), counts.tolist(), strict=True)))
        start += int(counts.sum())
        progress(f"reading times of {source.name}", start, source.rows)
        if len(found) > MOST:
            raise DataError("too many windows", got=f"more than {MOST} in {source.name}", field="every",
                            hint="take longer ones")
    return found


def rows_of(source: Source, progress: Progress) -> int:
    """How many rows there are, counted where the source does not know."""
    if source.rows is not None:
        return source.rows
    total, first = 0, next(iter(source.columns))
    for batch in source.batches((first,)):
        total += length(batch[first])
        progress(f"counting rows of {source.name}", total, None)
    return total


def baseline_windows(source: Source, options: Options, progress: Progress) -> Windows:
    """Those of the baseline: by time, or by lot, so many that each holds `_ROWS_PER_LOT` rows."""
    if options.time is not None:
        return TimeWindows(options.time, options.every)
    rows = rows_of(source, progress)
    return Lots(int(np.clip(rows // _ROWS_PER_LOT, *_LOTS)), options.seed)


def current_windows(options: Options) -> Windows:
    """Those of the current side: by time, or all in one."""
    return TimeWindows(options.time, options.every) if options.time is not None else All()


def fitted(counts: Counter[int]) -> frozenset[int]:
    """The windows whose rows the cells are fitted on, spread evenly: about an eighth of the rows, at most a quarter of
    the windows, and one at least. They stand in the reference and in no null."""
    keys = sorted(key for key, count in counts.items() if key != NOWHERE and count)
    if not keys:
        return frozenset()
    total = sum(counts[key] for key in keys)
    wanted = int(np.clip(total / 8, *_FIT_ROWS))
    for take in range(1, max(len(keys) // 4, 1) + 1):
        chosen = frozenset(keys[int((i + 0.5) * len(keys) / take)] for i in range(take))
        if sum(counts[key] for key in chosen) >= wanted:
            break
    return chosen
