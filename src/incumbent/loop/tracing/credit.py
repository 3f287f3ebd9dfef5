"""trace_credit: what a shopper did about one request, and what every rule of credit makes of it.

The rules are asked by the attribution itself, with other terms: what is told here is what it would have written.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from incumbent import registry
from incumbent.events.schema import Impression
from incumbent.events.window import Window, day_of
from incumbent.experiments.credit import CreditTerms
from incumbent.loop.credited import TermsOf
from incumbent.loop.definitions import definitions, reach_days, terms_of
from incumbent.loop.outcomes import FEEDBACK_COLUMNS, IMPRESSION_COLUMNS, outcome_rows
from incumbent.loop.relations import DuckEngine
from incumbent.stores.store import Control, Lake

REASONS = {
    "no_exposure": "the item was not shown to this shopper on the days that were looked at",
    "before_exposure": "it was first shown later that day",
    "outside_window": "it was shown longer ago than the attribution window",
    "neutral": "the exposure that took the touch belongs to nobody",
    "not_named": "this rule credits what names its request, and this names none",
    "other_request": "it names a request, and this exposure is of another",
    "foreign_user": "the request that it names was served to somebody else",
    "unserved": "the request id is not one of ours", "forged": "the collector marked it as forged",
    "bot": "its context declares a robot",
    "no_purchase": "the purchase that is refunded is not there",
    "late_refund": "the refund came after the attribution window",
}


def by_rule(lake: Lake, control: Control, impression: Impression) -> dict[str, Any]:
    """``{in_force, window_days, rules: [{rule, rows}]}`` over what the shopper did to the page's items.

    A row: event, item, action, when, credit of champion and candidate, and the reason where there is none.
    """
    known = definitions(control)
    terms = terms_of(known)(impression.surface, impression.experiment)
    reach = reach_days(known)
    feedback = _feedback(lake, impression, terms)
    names = [terms.attribution, *(name for name in registry.names("credits") if name != terms.attribution)]
    if not feedback.num_rows:
        return {"in_force": terms.attribution, "window_days": terms.window_days,
                "rules": [{"rule": name, "rows": []} for name in names]}
    asked, feedback = feedback["event_id"], _with_purchases(lake, feedback, impression.user_id, reach)
    first = day_of(pc.min(feedback["time"]).as_py()) - timedelta(days=reach)
    last = day_of(pc.max(feedback["time"]).as_py())
    shown = lake.scan("impression", Window.of_days(first, last), columns=IMPRESSION_COLUMNS,
                      users=[impression.user_id])
    engine, items = DuckEngine(threads=1, memory_mb=256), pa.array([slot.item_id for slot in impression.slots])
    rules = []
    for name in names:
        own = CreditTerms(name, terms.window_days, terms.skip_neutral)
        rows = outcome_rows(feedback, [shown], _always(own), engine, reach)
        here = pc.or_kleene(pc.equal(rows["request_id"], impression.request_id),
                            pc.and_(pc.is_null(rows["request_id"]), pc.is_in(rows["item_id"], value_set=items)))
        here = pc.and_(here, pc.is_in(rows["event_id"], value_set=asked))
        rules.append({"rule": name, "rows": [_row(one) for one in rows.filter(here).to_pylist()]})
    return {"in_force": terms.attribution, "window_days": terms.window_days, "rules": rules}


def _always(own: CreditTerms) -> TermsOf:
    return lambda surface, experiment: own


def _feedback(lake: Lake, impression: Impression, terms: CreditTerms) -> pa.Table:
    """What this shopper did to the page's items while it could be credited to it, and what names the request."""
    after = Window(impression.time, impression.time + timedelta(days=2 * terms.window_days + 1))
    rows = lake.scan("feedback", after, columns=FEEDBACK_COLUMNS, users=[impression.user_id])
    items = pa.array([slot.item_id for slot in impression.slots], pa.string())
    return rows.filter(pc.or_(pc.is_in(rows["item_id"], value_set=items), pc.fill_null(
        pc.equal(rows["request_id"], impression.request_id), False)))


def _with_purchases(lake: Lake, feedback: pa.Table, user_id: str, reach: int) -> pa.Table:
    """And the purchases that refunds among it name, which may be of an earlier page: a refund has their credit."""
    refunds = feedback.filter(pc.equal(feedback["action"], "refund"))
    if not refunds.num_rows:
        return feedback
    period = Window.of_days(day_of(pc.min(refunds["time"]).as_py()) - timedelta(days=reach),
                            day_of(pc.max(refunds["time"]).as_py()))
    rows = lake.scan("feedback", period, columns=FEEDBACK_COLUMNS, users=[user_id])
    named = pc.or_(pc.is_in(rows["event_id"], value_set=refunds["refers_to"].drop_null()),
                   pc.is_in(rows["order_id"], value_set=refunds["order_id"].drop_null()))
    there = pc.is_in(rows["event_id"], value_set=feedback["event_id"])
    return pa.concat_tables([feedback, rows.filter(pc.and_(pc.and_(
        pc.equal(rows["action"], "purchase"), named), pc.invert(there)))])


def _row(row: dict[str, Any]) -> dict[str, Any]:
    told = {name: row[name] for name in ("event_id", "item_id", "action", "time", "kind", "owner", "position",
                                         "value_minor", "currency", "reason")}
    told |= {"champion": row["credit_champion"], "candidate": row["credit_candidate"],
             "why": REASONS.get(row["reason"] or "", row["reason"]) if row["reason"] else "credited"}
    plain: dict[str, Any] = msgspec.to_builtins(told)
    return plain
