"""UnknownItems: words about an item that the catalogue does not have, or that the page does not."""

from __future__ import annotations

from incumbent.metrics.scorer import Facts, Text


class UnknownItems:
    """A text about an item must be about one of the catalogue. Nothing is asked where the catalogue is empty.

    >>> UnknownItems()(Text("Lovely", "title", "ghost"), Facts.of([("a", "Boots", None, None)]))
    ["no such item: 'ghost'"]
    """

    def __call__(self, text: Text, facts: Facts) -> list[str]:
        """One reason where the item is not known."""
        if text.item_id is None or not facts.items or text.item_id in facts.items:
            return []
        return [f"no such item: {text.item_id!r}"]
