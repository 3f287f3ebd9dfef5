"""The stories that the demo can tell: which champion meets which candidate."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from incumbent.demo import item_cf, popularity
from incumbent.demo.data import Lines
from incumbent.demo.lists import Lists

Story = Literal["cf", "worse", "twin", "identical"]
STORIES: tuple[Story, ...] = ("cf", "worse", "twin", "identical")


def cast(story: Story, lines: Lines, seed: int) -> tuple[Lists, Lists]:
    """Train champion and candidate of a story on the training months.

    cf: popularity against item-to-item collaborative filtering. worse: against the least bought products of the
    catalogue. identical: against a copy of itself. twin: two collaborative filters whose similarities were learnt
    from random halves of the households; the seed draws the halves and which of them is champion, so that neither
    side is the better one by design.
    """
    popular = popularity.train(lines)
    if story == "cf":
        return popular, item_cf.train(lines, fallback=popular)
    if story == "worse":
        return popular, popularity.train_inverted(lines)
    if story == "identical":
        return popular, msgspec.structs.replace(popular, name="popular_copy")
    households = np.unique(lines.household)
    half = np.random.default_rng([seed, 2]).permutation(households)[:len(households) // 2]
    first = np.isin(lines.household, half)
    return (item_cf.train(lines, name="twin_a", fallback=popular, learn=first),
            item_cf.train(lines, name="twin_b", fallback=popular, learn=~first))
