"""What the catalogue says of items at a moment: the newest `Item` event of each before it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from incumbent.stores.store import Lake
from incumbent.stores.tables import TIME

COLUMNS = ("title", "category", "brand", "price_minor", "currency", "listed")


class Catalogue:
    """All `Item` events of a lake, read once and only when somebody asks: `at` any moment."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._known: dict[datetime, Facts] = {}

    @cached_property
    def _rows(self) -> pa.Table:
        rows = self._lake.scan("item", columns=["item_id", "time", "event_id", *COLUMNS])
        return rows.sort_by([("time", "ascending"), ("event_id", "ascending")])

    def at(self, moment: datetime) -> Facts:
        """What is known of every item just before a moment."""
        if moment not in self._known:
            before = self._rows.filter(pc.less(self._rows["time"], pa.scalar(moment, TIME)))
            same = next((facts for facts in self._known.values() if facts.events == before.num_rows), None)
            self._known[moment] = same or Facts(before)
        return self._known[moment]


class Facts:
    """A fact of each of many items: columns aligned with `ids`."""

    def __init__(self, rows: pa.Table) -> None:
        self.events = rows.num_rows
        keep = pc.ScalarAggregateOptions(skip_nulls=False)
        newest: Any = rows.group_by("item_id", use_threads=False).aggregate([(name, "last", keep) for name in COLUMNS])
        self._table = newest.rename_columns(
            [name.removesuffix("_last") for name in newest.column_names]).combine_chunks()

    @cached_property
    def ids(self) -> pa.Array:
        """All items of the catalogue, listed or not."""
        return _whole(self._table["item_id"])

    def of(self, ids: pa.Array | pa.ChunkedArray, name: str) -> pa.Array:
        """One fact of each id, null where it is not known."""
        where = pc.index_in(_whole(ids), value_set=self.ids)
        return _whole(self._table[name]).take(where)

    def listed(self, name: str) -> dict[str, Any]:
        """id -> a fact, of the items that are listed."""
        on = self._table.filter(pc.fill_null(self._table["listed"], True))
        return dict(zip(on["item_id"].to_pylist(), on[name].to_pylist(), strict=True))

    @cached_property
    def delisted(self) -> frozenset[str]:
        """The items that were taken out."""
        off = self._table.filter(pc.equal(pc.fill_null(self._table["listed"], True), False))
        return frozenset(off["item_id"].to_pylist())

    def titles(self, ids: Collection[str]) -> dict[str, str]:
        """id -> title, or the id itself where there is none."""
        asked = list(ids)
        found = self.of(pa.array(asked, pa.string()), "title").to_pylist()
        return {one: title or one for one, title in zip(asked, found, strict=True)}


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    made = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pa.concat_arrays(made.chunks) if isinstance(made, pa.ChunkedArray) else made
