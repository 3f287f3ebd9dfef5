"""Policy: how two lists become one. Standard library and msgspec only: it runs in the request path and in the client.

A `Choice` is exactly what the Impression logs, and everything in it can be recomputed from the Impression.
"""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from incumbent.events.schema import Slot


class Choice(Struct, frozen=True):
    """The organic slots of a ranking from its top, with the coins that made them."""

    slots: list[Slot]  # positions 1, 2, ... before pinned items are put in
    coins: list[float]
    exhausted: bool  # both lists ended before k


class Policy(Protocol):
    """Merges a champion's and a candidate's clean list (best first, no duplicates) into k slots.

    The gateway hands over `lists.Ranked` lists, which bring ranks and scores along. `groups` only label the slots:
    which items count as equal was settled before.
    """

    name: str

    def choose(
        self, champion: list[str], candidate: list[str], k: int, *, share: float, salt: str, unit: str,
        ranking_id: str, groups: dict[str, str] | None = None,
    ) -> Choice:
        """The first k slots; the items of choose(k) are a prefix of the items of choose(k + m)."""
        ...


class PolicyFactory(Protocol):
    """What stands behind a registered policy name."""

    def __call__(self, *, coin: Literal["round", "list"] = "round") -> Policy: ...
