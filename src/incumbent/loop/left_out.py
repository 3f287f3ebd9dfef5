"""left_out: past interactions that shoppers excluded, left out of what shapes or judges recommendations.

They are no history and nothing wanted: exports to training, offline relevance and the histories that metrics compare
with leave them out. What was bought stays bought: money, credit and verdicts count them.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from incumbent.clock import EPOCH
from incumbent.loop.shoppers import KINDS
from incumbent.stores.store import Control

Since = Mapping[str, Mapping[str, int]]  # user -> what is excluded -> since when, in microseconds since 1970


@dataclass(frozen=True)
class Standing:
    """What shoppers exclude now, and since when. What was taken back is not in it, and was never excluded.

    >>> standing = Standing(items={"u": {"a": 5, "b": 9}})
    >>> standing.at("u", 5)
    (('a',), (), ())
    """

    items: Since = field(default_factory=dict)
    categories: Since = field(default_factory=dict)
    events: Since = field(default_factory=dict)

    @classmethod
    def of(cls, control: Control) -> Self:
        """As Control has it."""
        return cls(*({user: {name: _micros(at) for name, at in found.items()}
                      for user, found in control.excluded_since(kind).items()} for kind in KINDS))

    def at(self, user: str, micros: int) -> tuple[tuple[str, ...], ...]:
        """The items, the categories and the events that a user had excluded at a time."""
        return tuple(tuple(sorted(name for name, since in held.get(user, {}).items() if since <= micros))
                     for held in (self.items, self.categories, self.events))

    @property
    def left_out(self) -> frozenset[str]:
        """The ids of all excluded events, as `excluded_events`."""
        return frozenset().union(*self.events.values())


def _micros(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def excluded_events(control: Control) -> frozenset[str]:
    """The ids of all feedback that its shopper excluded, whoever it is."""
    return frozenset().union(*control.exclusions(kind="event")[1].values())


def without(rows: pa.Table, events: AbstractSet[str]) -> pa.Table:
    """Rows of feedback or outcomes without those of excluded events; rows need `event_id`.

    >>> without(pa.table({"event_id": ["e1", "e2"]}), {"e1"})["event_id"].to_pylist()
    ['e2']
    """
    if not events:
        return rows
    return rows.filter(pc.invert(pc.is_in(rows["event_id"], value_set=pa.array(sorted(events), pa.string()))))
