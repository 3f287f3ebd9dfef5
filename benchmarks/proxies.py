"""Claim: what a proxy has predicted is told with intervals that hold the truth as often as they say.

    python benchmarks/proxies.py [--runs 500]

Small shops, as the states of their days: a proxy and its parent, measured on the same users in 128 buckets, each with
a lasting taste of their own and half of a day's luck in both; the day's true level autoregressive, the parent's moving
with the proxy's (slope 1) or not at all (slope 0). Truth against the 95 % intervals of ``loop.metrics.proxies.related``
over days, of ``stats.shared_noise.relation`` over cells or experiments, and how far off a correlation is that takes no
shared noise off; then how often a proxy is said to have stopped where it has, and where it has not.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.loop.metrics.proxies import predicts, related, stopped
from incumbent.loop.metrics.read import noisy
from incumbent.loop.metrics.watch import ALPHA, EARLIER, RECENT
from incumbent.stats.binomial import proportion
from incumbent.stats.buckets import Buckets
from incumbent.stats.shared_noise import Relation, relation

BUCKETS, ROWS, MOVES, WEEK = 128, 40, 0.03, 7  # rows of a bucket in a day; the standard deviation of true levels
FIRST = date(2026, 1, 1)
Both = tuple[NDArray[np.float64], NDArray[np.float64]]


def states(rng: np.random.Generator, levels: Both, taste: NDArray[np.float64] | None = None) -> list[dict[str, Any]]:
    """A point's states of proxy and parent, for each true level of both."""
    out = []
    taste = rng.normal(0, 0.1, (BUCKETS, 2)) if taste is None else taste
    for true in np.stack(levels, axis=1):
        rows = rng.poisson(ROWS, BUCKETS).astype(float)
        luck = rng.normal(size=(BUCKETS, 1)) + rng.normal(size=(BUCKETS, 2))
        sums = (1 + true + taste) * rows[:, None] + luck * np.sqrt(rows)[:, None]
        out.append({name: Buckets.zero(k=BUCKETS, variables=["numerator", "denominator"]).update(
            np.arange(BUCKETS), np.stack([sums[:, at], rows], axis=1)) for at, name in enumerate(("proxy", "parent"))})
    return out


def walk(rng: np.random.Generator, days: int, memory: float) -> NDArray[np.float64]:
    """An autoregressive level of standard deviation `MOVES`."""
    out, steps = np.zeros(days), rng.normal(0, MOVES, days)
    out[0] = steps[0]
    for at in range(1, days):
        out[at] = memory * out[at - 1] + np.sqrt(1 - memory**2) * steps[at]
    return out


def shop(rng: np.random.Generator, days: int, memory: float, slopes: NDArray[np.float64]) -> dict[date, Any]:
    """The days of a shop whose parent follows the proxy by the slope of each day."""
    proxy, own = walk(rng, days, memory), walk(rng, days, memory)
    made = states(rng, (proxy, slopes * proxy + own))
    return {FIRST + timedelta(days=at): one for at, one in enumerate(made)}


def of_days(rng: np.random.Generator, days: int, memory: float, slope: float) -> tuple[Relation, float]:
    """What the page says of so many differences over a week, and the naive correlation of the same values."""
    made = shop(rng, days + WEEK, memory, np.full(days + WEEK, slope))
    said = related(made, "proxy", "parent", FIRST, FIRST + timedelta(days=days + WEEK - 1))
    values = [[noisy(one[name]).value for name in ("proxy", "parent")] for one in made.values()]  # type: ignore[union-attr]
    changes = np.array(values)[WEEK:] - np.array(values)[:-WEEK]
    return said, float(np.corrcoef(changes.T)[0, 1])


def of_points(rng: np.random.Generator, points: int, slope: float) -> tuple[Relation, float]:
    """The same of cells or experiments: each point has users of its own, before and after."""
    proxy, own = rng.normal(0, MOVES, (2, points))
    pairs, taste = [], rng.normal(0, 0.1, (points, BUCKETS, 2))
    for at in range(points):
        before, after = (states(rng, (np.array([one]), np.array([other])), taste[at])[0]
                         for one, other in ((0.0, 0.0), (proxy[at], slope * proxy[at] + own[at])))
        both = [(noisy(after[name]), noisy(before[name])) for name in ("proxy", "parent")]
        pairs.append(tuple(one.minus(other) for one, other in both if one is not None and other is not None))
    changes = np.array([[one.value for one in pair] for pair in pairs])
    return relation(pairs), float(np.corrcoef(changes.T)[0, 1])  # type: ignore[arg-type]


def line(title: str, slope: float, found: list[tuple[Relation, float]]) -> None:
    """One row of the table of coverages."""
    told = [one for one, _ in found if one.correlation.value is not None]
    truth = {"slope": slope, "correlation": slope / np.hypot(slope, 1.0)}
    held = {}
    for name, value in truth.items():
        parts = [getattr(one, name) for one in told]
        held[name] = proportion(sum(part.low <= value <= part.high for part in parts), len(parts))
    off = np.mean([one.correlation.value for one in told]) - truth["correlation"]
    naive = np.mean([other for _, other in found]) - truth["correlation"]
    print(f"{title:<28} {slope:>5g} {len(told) / len(found):>6.0%}  " + "  ".join(
        f"{one.value:>6.1%} [{one.low:.1%}, {one.high:.1%}]" for one in held.values())
        + f"  {off:>+7.2f} {naive:>+7.2f}", flush=True)


def stops(rng: np.random.Generator, memory: float, breaks: bool) -> str | None:
    """Why a proxy is said to have stopped, over the days that the watch compares; '' where it had never predicted."""
    days = EARLIER + RECENT + 2 * WEEK
    slopes = np.ones(days)
    slopes[days - RECENT - WEEK:] = 0.0 if breaks else 1.0
    made = shop(rng, days, memory, slopes)
    last = FIRST + timedelta(days=days - 1)
    middle = last - timedelta(days=RECENT + WEEK)
    earlier = related(made, "proxy", "parent", FIRST, middle)
    recent = related(made, "proxy", "parent", middle + timedelta(days=1), last)
    return stopped(earlier, recent, ALPHA) if predicts(earlier) else ""


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    runs = parser.parse_args().runs
    print(f"{'points':<28} {'slope':>5} {'told':>6}  {'slope held':>22}  {'correlation held':>22}  {'bias':>7} "
          f"{'naive':>7}")
    for days in (60, 120):
        for memory in (0.0, 0.5, 0.8):
            for slope in (0.0, 1.0):
                line(f"{days} days, memory {memory:g}", slope, [
                    of_days(np.random.default_rng([7100, days, int(10 * memory), int(slope), run]), days, memory, slope)
                    for run in range(runs)])
    for points in (8, 12, 24):
        for slope in (0.0, 1.0):
            line(f"{points} cells or experiments", slope, [
                of_points(np.random.default_rng([7200, points, int(slope), run]), points, slope)
                for run in range(runs)])
    print(f"\n{'said to have stopped':<28} {'memory':>6} {'had predicted':>13}  share of these")
    for breaks in (False, True):
        for memory in (0.0, 0.5, 0.8):
            said = [stops(np.random.default_rng([7300, int(10 * memory), run]), memory, breaks)
                    for run in range(runs)]
            known = [one for one in said if one != ""]
            share = proportion(sum(one is not None for one in known), len(known))
            print(f"{'it has' if breaks else 'it goes on':<28} {memory:>6g} {len(known) / runs:>13.0%}  "
                  f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}]", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
