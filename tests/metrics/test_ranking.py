"""Ranking metrics against plain Python, the laws, and what bad input does."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.ranking import evaluate, ranking_metric

TREC = Path(__file__).resolve().parents[3] / "shared" / "data" / "trec_eval" / "test"
NAMES = ["precision@{k}", "recall@{k}", "hit_rate@{k}", "mrr@{k}", "map_relevant@{k}", "map_min_k_relevant@{k}",
         "map_hits@{k}", "ndcg_achievable@{k}", "ndcg_full@{k}", "f0.5@{k}", "rbp_0.8@{k}", "auc@{k}"]


def naive(ranked, wanted, name):
    """One user's value by the definition, over Python lists and sets; None where it has none."""
    if not wanted:
        return None
    stem, _, cut = name.partition("@")
    k = int(cut) if cut else len(ranked)
    hits, seen = [], set()
    for position, item in enumerate(ranked[:k], 1):
        if item in wanted and item not in seen:
            hits.append(position)
        seen.add(item)
    p, r = len(hits) / k if k else 0.0, len(hits) / len(wanted)
    precisions = [sum(1 for other in hits if other <= at) / at for at in hits]
    gain = sum(1 / math.log2(at + 1) for at in hits)
    length = len(ranked[:k])
    if stem == "r_precision":
        return sum(1 for item in dict.fromkeys(ranked) if item in wanted and ranked.index(item) < len(wanted)) / len(
            wanted)
    pairs = [(at, other) for at in hits for other in range(1, length + 1) if other not in hits]
    return {
        "precision": p, "recall": r, "hit_rate": float(bool(hits)), "mrr": 1 / hits[0] if hits else 0.0,
        "map_relevant": sum(precisions) / len(wanted),
        "map_min_k_relevant": sum(precisions) / max(min(k, len(wanted)), 1),
        "map_hits": sum(precisions) / len(hits) if hits else 0.0,
        "ndcg_achievable": gain / sum(1 / math.log2(i + 1) for i in range(1, min(max(k, 1), len(wanted)) + 1)),
        "ndcg_full": gain / sum(1 / math.log2(i + 1) for i in range(1, max(k, 1) + 1)),
        "f0.5": 1.25 * p * r / (0.25 * p + r) if hits else 0.0,
        "rbp_0.8": sum(0.2 * 0.8 ** (at - 1) for at in hits),
        "auc": (sum(at < other for at, other in pairs) / len(pairs) if pairs else 1.0) if hits else 0.0,
    }[stem]


worlds = st.tuples(
    st.dictionaries(st.sampled_from("uvwxyz"), st.lists(st.sampled_from("abcdefghij"), max_size=9), max_size=6),
    st.dictionaries(st.sampled_from("uvwxyzq"), st.sets(st.sampled_from("abcdefghijK"), max_size=7), max_size=7),
    st.sampled_from([1, 2, 3, 5, 20]), st.randoms(use_true_random=False))


def rows_of(lists, random=None):
    rows = [(user, item, 3 * rank - 7) for user, items in lists.items() for rank, item in enumerate(items)]
    if random:
        random.shuffle(rows)
    return dict(zip(("user_id", "item_id", "rank"), map(list, zip(*rows, strict=True)), strict=True)) if rows else {
        "user_id": pa.array([], "string"), "item_id": pa.array([], "string"), "rank": pa.array([], "int64")}


def pairs_of(wanted):
    return {"user_id": pa.array([user for user, items in wanted.items() for _ in items], "string"),
            "item_id": pa.array([item for items in wanted.values() for item in sorted(items)], "string")}


@given(worlds)
@settings(deadline=None, max_examples=60)
def test_every_metric_equals_the_definition(world):
    lists, wanted, k, random = world
    names = [name.format(k=k) for name in NAMES] + ["r_precision"]
    done = evaluate(rows_of(lists, random), pairs_of(wanted), names)
    served = {user: items for user, items in lists.items() if items}
    users = {*served, *(user for user, items in wanted.items() if items)}
    assert set(done.users.to_pylist()) == users and done.counts["users"] == len(users)
    found = dict(zip(done.users.to_pylist(), done.values.tolist(), strict=True))
    for user in users:
        for name, value in zip(names, found[user], strict=True):
            expected = naive(served.get(user, []), wanted.get(user, set()), name)
            assert math.isnan(value) if expected is None else value == pytest.approx(expected, abs=1e-12), (user, name)
    assert done.counts["without_positives"] == sum(not wanted.get(user) for user in users)
    assert done.counts["unserved"] == sum(user not in served for user in users)


@given(worlds)
@settings(deadline=None, max_examples=30)
def test_permuted_rows_change_nothing_and_segments_add_up(world):
    lists, wanted, k, random = world
    names = [name.format(k=k) for name in NAMES]
    whole = evaluate(rows_of(lists), pairs_of(wanted), names)
    shuffled = evaluate(rows_of(lists, random), pairs_of(dict(reversed(wanted.items()))), names)
    first, rest = set("uvw"), set("xyzq")
    parts = [evaluate(rows_of({user: items for user, items in lists.items() if user in side}),
                      pairs_of({user: items for user, items in wanted.items() if user in side}), names)
             for side in (first, rest)]
    merged = parts[0].state.merge(parts[1].state)
    for name in names:
        expected = whole.state.mean(name)
        for other in (shuffled.state.mean(name), merged.mean(name)):
            assert other.n == expected.n and other.reason == expected.reason
            assert other.value == pytest.approx(expected.value, abs=1e-9) if expected.value is not None else True


def test_no_feedback_is_missing_not_zero_and_the_other_policy_is_an_option():
    shown = {"user_id": ["u", "v"], "item_id": ["a", "a"], "rank": [1, 1]}
    bought = {"user_id": ["u", "w"], "item_id": ["a", "a"]}
    means = {(empty, unserved): evaluate(shown, bought, ["recall@1"], without_positives=empty, unserved=unserved)
             .estimates()["recall@1"] for empty in ("missing", "zero") for unserved in ("missing", "zero")}
    assert {key: (made.value, made.n) for key, made in means.items()} == {
        ("missing", "zero"): (0.5, 2), ("missing", "missing"): (1.0, 1), ("zero", "zero"): (pytest.approx(1 / 3), 3),
        ("zero", "missing"): (0.5, 2)}
    done = evaluate(shown, {"user_id": pa.array([], "string"), "item_id": pa.array([], "string")})
    assert all(made.value is None and made.reason == "all 2 units are missing" for made in done.estimates().values())


def test_the_variants_of_the_peers_differ_on_one_list():
    """One user, six relevant items, ten shown, hits at 3 and 8: figures by hand."""
    shown = {"user_id": [7] * 10, "item_id": list(range(10)), "rank": list(range(1, 11))}
    bought = {"user_id": [7] * 6, "item_id": [2, 7, 100, 101, 102, 103]}
    made = evaluate(shown, bought, ["map_relevant@5", "map_min_k_relevant@5", "map_hits@5", "map_relevant@10",
                                    "ndcg_achievable@10", "ndcg_full@10", "auc@10", "r_precision"]).values[0]
    assert made.round(6).tolist() == [
        pytest.approx(1 / 18, abs=1e-6), pytest.approx(1 / 15, abs=1e-6), pytest.approx(1 / 3, abs=1e-6),
        pytest.approx((1 / 3 + 1 / 4) / 6, abs=1e-6), pytest.approx(0.815465 / 3.304666, abs=1e-6),
        pytest.approx(0.815465 / 4.543559, abs=1e-6), pytest.approx(0.5), pytest.approx(1 / 6, abs=1e-6)]


def test_graded_gains_against_plain_python():
    rng = np.random.default_rng(3)
    gains = {int(item): int(gain) for item, gain in zip(rng.permutation(30)[:12], rng.integers(-1, 4, 12), strict=True)}
    shown = [int(item) for item in rng.permutation(30)[:15]]
    for k in (1, 5, 10, 40):
        gain = sum(gains.get(item, 0) / math.log2(at + 1) for at, item in enumerate(shown[:k], 1)
                   if gains.get(item, 0) > 0)
        best = sorted((g for g in gains.values() if g > 0), reverse=True)[:k]
        ideal = sum(g / math.log2(at + 1) for at, g in enumerate(best, 1))
        done = evaluate({"user_id": [1] * 15, "item_id": shown, "rank": list(range(15))},
                        {"user_id": [1] * 12, "item_id": list(gains), "gain": list(gains.values())},
                        [f"ndcg_achievable@{k}"])
        assert done.values[0, 0] == pytest.approx(gain / ideal, abs=1e-12)
        assert done.counts["relevant_without_gain"] == sum(g <= 0 for g in gains.values())
    with pytest.raises(DataError, match="full ideal"):
        evaluate({"user_id": [1], "item_id": [1], "rank": [1]}, {"user_id": [1], "item_id": [1], "gain": [2]},
                 ["ndcg_full@5"])


@pytest.mark.skipif(not TREC.exists(), reason="trec_eval's own files are not at hand")
def test_trec_eval_own_values():
    """Every per-query and overall value of the measures that we share, to the four digits that trec_eval prints."""
    results = [line.split() for line in (TREC / "results.test").read_text().splitlines()]
    qrels = [line.split() for line in (TREC / "qrels.test").read_text().splitlines()]
    cuts = [5, 10, 15, 20, 30, 100, 200, 500, 1000]
    ours = {f"{theirs}_{k}": f"{name}@{k}" for k in cuts for theirs, name in (
        ("P", "precision"), ("recall", "recall"), ("map_cut", "map_relevant"), ("ndcg_cut", "ndcg_achievable"))}
    ours |= {"map": "map_relevant", "recip_rank": "mrr", "Rprec": "r_precision", "ndcg": "ndcg_achievable",
             "success_1": "hit_rate@1", "success_5": "hit_rate@5", "success_10": "hit_rate@10"}
    # trec_eval orders by score, ties by document number, greatest first; it does not read the ranks
    run = sorted(((row[0], -np.float32(row[4]), row[2]) for row in results), key=lambda row: row[2], reverse=True)
    run.sort(key=lambda row: (row[0], row[1]))
    done = evaluate({"user_id": [row[0] for row in run], "item_id": [row[2] for row in run], "rank": range(len(run))},
                    {"user_id": [row[0] for row in qrels], "item_id": [row[2] for row in qrels],
                     "gain": [float(row[3]) for row in qrels]}, list(ours.values()))
    found = dict(zip(done.users.to_pylist(), done.values, strict=True))
    found["all"] = np.array([done.estimates()[name].value for name in ours.values()])
    compared = 0
    for line in (TREC / "out.test.aq").read_text().splitlines():
        theirs, query, value = line.split()
        if theirs in ours:
            at = list(ours).index(theirs)
            assert found[query][at] == pytest.approx(float(value), abs=5.1e-5), (theirs, query)
            compared += 1
    assert compared == len(ours) * 4, compared


def test_duplicates_ties_gaps_and_nulls_are_counted():
    shown = {"user_id": ["u"] * 5 + [None], "item_id": ["b", "a", "a", "c", None, "a"], "rank": [5, 5, 9, 12, 13, 1]}
    done = evaluate(shown, {"user_id": ["u", "u", "u", None], "item_id": ["a", "c", "c", "z"]}, ["mrr@4", "recall@4"])
    assert done.values.tolist() == [[1.0, 1.0]]  # a before b at equal ranks
    wanted = {"repeated_hits": 1, "tied_ranks": 1, "rows_without_id": 2, "relevant_without_id": 1, "relevant_twice": 1}
    assert {key: done.counts[key] for key in wanted} == wanted


def test_bad_input_is_named():
    shown = {"user_id": ["u"], "item_id": ["a"], "rank": [1]}
    with pytest.raises(DataError, match="recommendations lack columns item_id, rank"):
        evaluate({"user_id": ["u"]}, shown)
    with pytest.raises(DataError, match="relevant lack columns item_id"):
        evaluate(shown, {"user_id": ["u"]})
    with pytest.raises(DataError, match="mixed id types"):
        evaluate(shown, {"user_id": ["u"], "item_id": [1]})
    with pytest.raises(DataError, match="mixed types"):
        evaluate(pd.DataFrame({"user_id": ["u", 1], "item_id": ["a", "b"], "rank": [1, 2]}, dtype=object), shown)
    with pytest.raises(DataError, match="ids must be text or whole numbers"):
        evaluate({**shown, "item_id": [1.5]}, shown)
    with pytest.raises(DataError, match="a rank is missing"):
        evaluate({**shown, "rank": [None]}, shown)
    with pytest.raises(DataError, match=r"column recommendations\.rank must hold numbers"):
        evaluate({**shown, "rank": ["first"]}, shown)
    with pytest.raises(DataError, match="differ in length"):
        evaluate({**shown, "rank": [1, 2]}, shown)
    with pytest.raises(DataError, match="no frame"):
        evaluate(7, shown)
    with pytest.raises(DataError, match="gain is not finite"):
        evaluate(shown, {**shown, "gain": [float("nan")]})
    for name in ("ndcg@10", "precision", "precision@0", "ndcg_full", "f0@10", "rbp_1@10", "r_precision@5", "x"):
        with pytest.raises(DataError, match="no such ranking metric"):
            evaluate(shown, shown, [name])
    with pytest.raises(DataError, match="distinct"):
        evaluate(shown, shown, ["mrr", "mrr"])
    with pytest.raises(DataError, match="one list per user"):
        evaluate({"user_id": ["u", "u"], "item_id": ["a", "b"], "rank": [1, 1], "list_id": [1, 2]}, shown)


def test_frames_of_every_kind_agree():
    rng = np.random.default_rng(5)
    shown = {"user_id": np.repeat(np.arange(200), 10) * 10**9, "item_id": rng.integers(0, 60, 2000).astype(np.int32),
             "rank": np.tile(np.arange(10), 200)}
    bought = {"user_id": rng.integers(0, 230, 700) * 10**9, "item_id": rng.integers(0, 60, 700)}
    wanted = evaluate(shown, bought).values
    assert np.isfinite(wanted).any() and len(wanted) > 200
    text = [{key: column if key == "rank" else column.astype(str) for key, column in frame.items()}
            for frame in (shown, bought)]
    for make in (pd.DataFrame, pa.table, lambda frame: pa.table(frame).to_batches()[0]):
        assert np.array_equal(evaluate(make(shown), make(bought)).values[:200], wanted[:200], equal_nan=True)
    assert np.array_equal(evaluate(*text).values[:200], wanted[:200], equal_nan=True)


def test_a_user_of_several_lists_is_one_cluster():
    metric = ranking_metric("recall@2", clusters=4)
    rows = {"user_id": ["u", "u", "u", "v"], "list_id": ["1", "2", "2", "3"], "item_id": ["a", "b", "a", "z"],
            "rank": [1, 1, 2, 1]}
    side = Side(relevant={"user_id": ["u", "u", "w"], "item_id": ["a", "b", "a"]})
    buckets, values = metric.observe(Batch(rows), side)
    assert values[:2].tolist() == [0.5, 1.0] and math.isnan(values[2]) and buckets[0] == buckets[1]
    state = metric.state().update(buckets, values)
    assert metric.estimate(state).value == 0.75 and int(state.missing) == 1
    with pytest.raises(DataError, match="two users"):
        metric.observe(Batch({**rows, "list_id": ["1", "2", "2", "2"]}), side)


