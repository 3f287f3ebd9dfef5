"""Metric: what is measured of a batch, as arguments of an additive state, and how its states are read.

A metric is registered in the entry-point group ``incumbent.metrics`` as a factory that takes its settings as keywords
(``registry.load("metrics", "ndcg")(k=10, ideal="full")``); the contract is in `incumbent.testing.checks.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from incumbent.errors import DataError
from incumbent.stats.estimate import Estimate
from incumbent.stats.state import State

Direction = Literal["up", "down", "none"]
Level = Literal["business", "proxy", "quality", "response", "health"]
Grain = Literal["event", "impression", "slot", "outcome", "user_day"]
_Made = TypeVar("_Made")


#: the parts of a side: what they are, and their columns
WHAT_IS = {"relevant": "what counts as a hit", "history": "what the user had before", "popularity": "frozen popularity",
           "catalogue": "the catalogue", "vectors": "item vectors", "excluded": "what shoppers excluded"}
COLUMNS_OF = {"relevant": "user_id, item_id, perhaps gain", "history": "user_id, item_id",
              "popularity": "item_id, count", "catalogue": "item_id, perhaps category and delisted_at",
              "vectors": "item_id, vector", "excluded": "user_id, item_id, since, perhaps until"}


@dataclass(frozen=True, eq=False)
class Side:
    """What a row does not hold. Each part is a frame (pandas, Polars, PyArrow) or a mapping of columns, or None.

    `relevant`: user_id, item_id, perhaps gain: what counts as a hit. `history`: user_id, item_id: what the user had
    before. `popularity`: item_id, count, frozen in the baseline. `catalogue`: item_id of everything known, perhaps
    category, and delisted_at, since when an item is no longer sold. `vectors`: item_id and vector, a list of floats of
    one length. `excluded`: user_id, item_id and since, perhaps until: what a shopper wants to see no more.
    """

    relevant: Any = None
    history: Any = None
    popularity: Any = None
    catalogue: Any = None
    vectors: Any = None
    excluded: Any = None

    def need(self, part: str, metric: str) -> Any:
        """A part, or a `DataError` that names it and the metric that asks.

        >>> Side().need("history", "serendipity@10")
        Traceback (most recent call last):
        ...
        incumbent.errors.DataError: serendipity@10 needs what the user had before, which a row does not hold. Got None. Expected side.history. Hint: Side(history=a table of user_id, item_id).
        """  # noqa: E501
        found = getattr(self, part)
        if found is None:
            raise DataError(f"{metric} needs {WHAT_IS[part]}, which a row does not hold", got=None,
                            expected=f"side.{part}", field=f"side.{part}",
                            hint=f"Side({part}=a table of {COLUMNS_OF[part]})")
        return found


def no_settings(name: str, config: Mapping[str, Any] | None) -> None:
    """Raise `DataError` for any key: there is nothing about this metric that a baseline freezes."""
    if config:
        raise DataError(f"{name} has no settings of a baseline", got=sorted(config), field="config")


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one grain, and what several metrics make of them, made once.

    >>> made = []
    >>> batch = Batch({"user_id": ["u"]})
    >>> def rows(batch, side):
    ...     made.append(1)
    ...     return len(batch.rows["user_id"])
    >>> side = Side()
    >>> batch.once(rows, side), batch.once(rows, side), len(made)
    (1, 1, 1)
    """

    rows: Any
    _made: dict[tuple[Any, ...], tuple[Any, Any]] = field(default_factory=dict, repr=False)

    def once(self, make: Callable[..., _Made], side: Side | None = None, *settings: Any) -> _Made:
        """``make(batch, side, *settings)``, kept for whoever asks again with the same side and settings."""
        key = (make, id(side), settings)
        if key not in self._made:
            self._made[key] = (side, make(self, side, *settings))  # the side is kept, so that its id stays its own
        found: _Made = self._made[key][1]
        return found


@runtime_checkable
class Metric(Protocol):
    """What is measured, at which level of the tree, and in which direction it is better.

    `name` holds every setting that changes the value (``ndcg_achievable@10``); `columns` are those of a row that it
    reads. `observe` is pure and does not change the batch; it raises `DataError` where a column or a part of the side
    is absent, and names it. Merging the states of two batches is measuring both together, as long as no list is cut.
    """

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def direction(self) -> Direction: ...
    @property
    def level(self) -> Level: ...
    @property
    def grain(self) -> Grain: ...
    @property
    def columns(self) -> tuple[str, ...]: ...

    def state(self, config: Mapping[str, Any] | None = None) -> State:
        """The empty state; `config` is what the baseline froze, and an unknown key is a `DataError`."""
        ...

    def observe(self, batch: Batch, side: Side) -> tuple[Any, ...]:
        """The arguments of ``State.update`` for a batch."""
        ...

    def estimate(self, state: Any) -> Estimate:
        """The number that a state holds, or the reason why there is none."""
        ...
