"""A pair draft, told round by round: which heads met, what the coins said, and whose slot came of it.

It is written from the description of `pair_draft` and shares no code with it, so that it is also a second opinion:
where the two disagree the explanation says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from incumbent.events.schema import Role, SlotKind
from incumbent.experiments.coins import coins


class Given(Struct, frozen=True):
    """One slot of a round: the item, whose it is, and of what kind."""

    item_id: str
    owner: Role | None
    kind: SlotKind


class Round(Struct, frozen=True):
    """One round: the heads of both lists, the coins that it used, and why its slots are whose they are."""

    number: int
    champion: str | None  # best item of the list that is not shown yet; None at its end
    candidate: str | None
    coins: tuple[float, float] | None  # None where none were needed
    why: str
    slots: tuple[Given, ...]


def explain(champion: Sequence[str], candidate: Sequence[str], k: int, *, share: float, salt: str, unit: str,
            ranking_id: str, one_coin: bool = False) -> list[Round]:
    """The rounds of a draft of `k` slots, in their order; its slots are theirs, one behind the other.

    >>> rounds = explain(["a", "b", "c"], ["b", "x"], 3, share=0.5, salt="exp1", unit="u42", ranking_id="req-0001")
    >>> [(slot.item_id, slot.owner) for one in rounds for slot in one.slots]
    [('a', 'champion'), ('b', 'candidate'), ('c', 'champion')]
    >>> print(rounds[0].why)
    u1 = 0.3858 < q = 1: a pair; u2 = 0.7818 >= 1/2: the champion's first
    """
    flips = coins(salt, unit, ranking_id, 2 * (len(champion) + len(candidate) + 1))
    shown: set[str] = set()
    rounds: list[Round] = []
    number = 0
    while len(shown) < k:
        ours = next((item for item in champion if item not in shown), None)
        theirs = next((item for item in candidate if item not in shown), None)
        pair = (flips[2 * number], flips[2 * number + 1])
        one = _round(number, ours, theirs, pair, flips[1], share, one_coin,
                     (list(_rest(champion, shown)), list(_rest(candidate, shown))), k - len(shown))
        if not one.slots:
            break
        rounds.append(one)
        shown.update(slot.item_id for slot in one.slots)
        number += 1
    return rounds


def _rest(items: Sequence[str], shown: set[str]) -> Iterator[str]:
    return (item for item in items if item not in shown)


def _round(
    number: int, ours: str | None, theirs: str | None, pair: tuple[float, float], first_coin: float, share: float,
    one_coin: bool, rest: tuple[list[str], list[str]], room: int,
) -> Round:
    if ours is None or theirs is None:
        owner: Role = "champion" if theirs is None else "candidate"
        left = rest[0] if theirs is None else rest[1]
        ended = "candidate" if theirs is None else "champion"
        return Round(number, ours, theirs, None, f"the {ended}'s list is at its end: the rest is the {owner}'s",
                     tuple(Given(item, owner, "uncontested") for item in left[:room]))
    if ours == theirs:
        return Round(number, ours, theirs, None, "both put it next: shared, nobody's",
                     (Given(ours, None, "shared"),))
    q = 2 * min(share, 1 - share)
    u1, u2 = pair[0], first_coin if one_coin else pair[1]
    if u1 < q or q >= 1:
        first = u2 < 0.5
        kind: SlotKind = "pair" if room > 1 else "half"
        slots = [Given(theirs, "candidate", kind), Given(ours, "champion", kind)]
        told = (f"u1 = {u1:.4f} < q = {q:g}: a pair; u2 = {u2:.4f} {'<' if first else '>='} 1/2: the "
                f"{'candidate' if first else 'champion'}'s first")
        if one_coin:
            told = told.replace("u2", "the list's one coin")
        if room == 1:
            told += ", and one slot was left: half a pair"
        return Round(number, ours, theirs, pair, told, tuple((slots if first else slots[::-1])[:room]))
    major: Role = "champion" if share <= 0.5 else "candidate"
    items = rest[0] if major == "champion" else rest[1]
    return Round(number, ours, theirs, pair, f"u1 = {u1:.4f} >= q = {q:g}: two of the {major}'s own",
                 tuple(Given(item, major, "solo") for item in items[:min(2, room)]))
