"""Refunds: a refund takes back what its purchase was, with the very credit that the purchase had."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.experiments.credit import BARRED, MONEYLESS
from incumbent.loop.credited import CREDIT_SCHEMA, TermsOf, without_exposure
from incumbent.loop.relations import DAY_US

_COLUMNS = ["row", "event_id", "time", "user_id", "item_id", "action", "order_id", "line_id", "quantity", "value_minor",
            "currency", "refers_to", "marks"]


class Left(NamedTuple):
    """What earlier refunds left of a purchase; None where the purchase did not say."""

    part: float
    quantity: int | None
    value: int | None


@dataclass
class Takes:
    """What each refund row takes back: the part of its purchase, and its quantity, value and currency (positive)."""

    rows: dict[int, tuple[float, int | None, int | None, str | None]] = field(default_factory=dict)

    def columns(self, own: pa.Table, row: NDArray[np.int64]) -> tuple[pa.Array, Any, Any, Any]:
        """Weight, quantity, value and currency of outcome rows: their own, and of refunds the negative of what they take."""  # noqa: E501
        weight = np.ones(len(row))
        names = ("quantity", "value_minor", "currency")
        if not self.rows:
            return pa.array(weight), own["quantity"], own["value_minor"], own["currency"]
        lists = {name: own[name].to_pylist() for name in names}
        for at in np.flatnonzero(np.isin(row, list(self.rows))).tolist():
            part, quantity, value, currency = self.rows[int(row[at])]
            weight[at] = 0.0 - part
            lists["quantity"][at] = None if quantity is None else -quantity
            lists["value_minor"][at] = None if value is None else -value
            lists["currency"][at] = currency
        return (pa.array(weight), pa.array(lists["quantity"], pa.int64()), pa.array(lists["value_minor"], pa.int64()),
                pa.array(lists["currency"], pa.string()))


def credit(events: pa.Table, settled: pa.Table, terms: TermsOf, reach_days: int) -> tuple[pa.Table, Takes]:
    """The credit rows of all refunds among `events`, from the credit rows of their purchases, and what they take.

    A refund finds its purchase by `refers_to`, else by order and line, else by order and item: of the same user, not
    later than the refund and at most `reach_days` UTC days before its day; the latest where there are several. It is
    counted for every credited exposure of the purchase that lies at most one attribution window before the refund. One
    that names somebody else's request takes its money back, and no credit.
    """
    own = events.select(_COLUMNS).filter(pc.equal(events["action"], "refund"))
    bought = events.select(_COLUMNS).filter(pc.and_(pc.equal(events["action"], "purchase"), pc.is_in(
        events["user_id"], own["user_id"].unique())))
    money = pa.concat_tables([own, bought])
    every = money.to_pylist()
    rows = [row for row in every if not set(row["marks"] or ()) & set(MONEYLESS)]
    refunds = sorted((row for row in rows if row["action"] == "refund"), key=lambda r: (r["time"], r["event_id"]))
    takes = Takes({row["row"]: _take(row, None, {}) for row in every if row["action"] == "refund"})
    if not refunds:
        return CREDIT_SCHEMA.empty_table(), takes
    matched = _match(refunds, [row for row in rows if row["action"] == "purchase"], reach_days)
    left: dict[int, Left] = {}
    for refund in refunds:
        purchase = matched.get(refund["row"])
        takes.rows[refund["row"]] = _take(refund, purchase, left)
    credited = _by_row(settled, {purchase["row"] for purchase in matched.values()})
    own_way = [refund for refund in refunds if not set(refund["marks"] or ()) & set(BARRED)]  # the others have a row
    made = [out for refund in own_way if refund["row"] in matched
            for out in _rows(refund, credited[matched[refund["row"]]["row"]], terms)]
    alone = np.array([refund["row"] for refund in own_way if refund["row"] not in matched], np.int64)
    return pa.concat_tables([pa.Table.from_pylist(made, schema=CREDIT_SCHEMA),
                             without_exposure(alone, "no_purchase")]), takes


def _match(
    refunds: list[dict[str, Any]], purchases: list[dict[str, Any]], reach_days: int,
) -> dict[int, dict[str, Any]]:
    """Refund row -> purchase."""
    keyed: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for purchase in sorted(purchases, key=lambda p: (p["time"], p["event_id"])):
        user, order = purchase["user_id"], purchase["order_id"]
        keyed.setdefault((user, "id", purchase["event_id"]), []).append(purchase)
        if order is not None:
            keyed.setdefault((user, "item", order, purchase["item_id"]), []).append(purchase)
            if purchase["line_id"] is not None:
                keyed.setdefault((user, "line", order, purchase["line_id"]), []).append(purchase)
    found = {}
    for refund in refunds:
        since = (refund["time"] // DAY_US - reach_days) * DAY_US
        for purchase in reversed(keyed.get(_key(refund), [])):
            if since <= purchase["time"] <= refund["time"]:
                found[refund["row"]] = purchase
                break
    return found


def _key(refund: dict[str, Any]) -> tuple[Any, ...]:
    user, order = refund["user_id"], refund["order_id"]
    if refund["refers_to"] is not None:
        return (user, "id", refund["refers_to"])
    if refund["line_id"] is not None:
        return (user, "line", order, refund["line_id"])
    return (user, "item", order, refund["item_id"])


def _take(
    refund: dict[str, Any], purchase: dict[str, Any] | None, left: dict[int, Left],
) -> tuple[float, int | None, int | None, str | None]:
    """Part, quantity, value and currency that a refund takes back; those of one purchase never exceed the whole.

    The part is by quantity where both state it, else by value in the same currency, else the whole.
    """
    quantity, value, currency = refund["quantity"], refund["value_minor"], refund["currency"]
    if purchase is None:
        return 1.0, quantity, value, currency
    if quantity is not None and purchase["quantity"]:
        part = quantity / purchase["quantity"]
    elif value is not None and purchase["value_minor"] and currency == purchase["currency"]:
        part = value / purchase["value_minor"]
    else:
        part = 1.0
    rest = left.get(purchase["row"]) or Left(1.0, purchase["quantity"], purchase["value_minor"])
    part = min(part, rest.part)
    if value is None and purchase["value_minor"] is not None:
        value, currency = round(part * purchase["value_minor"]), purchase["currency"]
    if value is not None and rest.value is not None and currency == purchase["currency"]:
        value = min(value, rest.value)
    if quantity is not None and rest.quantity is not None:
        quantity = min(quantity, rest.quantity)
    left[purchase["row"]] = Left(rest.part - part, _less(rest.quantity, quantity),
                                 _less(rest.value, value if currency == purchase["currency"] else None))
    return part, quantity, value, currency


def _less(rest: int | None, taken: int | None) -> int | None:
    return rest if rest is None or taken is None else rest - taken


def _by_row(settled: pa.Table, rows: set[int]) -> dict[int, list[dict[str, Any]]]:
    out: dict[int, list[dict[str, Any]]] = {row: [] for row in rows}
    for credited in settled.filter(pc.is_in(settled["row"], pa.array(sorted(rows), pa.int64()))).to_pylist():
        out[credited["row"]].append(credited)
    return out


def _rows(refund: dict[str, Any], purchase: list[dict[str, Any]], terms: TermsOf) -> list[dict[str, Any]]:
    """The purchase's credit rows as the refund's: those too long ago fall away, or leave one row per group saying so."""  # noqa: E501
    out: list[dict[str, Any]] = []
    late: dict[tuple[str, str | None], dict[str, Any]] = {}
    on_time = set()
    for row in purchase:
        group = (row["surface"], row["experiment"])
        mine = {**row, "row": refund["row"]}
        if row["reason"] is not None:
            out.append(mine)
        elif row["exposed_us"] >= refund["time"] - round(terms(*group).window_days * DAY_US):
            out.append(mine)
            on_time.add(group)
        else:
            late[group] = dict.fromkeys(row) | {
                "row": refund["row"], "surface": group[0], "experiment": group[1], "share": 0.0, "rule": row["rule"],
                "reason": "late_refund"}
    return out + [row for group, row in late.items() if group not in on_time]
