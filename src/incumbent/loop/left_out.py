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

Spans = tuple[tuple[int, int | None], ...]  # from, until, in microseconds since 1970; None: it still holds
Held = Mapping[str, Mapping[str, Spans]]  # user -> what is excluded -> when


@dataclass(frozen=True)
class Standing:
    """What shoppers excluded, and when it held: a past day goes by what held then, whatever was taken back since.

    >>> standing = Standing(items={"u": {"a": ((5, 7), (9, None))}})
    >>> [standing.at("u", at)[0] for at in (4, 5, 6, 7, 9)]
    [(), ('a',), ('a',), (), ('a',)]
    """

    items: Held = field(default_factory=dict)
    categories: Held = field(default_factory=dict)
    events: Held = field(default_factory=dict)

    @classmethod
    def of(cls, control: Control) -> Self:
        """As Control has it."""
        return cls(*({user: {name: tuple((_micros(since), None if until is None else _micros(until))
                                         for since, until in spans) for name, spans in found.items()}
                      for user, found in control.excluded_spans(kind).items()} for kind in KINDS))

    def at(self, user: str, micros: int) -> tuple[tuple[str, ...], ...]:
        """The items, the categories and the events that a user had excluded at a time."""
        return tuple(tuple(sorted(name for name, spans in held.get(user, {}).items() if _holds(spans, micros)))
                     for held in (self.items, self.categories, self.events))

    def left_out(self, micros: int | None = None) -> frozenset[str]:
        """The ids of all events that were excluded at a time; None: that are now, as `excluded_events`."""
        return frozenset(name for found in self.events.values() for name, spans in found.items()
                         if (spans[-1][1] is None if micros is None else _holds(spans, micros)))


def _holds(spans: Spans, micros: int) -> bool:
    return any(since <= micros and (until is None or micros < until) for since, until in spans)


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
