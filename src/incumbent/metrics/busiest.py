"""Throughput: requests per second in the busiest minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.metrics.metric import Batch, Direction, Grain, Level, Side, no_settings
from incumbent.metrics.rate import column_of, numbers_of
from incumbent.stats.counts import Counts
from incumbent.stats.estimate import Estimate

STEP_S = 300


@dataclass(frozen=True)
class Throughput:
    """Requests per second in the busiest five minutes of the clock. `time` is in microseconds since 1970.

    The state counts requests per five minutes of the clock, 288 keys a day; it adds over shards of users and over days.
    A count has no interval.

    >>> metric = throughput()
    >>> batch = Batch({"user_id": ["u"] * 3, "time": [0, 100_000_000, 400_000_000]})
    >>> metric.estimate(metric.state().update(*metric.observe(batch, Side()))).value == 2 / 300
    True
    """

    name: str = "throughput_peak"
    unit: str = "requests/s"
    direction: Direction = "none"
    level: Level = "health"
    grain: Grain = "impression"
    columns: tuple[str, ...] = ("user_id", "time")

    def state(self, config: Mapping[str, Any] | None = None) -> Counts:
        """No requests yet. There is nothing that a baseline freezes: any key is a `DataError`."""
        no_settings(self.name, config)
        return Counts.zero()

    def observe(self, batch: Batch, side: Side) -> tuple[list[str], NDArray[np.int64]]:
        """The five minutes of the clock, and the requests in each; a time that is null or not finite is left out."""
        column_of(batch, "user_id")
        time = numbers_of(batch, "time")
        time = time[np.isfinite(time)]
        steps, counts = np.unique((time // (STEP_S * 1_000_000)).astype(np.int64), return_counts=True)
        return [str(step) for step in steps.tolist()], counts

    def estimate(self, state: Counts) -> Estimate:
        """The busiest five minutes."""
        counts, method = state.counts, f"busiest {STEP_S} s"
        if not counts:
            return Estimate.missing("no requests", method=method, unit=self.unit)
        return Estimate(max(counts.values()) / STEP_S, n=state.total, method=method, unit=self.unit)


def throughput() -> Throughput:
    """``throughput_peak``."""
    return Throughput()
