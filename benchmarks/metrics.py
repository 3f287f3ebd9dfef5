"""Claims: at a million users x 10 recommendations, 50,000 items (Zipf) and 64-d vectors, CPU time from tables in memory
to numbers is at most a tenth of RecTools' for the six accuracy metrics, a twentieth for coverage, novelty, popularity
bias and serendipity, a hundredth for intra-list diversity; all of it in one pass stays under 2 GB over the input.

    python benchmarks/metrics.py [--users 100000 1000000] [--python /path/to/peers/bin/python] [--rounds 3]
        [--sets accuracy beyond diversity all] [--peers rectools ranx pytrec_eval polars]

One process per side, set and size, CPU time of all its threads, median over rounds; peak memory is what the process
grew by over its input. Peers run in the interpreter of --python, which need not have incumbent: RecTools, ranx,
pytrec_eval (terrier), and Polars by hand. A peer that is not installed, or fails, is named with its reason. The largest
difference from our values is printed: see docs/measure/ranking.md for where definitions differ.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

K, ITEMS, DIMENSIONS, LIMIT_S = 10, 50_000, 64, 1_500
Tables = dict[str, pa.Table]
Values = dict[str, float]
SIX = {"precision@10": "p", "recall@10": "r", "hit_rate@10": "h", "mrr@10": "m", "map_relevant@10": "a",
       "ndcg_achievable@10": "n"}
BEYOND = ("coverage@10", "novelty_ceiling@10", "popularity@10", "serendipity@10")


def make(users: int) -> Tables:
    """Ten distinct items of a Zipf catalogue per user, five relevant pairs and ten of history a user, unit vectors."""
    rng = np.random.default_rng(users)
    draws = (ITEMS ** rng.random((users, K))).astype(np.int64)
    shown = draws // K * K + np.arange(K)
    owner, ranks = np.repeat(np.arange(users), K), np.tile(np.arange(1, K + 1), users)
    hit = rng.random((users, K)) < 0.1
    other = np.stack([rng.integers(0, users, 4 * users), rng.integers(0, ITEMS, 4 * users)], axis=1)
    relevant = np.unique(np.concatenate([owner[hit.ravel()] * ITEMS + shown[hit], other[:, 0] * ITEMS + other[:, 1]]))
    had = np.unique(rng.integers(0, users, 10 * users) * ITEMS + (ITEMS ** rng.random(10 * users)).astype(np.int64))
    vectors = rng.normal(size=(ITEMS, DIMENSIONS))
    counts = np.bincount(had % ITEMS, minlength=ITEMS)
    return {"shown": pa.table({"user_id": owner, "item_id": shown.ravel(), "rank": ranks}),
            "relevant": pa.table({"user_id": relevant // ITEMS, "item_id": relevant % ITEMS}),
            "history": pa.table({"user_id": had // ITEMS, "item_id": had % ITEMS}),
            "popularity": pa.table({"item_id": np.arange(ITEMS), "count": counts}),
            "catalogue": pa.table({"item_id": np.arange(ITEMS)}),
            "vectors": pa.table({"item_id": np.arange(ITEMS), "vector": pa.FixedSizeListArray.from_arrays(
                pa.array(vectors.ravel()), DIMENSIONS)})}


def _side(tables: Tables) -> Any:
    from incumbent.metrics.metric import Side

    return Side(**{name: table for name, table in tables.items() if name != "shown"})


def ours(tables: Tables, names: tuple[str, ...]) -> Values:
    """One call of the library for all names."""
    from incumbent.metrics.measure import measure
    from incumbent.metrics.ranking import evaluate

    if set(names) <= SIX.keys():
        return {name: float(one.value or 0) for name, one in evaluate(
            tables["shown"], tables["relevant"], list(names)).estimates().items()}
    asked = {"precision@10": "precision", "recall@10": "recall", "hit_rate@10": "hit_rate", "mrr@10": "mrr",
             "map_relevant@10": "map", "ndcg_achievable@10": "ndcg", "coverage@10": "coverage",
             "novelty_ceiling@10": "novelty", "popularity@10": "popularity", "serendipity@10": "serendipity",
             "diversity@10": "diversity", "gini@10": "gini", "personalisation@10": "personalisation",
             "unexpectedness@10": "unexpectedness"}
    made = measure(tables["shown"], [asked[name] for name in names], _side(tables)).estimates
    return {name: float(made[name].value or 0) for name in names}


def rectools(tables: Tables, names: tuple[str, ...]) -> Values:
    """RecTools' `calc_metrics` over pandas frames, made on the way."""
    from rectools import metrics as m

    shown, relevant, history = (tables[name].to_pandas() for name in ("shown", "relevant", "history"))
    known = {"precision@10": m.Precision(K), "recall@10": m.Recall(K), "hit_rate@10": m.HitRate(K), "mrr@10": m.MRR(K),
             "map_relevant@10": m.MAP(K), "ndcg_achievable@10": m.NDCG(K, divide_by_achievable=True),
             "coverage@10": m.CatalogCoverage(K, normalize=True), "novelty_ceiling@10": m.MeanInvUserFreq(K),
             "popularity@10": m.AvgRecPopularity(K), "serendipity@10": m.Serendipity(K)}
    if "diversity@10" in names:
        import pandas as pd

        vectors = np.stack(tables["vectors"]["vector"].to_numpy())
        return {"diversity@10": _rectools_diversity(m, pd.DataFrame(vectors), shown)}
    found = m.calc_metrics({name: known[name] for name in names}, shown, relevant, history, range(ITEMS))
    return {name: float(found[name]) for name in names}


def _rectools_diversity(m: Any, vectors: Any, shown: Any) -> float:
    from rectools.metrics.distances import PairwiseDistanceCalculator

    class Cosine(PairwiseDistanceCalculator):  # the shipped calculators know Hamming distances alone
        def __init__(self) -> None:
            self._units = vectors.to_numpy() / np.linalg.norm(vectors.to_numpy(), axis=1)[:, None]

        def _get_distances_for_item_pairs(self, pairs: Any) -> Any:
            first, second = (np.asarray(pairs)[:, at].astype(int) for at in (0, 1))
            return 1 - np.einsum("ij,ij->i", self._units[first], self._units[second])

        def __getitem__(self, pairs: Any) -> Any:
            return self._get_distances_for_item_pairs(np.stack([np.asarray(part) for part in pairs], axis=1))

    return float(m.IntraListDiversity(K, Cosine()).calc(shown))


def ranx(tables: Tables, names: tuple[str, ...]) -> Values:
    """ranx over its typed dictionaries; compiled before it is timed."""
    from ranx import Qrels, Run, evaluate

    shown, relevant = tables["shown"].to_pandas(), tables["relevant"].to_pandas()
    shown["score"] = -shown["rank"].astype(float)
    relevant["gain"] = 1
    for frame in (shown, relevant):
        frame["user_id"], frame["item_id"] = frame["user_id"].astype(str), frame["item_id"].astype(str)
    asked = {"precision@10": "precision@10", "recall@10": "recall@10", "hit_rate@10": "hit_rate@10", "mrr@10": "mrr@10",
             "map_relevant@10": "map@10", "ndcg_achievable@10": "ndcg@10"}
    found = evaluate(Qrels.from_df(relevant, "user_id", "item_id", "gain"),
                     Run.from_df(shown, "user_id", "item_id", "score"), [asked[name] for name in names],
                     make_comparable=True)
    return {name: float(found[asked[name]]) for name in names}


def trec(tables: Tables, names: tuple[str, ...]) -> Values:
    """pytrec_eval over its dictionaries, which are part of the way from tables to numbers."""
    import pytrec_eval

    run: dict[str, dict[str, float]] = {}
    for user, item, rank in zip(*(tables["shown"][key].to_pylist() for key in ("user_id", "item_id", "rank")),
                                strict=True):
        run.setdefault(str(user), {})[str(item)] = -float(rank)
    qrel: dict[str, dict[str, int]] = {}
    for user, item in zip(*(tables["relevant"][key].to_pylist() for key in ("user_id", "item_id")), strict=True):
        qrel.setdefault(str(user), {})[str(item)] = 1
    measures = dict(zip(SIX, ("P_10", "recall_10", "success_10", "recip_rank", "map_cut_10", "ndcg_cut_10"),
                        strict=True))
    rows = pytrec_eval.RelevanceEvaluator(qrel, {"P.10", "recall.10", "success.10", "recip_rank", "map_cut.10",
                                                 "ndcg_cut.10"}).evaluate(run).values()
    return {name: statistics.fmean(row[measures[name]] for row in rows) for name in names}


def polars(tables: Tables, names: tuple[str, ...]) -> Values:
    """What somebody would write by hand in Polars: a join, then group by user."""
    import polars as pl

    shown, relevant = pl.from_arrow(tables["shown"]), pl.from_arrow(tables["relevant"])
    if set(names) <= SIX.keys():
        count = relevant.group_by("user_id").len("size")
        hits = shown.join(relevant, on=["user_id", "item_id"], how="inner").sort("user_id", "rank").with_columns(
            so_far=pl.int_range(1, pl.len() + 1).over("user_id"))
        ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, K + 2)))])
        each = hits.group_by("user_id").agg(
            hits=pl.len(), first=pl.col("rank").min(), ap=(pl.col("so_far") / pl.col("rank")).sum(),
            dcg=(1 / (pl.col("rank") + 1).log(2)).sum())
        whole = count.join(each, on="user_id", how="left").with_columns(
            pl.col("hits", "ap", "dcg").fill_null(0), best=pl.Series(ideal[np.minimum(count["size"].to_numpy(), K)]))
        made = whole.select(
            p=(pl.col("hits") / K).mean(), r=(pl.col("hits") / pl.col("size")).mean(), h=(pl.col("hits") > 0).mean(),
            m=(1 / pl.col("first")).fill_null(0).mean(), a=(pl.col("ap") / pl.col("size")).mean(),
            n=(pl.col("dcg") / pl.col("best")).mean())
        return {name: float(made[SIX[name]][0]) for name in names}
    popularity = pl.from_arrow(tables["popularity"])
    total = popularity["count"].sum()
    rows = shown.join(popularity, on="item_id", how="left").with_columns(
        bits=-(pl.max_horizontal("count", 1) / total).log(2), p=pl.col("count") / total)
    bar = popularity["count"].top_k(K).min()
    odd = rows.filter(pl.col("count") < bar).join(pl.from_arrow(tables["history"]), on=["user_id", "item_id"],
                                                  how="anti")
    useful = odd.join(relevant, on=["user_id", "item_id"], how="semi").group_by("user_id").len()
    asked = shown.select("user_id").unique().join(relevant.select("user_id").unique(), on="user_id", how="semi")
    each = rows.group_by("user_id").agg(pl.col("bits", "p").mean())
    return {"coverage@10": shown["item_id"].n_unique() / ITEMS, "novelty_ceiling@10": float(each["bits"].mean()),
            "popularity@10": float(each["p"].mean()),
            "serendipity@10": float(asked.join(useful, on="user_id", how="left")["len"].fill_null(0).mean() / K)}


SIDES: dict[str, Callable[[Tables, tuple[str, ...]], Values]] = {
    "incumbent": ours, "rectools": rectools, "ranx": ranx, "pytrec_eval": trec, "polars": polars}
SETS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "accuracy": (tuple(SIX), ("rectools", "ranx", "pytrec_eval", "polars")),
    "beyond": (BEYOND, ("rectools", "polars")),
    "diversity": (("diversity@10",), ("rectools",)),
    "all": ((*SIX, *BEYOND, "diversity@10", "gini@10", "personalisation@10", "unexpectedness@10"), ())}


def one(side: str, names: tuple[str, ...], users: int, rounds: int) -> dict[str, Any]:
    """CPU seconds, memory over the input, and values of one side, in a process of its own."""
    tables = make(users)
    SIDES[side](make(100), names)
    resident = int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])
    taken, values = [], {}
    for _ in range(rounds):
        start = time.process_time()
        values = SIDES[side](tables, names)
        taken.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu": statistics.median(taken), "mb": (peak - resident) / 1024, "values": values}


def asked(side: str, names: tuple[str, ...], users: int, rounds: int, python: str) -> dict[str, Any] | str:
    """What a process of its own says, or why it says nothing."""
    command = [sys.executable if side == "incumbent" else python, __file__, "--one", side, ",".join(names), str(users),
               "--rounds", str(rounds)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"stopped after {LIMIT_S} s"
    if ran.returncode:
        return (ran.stderr.strip().splitlines() or ["it said nothing"])[-1][:140]
    told: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--peers", nargs="*", choices=list(SIDES)[1:], default=list(SIDES)[1:])
    parser.add_argument("--one", nargs=3)
    options = parser.parse_args()
    if options.one:
        side, names, users = options.one
        print(json.dumps(one(side, tuple(names.split(",")), int(users), options.rounds)))
        return
    print(f"{'set':10} {'users':>9} {'side':12} {'x ours':>8} {'CPU s':>8} {'peak MB':>8}  largest difference")
    for users in options.users:
        for name in options.sets:
            names, peers = SETS[name]
            mine = asked("incumbent", names, users, options.rounds, options.python)
            if isinstance(mine, str):
                print(f"{name:10} {users:>9} incumbent    {mine}")
                continue
            print(f"{name:10} {users:>9} {'incumbent':12} {1:>8.1f} {mine['cpu']:>8.2f} {mine['mb']:>8.0f}",
                  flush=True)
            for peer in [peer for peer in peers if peer in options.peers]:
                found = asked(peer, names, users, 1, options.python)
                if isinstance(found, str):
                    print(f"{name:10} {users:>9} {peer:12} {found}", flush=True)
                    continue
                off = {key: abs(found["values"][key] - mine["values"][key]) for key in names}
                worst = max(off, key=lambda key: off[key])
                print(f"{name:10} {users:>9} {peer:12} {found['cpu'] / mine['cpu']:>8.1f} {found['cpu']:>8.2f} "
                      f"{found['mb']:>8.0f}  {off[worst]:.1e} ({worst})", flush=True)


if __name__ == "__main__":
    main()
