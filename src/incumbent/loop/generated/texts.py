"""texts: what generating models wrote, beside the items that they contributed. Pure, and nothing where nobody wrote.

An item carries the words of the model that owns its slot, a shared one the champion's where there are any. Words about
the whole page are shown only where one model's list is shown alone, and not where that list named something that this
shopper must not see.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from incumbent.events.schema import ItemText, Role
from incumbent.loop.merge import Given, Merged
from incumbent.loop.requests import ShownItem


def written(items: list[ShownItem], merged: Merged, given: Sequence[Given], roles: Sequence[Role]) -> list[ShownItem]:
    """The items with their words."""
    if not _wrote(given):
        return items
    by_role: dict[str, dict[str, ItemText]] = {}
    for role, one in zip(roles, given, strict=True):
        if one.ok and one.answer.generated is not None:
            by_role[role] = {text.item_id: text for text in one.answer.generated.items}
    out = []
    for shown, slot in zip(items, merged.slots, strict=True):
        asked: Sequence[str] = (slot.owner,) if slot.owner else roles if slot.kind == "shared" else ()
        text = next((found for role in asked if (found := by_role.get(role, {}).get(slot.item_id))), None)
        out.append(shown if text is None else ShownItem(
            shown.item_id, shown.position, shown.sponsored, text.title, text.explanation))
    return out


def _wrote(given: Sequence[Given]) -> bool:
    return any(one.answer.generated is not None for one in given)


def of_page(merged: Merged, given: Sequence[Given], roles: Sequence[Role]) -> str | UnsetType:
    """The words about the whole page, where there are any to show."""
    if merged.mode == "interleave" or not _wrote(given):
        return UNSET
    owners = {slot.owner for slot in merged.slots if slot.owner is not None}
    if len(owners) != 1:
        return UNSET
    for role, one in zip(roles, given, strict=True):
        if role in owners and one.ok and one.answer.generated is not None:
            hidden = any(f"{name}=" in (one.reason or "") for name in ("excluded", "delisted"))
            text = one.answer.generated.text
            return text if text and not hidden else UNSET
    return UNSET
