"""The pair draft's laws on random lists, with the real coins."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.experiments.coins import coins
from incumbent.experiments.lists import Ranked
from incumbent.experiments.pair_draft import PairDraft
from incumbent.experiments.policy import Choice

LIST = st.lists(st.integers(0, 40).map(str), unique=True, max_size=25)
SHARE = st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.95, 1.0])
COIN = st.sampled_from(["round", "list"])
NUMBER = st.integers(0, 10_000)


def draft(
    champion: list[str], candidate: list[str], k: int, share: float = 0.5, n: int = 0, coin: str = "round",
) -> Choice:
    return PairDraft(coin).choose(  # type: ignore[arg-type]
        champion, candidate, k, share=share, salt="s", unit=f"u{n}", ranking_id=f"r{n}")


def naive(champion: list[str], candidate: list[str], k: int, share: float, flips: list[float]) -> list[tuple]:
    """The algorithm as the reference words it, from the logged coins."""
    out: list[tuple] = []
    q = 2 * min(share, 1 - share)
    r = 0
    while len(out) < k:
        shown = [one[0] for one in out]
        c = next((item for item in champion if item not in shown), None)
        t = next((item for item in candidate if item not in shown), None)
        if c is None and t is None:
            break
        if c == t:
            out.append((c, "shared", None, None))
        elif c is None or t is None:
            out.append((t, "uncontested", "candidate", None) if c is None else (c, "uncontested", "champion", None))
        elif flips[2 * r] < q:
            kind = "half" if k - len(out) == 1 else "pair"
            both = [(t, kind, "candidate", r), (c, kind, "champion", r)]
            if flips[2 * r + 1] >= 0.5:
                both.reverse()
            out += both[: k - len(out)]
        else:
            own, name = (champion, "champion") if share <= 0.5 else (candidate, "candidate")
            rest = [item for item in own if item not in shown]
            out += [(item, "solo", name, None) for item in rest[: min(2, k - len(out))]]
        r += 1
    return out


@settings(deadline=None, max_examples=300)
@given(LIST, LIST, st.integers(0, 30), SHARE, NUMBER)
def test_against_the_reference_wording(champion: list[str], candidate: list[str], k: int, share: float, n: int) -> None:
    choice = draft(champion, candidate, k, share, n)
    flips = coins("s", f"u{n}", f"r{n}", 2 * k + 2)
    found = [(slot.item_id, slot.kind, slot.owner, slot.pair_id) for slot in choice.slots]
    assert found == naive(champion, candidate, k, share, flips)
    assert choice.coins == flips[: len(choice.coins)], "the logged coins are those of the hash"
    rounds = [slot.pair_id for slot in choice.slots if slot.pair_id is not None]
    assert len(choice.coins) >= 2 * (max(rounds, default=-1) + 1), "all coins that decided are logged"


@settings(deadline=None, max_examples=200)
@given(LIST, LIST, st.integers(0, 30), SHARE, NUMBER, COIN)
def test_slots_are_sound(champion: list[str], candidate: list[str], k: int, share: float, n: int, coin: str) -> None:
    choice = draft(champion, candidate, k, share, n, coin)
    items = [slot.item_id for slot in choice.slots]
    assert len(set(items)) == len(items) == min(k, len(set(champion) | set(candidate)))
    assert [slot.position for slot in choice.slots] == list(range(1, len(items) + 1))
    assert choice.exhausted == (len(items) < k)
    for slot in choice.slots:
        assert slot.champion_rank == (champion.index(slot.item_id) + 1 if slot.item_id in champion else None)
        assert slot.candidate_rank == (candidate.index(slot.item_id) + 1 if slot.item_id in candidate else None)
    pairs: dict[int, list[str | None]] = {}
    for slot in choice.slots:
        if slot.kind == "pair":
            assert slot.pair_id is not None
            pairs.setdefault(slot.pair_id, []).append(slot.owner)
    assert all(sorted(map(str, owners)) == ["candidate", "champion"] for owners in pairs.values())


@settings(deadline=None, max_examples=200)
@given(LIST, LIST, st.integers(0, 20), st.integers(0, 20), SHARE, NUMBER, COIN)
def test_a_longer_draft_starts_with_the_shorter(
    champion: list[str], candidate: list[str], k: int, more: int, share: float, n: int, coin: str,
) -> None:
    short = draft(champion, candidate, k, share, n, coin)
    long = draft(champion, candidate, k + more, share, n, coin)
    assert short.coins == long.coins[: len(short.coins)]
    for one, other in zip(short.slots, long.slots, strict=False):
        if one != other:
            assert (one.kind, other.kind) == ("half", "pair") and one is short.slots[-1]
            assert one.item_id == other.item_id and one.owner == other.owner and one.pair_id == other.pair_id


@settings(deadline=None, max_examples=200)
@given(LIST, LIST, st.integers(0, 20), SHARE, NUMBER)
def test_names_of_the_teams_do_not_matter(
    champion: list[str], candidate: list[str], k: int, share: float, n: int,
) -> None:
    """Exchange lists, share for 1 - share, and the order coin's sides: the same items, the owners exchanged."""
    flips = coins("s", f"u{n}", f"r{n}", 2 * k + 2)
    mirrored = [coin if place % 2 == 0 else 1 - coin for place, coin in enumerate(flips)]
    one = naive(champion, candidate, k, share, flips)
    two = naive(candidate, champion, k, 1 - share, mirrored)
    swap = {"champion": "candidate", "candidate": "champion", None: None}
    assert [(item, kind, swap[owner], pair) for item, kind, owner, pair in two] == one
    slots = draft(champion, candidate, k, share, n).slots
    assert [(slot.item_id, slot.kind, slot.owner, slot.pair_id) for slot in slots] == one


def test_scores_and_groups_are_on_the_slots() -> None:
    choice = PairDraft().choose(Ranked(["a", "b"], [2.0, 1.0]), Ranked(["x", "b"], [9.0, 8.0]), 3, share=0.5, salt="s",
                                unit="u", ranking_id="r", groups={"x": "shoe"})
    found = {slot.item_id: (slot.score, slot.group_id) for slot in choice.slots}
    assert found == {"a": (2.0, None), "x": (9.0, "shoe"), "b": (None, None)}


def test_many_shared_rounds_need_a_longer_hash() -> None:
    same = [f"i{n}" for n in range(60)]
    choice = draft([*same, "a"], [*same, "x"], 62)
    assert [slot.kind for slot in choice.slots[-2:]] == ["pair", "pair"]
    assert choice.coins == coins("s", "u0", "r0", 122)


@pytest.mark.parametrize("share", [-0.01, 1.5, float("nan")])
def test_share_must_be_a_share(share: float) -> None:
    with pytest.raises(DataError, match=r"share must be in \[0, 1\]"):
        draft(["a"], ["b"], 1, share)


def test_an_unknown_coin_is_refused() -> None:
    with pytest.raises(DataError, match="round or list"):
        PairDraft("user")  # type: ignore[arg-type]
