"""Rate: the sum of one number over the sum of another, of rows of any grain, with users as the unit of inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.frames import Codes, as_ids, columns, numbers
from incumbent.metrics.metric import Batch, Direction, Grain, Level, Side
from incumbent.stats.bounded_share import within
from incumbent.stats.buckets import Buckets, bucket_of
from incumbent.stats.estimate import Estimate
from incumbent.stats.fixed import unless_all_zero
from incumbent.stats.winsorised import Winsorised

#: numerator and denominator of each row, (n, 2); a row with NaN is missing
Parts = Callable[[Batch, Side], NDArray[np.float64]]
WHAT = "rows"


@dataclass(frozen=True)
class Rate:
    """``sum(numerator) / sum(denominator)`` over the rows of a batch, by the delta method over buckets of users.

    With `heavy_tailed` the numerator of each row is cut at the cap that ``state({"cap": ...})`` freezes, and the
    estimate says so. `clusters` is the number of buckets (2 to 65,536). `bounded`: no row's ratio leaves
    [0, 1], and so does the interval not (`stats.bounded_share`); of others a 0 without any spread has no interval.
    Source: Deng, Knoblich, Lu, KDD 2018.

    >>> def halves(batch, side):
    ...     return np.stack([numbers_of(batch, "clicks"), numbers_of(batch, "slots")], axis=1)
    >>> rate = Rate("ctr", halves, "clicks/slot", "up", "proxy", "user_day", ("user_id", "clicks", "slots"))
    >>> batch = Batch({"user_id": ["u", "v", "w"], "clicks": [1, 0, 2], "slots": [10, 10, 20]})
    >>> rate.estimate(rate.state().update(*rate.observe(batch, Side()))).value
    0.075
    """

    name: str
    parts: Parts
    unit: str
    direction: Direction
    level: Level
    grain: Grain
    columns: tuple[str, ...]
    heavy_tailed: bool = False
    clusters: int = 128
    bounded: bool = False

    def state(self, config: Mapping[str, Any] | None = None) -> Buckets:
        """No rows yet; `config` may hold the ``cap`` of a heavy-tailed numerator, and nothing else."""
        known = {"cap"} if self.heavy_tailed else set()
        if config and set(config) - known:
            raise DataError(f"{self.name} has no such setting of a baseline", got=sorted(config),
                            expected=", ".join(known) or "none", field="config")
        variables = ["numerator", "denominator"]
        if not self.heavy_tailed:
            return Buckets.zero(k=self.clusters, variables=variables)
        return Winsorised.zero(k=self.clusters, variables=variables, cap=(config or {}).get("cap"))

    def observe(self, batch: Batch, side: Side) -> tuple[Codes, NDArray[np.float64]]:
        """The bucket of each row's user, and its numerator and denominator."""
        return buckets_of(batch, self.clusters), self.parts(batch, side)

    def estimate(self, state: Buckets) -> Estimate:
        """The ratio with its interval from between the buckets of users; n counts rows."""
        made = state.ratio("numerator", "denominator", unit=self.unit)
        return within(made, int((state.rows > 0).sum())) if self.bounded else unless_all_zero(made)


def column_of(batch: Batch, name: str) -> pa.Array:
    """A column of a batch as one Arrow array; `DataError` names it where it is absent."""
    return batch.once(_column, None, name)


def numbers_of(batch: Batch, name: str) -> NDArray[np.float64]:
    """A numeric column of a batch, NaN for null."""
    return numbers(column_of(batch, name), f"{WHAT}.{name}")


def amounts_of(batch: Batch, name: str, hint: str | None = None) -> NDArray[np.float64]:
    """The same of what cannot be below 0: times, costs, counts, money; `DataError` for a negative one.

    >>> amounts_of(Batch({"clicks": [2, -1, None]}), "clicks")
    Traceback (most recent call last):
    ...
    incumbent.errors.DataError: clicks must not be negative. Got -1.0. Expected 0 or more.
    """
    values = numbers_of(batch, name)
    if (values < 0).any():
        raise DataError(f"{name} must not be negative", got=float(np.nanmin(values)), expected="0 or more",
                        field=f"{WHAT}.{name}", hint=hint)
    return values


def buckets_of(batch: Batch, clusters: int) -> Codes:
    """The bucket of each row's user, (n,); `DataError` where a row has none."""
    return batch.once(_buckets, None, clusters)


def share(top: NDArray[Any], bottom: NDArray[Any] | float = 1.0) -> NDArray[np.float64]:
    """Numerators (n,) beside denominators, (n, 2)."""
    first = np.asarray(top, np.float64)
    return np.stack([first, np.broadcast_to(np.asarray(bottom, np.float64), first.shape)], axis=1)


def _column(batch: Batch, side: Side | None, name: str) -> pa.Array:
    return columns(batch.rows, WHAT, (name,))[name]


def _buckets(batch: Batch, side: Side | None, clusters: int) -> Codes:
    users = as_ids(column_of(batch, "user_id"), f"{WHAT}.user_id")
    if users.null_count:
        raise DataError("a row has no user", got=users.null_count, field=f"{WHAT}.user_id")
    return bucket_of(users.cast(pa.string()).to_pylist(), clusters)
