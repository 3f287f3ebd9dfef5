"""The default merge: a competitive-pair team draft, diluted to the candidate's share p."""

from __future__ import annotations

from typing import Literal

from incumbent.errors import DataError
from incumbent.events.schema import Role, Slot
from incumbent.experiments.coins import coins
from incumbent.experiments.lists import Ranked, ranked
from incumbent.experiments.policy import Choice


class PairDraft:
    """Each round takes both lists' best unshown items (heads) and settles one or two slots.

    With ``q = 2 min(p, 1 - p)`` and the major model the champion where p <= 1/2, else the candidate:

    - equal heads: the item once, kind ``shared``, no owner;
    - one list at its end: the other's head, kind ``uncontested``;
    - u1 < q: both heads, the candidate's first where u2 < 1/2, kind ``pair`` (``half`` where one slot is left: the
      first alone, still a fair contest);
    - u1 >= q: the major model's next two items, kind ``solo``.

    The candidate's expected part of the contested slots (pair, half, solo) is p, and an item-blind clicker gives both
    models the same expected credit on pairs and halves at every p: the comparison stays inside the pair, so a ramp does
    not confound it. ``propensity`` of a contested slot is the chance, given the rounds before, that its owner has it:
    p for the candidate, 1 - p for the champion; missing for the others, and under ``coin="list"``, where one coin
    orders all pairs of a list. `groups` only label the slots: which items count as equal is settled by
    `lists.unify` before. Lists are best first without duplicates; a `Ranked` one brings ranks and scores.

    Complexity: O(k) for `Ranked` lists. Raises `DataError` for a share outside [0, 1].
    Source: the unshared-pair draft of Zhang et al., KDD 2025, arXiv 2508.00751, section 4.1; team draft: Radlinski,
    Kurup, Joachims, CIKM 2008. The dilution by solo rounds is ours.

    >>> draft = PairDraft().choose(["a", "b", "c", "d", "e"], ["b", "c", "a", "f", "g"], 5, share=0.5, salt="exp1",
    ...                            unit="u42", ranking_id="req-0001")
    >>> [(slot.item_id, slot.kind, slot.owner) for slot in draft.slots]
    [('a', 'pair', 'champion'), ('b', 'pair', 'candidate'), ('c', 'shared', None), ('d', 'pair', 'champion'), \
('f', 'pair', 'candidate')]
    """

    name = "pair_draft"
    tags = frozenset({"pairs", "share"})

    def __init__(self, coin: Literal["round", "list"] = "round") -> None:
        if coin not in ("round", "list"):
            raise DataError("coin is not known", got=coin, expected="round or list", field="coin")
        self.coin = coin

    def choose(
        self, champion: list[str], candidate: list[str], k: int, *, share: float, salt: str, unit: str,
        ranking_id: str, groups: dict[str, str] | None = None,
    ) -> Choice:
        """The first `k` slots, positions from 1, with the coins of all rounds up to the last that used one."""
        if not 0 <= share <= 1:
            raise DataError("share must be in [0, 1]", got=share, hint="5 % is 0.05", field="share")
        lists = ranked(champion), ranked(candidate)
        flips = coins(salt, unit, ranking_id, k + 2)
        slots: list[Slot] = []
        used = 0
        while True:
            used = _draft(lists, k, share, flips, self.coin == "list", groups or {}, slots)
            if used >= 0:
                return Choice(slots, flips[:used], len(slots) < k)
            flips = coins(salt, unit, ranking_id, 2 * len(flips))  # many shared rounds: a longer prefix of the same
            slots.clear()


def _draft(
    lists: tuple[Ranked, Ranked], k: int, share: float, flips: list[float], one_coin: bool, groups: dict[str, str],
    slots: list[Slot],
) -> int:
    """Fill `slots`; the number of coins that the rounds used, or -1 where `flips` do not reach.

    i and j count the items that each list has behind it. All of those are shown, so an item of one list is shown
    already exactly where its rank in the other is behind the other's pointer: one look-up gives that and the rank.
    """
    champion, candidate = lists
    c_scores, t_scores = champion.scores, candidate.scores
    in_champion, in_candidate, group = champion.ranks.get, candidate.ranks.get, groups.get
    n_champion, n_candidate = len(champion), len(candidate)
    q = 2 * min(share, 1 - share)
    p_champion, p_candidate = (None, None) if one_coin else (1 - share, share)
    i = j = n = r = used = 0
    c = t = ""
    c_other = t_other = None
    emit = slots.append
    while n < k:
        while i < n_champion and (c_other := in_candidate(c := champion[i])) is not None and c_other <= j:
            i += 1
        while j < n_candidate and (t_other := in_champion(t := candidate[j])) is not None and t_other <= i:
            j += 1
        if i >= n_champion or j >= n_candidate:
            _take(lists, 0, i, j, k, "uncontested", None, groups, slots)
            _take(lists, 1, j, i, k, "uncontested", None, groups, slots)
            break
        if c == t:
            i, j, n = i + 1, j + 1, n + 1
            emit(Slot(n, c, "shared", None, None, i, j, None, None, group(c)))
            r += 1
            continue
        used = 2 * r + 2
        if used > len(flips):
            return -1
        if flips[2 * r] < q or q >= 1:
            i, j = i + 1, j + 1
            kind: Literal["pair", "half"] = "pair" if k - n > 1 else "half"
            first = flips[1 if one_coin else 2 * r + 1] < 0.5  # the candidate's
            theirs = Slot(n + 1 if first else n + 2, t, kind, "candidate", r, t_other, j, p_candidate,
                          t_scores[j - 1] if t_scores else None, group(t))
            ours = Slot(n + 2 if first else n + 1, c, kind, "champion", r, i, c_other, p_champion,
                        c_scores[i - 1] if c_scores else None, group(c))
            emit(theirs if first else ours)
            if kind == "pair":
                emit(ours if first else theirs)
        elif share <= 0.5:
            i = _take(lists, 0, i, j, min(k, n + 2), "solo", p_champion, groups, slots)
        else:
            j = _take(lists, 1, j, i, min(k, n + 2), "solo", p_candidate, groups, slots)
        n = len(slots)
        r += 1
    return used


def _take(
    lists: tuple[Ranked, Ranked], which: int, own: int, other: int, until: int, kind: Literal["solo", "uncontested"],
    propensity: float | None, groups: dict[str, str], slots: list[Slot],
) -> int:
    """Append the next unshown items of one list, up to slot `until`; the number of its items now behind it."""
    items, elsewhere = lists[which], lists[1 - which].ranks
    role: Role = "candidate" if which else "champion"
    scores = items.scores
    while len(slots) < until and own < len(items):
        item = items[own]
        other_rank = elsewhere.get(item)
        own += 1
        if other_rank is not None and other_rank <= other:
            continue
        champion_rank, candidate_rank = (other_rank, own) if which else (own, other_rank)
        slots.append(Slot(len(slots) + 1, item, kind, role, None, champion_rank, candidate_rank, propensity,
                          scores[own - 1] if scores else None, groups.get(item)))
    return own
