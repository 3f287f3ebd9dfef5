"""Cold start: requests of users without a history, and slots of items that nobody has touched yet."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.metrics.answers import answers_of
from incumbent.metrics.frames import code_together, columns, numbers
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.rate import WHAT, Rate, share


def cold_user_share(**policy: Any) -> Rate:
    """The share of answers to users who are not in ``side.history``.

    >>> batch = Batch({"user_id": ["u", "v"], "items": [["a", "b"], ["b", "c"]]})
    >>> side = Side(history={"user_id": ["v"], "item_id": ["a"]}, popularity={"item_id": ["a", "c"], "count": [3, 0]})
    >>> [m.estimate(m.state().update(*m.observe(batch, side))).value for m in (cold_user_share(), cold_item_share())]
    [0.5, 0.75]
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        had = columns(side.need("history", "cold_user_share"), "history", ("user_id",))["user_id"]
        (asked, known), size = code_together({f"{WHAT}.user_id": batch.once(answers_of).users, "history.user_id": had})
        warm = np.zeros(size + 1, bool)
        warm[known[known >= 0]] = True
        return share(~warm[asked])

    return Rate("cold_user_share", parts, "of answers", "none", "response", "impression", ("user_id", "items"),
                bounded=True, **policy)


def cold_item_share(**policy: Any) -> Rate:
    """The share of slots whose item has no count in ``side.popularity``, or 0."""

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        answers = batch.once(answers_of)
        found = columns(side.need("popularity", "cold_item_share"), "popularity", ("item_id", "count"))
        (shown, known), size = code_together({f"{WHAT}.items": answers.items, "popularity.item_id": found["item_id"]})
        counts = np.zeros(size + 1)
        np.add.at(counts, known[known >= 0], numbers(found["count"], "popularity.count")[known >= 0])
        return share(answers.sums(counts[shown] <= 0), answers.lengths)

    return Rate("cold_item_share", parts, "of slots", "none", "response", "impression", ("user_id", "items"),
                bounded=True, **policy)
