"""Claim: on a real shop's titles the summer's slow drift is found day by day and told in the shop's words.

    python benchmarks/online_retail.py [--data DIR] [--alpha 0.05] [--audit-every 1]

UCI Online Retail (Chen 2015, CC BY 4.0), 2010-12-01 to 2011-08-31: every invoice line of a sale is the MiniLM vector of
its title. The frame is fitted on December 2010, the baseline is January to March 2011. Windows of a day and of a week:
each of the baseline is judged against its others (what is delivered of the promised alpha), each later one against all
of them; a day without sales is no data. Days are ranked (p never below 1 / 76), and their evidence is multiplied over
time; 12 weeks cannot carry an alarm by rank, so theirs is extrapolated by Student's t and says so. Then June to August
as one window against the baseline, explained; and the check of versions on the titles' vectors.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import datetime as dt
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from incumbent.drift.alarm import embedding
from incumbent.drift.detector import Reference
from incumbent.drift.divergence import js
from incumbent.drift.explain import explain
from incumbent.drift.item_table import ItemTable
from incumbent.drift.moved_items import moved_items
from incumbent.drift.stream import embedding_stream
from incumbent.drift.versions import compare_versions
from incumbent.stats.binomial import proportion
from incumbent.stats.pairs import Pairs
from incumbent.stats.vectors import Vectors

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "online_retail"
FIRST, LAST = dt.date(2010, 12, 1), dt.date(2011, 8, 31)
FIT = (dt.date(2010, 12, 1), dt.date(2010, 12, 31))
BASELINE = (dt.date(2011, 1, 1), dt.date(2011, 3, 31))
SUMMER = (dt.date(2011, 6, 1), dt.date(2011, 8, 31))
COUNTRIES = ("United Kingdom", "Germany", "France", "EIRE")


class Shop:
    """The sold lines: day, title, price and country of each; the titles and their vectors."""

    def __init__(self, folder: Path) -> None:
        import pyarrow.parquet as pq

        with np.load(folder / "title_minilm_f16.npz") as stored:
            self.titles = [str(title) for title in stored["title"]]
            self.vectors = stored["emb"].astype(np.float32)
        index = {title: i for i, title in enumerate(self.titles)}
        table = pq.read_table(folder / "online_retail.parquet").to_pydict()
        rows, left = [], Counter()
        for number, text, quantity, when, price, country in zip(*(table[name] for name in (
                "InvoiceNo", "Description", "Quantity", "InvoiceDate", "UnitPrice", "Country")), strict=True):
            item = index.get(text, index.get((text or "").strip()))
            if quantity <= 0 or number.startswith("C"):
                left["returns and cancellations"] += 1
            elif item is None:
                left["no title with a vector"] += 1
            else:
                rows.append((when.date().toordinal(), item, price, country))
        day, item, price, country = zip(*rows, strict=True)
        self.day, self.item, self.left = np.array(day), np.array(item), left
        self.price, self.country = np.array(price), np.array(country)

    def rows(self, first: dt.date, last: dt.date, country: str | None = None) -> np.ndarray:
        """The item of every line in a period; `country` "elsewhere" is all that are not named."""
        here = (self.day >= first.toordinal()) & (self.day <= last.toordinal())
        if country is not None:
            here &= ~np.isin(self.country, COUNTRIES) if country == "elsewhere" else self.country == country
        return self.item[here]

    def counts(self, period: tuple[dt.date, dt.date]) -> np.ndarray:
        """Lines per item in a period."""
        return np.bincount(self.rows(*period), minlength=len(self.titles))

    def prices(self) -> np.ndarray:
        """The median price of every item over the whole time; NaN where it has none above 0."""
        out = np.full(len(self.titles), np.nan)
        order = np.argsort(self.item, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(self.item[order])) + 1):
            paid = self.price[part][self.price[part] > 0]
            if len(paid):
                out[self.item[part[0]]] = np.median(paid)
        return out


def days_of(first: dt.date, last: dt.date) -> list[dt.date]:
    """Every date of a period."""
    return [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]


def by_month(states: dict[dt.date, Vectors], reference: Reference, detector: Any) -> None:
    """Judge every day after the baseline, and print a line a month."""
    print(f"\n{'month':9} {'days':>5} {'no data':>8} {'alarms':>7} {'median p':>9} {'js':>8} {'expected':>9}")
    later = days_of(BASELINE[1] + dt.timedelta(days=1), LAST)
    for month in sorted({(day.year, day.month) for day in later}):
        mine = [day for day in later if (day.year, day.month) == month]
        results = [detector.step(states[day], reference, None)[0] for day in mine]
        told = [result for result in results if result.p_value is not None]
        alarms = sum(result.status == "drift" for result in results)
        whole = Vectors.total([states[day] for day in mine])
        plain, corrected = (js(whole.cells, reference.total.cells, corrected=flag) for flag in (False, True))
        print(f"{month[0]}-{month[1]:02}   {len(told):>5} {sum(r.status == 'no_data' for r in results):>8} {alarms:>7} "
              f"{np.median([r.p_value for r in told]):>9.3f} {plain:>8.4f} {plain - corrected:>9.4f}")


def audit(reference: Reference, detector: Any, every: int) -> None:
    """Judge the baseline's own days against the others."""
    places = range(0, len(reference.windows), every)
    results = [detector.step(reference.windows[i].state, reference.without(i), None)[0] for i in places]
    share = proportion(sum(result.status == "drift" for result in results), len(results))
    print(f"baseline against itself: {sum(r.status == 'drift' for r in results)} alarms on {len(results)} days, "
          f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%}), promised {detector.alpha:.0%}")


def over_time(states: dict[dt.date, Vectors], reference: Reference, alpha: float) -> None:
    """Multiply the days' evidence, and print when it was enough."""
    detector, memory = embedding_stream(alpha=alpha), None
    found = []
    for day in days_of(BASELINE[1] + dt.timedelta(days=1), LAST):
        result, memory = detector.step(states[day], reference, memory)
        if result.status == "drift":
            found.append(f"{day} (evidence {result.e_value:.0f})")
    print(f"days' evidence over time, one false alarm in {1 / alpha:.0f} days: {', '.join(found) or 'none'}")


def by_week(states: dict[dt.date, Vectors], alpha: float) -> None:
    """Judge whole weeks, those of the baseline against its others, and print a line a month."""
    weeks: dict[dt.date, list[Vectors]] = {}
    for day, state in states.items():
        if not state.empty:
            weeks.setdefault(day - dt.timedelta(days=day.weekday()), []).append(state)
    detector = embedding(alpha=alpha, tail="student")
    inside = [week for week in weeks if BASELINE[0] <= week and week + dt.timedelta(days=6) <= BASELINE[1]]
    reference = detector.calibrate(Reference.of([Vectors.total(weeks[week]) for week in inside]))
    own = [detector.step(window.state, reference.without(i), None)[0] for i, window in enumerate(reference.windows)]
    print(f"\nweeks: baseline of {len(own)} against itself {sum(r.status == 'drift' for r in own)} alarms")
    print(f"{'month':9} {'weeks':>6} {'alarms':>7} {'median p':>9}  most off (p extrapolated: student)")
    later = [week for week in weeks if week > inside[-1]]
    for month in sorted({(week.year, week.month) for week in later}):
        results = [detector.step(Vectors.total(weeks[week]), reference, None)[0]
                   for week in later if (week.year, week.month) == month]
        worst = max((r.components[0] for r in results), key=lambda part: part.standardised)
        print(f"{month[0]}-{month[1]:02}   {len(results):>6} {sum(r.status == 'drift' for r in results):>7} "
              f"{np.median([r.p_value for r in results]):>9.2g}  {worst.name} {worst.standardised:+.1f}")


def explained(shop: Shop, zero: Vectors, states: dict[dt.date, Vectors], reference: Reference) -> None:
    """Print what summer consists of."""
    summer = Vectors.total([states[day] for day in days_of(*SUMMER)])
    table = ItemTable(shop.titles, shop.vectors, prices=shop.prices(), reference=shop.counts(BASELINE),
                      current=shop.counts(SUMMER))
    now, then = ({country: zero.update(shop.vectors[shop.rows(*period, country)])
                  for country in (*COUNTRIES, "elsewhere")} for period in (SUMMER, BASELINE))
    found = explain(summer, reference.total, table, segments=(now, then), clusters=6)
    print(f"\nJune to August against January to March ({sum(c.part for c in found.clusters):.0%} of the divergence in "
          f"{len(found.clusters)} of {len(zero.cells)} clusters)")
    print(found.text(examples=3, values=5))


def versions(shop: Shop) -> None:
    """Print what the check of versions says of the titles' vectors after four changes."""
    rng = np.random.default_rng(7)
    old, (m, d) = shop.vectors, shop.vectors.shape
    turned = old @ np.linalg.qr(rng.standard_normal((d, d)))[0].astype(np.float32)
    some = rng.choice(m, m // 10, replace=False)
    moved = turned.copy()
    moved[some] = turned[rng.permutation(some)]
    changes = {"rotated": turned, "rotated, 5 % noise": turned + 0.05 / np.sqrt(d) * rng.standard_normal((m, d)),
               "rotated, 10 % of items swapped": moved, "index shuffled": old[rng.permutation(m)]}
    print(f"\nversions of the {m:,} titles' vectors, {d} dimensions: residual, about the means, verdict")
    for name, new in changes.items():
        check = compare_versions(Pairs.zero(dimension=d).update(old, new), old_dimension=d, new_dimension=d)
        assert check.alignment is not None
        print(f"{name:32} {check.alignment.residual:.4f} {check.alignment.translated:.4f}  {check.status} "
              f"({check.reason})")
        if new is moved:
            first = moved_items([str(i) for i in range(m)], old, new, check.alignment, count=len(some))
            right = len({int(item.item) for item in first} & set(some.tolist()))
            print(f"{'':32} {right} of the {len(some)} items that residuals rank first were swapped")


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--audit-every", type=int, default=1, help="3 judges every third day of the baseline")
    options = parser.parse_args()
    if not (options.data / "online_retail.parquet").exists():
        print(f"skipped: no online_retail.parquet in {options.data.name}/ (UCI Online Retail; see --data)")
        return 0
    start = time.process_time()
    shop = Shop(options.data)
    zero = Vectors.fit(shop.vectors[shop.rows(*FIT)], seed=1, centroids=64)
    states = {day: zero.update(shop.vectors[shop.rows(day, day)]) for day in days_of(FIRST, LAST)}
    seen = sum(not state.empty for state in states.values())
    print(f"{len(shop.item):,} sold lines of {len(set(shop.item.tolist())):,} titles on {seen} of {len(states)} days; "
          f"left out: {', '.join(f'{count:,} {why}' for why, count in shop.left.items())}")
    detector = embedding(alpha=options.alpha)
    days = [states[day] for day in days_of(*BASELINE) if not states[day].empty]
    reference = detector.calibrate(Reference.of(days))
    print(f"baseline {BASELINE[0]} to {BASELINE[1]}: {len(days)} days with sales, "
          f"p-values no smaller than {1 / (len(days) + 1):.3f}")
    audit(reference, detector, options.audit_every)
    by_month(states, reference, detector)
    over_time(states, reference, 0.01)
    by_week(states, options.alpha)
    explained(shop, zero, states, reference)
    versions(shop)
    print(f"\n{time.process_time() - start:.0f} s of CPU", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
