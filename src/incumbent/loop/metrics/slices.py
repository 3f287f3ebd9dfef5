"""By what metrics are cut: attributes of the request and of items, each with a budget of values and an "other" cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import json
from numpy.typing import NDArray

from incumbent.config import MetricsConfig
from incumbent.loop.metrics.rows import one_array
from incumbent.loop.metrics.sides import Facts

OTHER, UNKNOWN = "other", "unknown"
LANES = ("interleave", "holdout")  # compared as a past experiment; no part of the budget


@dataclass(frozen=True, eq=False)
class Cut:
    """A value per row: ``names[codes[j]]``; -1 is in no cell."""

    by: str
    names: list[str]
    codes: NDArray[np.int64]


class Budget:
    """The values that are kept apart, per surface and attribute: the first ones that come, in the order of their size.

    They stay, so that a cell means the same on every day; a value that comes when the budget is used up is `OTHER`.

    >>> budget = Budget({}, 1)
    >>> budget.cut("home", "country", ["DE", "FR", None, "DE"]).codes.tolist(), budget.kept
    ([0, 1, 2, 0], {'home': {'country': ['DE']}})
    """

    def __init__(self, kept: dict[str, dict[str, list[str]]], size: int) -> None:
        self.kept, self._size = kept, size

    def cut(self, surface: str, by: str, values: Sequence[str | None]) -> Cut:
        """A value per row as a cell; None is `UNKNOWN`."""
        known = self.kept.setdefault(surface, {}).setdefault(by, [])
        fresh = Counter(value for value in values if value is not None and value not in known)
        for value, _ in sorted(fresh.items(), key=lambda pair: (-pair[1], pair[0]))[:max(self._size - len(known), 0)]:
            known.append(value)
        names = [*known, OTHER, UNKNOWN]
        at = {value: code for code, value in enumerate(known)}
        codes = [len(known) + 1 if value is None else at.get(value, len(known)) for value in values]
        return Cut(by, names, np.array(codes, np.int64))


def of_requests(impressions: pa.Table, surface: str, config: MetricsConfig, budget: Budget,
                returning: Sequence[bool]) -> list[Cut]:
    """The cuts of requests by context, by new and returning visitors (a bool per row), and by lane of an experiment."""
    cuts = of_json(impressions["context"], config.context, surface, budget)
    if "visitor" in config.attributes:
        cuts.append(Cut("visitor", ["new", "returning"], np.array(returning, np.int64)))
    lanes = [f"{experiment}:{lane}" if experiment is not None and lane in LANES else None for experiment, lane in zip(
        impressions["experiment"].to_pylist(), impressions["lane"].to_pylist(), strict=True)]
    names = sorted({lane for lane in lanes if lane is not None})
    if names:
        at = {lane: code for code, lane in enumerate(names)}
        cuts.append(Cut("lane", names, np.array([-1 if lane is None else at[lane] for lane in lanes], np.int64)))
    return cuts


def of_json(column: Any, keys: Sequence[str], surface: str, budget: Budget) -> list[Cut]:
    """The cuts by keys of a JSON object per row; a key that nobody ever sent cuts nothing."""
    texts = one_array(column).dictionary_encode()
    parsed = [json.decode(text) if text else {} for text in texts.dictionary.to_pylist()]
    index, cuts = texts.indices.fill_null(-1).to_pylist(), []
    for by in keys:
        known = [_text(one.get(by)) for one in parsed]
        if any(value is not None for value in known) or budget.kept.get(surface, {}).get(by):
            cuts.append(budget.cut(surface, by, [known[at] if at >= 0 else None for at in index]))
    return cuts


def of_items(items: Any, surface: str, config: MetricsConfig, budget: Budget, facts: Facts | None) -> list[Cut]:
    """The cuts of items by category, brand, price band, and what else the catalogue tells of them."""
    asked = [by for by in config.attributes if by != "visitor"]
    if facts is None or not (asked or config.item_attributes):
        return []
    table = facts.among(items)
    place = pc.index_in(one_array(items), one_array(table["item_id"]))
    cuts = [budget.cut(surface, by, one_array(table[by]).take(place).to_pylist())
            for by in asked if by != "price_band"]
    cuts += of_json(one_array(table["attributes"]).take(place), config.item_attributes, surface, budget)
    if "price_band" in asked:
        price = one_array(table["price_minor"]).take(place).to_numpy(zero_copy_only=False).astype(np.float64)
        edges = sorted(config.price_bands)
        names = [*(f"below {edge}" for edge in edges), f"{edges[-1]} and more" if edges else "any", UNKNOWN]
        codes = np.where(np.isnan(price), len(names) - 1, np.searchsorted(edges, np.nan_to_num(price), side="right"))
        cuts.append(Cut("price_band", names, codes.astype(np.int64)))
    return cuts


def _text(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)[:64]
