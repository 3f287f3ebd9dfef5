"""Recommended items by category, brand and price band: frozen cells, and by the catalogue what came after them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from incumbent.drift.breakdown import MISSING, price_bands
from incumbent.loop.drift.facts import Facts
from incumbent.stats.items import Items
from incumbent.stats.items_vocabulary import Vocabulary

Part = tuple[str, Sequence[str], Any, Any]  # by what, labels, current and reference counts
OTHERS = "all others"


def by_attribute(vocabulary: Vocabulary, now: Items, then: Items, facts: Facts, before: Facts | None,
                 unknown: Mapping[str, int]) -> list[Part]:
    """Brand, price band and category with their counts on each side, where the catalogue knows any.

    `unknown` are the window's rows of ids that the vocabulary does not know, `before` what the catalogue said at the
    end of the matched windows. Items that came to the catalogue since, or of which no matched window showed any, leave
    the cell that they were counted in for what the catalogue says of them now; a value that it had never said is
    ``(new)``.
    """
    ids = list(vocabulary.ids[:len(now.top) - 1])
    known = frozenset() if before is None or not then.new else frozenset(before.ids.to_pylist())
    came = {one: n for one, n in unknown.items() if one not in known and one not in facts.delisted}
    top, fresh = pa.array(ids, pa.string()), pa.array(list(came), pa.string())
    both, rows = pa.concat_arrays([top, fresh]), list(came.values())
    current, reference = (np.append(s.top[:-1], s.top[-1] + s.new) for s in (now, then))
    prices = np.asarray(facts.of(both, "price_minor").cast(pa.float64()).to_numpy(zero_copy_only=False))
    bands = price_bands(prices, np.append(then.top[:-1], np.zeros(len(came))))
    found: list[Part] = []
    for by, labels, said in (("brand", facts.of(both, "brand").to_pylist(), _said(before, "brand")),
                             ("price band", bands, {*bands})):
        if any(labels):
            cells = [*(one or MISSING for one in labels[:len(ids)]), OTHERS]
            found.append((by, *_dealt(cells, current, reference, _sums(labels[len(ids):], rows), said)))
    if names := vocabulary.categories:
        told = _sums(facts.of(fresh, "category").to_pylist(), rows)
        told = {one: n for one, n in told.items() if one not in names}  # the others stand in their cells
        cells = [*names, "(unknown)"]
        found.append(("category", *_dealt(cells, now.category, then.category, told, _said(before, "category"))))
    return found


def _dealt(labels: Sequence[str], now: Any, then: Any, told: Mapping[str, int], said: Collection[str | None],
           ) -> tuple[list[str], list[int], list[int]]:
    """Rows of the last cell by their value. One that the catalogue had said before, but that has no cell, stays in it
    where the reference may hold such rows there too."""
    names, rest = set(labels[:-1]), len(labels) - 1
    made, current, reference = list(labels), [int(n) for n in now], [int(n) for n in then]
    for value, rows in told.items():
        if value not in names and value in said and reference[rest]:
            continue
        moved = min(rows, current[rest])
        current[rest] -= moved
        made.append(value if value in names or value in said else f"{value} (new)")
        current.append(moved)
        reference.append(0)
    return made, current, reference


def _sums(values: Sequence[str | None], rows: Sequence[int]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for value, n in zip(values, rows, strict=True):
        if value:
            found[value] += n
    return found


def _said(before: Facts | None, name: str) -> set[str | None]:
    return set() if before is None else set(before.of(before.ids, name).to_pylist())
