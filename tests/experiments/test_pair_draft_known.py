"""The pair draft against exact distributions: every outcome of the coins is driven through it.

Notation: itemOWNER with `=` shared, a round's number on pairs, `h` the half of one, `s` solo, `u` uncontested.
"""

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction as F
from itertools import product

import pytest

from incumbent.events.schema import Slot
from incumbent.experiments import pair_draft
from incumbent.experiments.pair_draft import PairDraft

Distribution = dict[tuple[str, ...], F]
HALF, QUARTER = F(1, 2), F(1, 4)
SHARES = [F(1, 100), F(1, 20), F(1, 10), F(1, 4), F(1, 2), F(3, 4), F(9, 10)]
SHAPES = [("abcdefgh", "stuvwxyz", 6), ("abcdefgh", "bacdxyfe", 6), ("abcdefgh", "stuvwxyz", 5)]


def outcomes(p: F, rounds: int) -> Iterator[tuple[F, list[float]]]:
    """Every way the coins can fall in so many rounds, with its probability."""
    q = 2 * min(p, 1 - p)
    sides = [(q * HALF, (0.0, 0.25)), (q * HALF, (0.0, 0.75))] if q else []
    if q < 1:
        sides.append((1 - q, (0.999999, 0.25)))
    for falls in product(sides, repeat=rounds):
        weight = F(1)
        for chance, _ in falls:
            weight *= chance
        yield weight, [coin for _, pair in falls for coin in pair]


def drafts(
    monkeypatch: pytest.MonkeyPatch, champion: str, candidate: str, k: int, p: F, coin: str = "round",
) -> Iterator[tuple[F, list[Slot]]]:
    policy = PairDraft(coin)  # type: ignore[arg-type]
    for weight, flips in outcomes(p, k):
        padded = flips + [0.5] * (2 * k + 4)
        monkeypatch.setattr(pair_draft, "coins", lambda *parts, given=padded: given[:parts[-1]])
        choice = policy.choose(list(champion), list(candidate), k, share=float(p), salt="s", unit="u", ranking_id="r")
        assert choice.exhausted == (len(choice.slots) < k)
        yield weight, choice.slots


def spell(slot: Slot) -> str:
    owner = {"champion": "C", "candidate": "T", None: ""}[slot.owner]
    mark = {"pair": str(slot.pair_id), "half": f"{slot.pair_id}h", "shared": "=", "solo": "s", "uncontested": "u"}
    return f"{slot.item_id}{owner}{mark[slot.kind]}"


def distribution(
    monkeypatch: pytest.MonkeyPatch, champion: str, candidate: str, k: int, p: F = HALF, coin: str = "round",
) -> Distribution:
    found: Distribution = defaultdict(F)
    for weight, slots in drafts(monkeypatch, champion, candidate, k, p, coin):
        found[tuple(map(spell, slots))] += weight
    return dict(found)


def expected(text: dict[str, F]) -> Distribution:
    return {tuple(line.split()): weight for line, weight in text.items()}


KNOWN = {
    "1 the printed example, one coin a list": ("abcde", "bcafg", 5, HALF, "list", {
        "aC0 bT0 c= dC2 fT2": HALF, "bT0 aC0 c= fT2 dC2": HALF}),
    "1 one coin a round": ("abcde", "bcafg", 5, HALF, "round", {
        "aC0 bT0 c= dC2 fT2": QUARTER, "aC0 bT0 c= fT2 dC2": QUARTER, "bT0 aC0 c= dC2 fT2": QUARTER,
        "bT0 aC0 c= fT2 dC2": QUARTER}),
    "2 shared below the pair": ("abcd", "bcda", 4, HALF, "round", {
        "aC0 bT0 c= d=": HALF, "bT0 aC0 c= d=": HALF}),
    "3 identical lists": ("abc", "abc", 3, HALF, "round", {"a= b= c=": F(1)}),
    "4 unequal lengths": ("abcde", "z", 4, HALF, "round", {
        "aC0 zT0 bCu cCu": HALF, "zT0 aC0 bCu cCu": HALF}),
    "5 no candidate": ("abc", "", 3, HALF, "round", {"aCu bCu cCu": F(1)}),
    "5 no champion": ("", "abc", 3, HALF, "round", {"aTu bTu cTu": F(1)}),
    "6 odd": ("ab", "xy", 3, HALF, "round", {
        "aC0 xT0 bC1h": QUARTER, "aC0 xT0 yT1h": QUARTER, "xT0 aC0 bC1h": QUARTER, "xT0 aC0 yT1h": QUARTER}),
    "7 share 1/10": ("abcd", "wxyz", 4, F(1, 10), "round", {
        "aCs bCs cCs dCs": F(16, 25),
        "aCs bCs cC1 wT1": F(2, 25), "aCs bCs wT1 cC1": F(2, 25), "aC0 wT0 bCs cCs": F(2, 25),
        "wT0 aC0 bCs cCs": F(2, 25),
        "aC0 wT0 bC1 xT1": F(1, 100), "aC0 wT0 xT1 bC1": F(1, 100), "wT0 aC0 bC1 xT1": F(1, 100),
        "wT0 aC0 xT1 bC1": F(1, 100)}),
    "8 share 4/5": ("abcd", "wxyz", 2, F(4, 5), "round", {
        "wTs xTs": F(3, 5), "aC0 wT0": F(1, 5), "wT0 aC0": F(1, 5)}),
    "share 0 is the champion's list": ("abc", "xyz", 3, F(0), "round", {"aCs bCs cCs": F(1)}),
    "share 1 is the candidate's list": ("abc", "xyz", 3, F(1), "round", {"xTs yTs zTs": F(1)}),
    "both short": ("ab", "b", 5, HALF, "round", {"aC0 bT0": HALF, "bT0 aC0": HALF}),
    "nothing at all": ("", "", 3, HALF, "round", {"": F(1)}),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_distribution(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    champion, candidate, k, p, coin, text = KNOWN[name]
    assert distribution(monkeypatch, champion, candidate, k, p, coin) == expected(text)


@pytest.mark.parametrize("p", SHARES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[1]}-{shape[2]}")
def test_share_and_credit_are_exact(p: F, shape: tuple[str, str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Known answer 9 and the two promises: E[candidate's part] = p, and E[credit] = 0 for clicks of 1/rank."""
    ours = theirs = credit = F(0)
    for weight, slots in drafts(monkeypatch, *shape, p):
        for slot in slots:
            if slot.kind in ("pair", "half", "solo"):
                theirs += weight * (slot.owner == "candidate")
                ours += weight * (slot.owner == "champion")
            if slot.kind in ("pair", "half"):
                credit += weight * F(1, slot.position) * (1 if slot.owner == "candidate" else -1)
    assert theirs / (theirs + ours) == p
    assert credit == 0


@pytest.mark.parametrize("p", [F(1, 10), F(1, 2), F(4, 5)], ids=str)
def test_propensity_is_the_chance_of_the_owner(p: F, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each slot, given the slots before its round: how often its owner has it."""
    held: dict[tuple[int, tuple[str, ...]], dict[str, F]] = defaultdict(lambda: defaultdict(F))
    stated: dict[tuple[int, tuple[str, ...], str], set[float | None]] = defaultdict(set)
    for weight, slots in drafts(monkeypatch, "abcdefgh", "stuvwxyz", 6, p):
        for slot in slots:  # disjoint lists: every round takes two slots
            before = tuple(map(spell, slots[: (slot.position - 1) // 2 * 2]))
            assert slot.owner is not None
            held[slot.position, before][slot.owner] += weight
            stated[slot.position, before, slot.owner].add(slot.propensity)
    for (position, before), owners in held.items():
        for owner, weight in owners.items():
            [propensity] = stated[position, before, owner]
            assert propensity == pytest.approx(float(weight / sum(owners.values())), abs=1e-12)


def test_a_click_on_a_shared_item_credits_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for _, slots in drafts(monkeypatch, "abcd", "bcda", 4, HALF):
        assert [slot.owner for slot in slots if slot.item_id in "cd"] == [None, None]


def test_one_coin_a_list_states_no_propensity(monkeypatch: pytest.MonkeyPatch) -> None:
    for _, slots in drafts(monkeypatch, "abcd", "wxyz", 4, HALF, "list"):
        assert {slot.propensity for slot in slots} == {None}
