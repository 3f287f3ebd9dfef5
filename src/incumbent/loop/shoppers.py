"""shoppers: what each shopper does not want, as a gateway holds it: items, categories, past interactions.

Standard library only: a gateway has no Arrow. The items of a category come from Control, where the loop keeps the
catalogue's (`catalogue`): of the categories that somebody excludes, and again where their items changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from hashlib import blake2b
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from incumbent.stores.store import Control

Kind = Literal["item", "category", "event"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: how a kind is called where all of them are listed
PLURAL: dict[Kind, str] = {"item": "items", "category": "categories", "event": "events"}
#: cursors: category -> hash of its items, the hash of that, and, before the hash of its name, the items of a category
CATEGORIES, VERSION, ITEMS_OF = "catalogue/categories", "catalogue/categories/hash", "catalogue/category/"
_NONE: frozenset[str] = frozenset()


class Barred(AbstractSet[str]):
    """The items that must not be shown: those named, and all of the categories given. It iterates over the former.

    >>> barred = Barred(frozenset({"a"}), [frozenset({"b"})])
    >>> "a" in barred, "b" in barred, "c" in barred, sorted(barred), barred.isdisjoint(["c", "b"])
    (True, True, False, ['a'], False)
    """

    __slots__ = ("_categories", "_items")

    def __init__(self, items: AbstractSet[str], categories: Sequence[AbstractSet[str]]) -> None:
        self._items, self._categories = items, categories

    def __contains__(self, item: object) -> bool:
        return item in self._items or any(item in category for category in self._categories)

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
        return Barred(self._items | frozenset(items), self._categories)


class Change(Struct, frozen=True):
    """What a look at Control found; `whole` where everything held is to be forgotten first."""

    whole: bool
    categories: dict[str, frozenset[str]]
    events: dict[str, frozenset[str]]
    items_of: dict[str, tuple[str, frozenset[str]]] = {}  # category -> hash of its items, and these; new ones
    version: str | None = None  # of the catalogue's categories, where they were looked at


class Shoppers:
    """What shoppers excluded beside items, by user id as logged. `look` may run in a thread, `take` may not.

    >>> Shoppers().barred("u1", frozenset({"a"}))
    frozenset({'a'})
    """

    def __init__(self) -> None:
        self._categories: dict[str, frozenset[str]] = {}
        self._events: dict[str, frozenset[str]] = {}
        self._items_of: dict[str, tuple[str, frozenset[str]]] = {}
        self._version: str | None = None

    def barred(self, unit: str, items: AbstractSet[str]) -> AbstractSet[str]:
        """What must not be shown to a user: these items, and those of the excluded categories."""
        categories = self._categories.get(unit)
        if not categories:
            return items
        return Barred(items, [self._items_of[name][1] for name in categories if name in self._items_of])

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
        new = any(categories.values())
        if new or (self._categories and not whole):
            version = control.cursor(VERSION)
            if version is not None and (new or version != self._version):
                wanted = frozenset().union(*categories.values(), *([] if whole else list(self._categories.values())))
                return Change(whole, categories, events, self._newer(control, wanted), version)
        return Change(whole, categories, events)

    def _newer(self, control: Control, wanted: AbstractSet[str]) -> dict[str, tuple[str, frozenset[str]]]:
        """The items of those categories whose items are not held as they stand."""
        stand, held = hashes(control), self._items_of
        return {name: (stand.get(name, ""), items_of(control, name) if name in stand else _NONE)
                for name in wanted if name not in held or held[name][0] != stand.get(name, "")}

    def take(self, change: Change) -> None:
        """Hold what was found."""
        if change.whole:
            self._categories.clear()
            self._events.clear()
        self._items_of.update(change.items_of)
        self._version = change.version or self._version
        for held, found in ((self._categories, change.categories), (self._events, change.events)):
            for user, values in found.items():
                if values:
                    held[user] = values
                else:
                    held.pop(user, None)


def hashes(control: Control) -> dict[str, str]:
    """Category -> hash of its items, as the loop last read the catalogue; empty where it has not."""
    kept = control.cursor(CATEGORIES)
    return {} if kept is None else msgspec.json.decode(kept, type=dict[str, str])


def items_of(control: Control, category: str) -> frozenset[str]:
    """The items of a category, as the loop last read the catalogue."""
    kept = control.cursor(cursor_of(category))
    return _NONE if kept is None else msgspec.json.decode(kept, type=frozenset[str])


def cursor_of(category: str) -> str:
    """The cursor that holds the items of a category; its name may be longer than that of a cursor."""
    return ITEMS_OF + blake2b(category.encode(), digest_size=16).hexdigest()


def excluded_by(control: Control, unit: str) -> dict[str, list[str]]:
    """Everything that one shopper excluded: ``{items, categories, events}``."""
    return {PLURAL[kind]: sorted(control.exclusions(kind=kind)[1].get(unit, _NONE)) for kind in KINDS}
