"""Conversion: orders per request, and the share of users of a day who buy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.metrics.engagement import of_columns
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.rate import Rate, amounts_of, share


def conversion(**policy: Any) -> Rate:
    """The share of user-days with an order.

    >>> batch = Batch({"user_id": ["u", "v"], "orders": [0, 2], "requests": [1, 3]})
    >>> [m.estimate(m.state().update(*m.observe(batch, Side()))).value for m in (conversion(), orders_per_request())]
    [0.5, 0.5]
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        orders = amounts_of(batch, "orders")
        return share(np.where(np.isnan(orders), np.nan, orders > 0))

    return Rate("conversion", parts, "of user-days", "up", "business", "user_day", ("user_id", "orders"),
                bounded=True, **policy)


def orders_per_request(**policy: Any) -> Rate:
    """``orders / requests``."""
    return of_columns("orders_per_request", "orders", "requests", "orders/request", "up", "business", **policy)
