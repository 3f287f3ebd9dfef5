"""door_report: what came in, for the report, the API and the page: each check on the last day that was judged."""

from __future__ import annotations

from typing import Any

import msgspec

from incumbent.loop.door.states import named
from incumbent.loop.door.watch import Standing, standing
from incumbent.stores.store import Control

ORDER = ("feedback", "impression", "item", "embedding", "measurement", "quarantine")
TITLES = {"feedback": "feedback", "impression": "impressions", "item": "catalogue facts", "embedding": "embeddings",
          "measurement": "measurements", "quarantine": "refused messages"}


def door(control: Control) -> dict[str, Any]:
    """``{day, open, kinds: [{table, title, checks: [{check, status, value, low, high, n, unit, days, since, reason}]}]}``.

    `low` and `high` are the band of ordinary values; `open` counts the checks that are unusual.
    """  # noqa: E501
    known = standing(control)
    kinds: dict[str, list[dict[str, Any]]] = {}
    for key, one in known.checks.items():
        table, name = named(key)
        kinds.setdefault(table, []).append({"check": name, **msgspec.to_builtins(one)})
    return {
        "day": known.day.isoformat() if known.day is not None else None,
        "open": sum(one.status == "drift" for one in known.checks.values()),
        "kinds": [{"table": table, "title": TITLES.get(table, table), "checks": sorted(
            kinds[table], key=lambda one: (one["status"] != "drift", one["check"]))}
            for table in sorted(kinds, key=lambda table: (table not in ORDER, ORDER.index(table)
                                                          if table in ORDER else 0, table))]}


def lines(control: Control) -> list[tuple[str, str, list[tuple[str, Standing]], list[str]]]:
    """Subject, title, checks and notes of every kind of event, for the report."""
    known = standing(control)
    found: dict[str, list[tuple[str, Standing]]] = {}
    for key, one in sorted(known.checks.items()):
        table, name = named(key)
        found.setdefault(table, []).append((name, one))
    out = []
    for table in ORDER:
        if table in found:
            notes = [f"{name} since {one.since}: {one.reason}" for name, one in found[table] if one.status == "drift"]
            out.append((f"door:{table}", f"{TITLES[table]} that came in, {known.day}", found[table], notes))
    return out
