"""Prediction drift: what one model recommends, as items, categories, prices and scores. One state per model."""

from __future__ import annotations

from typing import Any

from incumbent.drift import categorical, concentration, numeric
from incumbent.errors import DataError
from incumbent.stats.composite import Composite
from incumbent.stats.distinct import Distinct
from incumbent.stats.estimate import Estimate
from incumbent.stats.items import Items
from incumbent.stats.numeric import Numeric


def predictions(items: Items, *, price: Numeric | None = None, score: Numeric | None = None) -> Composite:
    """The empty state of a model's recommendations: a `Composite` of ``items`` (ids and categories), ``price``, ``score``.

    Each part is in the cells of the baseline: `Items.over`, `Numeric.fit`. Update it by name, with a row per slot
    recommended: ``update(items=vocabulary.encode(ids), price=..., score=...)``; it adds and subtracts part by part. Scores
    of two model versions need not be on one scale: fit them per version, or leave them out.

    >>> import numpy as np
    >>> from incumbent.stats.items_vocabulary import Vocabulary
    >>> v = Vocabulary.fit({"a": 50, "b": 50}, {"a": "shoes", "b": "bags"})
    >>> zero = predictions(Items.over(v), score=Numeric.fit(np.linspace(0, 1, 200)))
    >>> usual = zero.update(items=v.encode(["a", "b"] * 100), score=np.linspace(0, 1, 200))
    >>> odd = zero.update(items=v.encode(["a", "x"] * 100), score=np.linspace(0, 1, 200) ** 2)
    >>> found = prediction_scores(odd, usual)
    >>> round(found["items/new"], 2), round(found["score/ks"], 1), round(found["items/category_js"], 1)
    (0.5, 0.2, 0.3)
    """  # noqa: E501
    parts: dict[str, Any] = {"items": items, "price": price, "score": score}
    made = Composite.of(**{name: part for name, part in parts.items() if part is not None})
    if not isinstance(items, Items) or not all(part is None or isinstance(part, Numeric) for part in (price, score)):
        raise DataError("predictions are items and numbers", got=made, expected="Items, and Numeric price and score")
    if not made.empty:
        raise DataError("predictions begin empty", got=made, hint="hand over the states that fit and over gave")
    return made


def prediction_scores(current: Composite, reference: Composite) -> dict[str, float]:
    """Every statistic of every part as ``part/name``: `categorical.STATISTICS` of items, `numeric.STATISTICS` of the others.

    A part without a sound value on one side is left out: `prediction_reasons` says so. `StateError` where the parts are
    not the same.
    """  # noqa: E501
    left_out = prediction_reasons(current, reference)
    out = {}
    for name in reference.parts:
        if name in left_out:
            continue
        table: Any = categorical.STATISTICS if isinstance(reference.parts[name], Items) else numeric.STATISTICS
        for key, statistic in table.items():
            out[f"{name}/{key}"] = statistic(current.part(name), reference.part(name))
    return out


def prediction_reasons(current: Composite, reference: Composite) -> dict[str, str]:
    """Why a part has no scores: a status of its own, and no drift."""
    current.merge(reference)  # refuses what does not compare
    reasons = {}
    for name in reference.parts:
        for side, state in (("current", current), ("reference", reference)):
            if int(state.part(name).n) == 0:
                reasons[name] = f"the {side} state has no sound values"
    return reasons


def exposure(state: Composite, shown: Distinct | None = None, *, catalogue: int | None = None) -> dict[str, Estimate]:
    """How a model spreads what it recommends: `gini`, `hhi`, and `coverage` where the distinct ids are given.

    The sketch stands beside the composite and not in it, since it cannot subtract; `catalogue` defaults to the size of
    the vocabulary.
    """
    items: Items = state.part("items")
    found = {"gini": concentration.gini(items), "hhi": concentration.hhi(items)}
    if shown is not None:
        found["coverage"] = concentration.coverage(shown, catalogue or int(items.config["size"]))
    return found
