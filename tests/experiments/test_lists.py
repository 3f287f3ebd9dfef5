"""Clean lists: no duplicates, nothing hidden, scores aligned, variants that look alike made one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.experiments.lists import Ranked, break_ties, clean, look_alikes, ranked, unify, without

ITEMS = st.lists(st.sampled_from("abcdefgh"), max_size=12)
HIDDEN = st.sets(st.sampled_from("abcdefgh"), max_size=4)


@settings(deadline=None, max_examples=200)
@given(ITEMS, HIDDEN, HIDDEN, st.booleans())
def test_against_the_plain_definition(items: list[str], pinned: set[str], delisted: set[str], scored: bool) -> None:
    scores = [float(-n) for n in range(len(items))] if scored else None
    cleaned = clean(items, scores, {"pinned": pinned, "delisted": delisted})
    expected: list[str] = []
    duplicates = 0
    for n, item in enumerate(items):
        if item in items[:n]:
            duplicates += 1
        elif item not in pinned and item not in delisted:
            expected.append(item)
    assert list(cleaned.items) == expected
    assert cleaned.items.ranks == {item: n + 1 for n, item in enumerate(expected)}
    if scored:
        assert cleaned.items.scores == [float(-items.index(item)) for item in expected]
    assert cleaned.defects.get("duplicates", 0) == duplicates
    assert cleaned.defects.get("pinned", 0) == len(set(items) & pinned)
    assert cleaned.defects.get("delisted", 0) == len((set(items) & delisted) - pinned)
    assert (cleaned.reason is None) == (not cleaned.defects)


def test_a_list_without_defects_keeps_all() -> None:
    cleaned = clean(["a", "b"], [2.0, 1.0], {"delisted": frozenset({"z"})})
    assert (cleaned.items, cleaned.items.scores, cleaned.reason) == (["a", "b"], [2.0, 1.0], None)


def test_variants_that_look_alike_are_duplicates_within_a_list() -> None:
    keys = look_alikes({"s39": "shoe", "s40": "shoe", "red": "shoe"}, {"s39": "#1", "s40": "#1", "red": "#2"})
    cleaned = clean(["s39", "red", "s40", "x"], None, {}, keys)
    assert (cleaned.items, cleaned.reason) == (["s39", "red", "x"], "duplicates=1")


def test_unify_makes_the_variant_the_champion_named() -> None:
    keys = look_alikes({"s39": "shoe", "s40": "shoe", "red": "shoe"}, {"s39": "#1", "s40": "#1", "red": "#2"})
    champion, candidate = Ranked(["s39", "x"]), Ranked(["red", "s40", "x"], [3.0, 2.0, 1.0])
    same = unify(champion, candidate, keys)
    assert (same, same.scores, same.ranks["s39"]) == (["red", "s39", "x"], [3.0, 2.0, 1.0], 2)
    assert candidate == ["red", "s40", "x"], "the list given is left as it was"
    assert unify(Ranked(["x"]), candidate, keys) is candidate


@pytest.mark.parametrize("presentations", [{}, {"s39": "#1"}, {"s39": "#1", "s40": "#2"}])
def test_one_group_but_not_surely_one_look_stays_two_items(presentations: dict[str, str]) -> None:
    keys = look_alikes({"s39": "shoe", "s40": "shoe"}, presentations)
    assert unify(Ranked(["s39"]), Ranked(["s40"]), keys) == ["s40"]


def test_a_presentation_without_a_group_makes_nothing_equal() -> None:
    assert look_alikes({}, {"a": "#1", "b": "#1"}) == {}


def test_ranked_drops_duplicates_but_not_silently_with_scores() -> None:
    assert ranked(["a", "b", "a"]) == ["a", "b"]
    assert ranked(["a", "b", "a"]).ranks == {"a": 1, "b": 2}
    with pytest.raises(ValueError, match="clean it first"):
        Ranked(["a", "a"], [1.0, 2.0])
    once = Ranked(["a"])
    assert ranked(once) is once


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from("abcdefgh"), unique=True), HIDDEN)
def test_without_keeps_order_and_ranks(items: list[str], shown: set[str]) -> None:
    rest = without(Ranked(items), shown)
    assert list(rest) == [item for item in items if item not in shown]
    assert all(rest.ranks[item] == items.index(item) + 1 for item in rest)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([0.0, 0.5, 1.0])), max_size=12),
       st.sampled_from("uv"))
def test_ties_change_places_among_themselves_only(pairs: list[tuple[str, float]], seed: str) -> None:
    items, scores = [item for item, _ in pairs], [score for _, score in pairs]
    ordered = break_ties(items, scores, seed)
    assert sorted(zip(ordered, scores, strict=True)) == sorted(pairs)
    assert break_ties(ordered, scores, seed) == ordered
    same_score = list(dict.fromkeys(items))
    one, two = (break_ties(order, [1.0] * len(same_score), seed) for order in (same_score, same_score[::-1]))
    assert one == two, "the order in which they came does not matter"
    assert break_ties(items, None, seed) == items
