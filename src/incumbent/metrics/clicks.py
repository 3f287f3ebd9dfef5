"""Clicks: how many fall on something that was not on the list, and where on the list the others fall."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.metric import Batch, Direction, Grain, Level, Side, no_settings
from incumbent.metrics.rate import Rate, column_of, numbers_of, share
from incumbent.stats import fixed
from incumbent.stats.estimate import Estimate
from incumbent.stats.fixed_histogram import FixedHistogram

DEPTH = 50  # positions that have a cell of their own


def off_list_share(**policy: Any) -> Rate:
    """The share of clicks (a row each) without a `position`: on items that the list they name did not hold.

    A rise tells of lists shown that were not logged, of caches, or of ids that two systems write differently. Source:
    Netflix, RecSysOps (2022), the first detector that it names.

    >>> batch = Batch({"user_id": ["u", "u", "v"], "position": [1, None, 3]})
    >>> metric = off_list_share()
    >>> metric.estimate(metric.state().update(*metric.observe(batch, Side()))).value
    0.3333333333333333
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        return share(np.isnan(_positions(batch)))

    return Rate("off_list_share", parts, "of clicks", "down", "response", "event", ("user_id", "position"),
                bounded=True, **policy)


@dataclass(frozen=True)
class ClickRank:
    """The histogram of the positions (from 1) of clicked items; its number is the mean position.

    Positions beyond `depth` share the last cell and count as ``depth + 1``; clicks off the list are missing. The interval
    is that of independent clicks. Lower is better: shoppers find what they want higher up.

    >>> batch = Batch({"user_id": ["u", "u", "v"], "position": [1, None, 3]})
    >>> metric = click_rank()
    >>> state = metric.state().update(*metric.observe(batch, Side()))
    >>> metric.estimate(state).value, state.counts[1:4].tolist()
    (2.0, [1, 0, 1])
    """  # noqa: E501

    depth: int = DEPTH
    unit: str = "position"
    direction: Direction = "down"
    level: Level = "response"
    grain: Grain = "event"
    columns: tuple[str, ...] = ("user_id", "position")

    @property
    def name(self) -> str:
        return f"click_rank@{self.depth}"

    def state(self, config: Mapping[str, Any] | None = None) -> FixedHistogram:
        """No clicks yet. There is nothing that a baseline freezes: any key is a `DataError`."""
        no_settings(self.name, config)
        return FixedHistogram.zero(edges=[at + 0.5 for at in range(self.depth + 1)])

    def observe(self, batch: Batch, side: Side) -> tuple[NDArray[np.float64]]:
        """The position of each click; `DataError` for one that is no whole number of at least 1."""
        batch.once(_users)
        return (_positions(batch),)

    def estimate(self, state: FixedHistogram) -> Estimate:
        """The mean position, with the interval of independent clicks."""
        counts = state.counts.astype(np.float64)
        n = int(counts.sum())
        if not n:
            return Estimate.missing("no clicks on the list", method="histogram of positions", unit=self.unit)
        at = np.arange(len(counts), dtype=np.float64)
        mean = float(counts @ at / n)
        se = float(np.sqrt(counts @ (at - mean) ** 2 / n / n)) if n > 1 else None
        return fixed.interval(mean, se, n, df=n - 1, method="histogram of positions", unit=self.unit)


def click_rank(*, depth: int = DEPTH) -> ClickRank:
    """``click_rank@depth``."""
    if isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= 1000:
        raise DataError("depth must be a whole number in [1, 1000]", got=depth, field="depth")
    return ClickRank(depth)


def _positions(batch: Batch) -> NDArray[np.float64]:
    positions = numbers_of(batch, "position")
    wrong = positions[(positions < 1) | (np.floor(positions) < positions) | np.isinf(positions)]
    if len(wrong):
        raise DataError("positions are whole numbers from 1", got=float(wrong[0]), field="rows.position",
                        hint="null is a click off the list")
    return positions


def _users(batch: Batch, side: Side | None) -> int:
    return len(column_of(batch, "user_id"))
