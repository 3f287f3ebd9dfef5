"""Caps of heavy tails: the 99th percentile of the first week, frozen once there is a week with enough in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.events.window import Window
from incumbent.loop.metrics.rows import one_array
from incumbent.loop.relations import DAY_US
from incumbent.stores.store import Lake

DAYS, LEAST, QUANTILE = 7, 100, 0.99


def caps_of(lake: Lake, first: date, today: date, currencies: Mapping[str, str],
            currency: str | None) -> dict[str, dict[str, float]]:
    """Surface -> `value` (minor units of a user's day), `dwell` (seconds of one), `seconds` (of a user's day).

    From the first seven whole days; none before these are over, or with fewer than 100 values above 0.
    """
    if today < first + timedelta(days=DAYS):
        return {}
    period = Window.of_days(first, first + timedelta(days=DAYS - 1))
    rows = lake.scan("outcome", period, columns=["event_id", "time", "user_id", "action", "value_minor", "currency",
                                                 "surface", "exposed_at"])
    rows = rows.filter(pc.is_valid(rows["exposed_at"]))
    rows = rows.group_by([name for name in rows.column_names if name != "exposed_at"]).aggregate([])
    told = lake.scan("feedback", period, columns=["event_id", "action", "seconds"])
    at = pc.index_in(rows["event_id"], one_array(told["event_id"]))
    rows = rows.append_column("seconds", one_array(told["seconds"]).take(one_array(at)))
    rows = rows.append_column("day", pa.array(rows["time"].cast(pa.int64()).to_numpy() // DAY_US))
    out: dict[str, dict[str, float]] = {}
    for surface in sorted(pc.unique(rows["surface"]).drop_null().to_pylist()):
        own = rows.filter(pc.equal(rows["surface"], surface))
        bought = own.filter(pc.and_(pc.equal(own["action"], "purchase"), pc.fill_null(pc.equal(
            own["currency"], currency or currencies.get(surface, "")), False)))
        dwelt = own.filter(pc.equal(own["action"], "dwell"))
        found = {"value": _per_day(bought, "value_minor"), "dwell": dwelt["seconds"],
                 "seconds": _per_day(dwelt, "seconds")}
        for name, values in found.items():
            above = np.asarray([value for value in values.to_pylist() if value is not None and value > 0], np.float64)
            if len(above) >= LEAST:
                out.setdefault(surface, {})[name] = float(np.quantile(above, QUANTILE))
    return out


def _per_day(rows: pa.Table, name: str) -> pa.ChunkedArray:
    return rows.group_by(["user_id", "day"]).aggregate([(name, "sum")])[f"{name}_sum"]
