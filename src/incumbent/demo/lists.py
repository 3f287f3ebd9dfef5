"""Trained models as plain lists: what a gateway needs of them, without NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

Pair = tuple[str, float]


class Lists(Struct, frozen=True):
    """A recommender computed beforehand: the list of the first key that is known.

    `keys` are tried in order; each names parts of the request (``user``, or a key of its context) whose values,
    joined by ``|``, name a list. The empty key matches every request.

    >>> lists = Lists("popular", [["store", "season"], []], {"7|autumn": [("a", 2.0)], "": [("b", 1.0)]})
    >>> lists.of("h1", {"store": "7", "season": "autumn"}), lists.of("h1", {"store": "8"})
    ([('a', 2.0)], [('b', 1.0)])
    """

    name: str
    keys: list[list[str]]
    lists: dict[str, list[Pair]]

    def of(self, user: str, context: Mapping[str, object]) -> list[Pair]:
        """The whole list for a request, best first; empty where no key matches."""
        for parts in self.keys:
            values = [user if part == "user" else context.get(part) for part in parts]
            found = self.lists.get("|".join(str(value) for value in values))
            if found is not None:
                return found
        return []

    def save(self, path: Path) -> None:
        """Write as MessagePack."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.msgpack.encode(self))


def read(path: Path) -> Lists:
    """The lists that `save` wrote."""
    return msgspec.msgpack.decode(path.read_bytes(), type=Lists)
