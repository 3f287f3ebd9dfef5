"""PerList: a metric with one number per list, its mean over lists with users as the unit of inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.frames import Codes
from incumbent.metrics.lists import COLUMNS, lists_of
from incumbent.metrics.metric import Batch, Direction, Grain, Level, Side, no_settings
from incumbent.stats.bounded_share import within
from incumbent.stats.buckets import Buckets
from incumbent.stats.estimate import Estimate
from incumbent.stats.fixed import unless_all_zero

Values = Callable[[Batch, Side], NDArray[np.float64]]
MOST = 1_000_000  # items that a list is looked at


@dataclass(frozen=True)
class PerList:
    """The mean of ``values(batch, side)``, one number per list of ``batch.once(lists_of)``; NaN counts as missing.

    The state is `Buckets` of users: a user's lists of all days stand in one bucket, so lists of one user are not taken
    for independent. `clusters` is the number of buckets (2 to 65,536), 128 by default; the same user must fall into the
    same bucket, so states of different `clusters` do not add. `bounded`: no list's number leaves [0, 1], and so
    does the interval of their mean not (`stats.bounded_share`).

    >>> long = PerList("length", lambda batch, side: batch.once(lists_of).lengths.astype(float), unit="items/list")
    >>> batch = Batch({"user_id": ["u", "u", "v"], "item_id": ["a", "b", "a"], "rank": [1, 2, 1]})
    >>> long.estimate(long.state().update(*long.observe(batch, Side()))).value
    1.5
    """

    name: str
    values: Values
    unit: str = ""
    direction: Direction = "up"
    level: Level = "quality"
    grain: Grain = "slot"
    columns: tuple[str, ...] = COLUMNS
    clusters: int = 128
    bounded: bool = False

    def state(self, config: Mapping[str, Any] | None = None) -> Buckets:
        """No lists yet. There is nothing that a baseline freezes: any key is a `DataError`."""
        no_settings(self.name, config)
        return Buckets.zero(k=self.clusters, variables=["value"])

    def observe(self, batch: Batch, side: Side) -> tuple[Codes, NDArray[np.float64]]:
        """The bucket of each list's user, and its value."""
        return batch.once(_buckets, None, self.clusters), self.values(batch, side)

    def estimate(self, state: Buckets) -> Estimate:
        """The mean per list, its interval from between the buckets of users; n counts lists."""
        made = state.ratio("value", unit=self.unit)
        return within(made, int((state.rows > 0).sum())) if self.bounded else unless_all_zero(made)


def _buckets(batch: Batch, side: Side | None, clusters: int) -> Codes:
    return batch.once(lists_of).buckets(clusters)


def check_k(k: Any) -> int:
    """A k of 1 to `MOST`, or a `DataError`.

    >>> check_k(0)
    Traceback (most recent call last):
    ...
    incumbent.errors.DataError: k must be a whole number in [1, 1000000]. Got 0.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= MOST:
        raise DataError(f"k must be a whole number in [1, {MOST}]", got=k, field="k")
    return int(k)
