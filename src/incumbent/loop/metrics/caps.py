"""Caps of heavy tails: the 99th percentile of the first whole weeks with enough in them, then frozen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from incumbent.events.window import Window
from incumbent.loop.metrics.rows import one_array
from incumbent.loop.relations import DAY_US
from incumbent.stores.store import Lake

DAYS, LEAST, QUANTILE = 7, 100, 0.99
WEEKS = 4  # that are read at a time
NAMES = ("value", "dwell", "seconds")
Named = dict[str, dict[str, list[float]]]  # surface -> name -> values


class Caps(Struct, frozen=True):
    """Surface -> `value` (minor units of a user's day), `dwell` (seconds of one), `seconds` (of a user's day): the caps
    that stand, the values of those that have too few yet, and the whole weeks that were read."""

    caps: dict[str, dict[str, float]] = {}
    waiting: Named = {}
    weeks: int = 0


def moved(before: Caps, lake: Lake, first: date, today: date, currencies: Mapping[str, str],
          currency: str | None) -> Caps:
    """The caps after the next whole weeks from `first` on, a few at a time; as they were where none is over yet.

    A cap is the 99th percentile of the values above 0 of the first whole weeks that hold 100 of them; then it is fixed.
    A week is read once: what comes in late for it moves no cap.
    """
    after = before
    for _ in range(WEEKS):
        start = first + timedelta(days=DAYS * after.weeks)
        if today < start + timedelta(days=DAYS):
            break
        after = _with(after, _week(lake, start, currencies, currency))
    return after


def _with(before: Caps, week: Named) -> Caps:
    caps = {surface: dict(of) for surface, of in before.caps.items()}
    waiting: Named = {}
    for surface in sorted(week.keys() | before.waiting.keys()):
        for name in NAMES:
            values = before.waiting.get(surface, {}).get(name, []) + week.get(surface, {}).get(name, [])
            if name in caps.get(surface, {}) or not values:
                continue
            if len(values) >= LEAST:
                caps.setdefault(surface, {})[name] = float(np.quantile(values, QUANTILE))
            else:
                waiting.setdefault(surface, {})[name] = values
    return Caps(caps, waiting, before.weeks + 1)


def _week(lake: Lake, start: date, currencies: Mapping[str, str], currency: str | None) -> Named:
    """The values above 0 of a week."""
    period = Window.of_days(start, start + timedelta(days=DAYS - 1))
    rows = lake.scan("outcome", period, columns=["event_id", "time", "user_id", "action", "value_minor", "currency",
                                                 "surface", "exposed_at"])
    rows = rows.filter(pc.is_valid(rows["exposed_at"]))
    rows = rows.group_by([name for name in rows.column_names if name != "exposed_at"]).aggregate([])
    told = lake.scan("feedback", period, columns=["event_id", "action", "seconds"])
    at = pc.index_in(rows["event_id"], one_array(told["event_id"]))
    rows = rows.append_column("seconds", one_array(told["seconds"]).take(one_array(at)))
    rows = rows.append_column("day", pa.array(rows["time"].cast(pa.int64()).to_numpy() // DAY_US))
    out: Named = {}
    for surface in sorted(pc.unique(rows["surface"]).drop_null().to_pylist()):
        own = rows.filter(pc.equal(rows["surface"], surface))
        bought = own.filter(pc.and_(pc.equal(own["action"], "purchase"), pc.fill_null(pc.equal(
            own["currency"], currency or currencies.get(surface, "")), False)))
        dwelt = own.filter(pc.equal(own["action"], "dwell"))
        found = {"value": _per_day(bought, "value_minor"), "dwell": dwelt["seconds"],
                 "seconds": _per_day(dwelt, "seconds")}
        for name, values in found.items():
            above = [float(value) for value in values.to_pylist() if value is not None and value > 0]
            out.setdefault(surface, {})[name] = above
    return out


def _per_day(rows: pa.Table, name: str) -> pa.ChunkedArray:
    return rows.group_by(["user_id", "day"]).aggregate([(name, "sum")])[f"{name}_sum"]
