"""Within so many days: the share of users who come back, or of slots that are bought, of cohorts old enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.metric import Batch, Direction, Grain, Level, Side
from incumbent.metrics.rate import column_of, numbers_of
from incumbent.stats.delay import Delay
from incumbent.stats.estimate import Estimate


@dataclass(frozen=True)
class WithinDays:
    """The share of rows with an event at most `days` after them, over rows that are `days` old or older.

    A row's `age` is how many whole days it has been observed, its `delay` after how many the event came (null: not yet).
    Rows that are younger stand in the state but not in the number: `delay.final_rate` of the drift library reads from the
    same state what a young cohort will reach, and the loop shows it marked as corrected. The interval is that of
    independent rows.
    """  # noqa: E501

    name: str
    days: int
    age: str
    delay: str
    unit: str
    direction: Direction = "up"
    level: Level = "business"
    grain: Grain = "user_day"

    @property
    def columns(self) -> tuple[str, ...]:
        return ("user_id", self.age, self.delay)

    def state(self, config: Mapping[str, Any] | None = None) -> Delay:
        """No rows yet. There is nothing that a baseline freezes: any key is a `DataError`."""
        if config:
            raise DataError(f"{self.name} has no settings of a baseline", got=sorted(config), field="config")
        return Delay.zero(ages=self.days)

    def observe(self, batch: Batch, side: Side) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Age and delay of each row, in days."""
        column_of(batch, "user_id")
        return numbers_of(batch, self.age), numbers_of(batch, self.delay)

    def estimate(self, state: Delay) -> Estimate:
        """The share of the mature rows; missing while none is `days` old."""
        made = state.estimates()["mature"]
        young = state.n - made.n
        if made.value is None:
            why = f"all {state.n} rows are younger than {self.days} days" if state.n else "no rows"
            return Estimate.missing(why, n=state.n, method="mature cohorts", unit=self.unit)
        return replace(made, unit=self.unit, method=f"mature cohorts, {young} younger rows left out")


def return_rate(*, days: int = 7) -> WithinDays:
    """The share of user-days after which the user comes back within 1 to `days` days.

    >>> batch = Batch({"user_id": ["u", "v", "w"], "age_days": [9, 7, 1], "return_days": [3, None, 1]})
    >>> metric = return_rate()
    >>> metric.name, metric.estimate(metric.state().update(*metric.observe(batch, Side()))).value
    ('return_rate_7d', 0.5)
    """
    return WithinDays(f"return_rate_{_checked(days)}d", days, "age_days", "return_days", "of user-days")


def bought_within(*, days: int = 7) -> WithinDays:
    """The share of shown slots that are bought within `days` days of being shown, by the same columns."""
    return WithinDays(f"bought_within_{_checked(days)}d", days, "age_days", "return_days", "of slots", level="proxy")


def _checked(days: int) -> int:
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 400:
        raise DataError("days must be a whole number in [1, 400]", got=days, field="days")
    return days
