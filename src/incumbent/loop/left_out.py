"""left_out: past interactions that shoppers excluded, left out of what shapes or judges recommendations.

They are no history and nothing wanted: exports to training, offline relevance and the histories that metrics compare
with leave them out. What was bought stays bought: money, credit and verdicts count them.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import pyarrow as pa
import pyarrow.compute as pc

from incumbent.stores.store import Control


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
