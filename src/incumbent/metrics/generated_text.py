"""The share of texts around generating models in which a scorer finds something; users are the unit of inference.

Rows are texts: user_id, text, and where they are known place, item_id and shown (the items of the page). The place of a
text decides who is asked: what models wrote is checked for names, prices and language, what they were given for
instructions that somebody hid in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from incumbent.metrics.frames import Codes, columns
from incumbent.metrics.metric import Batch, Direction, Grain, Level, Side, no_settings
from incumbent.metrics.scorer import Facts, Scorer, Text, reasons, scorer_of
from incumbent.stats.bounded_share import within
from incumbent.stats.buckets import Buckets, bucket_of
from incumbent.stats.estimate import Estimate

WRITTEN = ("page", "title", "explanation")
GIVEN = ("input", "retrieved", "catalogue")


@dataclass(frozen=True)
class FlaggedTexts:
    """``flagged texts / texts`` among those of `places`, the interval from between buckets of users.

    >>> language = blocked_language()
    >>> batch = Batch({"user_id": ["u", "v"], "text": ["fine boots", "you idiot"]})
    >>> language.estimate(language.state().update(*language.observe(batch, Side()))).value
    0.5
    """

    name: str
    scorer: Scorer
    places: tuple[str, ...]
    needs_catalogue: bool = False
    unit: str = "of texts"
    direction: Direction = "down"
    level: Level = "response"
    grain: Grain = "impression"
    columns: tuple[str, ...] = ("user_id", "text")
    clusters: int = 64

    def state(self, config: Mapping[str, Any] | None = None) -> Buckets:
        """No texts yet. There is nothing that a baseline freezes: any key is a `DataError`."""
        no_settings(self.name, config)
        return Buckets.zero(k=self.clusters, variables=["flagged"])

    def observe(self, batch: Batch, side: Side) -> tuple[Codes, NDArray[np.float64]]:
        """The bucket of each text's user, and 1 where something was found; texts of other places are left out."""
        facts = batch.once(facts_of, side) if self.needs_catalogue else Facts()
        if self.needs_catalogue:
            side.need("catalogue", self.name)
        users, flags = [], []
        for user, text in batch.once(texts_of):
            if text.place in self.places:
                users.append(user)
                flags.append(float(bool(reasons(self.scorer, text, facts))))
        return bucket_of(users, self.clusters), np.array(flags).reshape(-1)

    def estimate(self, state: Buckets) -> Estimate:
        """The share; missing without texts."""
        return within(state.ratio("flagged", unit=self.unit), int((state.rows > 0).sum()))


def texts_of(batch: Batch, side: Side | None = None) -> list[tuple[str, Text]]:
    """The texts of a batch with their users; rows without either are left out."""
    found = columns(batch.rows, "texts", ("user_id", "text"), ("place", "item_id", "shown"))
    size = len(found["text"])
    rows = {name: found[name].to_pylist() if name in found else [None] * size
            for name in ("user_id", "text", "place", "item_id", "shown")}
    return [(str(user), Text(text, place or "page", item, tuple(shown or ())))
            for user, text, place, item, shown in zip(*rows.values(), strict=True) if user is not None and text]


def facts_of(batch: Batch, side: Side | None) -> Facts:
    """The catalogue of a side as facts."""
    assert side is not None
    found = columns(side.need("catalogue", "checks of text"), "catalogue", ("item_id",),
                    ("title", "price_minor", "currency"))
    ids = found["item_id"].cast(pa.string()).to_pylist()
    rest = [found[name].to_pylist() if name in found else [None] * len(ids)
            for name in ("title", "price_minor", "currency")]
    return Facts.of(zip(ids, *rest, strict=True))


def invented_titles() -> FlaggedTexts:
    """The share of texts about items that the catalogue does not have."""
    return FlaggedTexts("invented_titles", scorer_of("unknown_items"), ("title", "explanation"), True)


def unsupported_claims(*, tolerance: int = 0) -> FlaggedTexts:
    """The share of texts that name items, or state prices, which the catalogue does not have."""
    return FlaggedTexts("unsupported_claims", scorer_of("claims", {"tolerance": tolerance}), WRITTEN, True)


def blocked_language(*, scorer: str = "blocked_language", more: tuple[str, ...] = ()) -> FlaggedTexts:
    """The share of texts with blocked or toxic language, by the word list or a scorer of yours."""
    settings = {"more": more} if more else None
    return FlaggedTexts(f"blocked_language[{scorer}]", scorer_of(scorer, settings), WRITTEN)


def hidden_instructions(*, scorer: str = "hidden_instructions") -> FlaggedTexts:
    """The share of inputs, retrieved pieces and item texts that hold instructions to the model."""
    return FlaggedTexts(f"hidden_instructions[{scorer}]", scorer_of(scorer), GIVEN)
