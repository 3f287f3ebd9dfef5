"""Claim: six accuracy metrics of a million users at 10 recommendations each cost at most a tenth of RecTools' CPU time.

    python benchmarks/ranking.py [--users 10000 100000 1000000] [--rounds 3]

From Arrow tables in memory to numbers, one process per side and size, CPU time of all its threads, median over rounds;
peak memory is what the process grew by over its input. Sides: `evaluate`; a plain NumPy reference over the
same ids, which are dense integers and sorted, and which checks nothing (a sorted search of pairs, then sums over hits);
and RecTools, pytrec_eval and ranx where they are installed. All values must agree.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

K, ITEMS = 10, 50_000
NAMES = ["precision@10", "recall@10", "hit_rate@10", "mrr@10", "map_relevant@10", "ndcg_achievable@10"]


def make(users: int) -> tuple[pa.Table, pa.Table]:
    """Ten distinct items of a Zipf-like catalogue per user, and on average five relevant ones."""
    rng = np.random.default_rng(users)
    draws = (ITEMS ** rng.random((users, K))).astype(np.int64)
    shown = draws // K * K + np.arange(K)
    owner, ranks = np.repeat(np.arange(users), K), np.tile(np.arange(1, K + 1), users)
    recommendations = pa.table({"user_id": owner, "item_id": shown.ravel(), "rank": ranks})
    hit = rng.random((users, K)) < 0.1
    other = np.stack([rng.integers(0, users, 4 * users), rng.integers(0, ITEMS, 4 * users)], axis=1)
    pairs = np.concatenate([np.stack([owner[hit.ravel()], shown[hit]], axis=1), other])
    keys = np.unique(pairs[:, 0] * ITEMS + pairs[:, 1])
    return recommendations, pa.table({"user_id": keys // ITEMS, "item_id": keys % ITEMS})


def ours(recommendations: pa.Table, relevant: pa.Table) -> list[float]:
    """The library call."""
    from incumbent.metrics.ranking import evaluate

    estimates = evaluate(recommendations, relevant, NAMES).estimates()
    return [float(estimates[name].value or 0) for name in NAMES]


def plain(recommendations: pa.Table, relevant: pa.Table) -> list[float]:
    """The arithmetic and nothing else, for sorted rows of dense ids."""
    user, item = (relevant[key].to_numpy() for key in ("user_id", "item_id"))
    keys, count = user * ITEMS + item, np.bincount(user)
    shown = recommendations["user_id"].to_numpy() * ITEMS + recommendations["item_id"].to_numpy()
    at = np.minimum(np.searchsorted(keys, shown), len(keys) - 1)
    hit = (keys[at] == shown).reshape(-1, K)
    count = np.concatenate([count, np.zeros(len(hit) - len(count), np.int64)])
    asked = count > 0
    hit, count = hit[asked], count[asked]
    so_far, position = np.cumsum(hit, axis=1), np.arange(1, K + 1)
    hits, first = so_far[:, -1], np.where(hit.any(axis=1), 1 / (hit.argmax(axis=1) + 1), 0.0)
    discounts = 1 / np.log2(position + 1)
    ideal = np.concatenate([[0], np.cumsum(discounts)])[np.minimum(count, K)]
    return [float(value.mean()) for value in (
        hits / K, hits / count, hits > 0, first, (hit * so_far / position).sum(axis=1) / count,
        (hit @ discounts) / ideal)]


def rectools(recommendations: pa.Table, relevant: pa.Table) -> list[float]:
    """RecTools' `calc_metrics`."""
    from rectools.metrics import MAP, MRR, NDCG, HitRate, Precision, Recall, calc_metrics

    asked = {"p": Precision(K), "r": Recall(K), "h": HitRate(K), "m": MRR(K), "a": MAP(K),
             "n": NDCG(K, divide_by_achievable=True)}
    found = calc_metrics(asked, recommendations.to_pandas(), relevant.to_pandas())
    return [float(found[key]) for key in asked]


def trec(recommendations: pa.Table, relevant: pa.Table) -> list[float]:
    """pytrec_eval over its dictionaries, which are part of the way from tables to numbers."""
    import pytrec_eval

    run: dict[str, dict[str, float]] = {}
    columns = (recommendations[key].to_pylist() for key in ("user_id", "item_id", "rank"))
    for user, item, rank in zip(*columns, strict=True):
        run.setdefault(str(user), {})[str(item)] = -float(rank)
    qrel: dict[str, dict[str, int]] = {}
    for user, item in zip(*(relevant[key].to_pylist() for key in ("user_id", "item_id")), strict=True):
        qrel.setdefault(str(user), {})[str(item)] = 1
    measures = ["P_10", "recall_10", "success_10", "recip_rank", "map_cut_10", "ndcg_cut_10"]
    rows = pytrec_eval.RelevanceEvaluator(qrel, {"P.10", "recall.10", "success.10", "recip_rank", "map_cut.10",
                                                 "ndcg_cut.10"}).evaluate(run).values()
    return [statistics.fmean(row[name] for row in rows) for name in measures]


SIDES: dict[str, tuple[Callable[[pa.Table, pa.Table], list[float]], str]] = {
    "plain": (plain, "numpy"), "incumbent": (ours, "incumbent"), "rectools": (rectools, "rectools"),
    "pytrec_eval": (trec, "pytrec_eval")}


def one(side: str, users: int, rounds: int) -> dict[str, object]:
    """CPU seconds, memory over the input, and values of one side, in a process of its own."""
    recommendations, relevant = make(users)
    warm = make(100)
    SIDES[side][0](*warm)
    before, taken, values = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, [], []
    resident = int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])
    for _ in range(rounds):
        start = time.process_time()
        values = SIDES[side][0](recommendations, relevant)
        taken.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu": statistics.median(taken), "mb": (peak - resident) / 1024, "exact": peak > before, "values": values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one[0], int(options.one[1]), options.rounds)))
        return
    sides = [side for side, (_, module) in SIDES.items() if importlib.util.find_spec(module)]
    print("not installed:", ", ".join(sorted(set(SIDES) - set(sides))) or "none")
    print(f"{'users':>9} {'side':12} {'x plain':>8} {'peak MB':>8} {'CPU s':>8}  largest difference from plain")
    for users in options.users:
        made = {side: json.loads(subprocess.run(
            [sys.executable, __file__, "--one", side, str(users), "--rounds", str(options.rounds)],
            check=True, capture_output=True, text=True).stdout) for side in sides}
        for side, row in made.items():
            off = max(abs(a - b) for a, b in zip(row["values"], made["plain"]["values"], strict=True))
            memory = f"{'' if row['exact'] else '<'}{row['mb']:.0f}"
            ratio = row["cpu"] / made["plain"]["cpu"]
            print(f"{users:>9} {side:12} {ratio:>8.2f} {memory:>8} {row['cpu']:>8.3f}  {off:.1e}")


if __name__ == "__main__":
    main()
