"""Fallback: answers that no model made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.rate import Rate, column_of, share

MODES = ("fallback", "degraded")


def fallback_share(**policy: Any) -> Rate:
    """The share of answers whose `mode` is ``fallback`` or ``degraded``; a null mode is a missing row.

    >>> metric = fallback_share()
    >>> batch = Batch({"user_id": ["u", "v"], "mode": ["champion", "fallback"]})
    >>> metric.estimate(metric.state().update(*metric.observe(batch, Side()))).value
    0.5
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        mode = column_of(batch, "mode").cast(pa.string())
        found = pc.is_in(mode, pa.array(MODES)).to_numpy(zero_copy_only=False)
        return np.where(pc.is_valid(mode).to_numpy(zero_copy_only=False)[:, None], share(found), np.nan)

    return Rate("fallback_share", parts, "of answers", "down", "response", "impression", ("user_id", "mode"),
                bounded=True, **policy)
