"""Repeats: slots spent on what the user has bought, or was shown only just before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.metrics.answers import answers_of, item_codes, pair_known
from incumbent.metrics.frames import code_together
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.rate import Rate, numbers_of, share


def bought_again_share(**policy: Any) -> Rate:
    """The share of slots whose item the user has in ``side.history``. Some shops want it high: no direction.

    >>> batch = Batch({"user_id": ["u", "u"], "items": [["a", "b"], ["b", "c"]], "time": [1, 2]})
    >>> side = Side(history={"user_id": ["u"], "item_id": ["a"]})
    >>> both = bought_again_share(), shown_again_share()
    >>> [m.estimate(m.state().update(*m.observe(batch, side))).value for m in both]
    [0.25, 0.25]
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        answers = batch.once(answers_of)
        side.need("history", "bought_again_share")
        return share(answers.sums(pair_known(batch, side, "history")), answers.lengths)

    return Rate("bought_again_share", parts, "of slots", "none", "response", "impression", ("user_id", "items"),
                bounded=True, **policy)


def shown_again_share(**policy: Any) -> Rate:
    """The share of slots whose item the same user was shown by an earlier answer (less `time`) of the batch.

    The batch is the horizon: of a day, what was shown before on that day. A null time is a missing row, which shows
    nothing to later ones either.
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        answers, (codes, size), time = batch.once(answers_of), batch.once(item_codes), numbers_of(batch, "time")
        (users,), _ = code_together({"rows.user_id": answers.users})
        owner = answers.owners()
        cells, at = users[owner] * max(size, 1) + codes, time[owner]
        order = np.lexsort((at, cells))  # NaN stands last
        first = np.flatnonzero(np.diff(cells[order], prepend=-1))
        runs = np.diff(np.append(first, len(order)))
        earliest = np.empty(len(order))
        earliest[order] = np.repeat(at[order][first], runs)
        return np.where(np.isnan(time)[:, None], np.nan, share(answers.sums(at > earliest), answers.lengths))

    return Rate("shown_again_share", parts, "of slots", "down", "response", "impression",
                ("user_id", "items", "time"), bounded=True, **policy)
