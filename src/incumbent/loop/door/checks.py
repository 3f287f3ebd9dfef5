"""door_checks: which metrics of data quality are kept of which lake table, and what each reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from incumbent.metrics.data_quality import join_rate, late_share, null_rate, out_of_order_share, resent_share
from incumbent.metrics.data_quality_values import freshness, range_rate, unseen_categories, volume
from incumbent.stores.store import Table

Select = Callable[[pa.Table], pa.Table]
Kind = Literal["share", "range", "unseen", "log"]  # how it is judged


class Check(Struct, frozen=True):
    """One check: the metric, the rows that it is asked of, and how a day is judged."""

    name: str
    metric: Any
    kind: Kind
    select: Select | None = None


#: tables that are checked; the columns that are read of each
COLUMNS: dict[Table, list[str]] = {
    "feedback": ["event_id", "time", "user_id", "item_id", "action", "request_id", "session_id", "value_minor",
                 "currency", "seconds", "received"],
    "item": ["event_id", "time", "item_id", "title", "category", "brand", "price_minor", "currency", "received"],
    "embedding": ["event_id", "time", "space", "entity", "entity_id", "version", "received"],
    "measurement": ["event_id", "time", "name", "received"],
    "impression": ["event_id", "time", "surface", "session_id"],
    "quarantine": ["event_id", "time", "kind", "field"],
}
ACTIONS = ("click", "add_to_cart", "purchase")
#: the check whose rows come with a truth value that the job looks up -> where it is looked up
JOINED = {"request": "impression", "item": "item"}


def checks_of(table: str, late_s: float) -> list[Check]:
    """The checks of a table, apart from those per currency (`per_currency`)."""
    if table in ("impression", "quarantine"):
        more = [_unseen("surface")] if table == "impression" else [_unseen("kind"), _unseen("field")]
        return [Check("volume", volume(), "log"), *more]
    common = [Check("volume", volume(), "log"), Check(f"late[{late_s:g} s]", late_share(after_s=late_s), "share"),
              Check("freshness[p50]", freshness(), "log")]
    if table == "feedback":
        return [
            *common,
            *(Check(f"volume[{action}]", volume(), "log", _where("action", action)) for action in ACTIONS),
            Check("out_of_order", out_of_order_share(), "share"),
            Check("resent", resent_share(of=(
                "user_id", "item_id", "action", "time", "value_minor", "request_id")), "share"),
            _null("request_id"), _null("session_id"),
            Check("null[value_minor of purchases]", null_rate(column="value_minor"), "share",
                  _where("action", "purchase")),
            Check("null[seconds of dwells]", null_rate(column="seconds"), "share", _where("action", "dwell")),
            *(Check(f"join[{what}]", join_rate(column=f"joined_{what}"), "share") for what in JOINED),
            _unseen("action"), _unseen("currency")]
    if table == "item":
        return [*common, Check("resent", resent_share(of=("item_id", "time", "title", "price_minor")), "share"),
                *(_null(column) for column in ("title", "category", "brand", "price_minor")),
                _unseen("category"), _unseen("brand"), _unseen("currency")]
    if table == "embedding":
        return [*common, Check("resent", resent_share(of=("space", "entity", "entity_id", "version", "time")), "share"),
                _unseen("space"), _unseen("version")]
    return [*common, _unseen("name")]


def per_currency(table: str, currencies: list[str]) -> list[Check]:
    """The range of money, a check per currency: minor units of yen are no cents."""
    column = {"feedback": "value_minor", "item": "price_minor"}.get(table)
    if column is None:
        return []
    return [Check(f"range[{column} {currency}]", range_rate(column=column), "range", _where("currency", currency))
            for currency in currencies]


def check_of(table: str, name: str, late_s: float) -> Check | None:
    """The check of a name, also one per currency; None where it is none any more."""
    found = next((check for check in checks_of(table, late_s) if check.name == name), None)
    if found is None and name.startswith("range["):
        found = next(iter(per_currency(table, [name.rstrip("]").rpartition(" ")[2]])), None)
    return found


def _null(column: str) -> Check:
    return Check(f"null[{column}]", null_rate(column=column), "share")


def _unseen(column: str) -> Check:
    return Check(f"unseen[{column}]", unseen_categories(column=column), "unseen")


def _where(column: str, value: str) -> Select:
    return lambda rows: rows.filter(pc.fill_null(pc.equal(rows[column], value), False))
