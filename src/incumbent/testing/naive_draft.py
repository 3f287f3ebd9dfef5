"""The draft the slow way: coins, slots and fairness of impressions, recomputed without the policy."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence

from incumbent.events.schema import Impression

Drafted = tuple[str, str, str | None]  # item, kind, owner


def coins(salt: str, unit: str, ranking_id: str, n: int) -> list[float]:
    """Words of SHAKE128 over salt, unit and ranking, as parts of 2^64."""
    words = hashlib.shake_128("\x1f".join((salt, unit, ranking_id)).encode()).digest(8 * n)
    return [int.from_bytes(words[8 * at:8 * at + 8], "big") / 2**64 for at in range(n)]


def draft(champion: Sequence[str], candidate: Sequence[str], k: int, share: float, flips: Sequence[float],
          one_coin: bool) -> tuple[list[Drafted], int]:
    """The first k slots, and how many coins they took; quadratic, by the words of the specification."""
    out: list[Drafted] = []
    round_, used = 0, 0
    while len(out) < k:
        shown = {item for item, _, _ in out}
        ours, theirs = ([item for item in items if item not in shown] for items in (champion, candidate))
        if not ours or not theirs:
            owner = "champion" if ours else "candidate"
            out += [(item, "uncontested", owner) for item in [*ours, *theirs]]
            break
        if ours[0] == theirs[0]:
            out.append((ours[0], "shared", None))
        else:
            used = 2 * round_ + 2
            if flips[2 * round_] < 2 * min(share, 1 - share) or share == 0.5:
                pair: list[Drafted] = [(theirs[0], "", "candidate"), (ours[0], "", "champion")]
                if flips[1 if one_coin else 2 * round_ + 1] >= 0.5:
                    pair.reverse()
                kind = "pair" if k - len(out) > 1 else "half"
                out += [(item, kind, owner) for item, _, owner in pair]
            elif share <= 0.5:
                out += [(item, "solo", "champion") for item in ours[:2]]
            else:
                out += [(item, "solo", "candidate") for item in theirs[:2]]
        round_ += 1
    return out[:k], used


def broken_draft(impression: Impression, coin: str) -> str | None:
    """What an impression shows that its lists and coins do not give, None where all is well."""
    organic = [slot for slot in impression.slots if slot.kind not in ("pinned", "filler")]
    if [slot.position for slot in impression.slots] != sorted({slot.position for slot in impression.slots}):
        return "positions do not grow"
    if impression.mode != "interleave":
        if impression.coins:
            return f"coins were flipped for a {impression.mode} answer"
        if impression.mode in ("champion", "shadow") and any(slot.owner != "champion" for slot in organic):
            return f"a {impression.mode} answer shows more than the champion"
        return None
    lists = {model.role: list(model.items) for model in impression.models}
    k = impression.offset + impression.k - sum(slot.kind == "pinned" for slot in impression.slots)
    flips = coins(impression.salt or "", impression.user_id, impression.ranking_id, 2 * k + 2)
    wanted, used = draft(lists["champion"], lists["candidate"], k, impression.share or 0.0, flips, coin == "list")
    if list(impression.coins) != flips[:used]:
        return "the coins are not those of salt, user and ranking"
    got = [(slot.item_id, slot.kind, slot.owner) for slot in organic]
    return None if got == wanted[impression.offset:] else f"slots {got}, expected {wanted[impression.offset:]}"


class Fairness:
    """Over many impressions: who comes first in a pair, and which part of the contested slots is the candidate's.

    Both are sums of terms of mean 0 over rankings: ``|S| <= 4 sqrt(V)`` with V the sum of their squares.
    """

    def __init__(self) -> None:
        self._first: defaultdict[str, float] = defaultdict(float)
        self._share: defaultdict[str, float] = defaultdict(float)

    def add(self, impression: Impression) -> None:
        """One impression; rankings with a list that may end early say nothing about the share."""
        if impression.mode != "interleave" or impression.share is None:
            return
        seen = set()
        for slot in impression.slots:
            if slot.kind in ("pair", "half") and slot.pair_id not in seen:
                seen.add(slot.pair_id)
                self._first[impression.ranking_id] += 1.0 if slot.owner == "candidate" else -1.0
        if impression.page == 1 and all(len(model.items) >= impression.k + 2 for model in impression.models):
            for slot in impression.slots:
                if slot.kind in ("pair", "half", "solo"):
                    self._share[impression.ranking_id] += (slot.owner == "candidate") - impression.share

    def problems(self) -> list[str]:
        """What lies beyond four standard errors."""
        found = []
        for name, terms in (("first places in pairs", self._first), ("the candidate's share", self._share)):
            total, se = sum(terms.values()), math.sqrt(sum(term * term for term in terms.values()))
            if len(terms) >= 30 and abs(total) > 4 * se:
                found.append(f"{name}: {total:+.1f} from what is fair, {total / se:+.1f} standard errors")
        return found
