"""The same numbers the slow way: plain Python over the lake's events, as an oracle for attribution and maturity.

It shares no code with what it checks: it imports neither the loop nor the kernels, only the events. Quadratic where
that is simplest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from incumbent.events.schema import Feedback, Impression, Slot

MADE_UP = ("unserved", "forged", "bot")  # neither credit nor money
STRANGE = "foreign_user"  # no credit, but money
COMPETITIVE = ("pair", "half")
STARTED = ("canary", "ramp_5", "ramp_10", "ramp_25", "ramp_50", "promoted")

#: surface, experiment -> attribution, window in days, skip_neutral
Terms = Mapping[str, tuple[str, float, bool]]
Shown = tuple[Impression, Slot]


def outcomes(
    impressions: Iterable[Impression], feedback: Iterable[Feedback], terms: Terms, reach: int,
    served: Mapping[str, tuple[str, datetime]] | None = None,
) -> list[dict[str, Any]]:
    """The outcome rows of all feedback, in no particular order; `terms` by experiment, ``last_touch`` 7 days else.

    `served` says of each request to whom and when, also of users whose impressions are not here.
    """
    shown: dict[tuple[str, str], list[Shown]] = {}
    everyone = {i.event_id: i for i in impressions}.values()
    if served is None:
        served = {i.request_id: (i.user_id, i.time) for i in everyone}
    for impression in everyone:
        for slot in impression.slots:
            shown.setdefault((impression.user_id, slot.item_id), []).append((impression, slot))
    events = sorted({f.event_id: f for f in feedback}.values(), key=lambda f: (f.time, f.event_id))
    credited: dict[str, list[dict[str, Any]]] = {}
    taken: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    for event in sorted(events, key=lambda f: f.action == "refund"):  # a purchase of the same moment comes first
        mark = next((mark for mark in MADE_UP if mark in event.marks), None)
        if mark is None and (STRANGE in event.marks or _foreign(event, served, reach)):
            mark = STRANGE
        if event.action == "refund" and mark not in MADE_UP:
            made = _refund(event, events, credited, taken, terms, reach)
            if mark == STRANGE:  # what it takes back, without anything of where
                made = [{**_row(event, None, 0.0, STRANGE, None),
                         **{name: made[0][name] for name in ("weight", "quantity", "value_minor", "currency")}}]
        elif mark is not None:
            made = [_row(event, None, 0.0, mark, None)]
        else:
            made = _attribute(event, shown.get((event.user_id, event.item_id), []), terms, reach, everyone)
        credited[event.event_id] = made
        rows += made
    return rows


def _foreign(event: Feedback, served: Mapping[str, tuple[str, datetime]], reach: int) -> bool:
    """Whether the request that feedback names was served to somebody else, on a day that is looked at."""
    if not event.request_id or event.request_id not in served:
        return False
    user, time = served[event.request_id]
    since, until = _looked_at(event, reach)
    return user != event.user_id and since <= time < until


def _looked_at(event: Feedback, reach: int) -> tuple[datetime, datetime]:
    midnight = datetime.combine(event.time.astimezone(UTC).date(), datetime.min.time(), UTC)
    return midnight - timedelta(days=reach), midnight + timedelta(days=1)


def _attribute(event: Feedback, shown: list[Shown], terms: Terms, reach: int,
               everyone: Iterable[Impression]) -> list[dict[str, Any]]:
    since, until = _looked_at(event, reach)
    near = [(i, s) for i, s in shown if since <= i.time < until]
    near.sort(key=lambda pair: (pair[0].time, pair[0].request_id, pair[1].position))
    if event.request_id and all(i.request_id != event.request_id for i, _ in near):  # maybe another page showed it
        ranking = [i.ranking_id for i in everyone if i.request_id == event.request_id and i.user_id == event.user_id
                   and since <= i.time < until]
        pages = [i.request_id for i, _ in near if i.ranking_id in ranking and i.time <= event.time]
        event = msgspec.structs.replace(event, request_id=pages[-1]) if pages else event
    groups: dict[tuple[str, str | None], list[Shown]] = {}
    for i, s in near:
        groups.setdefault((i.surface, i.experiment), []).append((i, s))
    rows = [row for group, touched in groups.items() for row in _group(event, group, touched, terms)]
    return rows or [_row(event, None, 0.0, "no_exposure", None)]


def _group(event: Feedback, group: tuple[str, str | None], touched: list[Shown], terms: Terms) -> list[dict[str, Any]]:
    attribution, days, skip = terms.get(group[1] or "", ("last_touch", 7.0, False))
    if event.request_id:  # it belongs to that request alone
        touched = [pair for pair in touched if pair[0].request_id == event.request_id]
        if not touched:
            return [_row(event, None, 0.0, "other_request", None, group)]
    before = [pair for pair in touched if pair[0].time <= event.time]
    inside = [pair for pair in before if pair[0].time >= event.time - timedelta(days=days)]
    if not inside:
        return [_row(event, None, 0.0, "outside_window" if before else "before_exposure", None, group)]
    named = inside if event.request_id else []
    if named:
        attribution, credit = "impression", {len(named) - 1: 1.0}
        candidates = named
    else:
        candidates = [pair for pair in inside if pair[1].kind in COMPETITIVE] if skip else inside
        credit = _by_rule(attribution, candidates)
    rows = [_row(event, candidates[at], weight, None, attribution) for at, weight in credit.items()
            if candidates[at][1].kind in COMPETITIVE]
    if rows:
        return rows
    why = "not_named" if attribution == "impression" and not named else "neutral"
    return [_row(event, (named or inside)[-1], 0.0, why, attribution)]


def _by_rule(attribution: str, touched: list[Shown]) -> dict[int, float]:
    """Index of a touch -> its weight."""
    contested = [at for at, pair in enumerate(touched) if pair[1].kind in COMPETITIVE]
    if attribution == "last_touch":
        return {len(touched) - 1: 1.0} if touched else {}
    if attribution == "first_touch":
        return {0: 1.0} if touched else {}
    if attribution == "all_touch":
        return dict.fromkeys(contested, 1.0)
    if attribution == "share":
        return dict.fromkeys(contested, 1.0 / len(contested)) if contested else {}
    return {}


def _refund(
    event: Feedback, events: Sequence[Feedback], credited: dict[str, list[dict[str, Any]]], taken: dict[str, float],
    terms: Terms, reach: int,
) -> list[dict[str, Any]]:
    oldest = datetime.combine(event.time.astimezone(UTC).date(), datetime.min.time(), UTC) - timedelta(days=reach)
    found = [p for p in events if p.action == "purchase" and p.user_id == event.user_id
             and oldest <= p.time <= event.time and not set(p.marks) & set(MADE_UP) and _same(event, p)]
    if not found:
        return [_row(event, None, 0.0, "no_purchase", None, weight=-1.0)]
    purchase = found[-1]
    if event.quantity is not None and purchase.quantity:
        part = event.quantity / purchase.quantity
    elif event.value_minor is not None and purchase.value_minor and event.currency == purchase.currency:
        part = event.value_minor / purchase.value_minor
    else:
        part = 1.0
    part = min(part, 1.0 - taken.get(purchase.event_id, 0.0))
    taken[purchase.event_id] = taken.get(purchase.event_id, 0.0) + part
    value, currency, quantity = event.value_minor, event.currency, event.quantity
    if value is None and purchase.value_minor is not None:
        value, currency = round(part * purchase.value_minor), purchase.currency
    if value is not None and purchase.value_minor is not None and currency == purchase.currency:
        value = min(value, purchase.value_minor - int(taken.get(f"{purchase.event_id} value", 0)))
        taken[f"{purchase.event_id} value"] = taken.get(f"{purchase.event_id} value", 0) + value
    if quantity is not None and purchase.quantity is not None:
        quantity = min(quantity, purchase.quantity - int(taken.get(f"{purchase.event_id} quantity", 0)))
        taken[f"{purchase.event_id} quantity"] = taken.get(f"{purchase.event_id} quantity", 0) + quantity
    own = {"weight": -part, "quantity": None if quantity is None else -quantity,
           "value_minor": None if value is None else -value, "currency": currency}
    rows: list[dict[str, Any]] = []
    late: dict[tuple[str, str | None], dict[str, Any]] = {}
    for row in credited[purchase.event_id]:
        group = (row["surface"], row["experiment"])
        mine = {**row, **_own(event), **own}
        days = terms.get(group[1] or "", ("", 7.0, False))[1]
        if row["reason"] is not None or row["exposed_at"] >= event.time - timedelta(days=days):
            rows.append(mine)
        else:
            late[group] = {**_row(event, None, 0.0, "late_refund", row["rule"], group), **own}
    return rows + [row for group, row in late.items()
                   if group not in {(r["surface"], r["experiment"]) for r in rows}]


def _same(refund: Feedback, purchase: Feedback) -> bool:
    if refund.refers_to is not None:
        return purchase.event_id == refund.refers_to
    if refund.order_id is None or purchase.order_id != refund.order_id:
        return False
    if refund.line_id is not None:
        return purchase.line_id == refund.line_id
    return purchase.item_id == refund.item_id


def _own(event: Feedback) -> dict[str, Any]:
    quantity = event.quantity
    return {"event_id": event.event_id, "time": event.time, "user_id": event.user_id, "item_id": event.item_id,
            "action": event.action, "quantity": -quantity if quantity and event.action == "refund" else quantity}


def _row(
    event: Feedback, shown: Shown | None, credit: float, reason: str | None, rule: str | None,
    group: tuple[str, str | None] | None = None, weight: float = 1.0,
) -> dict[str, Any]:
    impression, slot = shown if shown is not None else (None, None)
    refund = event.action == "refund"
    value = event.value_minor
    return {
        **_own(event), "value_minor": -value if refund and value is not None else value, "currency": event.currency,
        "request_id": impression and impression.request_id, "exposed_at": impression and impression.time,
        "surface": impression.surface if impression else group and group[0],
        "experiment": impression.experiment if impression else group and group[1],
        "stage": impression and impression.stage, "lane": impression and impression.lane,
        "kind": slot and slot.kind, "owner": slot and slot.owner,
        "pair_id": None if slot is None else slot.pair_id, "position": slot and slot.position,
        "credit_champion": credit if slot is not None and slot.owner == "champion" else 0.0,
        "credit_candidate": credit if slot is not None and slot.owner == "candidate" else 0.0,
        "weight": -1.0 if refund and weight > 0 else weight, "rule": rule, "reason": reason,
    }


def units(
    impressions: Iterable[Impression], rows: Iterable[dict[str, Any]], experiment: str, *, maturity_days: float,
    actions: Mapping[str, float], value: bool = False, currency: str = "",
) -> dict[str, dict[str, Any]]:
    """Unit -> first exposure, lane, stage, x, y, n, value, requests over its whole period, matured or not."""
    mine: dict[str, list[Impression]] = {}
    for i in {i.event_id: i for i in impressions}.values():
        if i.experiment == experiment and i.lane in ("interleave", "holdout") and i.stage in STARTED:
            mine.setdefault(i.user_id, []).append(i)
    by_user: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_user.setdefault(row["user_id"], []).append(row)
    out = {}
    for user, seen in mine.items():
        first = min(seen, key=lambda i: (i.time, i.request_id))
        end = first.time + timedelta(days=maturity_days)
        within = [i for i in seen if i.time <= end]
        x = y = money = 0.0
        counted = set()
        for row in by_user.get(user, []):
            if not first.time <= row["time"] <= end:
                continue
            if row["action"] in ("purchase", "refund") and row["currency"] == currency \
                    and row["reason"] not in MADE_UP and row["event_id"] not in counted:
                counted.add(row["event_id"])
                money += row["value_minor"] or 0
            if row["experiment"] != experiment or row["reason"] is not None or row["exposed_at"] < first.time:
                continue
            action = actions.get("purchase" if row["action"] == "refund" else row["action"], 0.0)
            if value:
                amount = action * (row["value_minor"] or 0) if row["currency"] == currency else 0.0
            else:
                amount = action * row["weight"]
            x, y = x + row["credit_candidate"] * amount, y + row["credit_champion"] * amount
        pairs = {(i.ranking_id, s.pair_id) for i in within for s in i.slots if s.kind in COMPETITIVE}
        out[user] = {"exposed_at": first.time, "lane": first.lane, "stage": first.stage, "x": x, "y": y,
                     "n": len(pairs), "value": money, "requests": len(within)}
    return out
