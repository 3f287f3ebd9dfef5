"""Data quality of values: out of the range, unseen categories, freshness, volume. Their states hold the values' counts,
so that what is the range, and what was seen, can be asked of the states of earlier days."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.metrics.data_quality import WHAT, delays
from incumbent.metrics.frames import columns, numbers
from incumbent.metrics.metric import Batch, Direction, Grain, Level, Side, no_settings
from incumbent.stats.binomial import proportion
from incumbent.stats.counts import Counts
from incumbent.stats.estimate import Estimate
from incumbent.stats.log_histogram import LogHistogram

ACCURACY = 0.05  # of the histograms: a cell is a tenth wide
BUDGET = 2_000  # categories that a state keeps


@dataclass(frozen=True)
class Values:
    """A number read from a histogram of values; `config` is nothing."""

    name: str
    read: Any  # LogHistogram -> Estimate
    values: Any  # columns -> float64
    columns: tuple[str, ...]
    unit: str
    direction: Direction = "down"
    level: Level = "health"
    grain: Grain = "event"

    def state(self, config: Mapping[str, Any] | None = None) -> LogHistogram:
        """No values yet. There is nothing that a baseline freezes: any key is a `DataError`."""
        no_settings(self.name, config)
        return LogHistogram.zero(accuracy=ACCURACY)

    def observe(self, batch: Batch, side: Side) -> tuple[NDArray[np.float64]]:
        """The values; rows without one are left out."""
        found = self.values(columns(batch.rows, WHAT, self.columns))
        return (found[~np.isnan(found)],)

    def estimate(self, state: LogHistogram) -> Estimate:
        """The number; missing without values."""
        found: Estimate = self.read(state)
        return found


def range_rate(*, column: str = "value_minor", low: float = 0.0, high: float = 1e9) -> Values:
    """The share of values outside [low, high], to the width of a cell of the histogram (10 %).

    >>> rate = range_rate(column="price", low=1, high=100)
    >>> rate.estimate(rate.state().update(*rate.observe(Batch({"price": [0.01, 5, 50, 5000]}), Side()))).value
    0.5
    """

    def read(state: LogHistogram) -> Estimate:
        return outside(state, low, high)

    return Values(f"range_rate[{column}]", read, lambda rows: numbers(rows[column], f"{WHAT}.{column}"), (column,),
                  "of values")


def outside(state: LogHistogram, low: float, high: float) -> Estimate:
    """The share of a histogram's values in cells that lie wholly outside [low, high]."""
    first, last = 0, len(state.cells)
    while first < last and cell_range(state, first)[1] < low:
        first += 1
    while last > first and cell_range(state, last - 1)[0] > high:
        last -= 1
    hits = state.total - int(state.counts[first:last].sum())
    if not state.total:
        return Estimate.missing("no values", method="Clopper-Pearson", unit="of values")
    return proportion(hits, state.total, unit="of values")


def range_of(states: Iterable[LogHistogram], factor: float = 2.0) -> tuple[float, float] | None:
    """The range of everything in the states, stretched by `factor` away from zero; None where they hold nothing.

    >>> range_of([LogHistogram.zero().update([10.0, 50.0])])[1] > 99
    True
    """
    ends = [cell_range(state, at) for state in states if len(state.cells) for at in (0, len(state.cells) - 1)]
    if not ends:
        return None
    least, most = min(low for low, _ in ends), max(high for _, high in ends)
    return (least / factor if least > 0 else least * factor), (most * factor if most > 0 else most / factor)


def cell_range(state: LogHistogram, at: int) -> tuple[float, float]:
    """Least and greatest value of the at-th cell of a histogram."""
    rank = int(state.counts[:at].sum())
    low, _, high = state._bucket(rank)
    return low, high


def freshness(*, q: float = 0.5) -> Values:
    """The q-quantile of the seconds from an event to its arrival; what came ahead of its time counts as 0."""

    def read(state: LogHistogram) -> Estimate:
        return state.quantile(q, unit="s")

    def values(rows: dict[str, pa.Array]) -> NDArray[np.float64]:
        found = delays(rows).to_numpy(zero_copy_only=False).astype(float)
        return np.where(np.isnan(found), np.nan, np.maximum(found, 0.0))

    return Values(f"freshness[p{q * 100:g}]", read, values, ("time", "received"), "s")


@dataclass(frozen=True)
class Categories:
    """The share of rows whose category is none of `known`; the state counts rows per category.

    Over `BUDGET` categories nothing can be said of what was seen: then it is missing.
    """

    name: str
    column: str
    known: frozenset[str]
    unit: str = "of events"
    direction: Direction = "down"
    level: Level = "health"
    grain: Grain = "event"

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of categories."""
        return (self.column,)

    def state(self, config: Mapping[str, Any] | None = None) -> Counts:
        """No rows yet. There is nothing that a baseline freezes: any key is a `DataError`."""
        no_settings(self.name, config)
        return Counts.zero(budget=BUDGET)

    def observe(self, batch: Batch, side: Side) -> tuple[list[str], list[int]]:
        """Categories, and the rows of each; rows without one are left out."""
        found = pc.value_counts(columns(batch.rows, WHAT, self.columns)[self.column].drop_null().cast(pa.string()))
        return found.field("values").to_pylist(), found.field("counts").to_pylist()

    def estimate(self, state: Counts) -> Estimate:
        """The share of rows of unseen categories."""
        if int(state.other):
            return Estimate.missing(f"over {BUDGET} categories", n=state.total, method="Clopper-Pearson",
                                    unit=self.unit)
        if not state.total:
            return Estimate.missing("no events", method="Clopper-Pearson", unit=self.unit)
        return proportion(sum(count for key, count in state.counts.items() if key not in self.known), state.total,
                          unit=self.unit)


def unseen_categories(*, column: str = "action", known: Collection[str] = ()) -> Categories:
    """The share of rows whose category in `column` is none of `known`.

    >>> unseen = unseen_categories(column="country", known=["SE", "NO"])
    >>> unseen.estimate(unseen.state().update(*unseen.observe(Batch({"country": ["SE", "DK", None]}), Side()))).value
    0.5
    """
    return Categories(f"unseen_categories[{column}]", column, frozenset(known))


@dataclass(frozen=True)
class Volume:
    """The number of rows. A day without any is not 0 by itself: whoever asks must know that it was a day."""

    name: str = "volume"
    columns: tuple[str, ...] = ("time",)
    unit: str = "events"
    direction: Direction = "none"
    level: Level = "health"
    grain: Grain = "event"

    def state(self, config: Mapping[str, Any] | None = None) -> Counts:
        """No rows yet. There is nothing that a baseline freezes: any key is a `DataError`."""
        no_settings(self.name, config)
        return Counts.zero(keys=["rows"])

    def observe(self, batch: Batch, side: Side) -> tuple[list[str], list[int]]:
        """The number of rows."""
        return ["rows"], [len(columns(batch.rows, WHAT, self.columns)["time"])]

    def estimate(self, state: Counts) -> Estimate:
        """The number, exact; missing where there is no row."""
        if state.empty:
            return Estimate.missing("no events", method="count", unit=self.unit)
        return Estimate(float(state.total), n=state.total, method="count", unit=self.unit)


def volume() -> Volume:
    """The number of events."""
    return Volume()
