"""What may stand at a place of an event that holds one of a few words."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from incumbent.errors import Quoted
from incumbent.events.schema import Event, Incoming

_REFUSED = re.compile(r"(Invalid (?:enum )?value) ('.*'|\".*\")").fullmatch


def allowed(tag: Any, path: str) -> tuple[str, ...]:
    """The words of ``action`` of a feedback, of ``slots[...].kind`` of an impression; of ``type``, those that come from
    outside. Empty for any other place.

    >>> allowed("embedding", "entity"), allowed("impression", "slots[...].owner"), allowed("item", "price_minor")
    (('item', 'query', 'user'), ('candidate', 'champion'), ())
    >>> allowed("feedbak", "type")
    ('embedding', 'feedback', 'impression', 'item', 'measurement')
    """
    if path == "type":
        return tuple(sorted(_structs(Incoming)))
    return _words(tag, path.replace("[...]", ".*")) if isinstance(tag, str) and tag in _structs(Event) else ()


def fields(tag: Any) -> tuple[str, ...]:
    """The fields that events of a type have; empty for no type.

    >>> "quantity" in fields("feedback"), fields("feedbak")
    (True, ())
    """
    kind = _structs(Event).get(tag) if isinstance(tag, str) else None
    return () if kind is None else tuple(field.encode_name for field in kind.fields)


@cache
def _structs(union: Any) -> dict[str, Any]:
    from msgspec import inspect  # needed for refusals alone

    found = inspect.type_info(union)
    every = found.types if isinstance(found, inspect.UnionType) else [found]
    return {str(one.tag): one for one in every if isinstance(one, inspect.StructType)}


def _words(tag: str, path: str) -> tuple[str, ...]:
    from msgspec import inspect  # and no cache: a sender can put any text into a path

    at: list[Any] = [_structs(Event)[tag]]
    for part in path.split("."):
        inner: list[Any] = []
        for one in at:
            if isinstance(one, inspect.StructType):
                inner += [field.type for field in one.fields if field.encode_name == part]
            elif isinstance(one, inspect.ListType):
                inner.append(one.item_type)
            elif isinstance(one, inspect.DictType):
                inner.append(one.value_type)
        at = [kind for one in inner for kind in (one.types if isinstance(one, inspect.UnionType) else [one])]
    return tuple(sorted(word for one in at if isinstance(one, inspect.LiteralType) for word in one.values
                        if isinstance(word, str)))


def word_in(what: str) -> tuple[str, Quoted | None]:
    """A message of msgspec apart from the word that it refuses, which stands there in quotes.

    >>> word_in("Invalid enum value 'clik'"), word_in("Expected `str`, got `int`")
    (('Invalid enum value', "'clik'"), ('Expected `str`, got `int`', None))
    """
    found = _REFUSED(what)
    return (what, None) if found is None else (found[1], Quoted(found[2]))
