"""Answers: the lists of a batch of requests, empty ones among them, flat and joined with what the side knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.frames import Codes, as_ids, code_together, columns, numbers
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.rate import WHAT, column_of


@dataclass(frozen=True, eq=False)
class Answers:
    """n answers of m items in all: answer j is ``items[starts[j]:starts[j + 1]]``, best first, of the user ``users[j]``."""  # noqa: E501

    users: pa.Array
    items: pa.Array
    starts: Codes

    @property
    def lengths(self) -> Codes:
        """The number of items of each answer, (n,)."""
        return np.diff(self.starts)

    def owners(self) -> Codes:
        """The answer of each item, (m,)."""
        return np.repeat(np.arange(len(self.users)), self.lengths)

    def sums(self, slots: NDArray[Any]) -> NDArray[np.float64]:
        """The sum of slot values (m,) over each answer, (n,)."""
        return np.asarray(np.bincount(self.owners(), weights=np.asarray(slots, np.float64), minlength=len(self.users)),
                          np.float64)


def answers_of(batch: Batch, side: Side | None = None) -> Answers:
    """The columns user_id and items (a list of ids per row) of a batch; a null list is an empty one.

    >>> found = answers_of(Batch({"user_id": ["u", "v"], "items": [["a", "b"], []]}))
    >>> found.items.to_pylist(), found.lengths.tolist()
    (['a', 'b'], [2, 0])
    """
    users, column = as_ids(column_of(batch, "user_id"), f"{WHAT}.user_id"), column_of(batch, "items")
    kind = column.type
    if pa.types.is_null(kind):
        return Answers(users, pa.array([], pa.large_string()), np.zeros(len(users) + 1, np.int64))
    if pa.types.is_fixed_size_list(kind):
        column = column.cast(pa.list_(kind.value_type))
    elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise DataError("items must be a list of ids per row", got=str(kind), field=f"{WHAT}.items")
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    items = as_ids(column.flatten(), f"{WHAT}.items")
    if items.null_count:
        raise DataError("an item has no id", got=items.null_count, field=f"{WHAT}.items")
    return Answers(users, items, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def item_codes(batch: Batch, side: Side | None = None) -> tuple[Codes, int]:
    """The items of all answers as whole numbers, equal where the ids are, and how many there may be."""
    (codes,), size = code_together({f"{WHAT}.items": batch.once(answers_of).items})
    return codes, size


def pair_known(batch: Batch, side: Side, part: str) -> NDArray[np.bool_]:
    """Of each slot whether its (user, item) is among the pairs of a part.

    >>> batch = Batch({"user_id": ["u"], "items": [["a", "b"]]})
    >>> pair_known(batch, Side(history={"user_id": ["u"], "item_id": ["b"]}), "history").tolist()
    [False, True]
    """
    wanted, keys, _ = _pairs(batch, part, columns(getattr(side, part), part, ("user_id", "item_id")))
    return np.asarray(np.isin(wanted, keys), np.bool_)


def pair_holds(batch: Batch, side: Side, part: str, time: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Of each slot whether a line of its (user, item) has since < `time` (m,) < until (absent: never).

    >>> batch = Batch({"user_id": ["u"], "items": [["a", "b"]]})
    >>> lines = {"user_id": ["u"] * 3, "item_id": ["a", "a", "b"], "since": [1, 7, 5], "until": [3, None, 6]}
    >>> [pair_holds(batch, Side(excluded=lines), "excluded", np.full(2, at)).tolist() for at in (1, 2, 3, 5.5, 8)]
    [[False, False], [True, False], [False, False], [False, True], [True, False]]
    """
    found = columns(getattr(side, part), part, ("user_id", "item_id", "since"), ["until"])
    wanted, keys, order = _pairs(batch, part, found)
    since = numbers(found["since"], f"{part}.since")[order]
    until = numbers(found["until"], f"{part}.until")[order] if "until" in found else np.full(len(order), np.nan)
    first, last = (np.searchsorted(keys, wanted, at) for at in ("left", "right"))
    out: NDArray[np.bool_] = np.zeros(len(wanted), np.bool_)
    for at in range(int((last - first).max(initial=0))):  # the lines of one pair are few
        here = np.flatnonzero(first + at < last)
        line = first[here] + at
        out[here] |= (since[line] < time[here]) & ~(until[line] <= time[here])
    return out


def _pairs(batch: Batch, part: str, found: Mapping[str, pa.Array]) -> tuple[Codes, Codes, Codes]:
    """The code of each slot's (user, item), those of the lines of a part in order, and the lines in that order."""
    answers = batch.once(answers_of)
    (asked, users), _ = code_together({f"{WHAT}.user_id": answers.users, f"{part}.user_id": found["user_id"]})
    (shown, items), size = code_together({f"{WHAT}.items": answers.items, f"{part}.item_id": found["item_id"]})
    width = max(size, 1)
    keys, good = users * width + items, np.flatnonzero((users >= 0) & (items >= 0))
    order = good[np.argsort(keys[good], kind="stable")]
    return np.repeat(asked, answers.lengths) * width + shown, keys[order], order


def catalogue_place(batch: Batch, side: Side) -> Codes:
    """The line of ``side.catalogue`` of each slot's item, -1 where it is in no line."""
    answers = batch.once(answers_of)
    ids = columns(side.need("catalogue", "a metric"), "catalogue", ("item_id",))["item_id"]
    (shown, known), size = code_together({f"{WHAT}.items": answers.items, "catalogue.item_id": ids})
    place = np.full(size + 1, -1)
    place[known[known >= 0]] = np.flatnonzero(known >= 0)
    return place[shown]
