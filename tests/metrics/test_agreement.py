"""Agreement of two lists against plain Python and SciPy's tau."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from incumbent import registry
from incumbent.errors import DataError
from incumbent.metrics.agreement import agreement
from incumbent.metrics.metric import Batch, Side

rankings = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=7, unique=True)
side = st.dictionaries(st.sampled_from("uvwx"), rankings, min_size=1)


def frame(lists):
    rows = [(user, item, rank) for user, items in lists.items() for rank, item in enumerate(items)]
    return dict(zip(("user_id", "item_id", "rank"), map(list, zip(*rows, strict=True)), strict=True))


@given(side, side, st.sampled_from([1, 3, 10]), st.sampled_from([0.5, 0.9]))
@settings(deadline=None, max_examples=80)
def test_equals_the_definition(first, second, k, p):
    made = agreement(frame(first), frame(second), k=k, persistence=p)
    assert set(made.users.to_pylist()) == first.keys() & second.keys()
    assert made.one_sided == len(first.keys() ^ second.keys())
    for at, user in enumerate(made.users.to_pylist()):
        a, b = first[user][:k], second[user][:k]
        depth = min(len(a), len(b))
        common = [len(set(a[:d]) & set(b[:d])) for d in range(1, depth + 1)]
        rbo = common[-1] / depth * p**depth + (1 - p) / p * sum(x * p**d / d for d, x in enumerate(common, 1))
        assert made.overlap[at] == pytest.approx(len(set(a) & set(b)) / max(len(a), len(b)))
        assert made.rank_biased[at] == pytest.approx(rbo, abs=1e-12)
        both = [item for item in a if item in b]
        places = [[items.index(item) for item in both] for items in (a, b)]
        tau = kendalltau(*places).statistic if len(both) > 1 else math.nan
        assert made.kendall[at] == pytest.approx(tau, nan_ok=True)


def test_equal_and_disjoint_lists_are_the_ends():
    lists = {"u": list("abcd"), "v": list("dcb")}
    whole = agreement(frame(lists), frame(lists)).estimates()
    assert [whole[name].value for name in ("overlap", "rank_biased", "kendall")] == pytest.approx([1, 1, 1])
    apart = agreement(frame({"u": ["a"]}), frame({"u": ["b"]})).estimates()
    assert (apart["overlap"].value, apart["rank_biased"].value, apart["kendall"].value) == (0, 0, None)
    assert apart["kendall"].reason == "all 1 units are missing"


def test_users_of_one_side_alone_and_bad_input():
    made = agreement(frame({"u": ["a"]}), frame({"v": ["a"]}))
    assert made.one_sided == 2 and all(part.value is None for part in made.estimates().values())
    with pytest.raises(DataError, match="persistence"):
        agreement(frame({"u": ["a"]}), frame({"u": ["a"]}), persistence=1)
    with pytest.raises(DataError, match="one list per user"):
        agreement({**frame({"u": ["a", "b"]}), "list_id": [1, 2]}, frame({"u": ["a"]}))


def test_the_interval_of_an_overlap_is_one_of_shares():
    first = {user: list("abcd") for user in "uvwx"}
    made = agreement(frame(first), frame({**first, "x": list("efgh")})).estimates()
    assert made["overlap"].value == 0.75 and 0 <= made["overlap"].low < 0.5 and 0.99 < made["overlap"].high <= 1
    assert 0 <= made["rank_biased"].low <= made["rank_biased"].value <= made["rank_biased"].high <= 1
    assert made["kendall"].value == 1.0 and made["kendall"].n == 3


def test_as_metrics_of_requests_they_are_means_over_the_rows_that_have_both():
    """A row each, those of one user in one bucket; a model that did not answer makes the row missing."""
    first, second = [["a", "b", "c"], ["a"], None, [], ["a", "b"]], [["c", "a", "x"], ["b"], ["a"], ["a"], ["a", "b"]]
    batch = Batch({"user_id": list("uuvwx"), "champion_items": first, "candidate_items": second})
    rows = [0, 1, 4]
    alone = agreement(*({"user_id": [n for n in rows for _ in side[n]], "item_id": [i for n in rows for i in side[n]],
                         "rank": [at for n in rows for at, _ in enumerate(side[n])]} for side in (first, second)), k=2)
    for name, values in (("overlap", alone.overlap), ("rank_biased_overlap", alone.rank_biased),
                         ("kendall_tau", alone.kendall)):
        metric = registry.load("metrics", name)(k=2)
        made = metric.estimate(metric.state().update(*metric.observe(batch, Side())))
        assert made.value == pytest.approx(np.nanmean(values)) and made.n == np.isfinite(values).sum()
        assert metric.name == f"{name}@2"
    none = registry.load("metrics", "overlap")()
    empty = Batch({"user_id": ["u"], "champion_items": [None], "candidate_items": [["a"]]})
    assert none.estimate(none.state().update(*none.observe(empty, Side()))).reason == "all 1 rows are missing"
    with pytest.raises(DataError, match="must be lists of ids"):
        none.observe(Batch({"user_id": ["u"], "champion_items": ["a"], "candidate_items": [["a"]]}), Side())
