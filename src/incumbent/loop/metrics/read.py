"""Reading measured metrics: states per cell and day, and their sums over periods."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import numpy as np

from incumbent.events.window import Window
from incumbent.loop.metrics.keys import DAY_FAMILY, Cell, States, total, unpacked
from incumbent.metrics.item_counts import ItemCounts
from incumbent.metrics.metric import Metric
from incumbent.metrics.per_list import PerList
from incumbent.metrics.rate import Rate
from incumbent.stats.buckets import Buckets
from incumbent.stats.estimate import Estimate
from incumbent.stats.shared_noise import Noisy, of_ratio
from incumbent.stores.store import Control

Days = dict[date, States]
KEPT = 4_096  # rows that a reader keeps unpacked


class Reader:
    """The states of cells by day; rows that have not changed are not unpacked again."""

    def __init__(self, control: Control) -> None:
        self._control, self._looks = control, 0
        self._kept: dict[tuple[str, date], tuple[bytes, States, int]] = {}  # the row, unpacked, and who looked last

    def cells(self, surface: str, first: date, last: date) -> dict[Cell, Days]:
        """Every cell of a surface, in the order of their keys."""
        out: dict[Cell, Days] = {}
        self._looks += 1
        prefix = f"{DAY_FAMILY}/{surface}"
        for row in self._control.range(prefix, Window.of_days(first, last)):
            if row.key == prefix or row.key.startswith(f"{prefix}/"):
                out.setdefault(Cell.of(row.key), {})[row.day] = self._unpacked(row)
        return out

    def whole(self, surface: str, first: date, last: date) -> Days:
        """The surface's own cell: of the others nothing is unpacked."""
        key = f"{DAY_FAMILY}/{surface}"
        self._looks += 1
        return {row.day: self._unpacked(row) for row in self._control.range(key, Window.of_days(first, last))
                if row.key == key}

    def _unpacked(self, row: Any) -> States:
        """A row's states; of more rows than can be kept, those looked at first stay for the next look."""
        found = self._kept.pop((row.key, row.day), None)
        states = unpacked(row) if found is None or found[0] != row.data else found[1]
        if len(self._kept) >= KEPT:
            oldest = next(iter(self._kept))
            if self._kept[oldest][2] == self._looks:
                return states
            del self._kept[oldest]
        self._kept[row.key, row.day] = (row.data, states, self._looks)
        return states


def summed(days: Days, first: date, last: date) -> States:
    """The states of a period added up."""
    return total(days[day] for day in sorted(days) if first <= day <= last)


def number(metric: Metric, state: Any) -> float | None:
    """A metric's value without its interval, which is most of the work."""
    if isinstance(metric, Rate | PerList) and isinstance(state, Buckets):
        made = noisy(state)
        return None if made is None else made.value
    return metric.estimate(state).value


def noisy(state: Any) -> Noisy | None:
    """A ratio with the influence of its user buckets; None for states of other kinds."""
    if not isinstance(state, Buckets):
        return None
    names = state.variables
    return of_ratio(state, names[0], names[1] if len(names) > 1 else None)


def listed(state: Any, catalogue: Iterable[str]) -> Any:
    """Item counts with every item of the catalogue that was not shown, as 0; other states as they are."""
    if not isinstance(state, ItemCounts):
        return state
    more = sorted(set(catalogue) - state.counts.keys())
    return state.update(more, np.zeros(len(more), np.int64)) if more else state


def enough(estimate: Estimate, least: int) -> Estimate:
    """The estimate, or the reason why so few rows are not shown."""
    if estimate.value is None or estimate.n >= least:
        return estimate
    return Estimate.missing(f"{estimate.n} rows, fewer than {least}", n=estimate.n, method=estimate.method,
                            unit=estimate.unit)
