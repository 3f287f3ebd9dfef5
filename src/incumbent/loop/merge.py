"""Merge: from two models' answers to the slots of one page. Pure: nothing here waits, draws or reads a clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct

from incumbent.events.plan import PinnedSlot
from incumbent.events.schema import Mode, Role, Slot, SlotKind
from incumbent.experiments.assignment import Lane
from incumbent.experiments.lists import Ranked, break_ties, clean, unify, without
from incumbent.experiments.paging import Cursor, lists_digest
from incumbent.experiments.policy import Choice
from incumbent.loop.surface import Surface
from incumbent.models.recommender import Answer

_EMPTY = Ranked()


class Given(Struct, frozen=True):
    """One model's answer made clean: what the policy sees and the impression logs."""

    answer: Answer
    items: Ranked  # empty where the model failed
    ok: bool
    reason: str | None


class Merged(Struct, frozen=True):
    """One page, and where the ranking stands after it."""

    mode: Mode
    slots: list[Slot]
    coins: list[float]
    offset: int  # organic slots shown before this page
    organic: int  # organic slots on it
    more: bool
    digest: str  # of the lists that were merged
    reason: str | None


class Page(Struct, frozen=True):
    """Which page is asked for, of which ranking; `cursor` is None for the first."""

    unit: str
    ranking_id: str
    lane: Lane
    k: int
    hidden: Mapping[str, AbstractSet[str]]
    cursor: Cursor | None = None
    stale: bool = False  # the plan that began the ranking is not at hand
    champion_only: str | None = None  # why no experiment may be served now


def clean_answers(
    surface: Surface, answers: Sequence[Answer], hidden: Mapping[str, AbstractSet[str]], unit: str,
) -> list[Given]:
    """Each model's list without duplicates and hidden items; under `strict` a list with duplicates is invalid."""
    given = []
    for answer in answers:
        if answer.status != "ok":
            given.append(Given(answer, _EMPTY, False, answer.reason))
            continue
        items = break_ties(answer.items, answer.scores, unit)
        ranks = answer.ranks if items is answer.items else None  # ties broken make them others
        cleaned = clean(items, answer.scores, hidden, surface.keys, ranks)
        if surface.plan.strict and "duplicates" in cleaned.defects:
            failed = Answer("invalid", [], None, answer.latency_ms, answer.n_items, cleaned.reason,
                            answer.generated)
            given.append(Given(failed, _EMPTY, False, cleaned.reason))
        else:
            given.append(Given(answer, cleaned.items, True, cleaned.reason))
    if surface.keys and len(given) == 2:
        same = unify(given[0].items, given[1].items, surface.keys)
        given[1] = Given(given[1].answer, same, given[1].ok, given[1].reason)
    return given


def merge(surface: Surface, given: Sequence[Given], page: Page) -> Merged:
    """The page's slots by the table of edge cases (docs/serve/edge-cases.md).

    Both lists are drafted where the user is in the lane, the stage shows the candidate, both models answered, and a
    later page still sees the lists that all pages before were drafted from. Everything else is one list in its own
    order, which credits nobody.
    """
    cursor = page.cursor
    drafting = page.lane == "interleave" and surface.shows_candidate and page.champion_only is None
    merging = given if drafting else given[:1]
    both = drafting and given[0].ok and given[1].ok
    reasons = []
    if cursor is not None and (page.stale or cursor.lists != lists_digest([one.items for one in merging])
                               or (both and not cursor.drafted)):
        reasons.append("page_changed")
    first, offset = (cursor.position + 1, cursor.offset) if cursor else (1, 0)
    pins = _pins(surface, page, first)
    need = page.k - len(pins)
    coins: list[float] = []
    choice = None
    if both and not reasons:
        choice = _draft(surface, given, page, offset + need)
        if isinstance(choice, str):
            reasons.append(choice)
    if isinstance(choice, Choice):
        mode: Mode = "interleave"
        organic, coins = choice.slots[offset:] if offset else choice.slots, choice.coins
        more = _unseen(given[0].items, given[1].items, len(choice.slots))
    else:
        mode, rest, organic = _single(surface, given, page, drafting, first, need, reasons)
        more = rest > len(organic)
    slots = _place(_fill(surface, page, organic, need), pins, first, page.k)
    digest = lists_digest([one.items for one in merging]) if more else ""
    return Merged(mode, slots, coins, offset, len(organic), more, digest, "; ".join(reasons) or None)


def _draft(surface: Surface, given: Sequence[Given], page: Page, k: int) -> Choice | str:
    """The policy's choice, or why there is none: a plugin that raises must not cost the shopper the page."""
    experiment, policy = surface.experiment, surface.policy
    assert experiment is not None and policy is not None
    try:
        return policy.choose(given[0].items, given[1].items, k, share=experiment.share, salt=experiment.salt,
                             unit=page.unit, ranking_id=page.ranking_id, groups=surface.groups)
    except Exception as error:
        return f"policy failed: {type(error).__name__}: {error}"[:200]


def _single(
    surface: Surface, given: Sequence[Given], page: Page, drafting: bool, first: int, need: int, reasons: list[str],
) -> tuple[Mode, int, list[Slot]]:
    """One list alone: the mode, how many items were left to show, and the slots; says why in `reasons`.

    The candidate stands in for a failed champion only where its items may be shown at all: not in the holdout, not
    in shadow.
    """
    shown = page.cursor.shown if page.cursor else ()
    chosen = next((n for n, one in enumerate(given) if one.ok and (drafting or n == 0)), None)
    if drafting or chosen is None:
        reasons += [f"{role} {one.answer.status}" for role, one in zip(surface.roles, given, strict=True) if not one.ok]
    if page.champion_only is not None and page.lane == "interleave":
        reasons.append(page.champion_only)
    if chosen is None:
        rest = without(_allowed(surface.fallback, page.hidden), shown)
        return "degraded", len(rest), [Slot(n, item, "filler") for n, item in enumerate(rest[:need], first)]
    items = without(given[chosen].items, shown) if shown else given[chosen].items
    other = given[1 - chosen].items if len(given) > 1 else _EMPTY
    mode: Mode = "champion"
    if drafting:
        mode = "fallback"
    elif page.lane == "interleave" and page.champion_only is None:
        mode = "shadow"
    kind: SlotKind = "uncontested" if drafting else "solo"
    return mode, len(items), _alone(items, other, surface.roles[chosen], kind, first, need, surface.groups)


def _alone(
    items: Ranked, other: Ranked, role: Role, kind: SlotKind, first: int, k: int, groups: Mapping[str, str] | None,
) -> list[Slot]:
    """The first `k` of one list, in its own order."""
    group = groups.get if groups else _no_group
    ranks, elsewhere, scores = items.ranks, other.ranks.get, items.scores
    slots = []
    for position, item in enumerate(items[:k], first):
        rank, other_rank = ranks[item], elsewhere(item)
        champion_rank, candidate_rank = (rank, other_rank) if role == "champion" else (other_rank, rank)
        slots.append(Slot(position, item, kind, role, None, champion_rank, candidate_rank, None,
                          scores[rank - 1] if scores else None, group(item)))
    return slots


def _no_group(item: str) -> None:
    return None


def _fill(surface: Surface, page: Page, organic: list[Slot], need: int) -> list[Slot]:
    """Where the surface wants it, a short page filled from the static list, marked; never silently."""
    if not surface.plan.filler or len(organic) >= need:
        return organic
    gone = {slot.item_id for slot in organic}.union(page.cursor.shown if page.cursor else ())
    rest = without(_allowed(surface.fallback, page.hidden), gone)
    return organic + [Slot(0, item, "filler") for item in rest[: need - len(organic)]]


def _allowed(items: Ranked, hidden: Mapping[str, AbstractSet[str]]) -> Ranked:
    """The static list without what this shopper must not see; delisted and pinned items are out of it already."""
    excluded = hidden.get("excluded")
    if not excluded:
        return items
    return without(items, excluded if type(excluded) is frozenset else {item for item in items if item in excluded})


def _pins(surface: Surface, page: Page, first: int) -> dict[int, PinnedSlot]:
    """The pins of this page that this shopper may see, by absolute position."""
    if not surface.pinned:
        return {}
    excluded = page.hidden.get("excluded", frozenset())
    return {position: pin for position, pin in surface.pinned.items()
            if first <= position < first + page.k and pin.item_id not in excluded}


def _place(organic: list[Slot], pinned: Mapping[int, PinnedSlot], first: int, k: int) -> list[Slot]:
    """Slots at their absolute positions; a pin past the end of a short page is not shown, for it would move."""
    last = first + len(organic) - 1
    if not pinned and (not organic or (organic[0].position == first and organic[-1].position == last)):
        return organic
    slots: list[Slot] = []
    rest = iter(organic)
    for position in range(first, first + k):
        pin = pinned.get(position)
        if pin is not None:
            slots.append(Slot(position, pin.item_id, "pinned"))
            continue
        slot = next(rest, None)
        if slot is None:
            break
        slots.append(slot if slot.position == position else Slot(
            position, slot.item_id, slot.kind, slot.owner, slot.pair_id, slot.champion_rank, slot.candidate_rank,
            slot.propensity, slot.score, slot.group_id))
    return slots


def _unseen(champion: Ranked, candidate: Ranked, drafted: int) -> bool:
    """Is there an item that the first `drafted` slots do not hold?"""
    if len(champion) > drafted or len(candidate) > drafted:
        return True
    return len(champion) + sum(item not in champion.ranks for item in candidate) > drafted
