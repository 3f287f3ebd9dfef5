"""Every registered policy keeps the laws, and the laws notice policies that do not."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from incumbent.events.schema import Slot
from incumbent.experiments.pair_draft import PairDraft
from incumbent.experiments.policy import Choice
from incumbent.testing.checks.policies import SUITE


@pytest.mark.parametrize("case", SUITE.cases(), ids=str)
def test_contract(case: Any) -> None:
    case.check()


def slots_changed(change: Callable[[list[Slot]], list[Slot]]) -> Callable[[Any, Choice], Choice]:
    return lambda asked, choice: msgspec.structs.replace(choice, slots=change(choice.slots))


def champion_first(slots: list[Slot]) -> list[Slot]:
    """Every pair with the champion on top."""
    out = list(slots)
    for n, (one, two) in enumerate(pairwise(slots)):
        if one.kind == two.kind == "pair" and one.pair_id == two.pair_id and one.owner == "candidate":
            out[n] = msgspec.structs.replace(two, position=n + 1)
            out[n + 1] = msgspec.structs.replace(one, position=n + 2)
    return out


def credited_solo(slots: list[Slot]) -> list[Slot]:
    return [msgspec.structs.replace(slot, kind="half", pair_id=99) if slot.kind == "solo" else slot for slot in slots]


BROKEN: dict[str, tuple[Callable[[Any, Choice], Choice], str]] = {
    "an item twice": (slots_changed(lambda slots: [*slots[:-1], slots[0]] if len(slots) > 1 else slots),
                      "shows_each_item_once"),
    "ranks exchanged": (slots_changed(lambda slots: [msgspec.structs.replace(
        slot, champion_rank=slot.candidate_rank, candidate_rank=slot.champion_rank) for slot in slots]),
        "slots_tell_the_truth"),
    "order of its own": (slots_changed(lambda slots: sorted(slots, key=lambda slot: slot.item_id)),
                         "a_longer_choice_starts_with_the_shorter"),
    "coins of its own": (lambda asked, choice: msgspec.structs.replace(choice, coins=[0.5] * len(choice.coins)),
                         "coins_are_those_of_the_hash"),
    "champion always first": (slots_changed(champion_first), "item_blind_clicks_credit_nobody"),
    "champion always first, exchanged": (slots_changed(champion_first), "names_do_not_matter"),
    "solo slots credited": (slots_changed(credited_solo), "pairs_are_whole"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_laws_notice(name: str) -> None:
    spoil, law = BROKEN[name]

    class Broken(PairDraft):
        def choose(self, *lists: Any, **asked: Any) -> Choice:
            return spoil(asked, super().choose(*lists, **asked))
    [case] = [case for case in SUITE.cases_of("broken", Broken) if case.law.name == law]
    assert not case.run().ok


def test_the_laws_notice_another_share() -> None:
    class Greedy(PairDraft):
        def choose(self, *lists: Any, share: float, **asked: Any) -> Choice:
            return super().choose(*lists, share=share * 0.9, **asked)
    [case] = [case for case in SUITE.cases_of("greedy", Greedy) if case.law.name == "the_share_is_kept"]
    assert not case.run().ok
