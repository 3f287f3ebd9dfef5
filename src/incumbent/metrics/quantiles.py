"""Latency quantiles, of a model or of the whole answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.metric import Batch, Direction, Grain, Level, Side, no_settings
from incumbent.metrics.rate import amounts_of, column_of, numbers_of
from incumbent.stats.estimate import Estimate
from incumbent.stats.log_histogram import LogHistogram


@dataclass(frozen=True)
class Quantile:
    """A quantile of a column of requests, within 1 %, with its order-statistics interval of independent requests.

    A time taken is never negative (`DataError`); an age may be, where two clocks disagree.

    >>> metric = latency(q=0.5)
    >>> batch = Batch({"user_id": ["u"] * 3, "latency_ms": [10.0, 20.0, 900.0]})
    >>> metric.name, round(metric.estimate(metric.state().update(*metric.observe(batch, Side()))).value)
    ('latency_p50', 20)
    """

    name: str
    q: float
    column: str
    unit: str
    direction: Direction = "down"
    level: Level = "health"
    grain: Grain = "impression"

    @property
    def columns(self) -> tuple[str, ...]:
        return ("user_id", self.column)

    def state(self, config: Mapping[str, Any] | None = None) -> LogHistogram:
        """No values yet. There is nothing that a baseline freezes: any key is a `DataError`."""
        no_settings(self.name, config)
        return LogHistogram.zero()

    def observe(self, batch: Batch, side: Side) -> tuple[NDArray[np.float64]]:
        """The values; null is missing."""
        column_of(batch, "user_id")
        return ((amounts_of if self.column == "latency_ms" else numbers_of)(batch, self.column),)

    def estimate(self, state: LogHistogram) -> Estimate:
        """The quantile, within the histogram's accuracy."""
        return state.quantile(self.q, unit=self.unit)


def latency(*, q: float = 0.99) -> Quantile:
    """The q-quantile of `latency_ms`; `DataError` outside (0, 1)."""
    if not 0 < q < 1:
        raise DataError("q must be in (0, 1)", got=q, field="q", hint="the 99th percentile is 0.99")
    return Quantile(f"latency_p{q * 100:g}", q, "latency_ms", "ms")


def model_age(*, q: float = 0.5) -> Quantile:
    """The median of `model_age_s`: how long before the request the model's version had been seen for the first time."""
    return Quantile("model_age", q, "model_age_s", "s", direction="none")


def vectors_age(*, q: float = 0.5) -> Quantile:
    """The median of `vectors_age_s`: how long before the request the newest vector of the model's space had come."""
    return Quantile("vectors_age", q, "vectors_age_s", "s")
