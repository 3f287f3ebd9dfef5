"""Lists made clean before they meet: no item twice, nothing hidden, variants that look alike made one."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import count
from types import MappingProxyType
from typing import Any

from msgspec import Struct


class Ranked(list[str]):
    """A clean list, best first, that also knows its ranks: ``ranks[item_id]`` counts from 1.

    `scores` are aligned with it, or None. Made once, so that a draft of k slots costs k and not the whole list.
    Duplicates in `items` are dropped; where there may be any, use `clean`, which counts them and keeps scores aligned.

    >>> ranked = Ranked(["a", "b"])
    >>> ranked.ranks["b"], ranked == ["a", "b"]
    (2, True)
    """

    __slots__ = ("ranks", "scores")

    def __init__(self, items: Iterable[str] = (), scores: list[float] | None = None) -> None:
        super().__init__(items)
        self.ranks = dict(zip(self, range(1, len(self) + 1), strict=True))
        self.scores = scores
        if len(self.ranks) != len(self):
            if scores is not None:
                raise ValueError("duplicates in a scored list: clean it first")
            self[:] = dict.fromkeys(self)
            self.ranks = dict(zip(self, range(1, len(self) + 1), strict=True))

    @classmethod
    def of(cls, items: Iterable[str], ranks: dict[str, int], scores: list[float] | None) -> Ranked:
        """A list whose ranks are known already; nothing is checked."""
        made = cls.__new__(cls)
        made.extend(items)
        made.ranks, made.scores = ranks, scores
        return made


def ranked(items: Sequence[str]) -> Ranked:
    """The list itself where it is clean already, else a clean copy."""
    return items if isinstance(items, Ranked) else Ranked(items)


_SOUND: Mapping[str, int] = MappingProxyType({})


class Cleaned(Struct, frozen=True):
    """A clean list and what was taken out of it: ``{"duplicates": 2, "excluded": 1}``."""

    items: Any  # Ranked
    defects: Mapping[str, int]

    @property
    def reason(self) -> str | None:
        """The defects as the impression logs them.

        >>> Cleaned(Ranked(), {"duplicates": 2, "delisted": 1}).reason
        'duplicates=2 delisted=1'
        """
        return " ".join([f"{name}={count}" for name, count in self.defects.items()]) if self.defects else None


def clean(
    items: Sequence[str], scores: list[float] | None, hidden: Mapping[str, AbstractSet[str]],
    keys: Mapping[str, str] | None = None, ranks: dict[str, int] | None = None,
) -> Cleaned:
    """A model's list without duplicates (the first stays) and without what must not be shown, scores still aligned.

    `hidden` names sets of items to take out (``pinned``, ``excluded``, ``delisted``); an item is counted under the
    first that holds it. `keys` are the look-alikes of `look_alikes`: a second item of one key is a duplicate. Give
    `ranks` (from 1) where they are known: then no item comes twice.

    >>> cleaned = clean(["a", "b", "a", "c"], [4.0, 3.0, 2.0, 1.0], {"delisted": {"b"}})
    >>> cleaned.items, cleaned.items.scores, cleaned.reason
    (['a', 'c'], [4.0, 1.0], 'delisted=1 duplicates=1')
    """
    if ranks is None:
        ranks = dict(zip(items, count(1)))
    if not keys and len(ranks) == len(items):
        for gone in hidden.values():
            if not gone.isdisjoint(ranks):
                break
        else:
            return Cleaned(Ranked.of(items, ranks, scores), _SOUND)
    defects: dict[str, int] = {}
    seen: set[str] = set()
    kept: list[int] = []
    for index, item in enumerate(items):
        key = keys.get(item, item) if keys else item
        why = "duplicates" if key in seen else next((name for name, gone in hidden.items() if item in gone), None)
        if why is None:
            kept.append(index)
        else:
            defects[why] = defects.get(why, 0) + 1
        seen.add(key)
    chosen = Ranked([items[index] for index in kept])
    chosen.scores = None if scores is None else [scores[index] for index in kept]
    return Cleaned(chosen, defects)


def break_ties(items: list[str], scores: list[float] | None, seed: str) -> list[str]:
    """A model's list with neighbours of equal score in the order of ``BLAKE2b-64(seed 0x1f item_id)``.

    Where a model says that it is indifferent, neither ids nor the order in which it happened to list them may decide,
    for the two models would decide alike or unlike for no reason. The seed is the user's id, so that a shopper sees one
    order. Items of different scores keep the model's own order, whether it follows its scores or not; a list without
    scores is kept as it is. The scores stay as they are: only equal ones change places.

    >>> break_ties(["a", "b", "c", "d"], [2.0, 1.0, 1.0, 0.5], "u43")
    ['a', 'c', 'b', 'd']
    """
    if scores is None or not _tied(scores):
        return items
    ordered: list[str] = []
    start = 0
    seeded = hashlib.blake2b(f"{seed}\x1f".encode(), digest_size=8)

    def key(item: str) -> bytes:
        hashed = seeded.copy()
        hashed.update(item.encode())
        return hashed.digest()

    for end in range(1, len(items) + 1):
        if end == len(items) or scores[end] != scores[start]:
            run = items[start:end]
            ordered += run if len(run) == 1 else sorted(run, key=key)
            start = end
    return ordered


def _tied(scores: list[float]) -> bool:
    before = None
    for score in scores:
        if score == before:
            return True
        before = score
    return False


def look_alikes(groups: Mapping[str, str], presentations: Mapping[str, str]) -> dict[str, str]:
    """The key under which items are one and the same to a shopper: their group and their presentation, both equal.

    Items of one group that look different, or whose presentation is not known, stay different items: they contest a
    slot. Keys hold a character that ids do not, so that no key is taken for an item.

    >>> sorted(look_alikes({"s-39": "shoe", "s-40": "shoe", "s-red": "shoe"}, {"s-39": "#1", "s-40": "#1"}))
    ['s-39', 's-40']
    """
    return {item: f"{groups[item]}\x1f{seen}" for item, seen in presentations.items() if item in groups}


def unify(champion: Ranked, candidate: Ranked, keys: Mapping[str, str]) -> Ranked:
    """The candidate's list with the champion's id in place of an item that looks the same: then it is shared.

    >>> unify(Ranked(["s-39", "x"]), Ranked(["y", "s-40"]), {"s-39": "shoe", "s-40": "shoe"})
    ['y', 's-39']
    """
    shown = {keys[item]: item for item in champion if item in keys}
    if not any(item in keys and keys[item] in shown for item in candidate):
        return candidate
    same = Ranked([shown.get(keys[item], item) if item in keys else item for item in candidate])
    same.scores = candidate.scores
    return same


def without(items: Ranked, shown: Collection[str]) -> Ranked:
    """The rest of a list once some of it has been shown; ranks stay those of the whole list.

    >>> rest = without(Ranked(["a", "b", "c"]), {"a"})
    >>> rest, rest.ranks["b"]
    (['b', 'c'], 2)
    """
    gone = frozenset(shown)
    return Ranked.of([item for item in items if item not in gone], items.ranks, items.scores)
