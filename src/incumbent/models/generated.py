"""What a generating model tells beside its list: its limits on the way into the log, and its wire form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from incumbent.events.schema import Generated
from incumbent.models.recommender import ModelFailure, Scored

TEXT_CHARS = 20_000  # of one text
ENTRIES = 200  # item texts, and retrieved pieces
TOTAL_CHARS = 200_000  # of one answer


class Told(Struct, frozen=True):
    """A list, and the trace of the model that wrote it: what `Recommender.recommend` of such a model returns.

    >>> from incumbent.events.schema import ItemText
    >>> told = Told([("a", None)], Generated(text="For rainy days", items=[ItemText("a", explanation="It is warm")]))
    >>> told.generated.items[0].explanation
    'It is warm'
    """

    items: Scored
    generated: Generated


def generated_of(value: Any) -> Generated:
    """The trace in a decoded answer; `ModelFailure` where it is none.

    >>> generated_of({"text": "hello"}).text
    'hello'
    """
    try:
        return msgspec.convert(value, Generated)
    except msgspec.ValidationError as error:
        raise ModelFailure(f"generated is not usable: {error}") from None


def limited(generated: Generated) -> Generated | str:
    """The trace within the limits of the log, `cut` counting what is left out; or why it is none.

    >>> limited(Generated(text="x" * (TEXT_CHARS + 5))).cut
    5
    """
    if not isinstance(generated, Generated):
        return f"generated is a {type(generated).__name__}, expected Generated"
    try:
        if len(msgspec.json.encode(generated)) <= TEXT_CHARS and max(
                len(generated.items), len(generated.retrieved)) <= ENTRIES:
            return generated if sound(generated) else "generated holds values of other types"
        if not sound(generated):
            return "generated holds values of other types"
    except (TypeError, ValueError, UnicodeEncodeError) as error:
        return f"generated cannot be written: {error}"
    room = _Room()
    return replace(
        generated, input=room(generated.input), text=room(generated.text),
        items=[replace(one, title=room(one.title), explanation=room(one.explanation))
               for one in room.first(generated.items)],
        retrieved=[replace(one, text=room(one.text) or "") for one in room.first(generated.retrieved)],
        cut=generated.cut + room.cut)


def sound(generated: Generated) -> bool:
    """Whether every value is of its type: a struct made in Python is not checked when it is made."""
    try:
        msgspec.convert(msgspec.to_builtins(generated), Generated)
    except (msgspec.ValidationError, TypeError):
        return False
    return True


class _Room:
    """Cuts texts to what is left."""

    def __init__(self) -> None:
        self.left, self.cut = TOTAL_CHARS, 0

    def __call__(self, text: str | None) -> str | None:
        if text is None:
            return None
        kept = text[: max(min(TEXT_CHARS, self.left), 0)]
        self.left -= len(kept)
        self.cut += len(text) - len(kept)
        return kept

    def first(self, entries: Sequence[Any]) -> Sequence[Any]:
        self.cut += max(len(entries) - ENTRIES, 0)
        return entries[:ENTRIES]
