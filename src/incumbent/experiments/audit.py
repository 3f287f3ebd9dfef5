"""audit: every coin, slot, share and lane recomputed from the log, 100 %, by the registered policy itself.

An impression holds both full lists, the coins and the hash of the plan that made it. What it shows must follow from
those alone; where it does not, somebody served something else than what the verdict assumes. A page that was not
drafted may show only whom its mode permits: the champion alone (champion, shadow), whichever model answered (fallback),
nobody (degraded), and no competitive slot.

Coins are a function of user and ranking id, so a ranking that is shown twice has thrown no new ones. All of its pages
are recomputed, but of its coins only those of the first page, once, are counted as draws (`fresh`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from incumbent import registry
from incumbent.events.plan import ExperimentPlan, ServingPlan
from incumbent.events.schema import Impression, Slot
from incumbent.events.window import day_of
from incumbent.experiments.assignment import assign
from incumbent.experiments.policy import Choice, Policy

EXAMPLES = 20
COMPETITIVE = ("pair", "half")


class Tally(Struct, frozen=True):
    """Totals of audited impressions; they add. S and V of a parity: the sum of ``+-a`` and of ``a^2`` over fair coins,
    plus where the coin favoured the candidate."""

    impressions: int = 0  # of the experiment, whatever their mode
    interleaved: int = 0  # of those, drafted from both lists: all of them recomputed
    mismatches: int = 0
    examples: tuple[str, ...] = ()  # request ids and what differs, the first so many
    organic: int = 0  # slots that came out of a draft
    shared: int = 0
    uncontested: int = 0
    contested: int = 0  # pair, half and solo
    candidate_contested: int = 0  # of those, the candidate's
    shown: tuple[float, float] = (0.0, 0.0)  # items shown: S, V (half pairs alone can differ)
    first: tuple[float, float] = (0.0, 0.0)  # shown first in its pair
    rank: tuple[float, float] = (0.0, 0.0)  # reciprocal rank within its pair
    uncounted: int = 0  # first pages whose coins are in no parity: there was no room to remember their rankings

    def __add__(self, other: Tally) -> Tally:
        """The totals of both."""
        return Tally(
            self.impressions + other.impressions, self.interleaved + other.interleaved,
            self.mismatches + other.mismatches, (self.examples + other.examples)[:EXAMPLES],
            self.organic + other.organic, self.shared + other.shared, self.uncontested + other.uncontested,
            self.contested + other.contested, self.candidate_contested + other.candidate_contested,
            _both(self.shown, other.shown), _both(self.first, other.first), _both(self.rank, other.rank),
            self.uncounted + other.uncounted)


def _both(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return one[0] + other[0], one[1] + other[1]


class Rankings:
    """Tells whether a ranking is seen for the first time, by digests of user and ranking id; no ids are kept.

    A ranking that the gateway named itself has the impression's event id, which no other impression has: it needs no
    memory. Of ids that callers supply at most `room` are remembered (digest -> the day first seen); beyond, rankings of
    callers count no further draws, so that memory is bounded and nothing is counted twice. `turned_away` counts the
    pages that came of those.
    """

    def __init__(self, seen: Mapping[str, str] | None = None, *, room: int = 4_096) -> None:
        self.seen = dict(seen or {})
        self.turned_away = 0
        self._room = room

    def __call__(self, impression: Impression) -> bool:
        """True once per user and ranking."""
        if impression.ranking_id == impression.event_id:
            return True
        text = f"{impression.user_id}\x1f{impression.ranking_id}"
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        if digest in self.seen:
            return False
        if len(self.seen) >= self._room:
            self.turned_away += 1
            return False
        self.seen[digest] = day_of(impression.time).isoformat()
        return True

    def forget(self, day: str) -> None:
        """Forget the rankings first seen on a day, which is about to be read again."""
        self.seen = {digest: first for digest, first in self.seen.items() if first != day}


class Auditor:
    """Recomputes impressions of one experiment.

    `plan_of` gives the plan of a hash, None where it is not known (which is a mismatch: plans are kept for ever, also
    beside Control).
    """

    def __init__(self, experiment: str, plan_of: Callable[[str], ServingPlan | None]) -> None:
        self.experiment = experiment
        self._plan_of = plan_of
        self._plans: dict[str, ServingPlan | None] = {}
        self._policies: dict[tuple[str, str], Policy] = {}

    def audit(self, impressions: Iterable[Impression], fresh: Callable[[Impression], bool] | None = None) -> Tally:
        """The totals of these impressions; those of other experiments are left out.

        `fresh` says of a first page whether its ranking is seen for the first time; by default, among these.
        """
        fresh = fresh or Rankings()
        before = fresh.turned_away if isinstance(fresh, Rankings) else 0
        made = sum((self.one(each, fresh) for each in impressions if each.experiment == self.experiment), Tally())
        away = fresh.turned_away - before if isinstance(fresh, Rankings) else 0
        return made + Tally(uncounted=away) if away else made

    def one(self, impression: Impression, fresh: Callable[[Impression], bool] | None = None) -> Tally:
        """The totals of a single impression."""
        if impression.plan not in self._plans:
            self._plans[impression.plan] = self._plan_of(impression.plan)
        plan = self._plans[impression.plan]
        surface = plan.surfaces.get(impression.surface) if plan else None
        experiment = surface.experiment if surface else None
        if plan is None or experiment is None or experiment.name != self.experiment:
            return self._mismatch(impression, "its plan is not known, or does not hold the experiment")
        problem = self._header(impression, experiment)
        if impression.mode != "interleave":
            problem = problem or _stranger(impression)
            return self._mismatch(impression, problem) if problem else Tally(impressions=1)
        choice = self._draft(impression, experiment, plan)
        organic = [slot for slot in impression.slots if slot.kind not in ("pinned", "filler")]
        problem = problem or _difference(impression, organic, choice)
        draws = impression.page == 1 and (fresh is None or fresh(impression))
        counted = _count(organic, one_coin=experiment.coin == "list", draws=draws)
        return counted if problem is None else counted + self._mismatch(impression, problem, impressions=0)

    def _mismatch(self, impression: Impression, problem: str, impressions: int = 1) -> Tally:
        return Tally(impressions=impressions, mismatches=1, examples=(f"{impression.request_id}: {problem}",))

    def _header(self, impression: Impression, experiment: ExperimentPlan) -> str | None:
        for name in ("stage", "share", "policy", "salt"):
            got, planned = getattr(impression, name), getattr(experiment, name)
            if got != planned:
                return f"{name} is {got!r}, the plan says {planned!r}"
        if impression.page == 1:
            lane = assign(experiment, impression.user_id, impression.context)
            if lane != impression.lane:
                return f"lane is {impression.lane!r}, the user's hash says {lane!r}"
        if impression.mode == "interleave" and impression.lane != "interleave":
            return f"lane {impression.lane!r} was shown the candidate"
        return None

    def _draft(self, impression: Impression, experiment: ExperimentPlan, plan: ServingPlan) -> Choice:
        key = (experiment.policy, experiment.coin)
        if key not in self._policies:
            self._policies[key] = registry.load("policies", experiment.policy)(coin=experiment.coin)
        lists = {answer.role: list(answer.items) for answer in impression.models}
        pinned = sum(slot.kind == "pinned" for slot in impression.slots)
        return self._policies[key].choose(
            lists.get("champion", []), lists.get("candidate", []), impression.offset + impression.k - pinned,
            share=experiment.share, salt=experiment.salt, unit=impression.user_id, ranking_id=impression.ranking_id,
            groups=plan.groups or None)


def _difference(impression: Impression, organic: Sequence[Slot], choice: Choice) -> str | None:
    """What the log shows and the recomputed draft does not."""
    drafted = choice.slots[impression.offset:]
    if list(impression.coins) != list(choice.coins):
        return "coins are not those of the user, the ranking and the salt"
    if len(organic) != len(drafted):
        return f"{len(organic)} drafted slots were shown, the draft gives {len(drafted)}"
    for shown, drawn in zip(organic, drafted, strict=True):
        for name in ("item_id", "kind", "owner", "pair_id", "champion_rank", "candidate_rank"):
            if getattr(shown, name) != getattr(drawn, name):
                return f"position {shown.position}: {name} is {getattr(shown, name)!r}, the draft gives " \
                       f"{getattr(drawn, name)!r}"
    if any(a.position >= b.position for a, b in zip(impression.slots, impression.slots[1:], strict=False)):
        return "positions do not grow"
    return None


def _stranger(impression: Impression) -> str | None:
    """Who stands on a page that was not drafted and has no business there."""
    mode, drafting = impression.mode, impression.lane == "interleave" and (impression.share or 0.0) > 0
    if mode == "fallback" and not drafting:
        return f"lane {impression.lane!r} at share {impression.share} was served as fallback"
    answered: set[str] = {answer.role for answer in impression.models if answer.status == "ok"}
    permitted = answered if mode == "fallback" else set[str]() if mode == "degraded" else {"champion"}
    lists = {answer.role: set(answer.items) for answer in impression.models if not answer.truncated}
    for slot in impression.slots:
        what = f"position {slot.position}: on a page of mode {mode!r}"
        if slot.kind in COMPETITIVE:
            return f"{what} stands a competitive slot"
        if slot.owner is not None and slot.owner not in permitted:
            return f"{what} the {slot.owner} owns a slot"
        if slot.owner in lists and slot.item_id not in lists[slot.owner]:
            return f"{what} the {slot.owner} owns an item that is not in its list"
    return None


def _count(organic: Sequence[Slot], *, one_coin: bool, draws: bool) -> Tally:
    """Totals of one drafted page; of its coins only where they are draws. Under one coin per list all its pairs fall
    together: one term, not many."""
    pairs: dict[int, list[Slot]] = {}
    for slot in organic:
        if slot.kind in COMPETITIVE and slot.pair_id is not None:
            pairs.setdefault(slot.pair_id, []).append(slot)
    shown, first, rank = [], [], []
    for slots in pairs.values():
        sign = 1.0 if slots[0].owner == "candidate" else -1.0
        if len(slots) == 1:
            shown.append(sign)
            continue
        first.append(sign)
        rank.append(sign * (1 / slots[0].position - 1 / slots[1].position))
    if not draws:
        shown, first, rank = [], [], []
    kinds = [slot.kind for slot in organic]
    contested = [slot for slot in organic if slot.kind in (*COMPETITIVE, "solo")]
    return Tally(
        impressions=1, interleaved=1, organic=len(organic), shared=kinds.count("shared"),
        uncontested=kinds.count("uncontested"), contested=len(contested),
        candidate_contested=sum(slot.owner == "candidate" for slot in contested),
        shown=_terms(shown, one_coin), first=_terms(first, one_coin), rank=_terms(rank, one_coin))


def _terms(values: Sequence[float], one_coin: bool) -> tuple[float, float]:
    total = sum(values)
    return total, total * total if one_coin else sum(value * value for value in values)
