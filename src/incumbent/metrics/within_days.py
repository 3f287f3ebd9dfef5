"""Within so many days: the share of users who come back, or of slots that are bought, of cohorts old enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.frames import Codes
from incumbent.metrics.metric import Batch, Direction, Grain, Level, Side, no_settings
from incumbent.metrics.rate import buckets_of, numbers_of
from incumbent.stats.bounded_share import bounded_share
from incumbent.stats.buckets import Buckets
from incumbent.stats.composite import Composite
from incumbent.stats.delay import Delay
from incumbent.stats.estimate import Estimate

CLUSTERS = 128  # buckets of users
DELAY, USERS = "delay", "users"  # the parts of the state
Columns = tuple[Any, ...]


@dataclass(frozen=True)
class WithinDays:
    """The share of rows with an event at most `days` after them, over rows that are `days` old or older.

    A row's `age` is how many whole days it has been observed, its `delay` after how many the event came (null: not yet).
    The state has two parts: `delay` (`Delay`) holds all rows by age and delay, `users` (`Buckets`) the rows that are old
    enough and those of them with an event, by bucket of users. Rows that are younger are not in the number:
    `delay.final_rate` of the drift library reads from the first part what a young cohort will reach, and the loop shows
    it marked as corrected. The interval is that of users, by the delta method over the buckets, on the scale of a share
    (`stats.bounded_share`): a user's rows are not independent. A row without an age is left out and counted. `DataError`
    for a row without a user, for a delay above the age and for one below `least`. Source: Deng, Knoblich, Lu, KDD 2018.
    """  # noqa: E501

    name: str
    days: int
    age: str
    delay: str
    unit: str
    least: int = 0  # the earliest delay that there is
    direction: Direction = "up"
    level: Level = "business"
    grain: Grain = "user_day"

    @property
    def columns(self) -> tuple[str, ...]:
        return ("user_id", self.age, self.delay)

    def state(self, config: Mapping[str, Any] | None = None) -> Composite:
        """No rows yet. There is nothing that a baseline freezes: any key is a `DataError`."""
        no_settings(self.name, config)
        return self.of(Delay.zero(ages=self.days), Buckets.zero(k=CLUSTERS, variables=["came", "mature"]))

    @staticmethod
    def of(delay: Delay, users: Buckets) -> Composite:
        """The state of these parts: `users` holds, per bucket, the mature rows of `delay` and those with an event."""
        return Composite.of(delay=delay, users=users)

    def observe(self, batch: Batch, side: Side) -> tuple[Columns, tuple[Codes, NDArray[np.float64]]]:
        """Age and delay of each row, in days; of rows that are old enough their user's bucket and whether it came."""
        bucket, age, late = buckets_of(batch, CLUSTERS), numbers_of(batch, self.age), numbers_of(batch, self.delay)
        if (late < self.least).any():
            raise DataError(f"{self.delay} must be at least {self.least}", got=float(np.nanmin(late)),
                            field=f"rows.{self.delay}", hint="who stays on the same day has not come back")
        mature = np.isfinite(age) & (age >= self.days)
        came = np.isfinite(late[mature]) & (late[mature] <= self.days)
        return (age, late), (bucket[mature], np.stack([came, np.ones(len(came))], axis=1))

    def estimate(self, state: Composite) -> Estimate:
        """The share of the mature rows, n of them; missing while none is `days` old."""
        delay, users = state.part(DELAY), state.part(USERS)
        ageless = f", {int(delay.missing)} rows without an age left out" if int(delay.missing) else ""
        n, mature = delay.n, int(delay.shown[-1])
        if not mature:
            why = f"all {n} rows are younger than {self.days} days" if n else "no rows"
            return Estimate.missing(why, n=n, method="mature cohorts", unit=self.unit)
        found, used = users.ratio("came", "mature"), int((users.rows > 0).sum())
        return bounded_share(int(delay.converted[-1].sum()) / mature, found.se, mature, used, unit=self.unit,
                             method=f"mature cohorts over {used} user buckets, {n - mature} younger rows left out"
                                    f"{ageless}")


def return_rate(*, days: int = 7) -> WithinDays:
    """The share of user-days after which the user comes back within 1 to `days` days; a `return_days` of 0 is refused.

    >>> batch = Batch({"user_id": ["u", "v", "w"], "age_days": [9, 7, 1], "return_days": [3, None, 1]})
    >>> metric = return_rate()
    >>> metric.name, metric.estimate(metric.state().update(*metric.observe(batch, Side()))).value
    ('return_rate_7d', 0.5)
    """
    return WithinDays(f"return_rate_{_checked(days)}d", days, "age_days", "return_days", "of user-days", least=1)


def bought_within(*, days: int = 7) -> WithinDays:
    """The share of shown slots that are bought within `days` days of being shown, by the same columns."""
    return WithinDays(f"bought_within_{_checked(days)}d", days, "age_days", "return_days", "of slots", level="proxy")


def _checked(days: int) -> int:
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 400:
        raise DataError("days must be a whole number in [1, 400]", got=days, field="days")
    return days
