"""trace_told: what a shopper did, an act a sentence: what, to which item, and whom it was credited to or why nobody.

Acts of one kind at one page that were credited alike are one sentence: nobody reads twelve views in a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from incumbent.loop.tracing.credit import REASONS

VERBS = {"view": "looked at", "click": "clicked on", "add_to_cart": "put into the cart", "purchase": "bought",
         "dwell": "stayed with", "dismiss": "dismissed", "exclude": "excluded", "refund": "gave back"}
NAMED = 5  # items of one sentence that are named
WAITING = "not attributed yet"


def told(events: Sequence[Mapping[str, Any]], outcomes: Sequence[Mapping[str, Any]],
         titles: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """``[{time, text, item_ids}]``, newest first, of a shopper's feedback and its credited outcomes.

    An event without an outcome waits for the attribution. Items are named by their `titles` where there are any.

    >>> click = {"event_id": "e1", "time": "2026-03-01T12:00:00Z", "item_id": "a", "action": "click"}
    >>> told([click], [])[0]["text"]
    'clicked on a: not attributed yet'
    >>> told([click], [{**click, "reason": "outside_window"}])[0]["text"]
    'clicked on a: credited to nobody, it was shown longer ago than the attribution window'
    """
    by_event: dict[str, list[Mapping[str, Any]]] = {}
    for row in outcomes:
        by_event.setdefault(row["event_id"], []).append(row)
    known = {event["event_id"]: event for event in events}
    acts = [{**event, "credit": _credit(by_event.get(name, ()))}
            for name, event in {**{row["event_id"]: row for row in outcomes}, **known}.items()]
    acts.sort(key=lambda act: (str(act["time"]), _place(act), act["item_id"]), reverse=True)
    return [_sentence(list(alike), titles or {}) for _, alike in groupby(acts, key=_place)]


def _place(act: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """What acts that are told together have in common; a purchase, of which the money counts, is told alone."""
    own = act["event_id"] if act.get("value_minor") is not None or act.get("seconds") is not None else ""
    return str(act["time"])[:16], act["action"], str(act.get("request_id") or ""), act["credit"], own


def _sentence(acts: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> dict[str, Any]:
    first, items = acts[0], [act["item_id"] for act in acts]
    names = [titles.get(item, item) for item in items[:NAMED]]
    more = len(items) - len(names)
    what = f"{VERBS.get(first['action'], first['action'])} {', '.join(names)}" + (f" and {more} more" if more else "")
    return {"time": first["time"], "text": f"{what}{_much(first)}: {first['credit']}", "item_ids": items}


def _much(act: Mapping[str, Any]) -> str:
    if act.get("value_minor") is not None:
        return f" for {act['value_minor']:,} {act.get('currency') or ''} minor units".replace("  ", " ")
    return f" for {act['seconds']:g} s" if act.get("seconds") is not None else ""


def _credit(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whom the outcomes of one event were credited to: several slots share it under some rules."""
    if not rows:
        return WAITING
    credited = [row for row in rows if not row.get("reason")]
    if not credited:
        reason = rows[0]["reason"]
        return f"credited to nobody, {REASONS.get(reason, reason)}"
    shares = {role: sum(row.get(f"credit_{role}") or 0.0 for row in credited) for role in ("champion", "candidate")}
    parts = [f"the {role}" + ("" if share == 1 else f" ({share:.3g})") for role, share in shares.items() if share]
    if not parts:
        return "credited to nobody, the slot belongs to neither model"
    return f"credited to {' and '.join(parts)} by {credited[0].get('rule') or 'the rule in force'}"
