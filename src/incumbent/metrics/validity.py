"""Validity: items that the catalogue does not have, that are sold no more, that the shopper has excluded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.metrics.answers import answers_of, catalogue_place, pair_holds
from incumbent.metrics.frames import columns, numbers
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.rate import Rate, amounts_of, numbers_of, share


def invented_share(**policy: Any) -> Rate:
    """The share of slots whose item is in no line of ``side.catalogue``; missing while the catalogue is empty.

    >>> batch = Batch({"user_id": ["u"], "items": [["a", "b", "x", "c"]], "time": [9.0]})
    >>> side = Side(catalogue={"item_id": list("abc"), "delisted_at": [None, 8.0, 10.0]},
    ...             excluded={"user_id": ["u"], "item_id": ["c"], "since": [3.0]})
    >>> three = invented_share(), delisted_share(), excluded_share()
    >>> [m.estimate(m.state().update(*m.observe(batch, side))).value for m in three]
    [0.25, 0.25, 0.25]
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        side.need("catalogue", "invented_share")
        answers, place = batch.once(answers_of), batch.once(catalogue_place, side)
        known = len(columns(side.catalogue, "catalogue", ("item_id",))["item_id"])
        return share(answers.sums(place < 0), answers.lengths if known else np.nan)

    return Rate("invented_share", parts, "of slots", "down", "response", "impression", ("user_id", "items"),
                bounded=True, **policy)


def delisted_share(**policy: Any) -> Rate:
    """The share of slots whose item was delisted (``catalogue.delisted_at``, null: never) at or before the `time`.

    An answer without a time is a missing row.
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        side.need("catalogue", "delisted_share")
        answers, place = batch.once(answers_of), batch.once(catalogue_place, side)
        column = columns(side.catalogue, "catalogue", ("item_id", "delisted_at"))["delisted_at"]
        since = np.append(numbers(column, "catalogue.delisted_at"), np.nan)[place]
        time = numbers_of(batch, "time")
        return share(answers.sums(since <= time[answers.owners()]), np.where(np.isnan(time), np.nan, answers.lengths))

    return Rate("delisted_share", parts, "of slots", "down", "response", "impression", ("user_id", "items", "time"),
                bounded=True, **policy)


def excluded_share(**policy: Any) -> Rate:
    """The share of slots whose item the shopper had excluded before the `time` of the answer.

    ``side.excluded``: since < time, and time < until where there is one. An answer of the very instant of an exclusion,
    or of its being taken back, was decided before it; one without a time is a missing row.
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        answers = batch.once(answers_of)
        side.need("excluded", "excluded_share")
        time = numbers_of(batch, "time")
        held = pair_holds(batch, side, "excluded", time[answers.owners()])
        return share(answers.sums(held), np.where(np.isnan(time), np.nan, answers.lengths))

    return Rate("excluded_share", parts, "of slots", "down", "response", "impression", ("user_id", "items", "time"),
                bounded=True, **policy)


def removed_share(**policy: Any) -> Rate:
    """The share of a model's items that were taken out before anything was shown (`removed`), as duplicates.

    ``removed / (items + removed)``; a null `removed` is a missing row.
    """

    def parts(batch: Batch, side: Side) -> NDArray[np.float64]:
        removed = amounts_of(batch, "removed")
        return share(removed, batch.once(answers_of).lengths + removed)

    return Rate("removed_share", parts, "of items", "down", "response", "impression", ("user_id", "items", "removed"),
                bounded=True, **policy)
