"""What others make of the tables of `metrics.py`, each by its own documented way; needs no incumbent.

    python -m venv DIR/rectools && DIR/rectools/bin/pip install pyarrow rectools ranx pytrec_eval-terrier polars
    python -m venv DIR/replay && DIR/replay/bin/pip install pyarrow replay-rec
    python -m venv DIR/evidently && DIR/evidently/bin/pip install pyarrow "pandas<3" evidently

Every side takes the Arrow tables and makes its own frames or dictionaries of them: that is part of the way from tables
to numbers. It gives the values of those of the asked metrics that it has.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

K, ITEMS, DIMENSIONS = 10, 50_000, 64
Tables = dict[str, Any]
Values = dict[str, float]
SIX = ("precision@10", "recall@10", "hit_rate@10", "mrr@10", "map_relevant@10", "ndcg_achievable@10")
BEYOND = ("coverage@10", "novelty_ceiling@10", "popularity@10", "serendipity@10")

#: where the numbers of a side are another thing than ours by the same name
DIFFERENCES = {
    "rectools": "novelty: -log2 of the share of users, ours of interactions; popularity: mean count, ours mean share; "
                "serendipity: by popularity ranks of both sides, ours by the k most popular and the history",
    "ranx": "none on these data; users without a list count as 0 by make_comparable",
    "pytrec_eval": "none on these data; users without a list or without relevant items are left out",
    "polars": "none: it was written for this",
    "plain": "none: arithmetic over sorted dense ids, without a check",
    "replay": "MAP: over min(k, relevant), ours over relevant; novelty: its surprisal, in bits, of the share of users; "
              "coverage: of the items of the history, ours of the catalogue; no popularity, no serendipity, no vectors",
    "evidently": "precision: over min(k, rows of the user); novelty: of the share of users, unseen items left out; "
                 "popularity: mean count; coverage: of the items of the history; serendipity: by distances of items; "
                 "diversity: the sum over pairs / items, ours the mean over pairs",
}


def plain(tables: Tables, names: tuple[str, ...]) -> Values:
    """The arithmetic and nothing else, in NumPy, for sorted rows of dense ids: what the checks and generality cost."""
    user, item = (tables["relevant"][key].to_numpy() for key in ("user_id", "item_id"))
    keys, count = user * ITEMS + item, np.bincount(user)
    shown = tables["shown"]["user_id"].to_numpy() * ITEMS + tables["shown"]["item_id"].to_numpy()
    hit = (keys[np.minimum(np.searchsorted(keys, shown), len(keys) - 1)] == shown).reshape(-1, K)
    count = np.concatenate([count, np.zeros(len(hit) - len(count), np.int64)])
    hit, count = hit[count > 0], count[count > 0]
    so_far, position = np.cumsum(hit, axis=1), np.arange(1, K + 1)
    discounts = 1 / np.log2(position + 1)
    ideal = np.concatenate([[0], np.cumsum(discounts)])[np.minimum(count, K)]
    each = (so_far[:, -1] / K, so_far[:, -1] / count, so_far[:, -1] > 0,
            np.where(hit.any(axis=1), 1 / (hit.argmax(axis=1) + 1), 0.0),
            (hit * so_far / position).sum(axis=1) / count, (hit @ discounts) / ideal)
    return {name: float(value.mean()) for name, value in zip(SIX, each, strict=True)}


def rectools(tables: Tables, names: tuple[str, ...]) -> Values:
    """RecTools' `calc_metrics` over pandas frames."""
    from rectools import metrics as m

    shown, relevant, history = (tables[name].to_pandas() for name in ("shown", "relevant", "history"))
    known = {"precision@10": m.Precision(K), "recall@10": m.Recall(K), "hit_rate@10": m.HitRate(K), "mrr@10": m.MRR(K),
             "map_relevant@10": m.MAP(K), "ndcg_achievable@10": m.NDCG(K, divide_by_achievable=True),
             "coverage@10": m.CatalogCoverage(K, normalize=True), "novelty_ceiling@10": m.MeanInvUserFreq(K),
             "popularity@10": m.AvgRecPopularity(K), "serendipity@10": m.Serendipity(K)}
    if "diversity@10" in names:
        return {"diversity@10": _rectools_diversity(m, np.stack(tables["vectors"]["vector"].to_numpy()), shown)}
    found = m.calc_metrics({name: known[name] for name in names}, shown, relevant, history, range(ITEMS))
    return {name: float(found[name]) for name in names}


def _rectools_diversity(m: Any, vectors: Any, shown: Any) -> float:
    from rectools.metrics.distances import PairwiseDistanceCalculator

    class Cosine(PairwiseDistanceCalculator):  # the shipped calculators know Hamming distances alone
        def __init__(self) -> None:
            self._units = vectors / np.linalg.norm(vectors, axis=1)[:, None]

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
    asked = dict(zip(SIX, ("precision@10", "recall@10", "hit_rate@10", "mrr@10", "map@10", "ndcg@10"), strict=True))
    found = evaluate(Qrels.from_df(relevant, "user_id", "item_id", "gain"),
                     Run.from_df(shown, "user_id", "item_id", "score"), list(asked.values()), make_comparable=True)
    return {name: float(found[asked[name]]) for name in names}


def trec(tables: Tables, names: tuple[str, ...]) -> Values:
    """pytrec_eval over its dictionaries."""
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
    if set(names) <= set(SIX):
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
            (pl.col("hits") / K).mean().alias(SIX[0]), (pl.col("hits") / pl.col("size")).mean().alias(SIX[1]),
            (pl.col("hits") > 0).mean().alias(SIX[2]), (1 / pl.col("first")).fill_null(0).mean().alias(SIX[3]),
            (pl.col("ap") / pl.col("size")).mean().alias(SIX[4]), (pl.col("dcg") / pl.col("best")).mean().alias(SIX[5]))
        return {name: float(made[name][0]) for name in names}
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


def replay(tables: Tables, names: tuple[str, ...]) -> Values:
    """RePlay's `OfflineMetrics` over Polars frames."""
    import polars as pl
    import replay.metrics as m

    shown, relevant, history = (pl.from_arrow(tables[name]).rename({"user_id": "query_id"})
                                for name in ("shown", "relevant", "history"))
    shown = shown.select("query_id", "item_id", rating=-pl.col("rank").cast(pl.Float64))
    asked = {"precision@10": m.Precision(K), "recall@10": m.Recall(K), "hit_rate@10": m.HitRate(K), "mrr@10": m.MRR(K),
             "map_relevant@10": m.MAP(K), "ndcg_achievable@10": m.NDCG(K), "coverage@10": m.Coverage(K),
             "novelty_ceiling@10": m.Surprisal(K)}
    asked = {name: asked[name] for name in names if name in asked}
    found = m.OfflineMetrics(list(asked.values()))(shown, relevant, history)
    made = {name: float(found[f"{type(metric).__name__}@{K}"]) for name, metric in asked.items()}
    if "novelty_ceiling@10" in made:
        made["novelty_ceiling@10"] *= float(np.log2(history["query_id"].n_unique()))
    return made


def evidently(tables: Tables, names: tuple[str, ...]) -> Values:
    """Evidently's `Report` over one pandas frame: the recommended rows, and the other relevant ones past k."""
    from evidently import DataDefinition, Dataset, Recsys, Report
    from evidently import metrics as m

    shown, relevant, history = (tables[name].to_pandas() for name in ("shown", "relevant", "history"))
    frame = shown.merge(relevant.assign(target=1), on=["user_id", "item_id"], how="outer")
    frame = frame.rename(columns={"rank": "prediction"}).fillna({"target": 0, "prediction": K + 1})
    frame = frame.sort_values(["user_id", "prediction"], ignore_index=True).astype({"target": int, "prediction": int})
    asked = {"precision@10": m.PrecisionTopK(k=K), "recall@10": m.RecallTopK(k=K), "hit_rate@10": m.HitRate(k=K),
             "mrr@10": m.MRR(k=K), "map_relevant@10": m.MAP(k=K), "ndcg_achievable@10": m.NDCG(k=K),
             "coverage@10": m.PopularityBiasMetric(k=K, metric="coverage"), "novelty_ceiling@10": m.Novelty(k=K),
             "popularity@10": m.PopularityBiasMetric(k=K)}
    if "diversity@10" in names:
        features = [f"v{at}" for at in range(DIMENSIONS)]
        vectors = np.stack(tables["vectors"]["vector"].to_numpy())
        for at, feature in enumerate(features):
            frame[feature] = vectors[frame["item_id"].to_numpy(), at]
            history[feature] = vectors[history["item_id"].to_numpy(), at]
        asked["diversity@10"] = m.Diversity(k=K, item_features=features)
    asked = {name: asked[name] for name in names if name in asked}
    data = Dataset.from_pandas(frame, DataDefinition(ranking=[Recsys(recommendations_type="rank")]))
    made = Report(list(asked.values())).run(data, None, additional_data={"current_train_data": history})
    found = [one["value"] for one in made.dict()["metrics"]]
    return {name: float(value if isinstance(value, float) else _at_k(value))
            for name, value in zip(asked, found, strict=True)}


def _at_k(value: Any) -> float:
    """The value at k of a table over k."""
    return float(value["value"][K - 1])


#: side -> the module that it needs, and what it is
PEERS: dict[str, tuple[str, Callable[[Tables, tuple[str, ...]], Values]]] = {
    "plain": ("numpy", plain), "rectools": ("rectools", rectools), "ranx": ("ranx", ranx),
    "pytrec_eval": ("pytrec_eval", trec), "polars": ("polars", polars), "replay": ("replay", replay),
    "evidently": ("evidently", evidently)}
