"""Revenue per impression, request, session and user; order value; refunds. Money of one currency, in minor units.

A row is what a user did in a day: `value_minor` bought, `refund_minor` given back that day. A few large baskets make
the mean of such rows swing, so the numerator of each row is cut at the cap that ``state({"cap": ...})`` freezes.
Where rows hold a `currency`, it must be one, that of the metric where it names one: nothing is converted, and an
amount above 0 without its currency is of none that is known.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.currencies import CURRENCIES
from incumbent.errors import DataError
from incumbent.metrics.frames import columns, numbers
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.rate import WHAT, Rate, amounts_of, share

Per = Literal["slot", "request", "session", "user"]
_MONEY = ("value_minor", "refund_minor")
_PER: dict[str, str | None] = {"slot": "slots", "request": "requests", "session": "sessions", "user": None}


def revenue(*, per: Per = "user", currency: str = "", **policy: Any) -> Rate:
    """``(bought - refunded) / slots, requests, sessions or user-days``; the capped numerator is a user's day.

    >>> batch = Batch({"user_id": ["u", "v"], "value_minor": [500, 9000], "refund_minor": [100, 0], "requests": [1, 3]})
    >>> metric = revenue(per="request")
    >>> state = metric.state({"cap": 1000}).update(*metric.observe(batch, Side()))
    >>> metric.name, metric.estimate(state).value
    ('revenue_per_request', 350.0)
    """
    if per not in _PER:
        raise DataError("revenue is per slot, request, session or user", got=per, field="per")
    bottom = _PER[per]
    if currency:
        _known(currency)
    unit = f"{currency} minor units/{'user-day' if per == 'user' else per}".lstrip()

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        _one_currency(batch, currency)
        return share(_bought(batch) - _positive(batch, "refund_minor"),
                     1.0 if bottom is None else amounts_of(batch, bottom))

    return Rate(f"revenue_per_{per}", parts, unit, "up", "business", "user_day",
                ("user_id", "value_minor", "refund_minor", *([bottom] if bottom else [])), heavy_tailed=True, **policy)


def revenue_per_slot(**settings: Any) -> Rate:
    """Revenue per impression of an item."""
    return revenue(per="slot", **settings)


def revenue_per_request(**settings: Any) -> Rate:
    """Revenue per request."""
    return revenue(per="request", **settings)


def revenue_per_session(**settings: Any) -> Rate:
    """Revenue per session."""
    return revenue(per="session", **settings)


def revenue_per_user(**settings: Any) -> Rate:
    """Revenue per user and day."""
    return revenue(per="user", **settings)


def order_value(*, currency: str = "", **policy: Any) -> Rate:
    """``bought / orders``: the average order value, refunds not deducted."""
    if currency:
        _known(currency)

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        _one_currency(batch, currency)
        return share(_bought(batch), amounts_of(batch, "orders"))

    return Rate("order_value", parts, f"{currency} minor units/order".lstrip(), "up", "business", "user_day",
                ("user_id", "value_minor", "orders"), heavy_tailed=True, **policy)


def refund_share(**policy: Any) -> Rate:
    """``refunded / bought`` of the same days, which need not be of the same orders.

    >>> metric = refund_share()
    >>> batch = Batch({"user_id": ["u", "v"], "value_minor": [500, 1500], "refund_minor": [100, 0]})
    >>> metric.estimate(metric.state().update(*metric.observe(batch, Side()))).value
    0.05
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        _one_currency(batch)
        return share(_positive(batch, "refund_minor"), _bought(batch))

    return Rate("refund_share", parts, "of value", "down", "business", "user_day",
                ("user_id", "value_minor", "refund_minor"), **policy)


def _known(currency: str, field: str = "currency") -> None:
    if currency not in CURRENCIES:
        raise DataError("no such currency", got=currency, field=field, expected="an ISO 4217 code",
                        hint="EUR, USD, SEK")


def _one_currency(batch: Batch, currency: str = "") -> None:
    """Raise `DataError` for money of several currencies, of another than the metric's, of one that is none, or without
    one where others have it."""
    found = batch.once(_currencies)
    for one in found:
        _known(one, f"{WHAT}.currency")
    if len(found) > 1 or (currency and found and found != (currency,)):
        raise DataError("money of another currency does not add", got=list(found), field=f"{WHAT}.currency",
                        expected=currency or "one currency", hint="convert it first, or measure each currency apart")


def _currencies(batch: Batch, side: Side | None) -> tuple[str, ...]:
    found = columns(batch.rows, WHAT, (), ("currency", *_MONEY))
    column = found.get("currency")
    if column is None:
        return ()
    unknown = pc.is_null(column)
    for name in _MONEY if column.null_count else ():
        if name in found and (numbers(found[name].filter(unknown), f"{WHAT}.{name}") > 0).any():
            raise DataError("money without a currency", got=None, field=f"{WHAT}.currency",
                            expected=f"an ISO 4217 code wherever {name} is above 0",
                            hint="leave the column out where all money is of one currency")
    return tuple(sorted(map(str, column.unique().drop_null().to_pylist())))


def _bought(batch: Batch) -> NDArray[np.float64]:
    return _positive(batch, "value_minor")


def _positive(batch: Batch, name: str) -> NDArray[np.float64]:
    return amounts_of(batch, name, "money given back is an amount above 0, in refund_minor")
