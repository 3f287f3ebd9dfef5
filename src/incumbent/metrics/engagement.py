"""Engagement: what shoppers do to what they are shown, per slot and per request."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.metrics.metric import Batch, Direction, Level, Side
from incumbent.metrics.rate import Rate, amounts_of, share


def of_columns(
    name: str, top: str, bottom: str, unit: str, direction: Direction, level: Level, **policy: Any,
) -> Rate:
    """The sum of one column of what users did in a day over that of another; null in either is a missing row,
    a negative number a `DataError`."""

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        return share(amounts_of(batch, top), amounts_of(batch, bottom))

    return Rate(name, parts, unit, direction, level, "user_day", ("user_id", top, bottom), **policy)


def click_through(**policy: Any) -> Rate:
    """``clicks / slots``: the click-through rate per shown item.

    >>> batch = Batch({"user_id": ["u", "v"], "clicks": [1, 2], "slots": [10, 20], "carts": [1, 0], "requests": [1, 3],
    ...                "dismissals": [0, 3], "sessions": [1, 1]})
    >>> four = click_through(), add_to_cart(), dismissals(), clicks_per_session()
    >>> [m.estimate(m.state().update(*m.observe(batch, Side()))).value for m in four]
    [0.1, 0.25, 0.1, 1.5]
    """
    return of_columns("click_through", "clicks", "slots", "clicks/slot", "up", "proxy", **policy)


def clicks_per_session(**policy: Any) -> Rate:
    """``clicks / sessions``."""
    return of_columns("clicks_per_session", "clicks", "sessions", "clicks/session", "up", "proxy", **policy)


def add_to_cart(**policy: Any) -> Rate:
    """``items put into the cart / requests``."""
    return of_columns("add_to_cart", "carts", "requests", "carts/request", "up", "proxy", **policy)


def dismissals(**policy: Any) -> Rate:
    """``items dismissed or excluded / slots``."""
    return of_columns("dismissals", "dismissals", "slots", "dismissals/slot", "down", "proxy", **policy)
