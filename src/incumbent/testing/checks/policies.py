"""The laws of a merging policy, asked with real coins over many rankings.

Tags of the implementation say which laws it can be held to: ``pairs`` (its pair and half slots are fair contests),
``share`` (the candidate's part of the contested slots is the share it was given).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from incumbent.events.schema import Slot
from incumbent.experiments.coins import coins
from incumbent.experiments.policy import Choice, Policy
from incumbent.testing.checks.suite import Suite

CREDITED = ("pair", "half")
CONTESTED = ("pair", "half", "solo")
SHARES = (0.05, 0.25, 0.5, 0.75)
DRAWS = 1500
SE = 5  # standard errors; one law in a million fails by chance


@contextmanager
def _prepare(factory: Callable[[], Policy]) -> Iterator[Policy]:
    yield factory()


SUITE = Suite("policies", _prepare)

Lists = tuple[list[str], list[str]]
DISJOINT: Lists = ([f"a{n}" for n in range(12)], [f"b{n}" for n in range(12)])
OVERLAPPING: Lists = (list("abcdefgh"), list("bacdxyfe"))


def _random_lists(random: Random) -> Lists:
    pool = [f"i{n}" for n in range(random.choice([3, 8, 30]))]
    first, second = (random.sample(pool, random.randint(0, len(pool))) for _ in range(2))
    return first, second


def _choose(policy: Policy, lists: Lists, k: int, share: float, n: int, salt: str = "law") -> Choice:
    return policy.choose(list(lists[0]), list(lists[1]), k, share=share, salt=salt, unit=f"u{n % 97}",
                         ranking_id=f"r{n}")


def _cases(seed: int, n: int = 150) -> Iterator[tuple[Lists, int, float, int]]:
    random = Random(seed)
    for case in range(n):
        yield _random_lists(random), random.randint(0, 25), random.choice((0.0, *SHARES, 0.95, 1.0)), case


def _is_zero(values: list[float], what: str) -> None:
    n, mean = len(values), sum(values) / len(values)
    se = (sum((value - mean) ** 2 for value in values) / (n - 1) / n) ** 0.5
    assert abs(mean) <= SE * se + 1e-12, f"{what}: mean {mean:.4g}, standard error {se:.2g}, expected 0"


@SUITE.law()
def shows_each_item_once(policy: Policy) -> None:
    """Slots are at most k, at positions 1, 2, ..., hold items of the lists, none twice."""
    for lists, k, share, n in _cases(1):
        choice = _choose(policy, lists, k, share, n)
        items = [slot.item_id for slot in choice.slots]
        assert len(items) == len(set(items)) <= k, (items, k)
        assert set(items) <= {*lists[0], *lists[1]}, items
        assert [slot.position for slot in choice.slots] == list(range(1, len(items) + 1)), choice.slots
        assert choice.exhausted == (len(items) < k), (choice.exhausted, len(items), k)


@SUITE.law()
def slots_tell_the_truth(policy: Policy) -> None:
    """Ranks are those of the lists; an owner has the item in its list; a shared item has no owner."""
    for lists, k, share, n in _cases(2):
        for slot in _choose(policy, lists, k, share, n).slots:
            ranks = [found.index(slot.item_id) + 1 if slot.item_id in found else None for found in lists]
            assert [slot.champion_rank, slot.candidate_rank] == ranks, (slot, lists)
            assert slot.owner != "champion" or ranks[0] is not None, slot
            assert slot.owner != "candidate" or ranks[1] is not None, slot
            assert slot.kind != "shared" or (slot.owner is None and None not in ranks), slot


@SUITE.law()
def gives_its_lists_back(policy: Policy) -> None:
    """Choosing changes neither list, and choosing again gives the same choice."""
    for lists, k, share, n in _cases(3, 50):
        first, second = list(lists[0]), list(lists[1])
        one = policy.choose(first, second, k, share=share, salt="s", unit="u", ranking_id=f"r{n}")
        assert (first, second) == lists
        two = policy.choose(first, second, k, share=share, salt="s", unit="u", ranking_id=f"r{n}")
        assert one == two, "the same arguments gave another choice: its randomness is not the coins alone"


@SUITE.law()
def a_longer_choice_starts_with_the_shorter(policy: Policy) -> None:
    """The items of choose(k) are a prefix of those of choose(k + m): pages continue."""
    for lists, k, share, n in _cases(4):
        short, long = _choose(policy, lists, k, share, n), _choose(policy, lists, k + n % 7, share, n)
        items = [slot.item_id for slot in long.slots]
        assert [slot.item_id for slot in short.slots] == items[: len(short.slots)]
        assert short.coins == long.coins[: len(short.coins)]
        for one, other in zip(short.slots[:-1], long.slots, strict=False):
            assert one == other, "only the last slot's kind may change"


@SUITE.law()
def coins_are_those_of_the_hash(policy: Policy) -> None:
    """The coins that it gives can be recomputed from salt, unit and ranking id."""
    for lists, k, share, n in _cases(5, 60):
        choice = _choose(policy, lists, k, share, n, salt=f"salt{n % 3}")
        assert choice.coins == coins(f"salt{n % 3}", f"u{n % 97}", f"r{n}", len(choice.coins))


@SUITE.law()
def equal_lists_credit_nobody(policy: Policy) -> None:
    """Where both models say the same, no slot is credited."""
    same = [f"i{n}" for n in range(10)]
    for share in (0.0, *SHARES, 1.0):
        choice = _choose(policy, (same, same), 8, share, 1)
        assert [slot.item_id for slot in choice.slots] == same[:8], choice.slots
        assert not any(slot.kind in CREDITED for slot in choice.slots), choice.slots


@SUITE.law()
def an_empty_list_leaves_the_other(policy: Policy) -> None:
    """One list empty: the other in its own order, uncredited; both empty: nothing."""
    full = ["a", "b", "c"]
    both: tuple[Lists, Lists] = ((full, []), ([], full))
    for lists in both:
        choice = _choose(policy, lists, 5, 0.5, 1)
        assert [slot.item_id for slot in choice.slots] == full and choice.exhausted, choice
        assert not any(slot.kind in CREDITED for slot in choice.slots), choice.slots
    assert _choose(policy, ([], []), 5, 0.5, 1).slots == []


@SUITE.law("pairs")
def pairs_are_whole(policy: Policy) -> None:
    """A pair has one slot of each model, next to one another; a half stands alone at the end."""
    for lists, k, share, n in _cases(6):
        choice = _choose(policy, lists, k, share, n)
        rounds: dict[int, list[Slot]] = {}
        for slot in choice.slots:
            assert (slot.kind in CREDITED) == (slot.pair_id is not None), slot
            if slot.pair_id is not None:
                rounds.setdefault(slot.pair_id, []).append(slot)
        for found in rounds.values():
            if found[0].kind == "half":
                assert len(found) == 1 and found[0] is choice.slots[-1] and len(choice.slots) == k, found
            else:
                assert [slot.kind for slot in found] == ["pair", "pair"], found
                assert {slot.owner for slot in found} == {"champion", "candidate"}, found
                assert found[1].position - found[0].position == 1, found


@SUITE.law("share")
def the_share_is_kept(policy: Policy) -> None:
    """Of the contested slots the candidate has its share, over many rankings, within the standard error."""
    for lists in (DISJOINT, OVERLAPPING):
        for share in SHARES:
            excess = []
            for n in range(DRAWS):
                owners = [slot.owner for slot in _choose(policy, lists, 6, share, n).slots if slot.kind in CONTESTED]
                excess.append(owners.count("candidate") - share * len(owners))
            _is_zero(excess, f"candidate's contested slots above share {share}")


@SUITE.law("share")
def no_share_no_candidate(policy: Policy) -> None:
    """At share 0 the champion's list is shown as it is, at share 1 the candidate's."""
    for lists in (DISJOINT, OVERLAPPING):
        for share, own in ((0.0, lists[0]), (1.0, lists[1])):
            items = [slot.item_id for slot in _choose(policy, lists, 6, share, 1).slots]
            assert items == own[:6], (share, items)


@SUITE.law("share")
def names_do_not_matter(policy: Policy) -> None:
    """Exchange the lists and turn share to 1 - share: at each position each list is as likely as before."""
    for lists in (DISJOINT, OVERLAPPING):
        for share in (0.25, 0.5):
            for position in range(5):
                gap = []
                for n in range(DRAWS // 3):
                    one = _choose(policy, lists, 5, share, n, "one").slots[position]
                    two = _choose(policy, (lists[1], lists[0]), 5, 1 - share, n, "two").slots[position]
                    gap.append(float((one.owner == "candidate") - (two.owner == "champion")))
                _is_zero(gap, f"position {position + 1} at share {share}, exchanged")


def _pbm(slots: list[Slot], random: Random) -> list[Slot]:
    """Position-based clicks: examined with probability 1 / rank."""
    return [slot for slot in slots if random.random() < 1 / slot.position]


def _cascade(slots: list[Slot], random: Random) -> list[Slot]:
    """Looks from the top, clicks with probability 0.3, and is content with that in 7 cases of 10."""
    clicked = []
    for slot in slots:
        if random.random() < 0.3:
            clicked.append(slot)
            if random.random() < 0.7:
                break
    return clicked


def _one_purchase(slots: list[Slot], random: Random) -> list[Slot]:
    """Buys at most one, higher positions first, or leaves."""
    weights = [0.7 ** slot.position for slot in slots]
    return [slot] if (slot := random.choices([*slots, None], [*weights, 1.0])[0]) is not None else []


@SUITE.law("pairs")
def item_blind_clicks_credit_nobody(policy: Policy) -> None:
    """Shoppers who look at positions and not at items give both models the same expected credit, at every share."""
    for clicker in (_pbm, _cascade, _one_purchase):
        for lists in (DISJOINT, OVERLAPPING):
            for share in SHARES:
                random, credit = Random(7), []
                for n in range(DRAWS):
                    clicked = clicker(_choose(policy, lists, 5, share, n).slots, random)
                    owners = [slot.owner for slot in clicked if slot.kind in CREDITED]
                    credit.append(float(owners.count("candidate") - owners.count("champion")))
                _is_zero(credit, f"{clicker.__name__[1:]} credit at share {share}")


def run(names: list[str] | None = None) -> list[Any]:
    """The results of all laws, for `incumbent check policies`."""
    return list(SUITE.run(names))
