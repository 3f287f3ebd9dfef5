"""Duplicates: answers that hold an item twice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.metrics.answers import answers_of, item_codes
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.rate import Rate, share


def duplicate_share(**policy: Any) -> Rate:
    """The share of answers, empty ones left out, that hold an item more than once.

    >>> batch = Batch({"user_id": ["u", "v"], "items": [["a", "b", "a"], ["a", "b"]]})
    >>> metric = duplicate_share()
    >>> metric.estimate(metric.state().update(*metric.observe(batch, Side()))).value
    0.5
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        answers, (codes, size) = batch.once(answers_of), batch.once(item_codes)
        cells = np.sort(answers.owners() * max(size, 1) + codes)
        again = cells[1:][np.diff(cells) == 0] // max(size, 1)
        twice = np.bincount(again, minlength=len(answers.users)) > 0
        return np.where((answers.lengths > 0)[:, None], share(twice), np.nan)

    return Rate("duplicate_share", parts, "of answers", "down", "response", "impression", ("user_id", "items"),
                bounded=True, **policy)
