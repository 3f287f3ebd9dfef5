"""Errors and timeouts of a model's answers, and what a thousand of them cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.rate import Rate, amounts_of, column_of, share


def error_rate(**policy: Any) -> Rate:
    """The share of answers whose `status` is not ``ok``, timeouts included; a null status is a missing row.

    >>> batch = Batch({"user_id": ["u", "v", "w", "w"], "status": ["ok", "timeout", "error", "ok"],
    ...                "cost": [0.002, 0.004, None, 0.0]})
    >>> three = error_rate(), timeout_rate(), cost_per_thousand()
    >>> [m.estimate(m.state().update(*m.observe(batch, Side()))).value for m in three]
    [0.5, 0.25, 2.0]
    """
    return _status("error_rate", lambda status: pc.invert(pc.equal(status, "ok")), **policy)


def timeout_rate(**policy: Any) -> Rate:
    """The share of answers whose `status` is ``timeout``."""
    return _status("timeout_rate", lambda status: pc.equal(status, "timeout"), **policy)


def cost_per_thousand(**policy: Any) -> Rate:
    """A thousand times the mean `cost`, in the unit in which the model's cost is configured; null is a missing row."""

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        return share(1000 * amounts_of(batch, "cost"))

    return Rate("cost_per_thousand", parts, "cost/1000 requests", "down", "health", "impression", ("user_id", "cost"),
                **policy)


def _status(name: str, wrong: Any, **policy: Any) -> Rate:
    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        status = column_of(batch, "status").cast(pa.string())
        found = pc.fill_null(wrong(status), False).to_numpy(zero_copy_only=False)
        return np.where(pc.is_valid(status).to_numpy(zero_copy_only=False)[:, None], share(found), np.nan)

    return Rate(name, parts, "of answers", "down", "health", "impression", ("user_id", "status"),
                bounded=True, **policy)
