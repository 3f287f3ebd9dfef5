"""trace_why: why a page is as it is: the lane, every round with its coins, every slot, and what touches it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from incumbent.events.plan import ExperimentPlan, ServingPlan
from incumbent.events.schema import Conclusion, Decision, Finding, Impression, Slot
from incumbent.experiments.assignment import assign, declared_bot, lane_points
from incumbent.experiments.audit import Auditor
from incumbent.experiments.explain_draft import Round, explain
from incumbent.stores.store import Control

BEFORE, AFTER = timedelta(days=1), timedelta(days=14)  # findings so long before and after a request may touch it
MOST = 20
PAGE = 200  # findings of a subject that are asked for first
_NEUTRAL = {
    "shared": "both models put it next: nobody's, no credit", "pinned": "pinned by the plan: nobody's, no credit",
    "filler": "from the surface's static list: nobody's, no credit"}
_MODES = {
    "interleave": "both lists, merged by the coins", "champion": "the champion's list alone",
    "shadow": "the champion's list, while the candidate was only listened to",
    "fallback": "one list whole, because the other could not be used",
    "degraded": "the surface's static list: no model whose items may be shown answered",
    "split": "one list whole, by the shopper's arm"}


def why(control: Control, impression: Impression) -> dict[str, Any]:
    """``{lane, mode, rounds, slots, recomputed}``: each in a sentence, and whether the log is what follows from it."""
    plan = control.plan(impression.plan)
    surface = plan.surfaces.get(impression.surface) if plan is not None else None
    experiment = surface.experiment if surface is not None else None
    rounds = rounds_of(impression, experiment)
    return {
        "lane": lane_of(impression, experiment),
        "mode": _MODES.get(impression.mode, impression.mode) + (f" ({impression.reason})" if impression.reason else ""),
        "rounds": [_told(one, impression) for one in rounds],
        "slots": [{"position": slot.position, "item_id": slot.item_id, "kind": slot.kind, "owner": slot.owner,
                   "why": slot_why(slot, rounds, impression)} for slot in impression.slots],
        "recomputed": recomputed(control, impression, plan, rounds),
    }


def rounds_of(impression: Impression, experiment: ExperimentPlan | None) -> list[Round]:
    """The rounds of a drafted page and of the pages before it; none where nothing was drafted, or by another policy."""
    if impression.mode != "interleave" or impression.policy != "pair_draft" or impression.share is None:
        return []
    lists = {answer.role: list(answer.items) for answer in impression.models}
    pinned = sum(slot.kind == "pinned" for slot in impression.slots)
    return explain(lists.get("champion", []), lists.get("candidate", []),
                   impression.offset + impression.k - pinned, share=impression.share, salt=impression.salt or "",
                   unit=impression.user_id, ranking_id=impression.ranking_id,
                   one_coin=experiment is not None and experiment.coin == "list")


def lane_of(impression: Impression, experiment: ExperimentPlan | None) -> str:
    """Why the shopper is in this lane, in a sentence.

    >>> from incumbent.testing.golden import impression
    >>> from incumbent.clock import EPOCH
    >>> lane_of(impression("r1", EPOCH, "u1", "home", "-", ["a:solo:C"]), None)
    'no experiment ran here'
    """
    if impression.experiment is None:
        return "no experiment ran here"
    if experiment is None:
        return f"{impression.lane}; the plan that says why is not known"
    if impression.lane == "outside" and declared_bot(experiment.bots, impression.context):
        return "outside: the context declares a robot"
    if impression.lane == "outside":
        return f"outside: the context is not in the segment {experiment.segment}"
    holdout, lane = lane_points(experiment.salt, impression.user_id)
    told = f"h = {holdout:.4f}, l = {lane:.4f}, from the user and the salt"
    now = assign(experiment, impression.user_id, impression.context)
    said = {
        "holdout": f"h < the holdout's {experiment.holdout:g}",
        "interleave": f"h >= {experiment.holdout:g} and l < the lane's {experiment.lane_share:g}",
        "rest": f"h >= {experiment.holdout:g} and l >= the lane's {experiment.lane_share:g}"}.get(impression.lane, "")
    other = "" if now == impression.lane or impression.page > 1 else f"; the hash says {now}"
    return f"{impression.lane}: {told}: {said}{other}"


def slot_why(slot: Slot, rounds: list[Round], impression: Impression) -> str:
    """Whose a slot is, and why."""
    if slot.kind in _NEUTRAL:
        return _NEUTRAL[slot.kind]
    if slot.kind in ("pair", "half", "solo") and impression.mode == "interleave":
        one = next((found for found in rounds if any(slot.item_id == given.item_id for given in found.slots)), None)
        if one is not None:
            return f"round {one.number + 1}: {one.why}"
    if slot.kind == "uncontested" and impression.mode == "interleave":
        return f"only the {slot.owner} had anything left"
    return f"the {slot.owner}'s, shown alone: no credit"


def recomputed(control: Control, impression: Impression, plan: ServingPlan | None,
               rounds: list[Round]) -> dict[str, Any]:
    """``{ok, text}``: does what was shown follow from lists, coins and plan? Asked of the policy, and of the rounds."""
    if impression.experiment is None:
        return {"ok": True, "text": "no coin was needed: no experiment ran"}
    tally = Auditor(impression.experiment, lambda digest: plan if plan is not None and digest == plan.hash
                    else control.plan(digest)).one(impression, lambda _: True)
    if tally.mismatches:
        return {"ok": False, "text": tally.examples[0].partition(": ")[2] or tally.examples[0]}
    if rounds:
        organic = [(slot.item_id, slot.owner, slot.kind) for slot in impression.slots
                   if slot.kind not in ("pinned", "filler")]
        drawn = [(one.item_id, one.owner, one.kind) for each in rounds for one in each.slots][impression.offset:]
        if organic != drawn:
            return {"ok": False, "text": "the rounds as told here give other slots than were shown"}
    return {"ok": True, "text": "lane, coins and slots recomputed: as logged"}


def touching(control: Control, subjects: list[str], since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Findings on these subjects from a day before to two weeks after, newest first; only those that are not well,
    where there are any."""
    found: dict[str, Finding] = {}
    for subject in subjects:
        found.update({one.event_id: one for one in _back_to(control, subject, since - BEFORE)
                      if isinstance(one, Finding) and since - BEFORE <= one.time <= until + AFTER})
    newest = sorted(found.values(), key=lambda one: (one.time, one.event_id), reverse=True)
    told = [one for one in newest if one.status not in ("ok", "no_data")] or newest
    return [{"event_id": one.event_id, "time": one.time.isoformat(), "subject": one.subject, "check": one.check,
             "status": one.status, "severity": one.severity, "reason": one.reason} for one in told[:MOST]]


def _back_to(control: Control, subject: str, first: datetime) -> list[Conclusion]:
    """The findings of a subject, newest first, at least as far back as `first`."""
    limit = PAGE
    found = control.conclusions("finding", subject, limit)
    while len(found) == limit and found[-1].time >= first:
        limit *= 4
        found = control.conclusions("finding", subject, limit)
    return found


def subjects_of(impression: Impression) -> list[str]:
    """What findings may be about that touch a request."""
    return [*([f"experiment:{impression.experiment}"] if impression.experiment else []),
            f"surface:{impression.surface}", *(f"model:{model.name}" for model in impression.models),
            "door:feedback", "door:impression"]


def experiment_now(control: Control, name: str | None) -> dict[str, Any] | None:
    """How an experiment stands today, and its last decisions."""
    row = control.experiment(name) if name is not None else None
    if row is None:
        return None
    return {"name": row.name, "stage": row.stage, "held": row.held, "verdict": row.verdict,
            "started_at": row.started_at.isoformat(), "ended_at": row.ended_at and row.ended_at.isoformat(),
            "decisions": [{"time": one.time.isoformat(), "verdict": one.verdict, "reason": one.reason, "by": one.by}
                          for one in control.conclusions("decision", row.name, 5) if isinstance(one, Decision)]}


def _told(one: Round, impression: Impression) -> dict[str, Any]:
    positions = {slot.item_id: slot.position for slot in impression.slots}
    told: dict[str, Any] = msgspec.to_builtins(one)
    told["slots"] = [{**slot, "position": positions.get(slot["item_id"])} for slot in told["slots"]]
    return told
