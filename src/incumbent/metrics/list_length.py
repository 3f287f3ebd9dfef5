"""Empty and short lists: what the shopper was owed and did not get."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.metrics.answers import answers_of
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.rate import Rate, numbers_of, share


def empty_share(**policy: Any) -> Rate:
    """The share of answers without any item.

    >>> batch = Batch({"user_id": ["u", "v", "w"], "items": [["a"], [], ["a", "b"]], "k": [2, 2, 2]})
    >>> [m.estimate(m.state().update(*m.observe(batch, Side()))).value for m in (empty_share(), short_share())]
    [0.3333333333333333, 0.3333333333333333]
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        return share(batch.once(answers_of).lengths == 0)

    return Rate("empty_share", parts, "of answers", "down", "response", "impression", ("user_id", "items"),
                bounded=True, **policy)


def short_share(**policy: Any) -> Rate:
    """The share of answers with fewer items than the `k` that was asked, but not none; rows without a k are missing."""

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        k, lengths = numbers_of(batch, "k"), batch.once(answers_of).lengths
        return np.where((k > 0)[:, None], share((lengths > 0) & (lengths < k)), np.nan)

    return Rate("short_share", parts, "of answers", "down", "response", "impression", ("user_id", "items", "k"),
                bounded=True, **policy)
