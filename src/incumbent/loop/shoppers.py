"""shoppers: what each shopper does not want, as a gateway holds it: items, categories, past interactions.

Standard library only: a gateway has no Arrow. Which item is of which category comes from Control, where the loop keeps
the catalogue's (`catalogue`), and is loaded only once somebody has excluded a category.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from incumbent.stores.store import Control

Kind = Literal["item", "category", "event"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: how a kind is called where all of them are listed
PLURAL: dict[Kind, str] = {"item": "items", "category": "categories", "event": "events"}
CATEGORIES, VERSION = "catalogue/categories", "catalogue/categories/version"  # cursors
_NONE: frozenset[str] = frozenset()


class Barred(AbstractSet[str]):
    """The items that must not be shown: those named, and all of the categories named. It iterates over the former.

    >>> barred = Barred(frozenset({"a"}), frozenset({"shoes"}), {"b": "shoes", "c": "hats"})
    >>> "a" in barred, "b" in barred, "c" in barred, sorted(barred), barred.isdisjoint(["c", "b"])
    (True, True, False, ['a'], False)
    """

    __slots__ = ("_categories", "_category_of", "_items")

    def __init__(self, items: AbstractSet[str], categories: AbstractSet[str], category_of: Mapping[str, str]) -> None:
        self._items, self._categories, self._category_of = items, categories, category_of

    def __contains__(self, item: object) -> bool:
        return item in self._items or self._category_of.get(item) in self._categories  # type: ignore[call-overload]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return bool(self._items) or bool(self._categories)

    def isdisjoint(self, other: Iterable[str]) -> bool:
        """Whether none of `other` is barred."""
        return not any(item in self for item in other)

    def also(self, items: Iterable[str]) -> Barred:
        """With more items."""
        return Barred(self._items | frozenset(items), self._categories, self._category_of)


class Change(Struct, frozen=True):
    """What a look at Control found; `whole` where everything held is to be forgotten first."""

    whole: bool
    categories: dict[str, frozenset[str]]
    events: dict[str, frozenset[str]]
    category_of: dict[str, str] | None = None  # where there is a newer one
    version: str | None = None


class Shoppers:
    """What shoppers excluded beside items, by user id as logged. `look` may run in a thread, `take` may not.

    >>> Shoppers().barred("u1", frozenset({"a"}))
    frozenset({'a'})
    """

    def __init__(self) -> None:
        self._categories: dict[str, frozenset[str]] = {}
        self._events: dict[str, frozenset[str]] = {}
        self._category_of: dict[str, str] = {}
        self._version: str | None = None

    def barred(self, unit: str, items: AbstractSet[str]) -> AbstractSet[str]:
        """What must not be shown to a user: these items, and those of the excluded categories."""
        categories = self._categories.get(unit)
        return items if not categories else Barred(items, categories, self._category_of)

    def categories(self, unit: str) -> tuple[str, ...]:
        """The excluded categories of a user, in a fixed order."""
        found = self._categories.get(unit)
        return tuple(sorted(found)) if found else ()

    def events(self, unit: str) -> tuple[str, ...]:
        """The past interactions that must not shape what a user is shown: ids of feedback events."""
        found = self._events.get(unit)
        return tuple(sorted(found)) if found else ()

    def look(self, control: Control, since: int, *, changed: bool, whole: bool = False) -> Change:
        """Read what is new in Control since a version of the exclusions; blocks."""
        categories = dict(control.exclusions(since, kind="category")[1]) if changed else {}
        events = dict(control.exclusions(since, kind="event")[1]) if changed else {}
        wanted = any(categories.values()) or (bool(self._categories) and not whole)
        if wanted and (version := control.cursor(VERSION)) is not None and version != self._version:
            return Change(whole, categories, events, category_of(control), version)
        return Change(whole, categories, events)

    def take(self, change: Change) -> None:
        """Hold what was found."""
        if change.whole:
            self._categories.clear()
            self._events.clear()
        if change.category_of is not None:
            self._category_of, self._version = change.category_of, change.version
        for held, found in ((self._categories, change.categories), (self._events, change.events)):
            for user, values in found.items():
                if values:
                    held[user] = values
                else:
                    held.pop(user, None)


def category_of(control: Control) -> dict[str, str]:
    """Item -> category, as the loop last read the catalogue; empty where it has not."""
    kept = control.cursor(CATEGORIES)
    if kept is None:
        return {}
    groups = msgspec.json.decode(kept, type=dict[str, list[str]])
    return {item: category for category, items in groups.items() for item in items}


def excluded_by(control: Control, unit: str) -> dict[str, list[str]]:
    """Everything that one shopper excluded: ``{items, categories, events}``."""
    return {PLURAL[kind]: sorted(control.exclusions(kind=kind)[1].get(unit, _NONE)) for kind in KINDS}
