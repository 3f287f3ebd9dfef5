"""Dwell and completion: how long shoppers stay with what they open, and whether they hear or watch it to the end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.rate import Rate, amounts_of, numbers_of, share


def dwell(**policy: Any) -> Rate:
    """The mean `seconds` of a dwell (a row each), cut at the baseline's cap; a null is a missing row.

    >>> batch = Batch({"user_id": ["u", "v", "v"], "seconds": [30.0, 200.0, None], "length_s": [60, 210, 60]})
    >>> [m.estimate(m.state().update(*m.observe(batch, Side()))).value for m in (dwell(), completion())]
    [115.0, 0.5]
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        return share(amounts_of(batch, "seconds"))

    return Rate("dwell", parts, "s", "up", "proxy", "event", ("user_id", "seconds"), heavy_tailed=True, **policy)


def completion(*, reached: float = 0.9, **policy: Any) -> Rate:
    """The share of dwells that last `reached` of the item's `length_s` (listen-through); rows without either, or of length
    0 or less, are missing.

    `DataError` for `reached` outside (0, 1].
    """  # noqa: E501
    if not 0 < reached <= 1:
        raise DataError("reached must be in (0, 1]", got=reached, field="reached", hint="90 % is 0.9")

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        seconds, length = amounts_of(batch, "seconds"), numbers_of(batch, "length_s")
        known = ~np.isnan(seconds) & (length > 0)
        return np.where(known[:, None], share(seconds >= reached * length), np.nan)

    return Rate(f"completion_{reached:g}", parts, "of dwells", "up", "proxy", "event",
                ("user_id", "seconds", "length_s"), bounded=True, **policy)


def time_spent(**policy: Any) -> Rate:
    """The seconds of all dwells per user-day, cut at the baseline's cap: viewing time beside the return rate.

    >>> metric = time_spent()
    >>> batch = Batch({"user_id": ["u", "v"], "seconds": [30.0, 90.0], "requests": [1, 1]})
    >>> metric.estimate(metric.state().update(*metric.observe(batch, Side()))).value
    60.0
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        return share(amounts_of(batch, "seconds"))

    return Rate("time_spent", parts, "s/user-day", "up", "business", "user_day", ("user_id", "seconds"),
                heavy_tailed=True, **policy)
