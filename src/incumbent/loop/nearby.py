"""nearby: of many impressions, only the slots whose (user, item) some feedback names: a kernel in front of the engine.

Most of what was shown is never acted on. Leaving it out before the join, on codes and without copying a text, costs a
tenth of exploding it; the join behind it decides, so that this may keep too much and must never drop too much.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.loop.relations import SLOT_FIELDS

_BLOOM_BITS = 22  # of a table of key remainders that turns away most slots before the exact look-up


class Wanted:
    """The (user, item) pairs of some feedback, as codes."""

    def __init__(self, users: pa.ChunkedArray, items: pa.ChunkedArray) -> None:
        self.users, self.items = (pc.unique(column) for column in (users, items))
        codes = _codes(users, self.users) * len(self.items) + _codes(items, self.items)
        self.keys = np.unique(codes)
        self._bloom = np.zeros(1 << _BLOOM_BITS, np.bool_)
        self._bloom[self.keys & (len(self._bloom) - 1)] = True

    def holds(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each key is one of these pairs."""
        found: NDArray[np.bool_] = self._bloom[keys & (len(self._bloom) - 1)]
        maybe = np.flatnonzero(found)
        at = np.minimum(np.searchsorted(self.keys, keys[maybe]), len(self.keys) - 1)
        found[maybe] = self.keys[at] == keys[maybe]
        return found


def nearby(impressions: pa.Table, wanted: Wanted) -> pa.Table:
    """One row per slot that shows something wanted: its impression's columns, and `SLOT_FIELDS` in place of `slots`.

    >>> shown = pa.table({"user_id": ["u", "v"], "slots": pa.array(
    ...     [[{name: None for name in SLOT_FIELDS} | {"item_id": item} for item in "ab"]] * 2)})
    >>> asked = pa.table({"user_id": ["u"], "item_id": ["b"]})
    >>> nearby(shown, Wanted(asked["user_id"], asked["item_id"])).select(["user_id", "item_id"]).to_pylist()
    [{'user_id': 'u', 'item_id': 'b'}]
    """
    found = [_batch(batch, wanted) for batch in impressions.to_batches()]
    return pa.Table.from_batches(found) if found else pa.schema(
        [field for field in impressions.schema if field.name != "slots"] + [
            pa.field(name, kind) for name, kind in SLOT_FIELDS.items()]).empty_table()


def _batch(batch: pa.RecordBatch, wanted: Wanted) -> pa.RecordBatch:
    slots = batch.column("slots")
    flat = slots.flatten()
    lengths = pc.fill_null(pc.list_value_length(slots), 0).to_numpy(zero_copy_only=False)
    user = _codes(batch.column("user_id"), wanted.users)
    of_user = np.repeat(user, lengths)
    known = np.flatnonzero(of_user >= 0)
    items = pc.struct_field(flat, "item_id")
    if 2 * len(known) < len(of_user):
        items, of_user = items.take(pa.array(known)), of_user[known]
    else:
        known = np.arange(len(of_user))
    item = _codes(items, wanted.items)
    hit = (of_user >= 0) & (item >= 0)
    hit &= wanted.holds(np.where(hit, of_user * len(wanted.items) + item, 0))
    chosen = known[hit]
    parent = np.repeat(np.arange(len(batch)), lengths)[chosen]
    found = batch.drop_columns(["slots"]).take(pa.array(parent))
    for name, kind in SLOT_FIELDS.items():
        found = found.append_column(name, pc.struct_field(flat, name).take(pa.array(chosen)).cast(kind))
    return found


def _codes(column: pa.Array | pa.ChunkedArray, known: pa.Array) -> NDArray[np.int64]:
    """The index of each value among the known ones, -1 for others."""
    codes: NDArray[np.int64] = pc.fill_null(pc.index_in(column, value_set=known), -1).to_numpy().astype(np.int64)
    return codes
