"""The told rounds against the policy itself: the same slots for any lists, shares and coins."""

from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.experiments.explain_draft import explain
from incumbent.experiments.pair_draft import PairDraft

lists = st.lists(st.sampled_from("abcdefghij"), unique=True, max_size=8)


@settings(max_examples=150, deadline=None)
@given(lists, lists, st.integers(1, 10), st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.95, 1.0]),
       st.integers(0, 50), st.booleans())
def test_the_rounds_give_the_slots_of_the_policy(champion, candidate, k, share, user, one_coin):
    how = {"share": share, "salt": "s", "unit": f"u{user}", "ranking_id": "r"}
    choice = PairDraft(coin="list" if one_coin else "round").choose(champion, candidate, k, **how)
    rounds = explain(champion, candidate, k, one_coin=one_coin, **how)
    told = [(slot.item_id, slot.owner, slot.kind) for one in rounds for slot in one.slots]
    assert told == [(slot.item_id, slot.owner, slot.kind) for slot in choice.slots]
    pairs = {slot.pair_id: one.number for one in rounds for given in one.slots for slot in choice.slots
             if slot.item_id == given.item_id and slot.pair_id is not None}
    assert all(pair == number for pair, number in pairs.items())
    used = [one.coins for one in rounds if one.coins is not None]
    flat = [coin for pair in used for coin in pair]
    assert set(flat) <= set(choice.coins)
