"""Drift of ids: quiet over 20,000 Zipf ids where raw divergences shout, and loud at 5 % of new items."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from incumbent.drift import categorical as drift
from incumbent.drift.concentration import coverage, gini, hhi
from incumbent.errors import DataError, StateError
from incumbent.stats.distinct import Distinct
from incumbent.stats.items import Items
from incumbent.stats.items_vocabulary import Vocabulary

SIZE = 20_000
ZIPF = 1 / np.arange(1, SIZE + 1)
ZIPF /= ZIPF.sum()
NAMES = [f"i{k}" for k in range(SIZE)]
CATALOGUE = {name: f"c{k % 30}" for k, name in enumerate(NAMES)}


def draw(rng: np.random.Generator, rows: int) -> list[str]:
    return [NAMES[k] for k in rng.choice(SIZE, rows, p=ZIPF).tolist()]


def raw(current: list[str], reference: list[str]) -> tuple[float, float]:
    """Jensen-Shannon distance and PSI over the ids themselves, as the usual tools compute them (SciPy, eps 1e-4)."""
    keys = sorted(set(current) | set(reference))
    a, b = (np.array([tally[key] for key in keys], float) for tally in (Counter(current), Counter(reference)))
    p, q = (np.maximum(side / side.sum(), 1e-4) for side in (a, b))
    return float(jensenshannon(a, b)), float(((p - q) * np.log(p / q)).sum())


@pytest.mark.parametrize("catalogue", [CATALOGUE, None], ids=["catalogue", "no catalogue"])
def test_20_000_ids_without_drift_are_quiet_and_new_items_are_not(catalogue):
    quiet: dict[str, list[float]] = {name: [] for name in drift.STATISTICS}
    loud: dict[str, list[float]] = {name: [] for name in drift.STATISTICS}
    for seed in range(8):
        rng = np.random.default_rng(1000 + seed)
        v = Vocabulary.fit(Counter(draw(rng, 20_000)), catalogue)
        zero, ours, theirs = Items.over(v), draw(rng, 10_000), draw(rng, 20_000)
        current, reference = zero.update(*v.encode(ours)), zero.update(*v.encode(theirs))
        for at in np.flatnonzero(rng.random(10_000) < 0.05).tolist():
            ours[at] = f"new {rng.integers(500)}"
        churned = zero.update(*v.encode(ours))
        for name, statistic in drift.STATISTICS.items():
            quiet[name].append(statistic(current, reference))
            loud[name].append(statistic(churned, reference))
        assert drift.share_scores(churned, reference)["new"] > 5
        if seed == 0:
            distance, index = raw(draw(rng, 10_000), theirs)
            assert distance > 0.35 and index > 0.1  # both over the usual threshold of 0.1, without any drift
    for name in ("popularity_js", "category_js", "top_js"):
        assert max(quiet[name]) < 0.002, (name, quiet[name])
    for name in ("popularity_js", "popularity_chi2", "new", *(["top_js", "category_js"] if catalogue else [])):
        assert min(loud[name]) > 3 * max(*quiet[name], 1e-4), (name, loud[name], quiet[name])


def test_the_rows_that_fitted_the_vocabulary_are_no_reference():
    rng = np.random.default_rng(1)
    rows = draw(rng, 5000)
    v = Vocabulary.fit(Counter(rows))
    with pytest.raises(DataError, match="what the vocabulary was fitted on"):
        drift.items_js(Items.over(v).update(*v.encode(draw(rng, 500))), Items.over(v).update(*v.encode(rows)))


def test_chi_square_is_pearsons():
    rng = np.random.default_rng(2)
    v = Vocabulary.fit(dict.fromkeys("abcdefgh", 5))
    zero = Items.over(v, top=8, deciles=8)
    ours, theirs = ([*"abcdefgh"[:8]][k] for k in rng.integers(0, 8, 700)), rng.integers(0, 8, 2000)
    current = zero.update(*v.encode(list(ours)))
    reference = zero.update(*v.encode(["abcdefgh"[k] for k in theirs]))
    table = np.array([current.popularity[:8], reference.popularity[:8]])
    want = stats.chi2_contingency(table, correction=False).statistic
    assert drift.items_chi2(current, reference, corrected=False) * 700 * 2000 / 2700 == pytest.approx(want)
    assert drift.items_js(current, reference, corrected=False) == pytest.approx(jensenshannon(*table) ** 2)
    corrected = drift.items_js(current, reference)
    assert corrected == pytest.approx(jensenshannon(*table) ** 2 - 7 * (1 / 700 + 1 / 2000) / 8)


def test_what_moved_is_named():
    v = Vocabulary.fit({"a": 50, "b": 30, "c": 20}, {"a": "x", "b": "x", "c": "y"})
    zero = Items.over(v, deciles=3)
    reference = zero.update(*v.encode(["a"] * 500 + ["b"] * 300 + ["c"] * 200))
    current = zero.update(*v.encode(["a"] * 40 + ["b"] * 30 + ["c"] * 20 + ["z"] * 10 + [None], delisted={"c"}))
    first, second = drift.cell_changes(current, reference)[:2]
    assert (second.cell, second.reference, second.current) == ("delisted", 0.0, 0.2)
    assert first.cell == "rank 3-3" and first.part == pytest.approx(second.part)
    assert sum(change.part for change in drift.cell_changes(current, reference)) == pytest.approx(1)
    assert drift.new_share(current, reference) == pytest.approx(0.1)
    assert drift.delisted_share(current, reference) == pytest.approx(0.2)
    scores = drift.share_scores(current, reference)
    assert scores["missing"] == pytest.approx((1 / 101) / np.sqrt(1 / 1101 * 1100 / 1101 * (1 / 101 + 1 / 1000)))
    assert scores["unseen"] == 0.0


def test_unlike_states_do_not_compare():
    v, other = Vocabulary.fit({"a": 1, "b": 2}), Vocabulary.fit({"a": 1})
    one = Items.over(v).update(*v.encode(["a"]))
    with pytest.raises(StateError, match="different cells"):
        drift.items_js(one, Items.over(other).update(*other.encode(["a"])))
    with pytest.raises(DataError, match="without ids"):
        drift.items_js(Items.over(v).update(*v.encode([None])), one)


@pytest.mark.parametrize("top", [1, 3, 50])
def test_concentration_is_between_its_bounds(top):
    """Against the mean absolute difference over all pairs, counted by a double loop."""
    rng = np.random.default_rng(3)
    names = [f"i{k}" for k in range(50)]
    v = Vocabulary.fit({name: 60 - k for k, name in enumerate(names)})
    rows = [names[k] for k in np.minimum(rng.geometric(0.1, 800) - 1, 49)]
    state = Items.over(v, top=top).update(*v.encode([*rows, "new", None]))
    x = [rows.count(name) for name in names]
    want = sum(abs(a - b) for a in x for b in x) / (2 * 50 * sum(x))
    found, index = gini(state), hhi(state)
    assert found.low - 1e-12 <= want <= found.high + 1e-12
    squares = sum((count / 800) ** 2 for count in x)
    assert index.low - 1e-12 <= squares <= index.high + 1e-12
    if top == 50:
        assert found.value == pytest.approx(want) and index.value == pytest.approx(squares) and found.n == 800
    assert gini(Items.over(v)).reason == hhi(Items.over(v)).reason == "no known ids"


def test_rare_ids_are_pearsons_statistic_and_show_a_bot():
    rng = np.random.default_rng(14)
    v = Vocabulary.fit(Counter(draw(rng, 20_000)), CATALOGUE)
    zero, base, now = Items.over(v, top=3000), draw(rng, 30_000), draw(rng, 1000)
    bot = now[:950] + [NAMES[k] for k in range(800, 810)] * 5
    found = [drift.items_rare(zero.update(*v.encode(rows)), zero.update(*v.encode(base))) for rows in (now, bot)]
    for rows, got in zip((now, bot), found, strict=True):
        a, b, x, k = Counter(rows), Counter(base), 0.0, 0
        for name in v.ids[:3000]:
            if b[name] / 30 < 5 and a[name] + b[name]:
                x += (a[name] / 1000 - b[name] / 30_000) ** 2 / ((a[name] + b[name]) / 31_000) / (1 / 1000 + 1 / 30_000)
                k += 1
        assert got == pytest.approx(np.sqrt(2 * x) - np.sqrt(2 * k - 1))
    assert found[0] < 3 and found[1] > found[0] + 4


def test_coverage_is_a_share_of_the_catalogue():
    rows = draw(np.random.default_rng(4), 30_000)
    found = coverage(Distinct.zero().update(rows), SIZE)
    assert found.low <= len(set(rows)) / SIZE <= found.high and found.high - found.low < 0.02
    assert coverage(Distinct.zero().update(["a", "b"]), 1).value == 1.0
    assert coverage(Distinct.zero(), 5).value is None
    with pytest.raises(DataError, match="catalogue"):
        coverage(Distinct.zero(), 0)
