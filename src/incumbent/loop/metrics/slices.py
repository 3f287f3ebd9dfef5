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
                returning: set[str]) -> list[Cut]:
    """The cuts of requests by context, by new and returning visitors, and by lane of an experiment."""
    cuts = []
    contexts = one_array(impressions["context"]).dictionary_encode()
    parsed = [json.decode(text) if text else {} for text in contexts.dictionary.to_pylist()]
    index = contexts.indices.fill_null(-1).to_pylist()
    for by in config.context:
        known = [_text(one.get(by)) for one in parsed]
        if any(value is not None for value in known) or budget.kept.get(surface, {}).get(by):
            cuts.append(budget.cut(surface, by, [known[at] if at >= 0 else None for at in index]))
    if "visitor" in config.attributes:
        codes = [int(user in returning) for user in impressions["user_id"].to_pylist()]
        cuts.append(Cut("visitor", ["new", "returning"], np.array(codes, np.int64)))
    lanes = [f"{experiment}:{lane}" if experiment is not None and lane in LANES else None for experiment, lane in zip(
        impressions["experiment"].to_pylist(), impressions["lane"].to_pylist(), strict=True)]
    names = sorted({lane for lane in lanes if lane is not None})
    if names:
        at = {lane: code for code, lane in enumerate(names)}
        cuts.append(Cut("lane", names, np.array([-1 if lane is None else at[lane] for lane in lanes], np.int64)))
    return cuts


def of_items(items: Any, surface: str, config: MetricsConfig, budget: Budget, facts: Facts | None) -> list[Cut]:
    """The cuts of items by category and price band."""
    asked = [by for by in config.attributes if by in ("category", "price_band")]
    if facts is None or not asked:
        return []
    table = facts.among(items)
    place = pc.index_in(one_array(items), one_array(table["item_id"]))
    cuts = []
    if "category" in asked:
        cuts.append(budget.cut(surface, "category", one_array(table["category"]).take(place).to_pylist()))
    if "price_band" in asked:
        price = one_array(table["price_minor"]).take(place).to_numpy(zero_copy_only=False).astype(np.float64)
        edges = sorted(config.price_bands)
        names = [*(f"below {edge}" for edge in edges), f"{edges[-1]} and more" if edges else "any", UNKNOWN]
        codes = np.where(np.isnan(price), len(names) - 1, np.searchsorted(edges, np.nan_to_num(price), side="right"))
        cuts.append(Cut("price_band", names, codes.astype(np.int64)))
    return cuts


def of_events(events: Any, cut: Cut, requests: pa.Table) -> NDArray[np.int64]:
    """The cell of each event: that of the request it is credited to, or of its user's first one, or none."""
    code = dict(zip(requests["request_id"].to_pylist(), cut.codes.tolist(), strict=True))
    of_user: dict[str, int] = {}
    for user, at in zip(requests["user_id"].to_pylist(), cut.codes.tolist(), strict=True):
        of_user.setdefault(user, at)
    return np.array([code.get(request, of_user.get(user, -1)) for request, user in zip(
        events["request_id"].to_pylist(), events["user_id"].to_pylist(), strict=True)], np.int64)


def _text(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)[:64]
