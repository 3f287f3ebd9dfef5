"""Scorer: what is wrong with a text, in reasons; none where nothing is. The plug for checks of generated text.

Registered in the entry-point group ``incumbent.scorers`` as a factory of its settings, or named as ``module:function``
(``function(text, facts) -> list of reasons``). A scorer that asks a model of its own may be slow: metrics run in the
loop, never in a request.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from incumbent import registry
from incumbent.errors import ConfigError, DataError

Place = Literal["page", "title", "explanation", "input", "retrieved", "catalogue"]


@dataclass(frozen=True)
class Text:
    """One text: where it stood, the item that it is about, and the items of its page."""

    text: str
    place: Place = "page"
    item_id: str | None = None
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What the catalogue knows: item -> title, and item -> (price in minor units, currency)."""

    titles: Mapping[str, str] = field(default_factory=dict)
    prices: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    items: frozenset[str] = frozenset()

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str | None, int | None, str | None]]) -> Facts:
        """From rows of item_id, title, price_minor, currency.

        >>> Facts.of([("a", "Boots", 900, "EUR"), ("b", None, None, None)]).prices
        {'a': (900, 'EUR')}
        """
        titles, prices, items = {}, {}, set()
        for item, title, price, currency in rows:
            items.add(item)
            if title:
                titles[item] = title
            if price is not None and currency is not None:
                prices[item] = (price, currency)
        return cls(titles, prices, frozenset(items))


Scorer = Callable[[Text, Facts], list[str]]


def scorer_of(name: str, settings: Mapping[str, Any] | None = None) -> Scorer:
    """A scorer by its registered name with its settings, or ``module:function``; `ConfigError`, `NotFoundError`.

    >>> scorer_of("blocked_language", {"words": ("spam",)})(Text("Spam!"), Facts())
    ['blocked: spam']
    """
    if ":" not in name:
        made: Scorer = registry.load("scorers", name)(**(settings or {}))
        return made
    module, _, path = name.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), path)
    except Exception as error:  # whatever the module does as it is imported
        raise ConfigError("the scorer cannot be loaded", got=name, expected="module:function",
                          hint=str(error)) from None
    if not callable(found):
        raise ConfigError("the scorer is not callable", got=name, expected="module:function")
    scorer: Scorer = found
    return scorer


def reasons(scorer: Scorer, text: Text, facts: Facts) -> list[str]:
    """What a scorer says, or a `DataError` that names what it raised, or returned in place of a list of texts."""
    try:
        found = scorer(text, facts)
    except Exception as error:
        told = getattr(scorer, "__qualname__", type(scorer).__qualname__)
        raise DataError(f"the scorer {told} failed", got=f"{type(error).__name__}: {error}",
                        hint="a scorer returns [] for what it cannot judge") from error
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
        raise DataError("a scorer returns a list of reasons", got=found, expected="[] where nothing is wrong")
    return list(found)
