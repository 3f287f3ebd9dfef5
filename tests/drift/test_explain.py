"""Explanations against plain counting over the rows."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.drift.breakdown import breakdown, price_bands
from incumbent.drift.cluster_words import cluster_words
from incumbent.drift.explain import explain
from incumbent.drift.item_table import ItemTable
from incumbent.drift.segments import segment_changes
from incumbent.drift.space_map import space_map
from incumbent.errors import DataError, StateError
from incumbent.stats.vectors import Vectors

RNG = np.random.default_rng(31)
MIDDLES = RNG.normal(size=(6, 8)) * 6
KINDS = ["lunch bag", "garden chair", "wool hat", "candle", "clock", "cake tin"]
ITEMS = 240
KIND = np.arange(ITEMS) % 6
VECTORS = (MIDDLES[KIND] + RNG.normal(size=(ITEMS, 8))).astype(np.float32)
TITLES = [f"{KINDS[k]} {i:03}" for i, k in enumerate(KIND)]
THEN = RNG.integers(5, 30, ITEMS)
NOW = np.where(KIND == 1, THEN * 4, THEN)  # garden chairs come four times as often


def rows(counts):
    return VECTORS[np.repeat(np.arange(ITEMS), counts)]


ZERO = Vectors.fit(rows(THEN), seed=1, centroids=6)
REFERENCE, CURRENT = ZERO.update(rows(THEN)), ZERO.update(rows(NOW))


def table(**columns):
    return ItemTable(TITLES, VECTORS, **({"reference": THEN, "current": NOW} | columns))


def parts_of(labels, now, then) -> dict[str, tuple[float, float, float]]:
    """Shares and parts of the divergence by its definition, one label after the other."""
    a, b = Counter(), Counter()
    for label, x, y in zip(labels, now, then, strict=True):
        a[label or "(missing)"] += x
        b[label or "(missing)"] += y
    out = {}
    for name in set(a) | set(b):
        p, q = a[name] / sum(a.values()), b[name] / sum(b.values())
        m = (p + q) / 2
        out[name] = (q, p, sum(x * math.log(x / m) for x in (p, q) if x > 0) / 2)
    whole = sum(part for _, _, part in out.values())
    return {name: (q, p, part / whole if whole > 1e-15 else 0.0) for name, (q, p, part) in out.items() if p + q > 0}


# ------------------------------------------------------------------------------------------------------- breakdowns
@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", "", None]), st.integers(0, 50), st.integers(0, 50)),
                min_size=1, max_size=12))
def test_parts_are_those_of_the_divergence(data):
    labels, now, then = zip(*data, strict=True)
    if not sum(now) or not sum(then):
        with pytest.raises(DataError):
            breakdown("x", labels, now, then)
        return
    found = breakdown("x", labels, now, then)
    want = parts_of(labels, now, then)
    assert {change.name for change in found.changes} == set(want)
    for change in found.changes:
        assert (change.reference, change.current) == pytest.approx(want[change.name][:2])
        if found.js > 1e-12:
            assert change.part == pytest.approx(want[change.name][2], abs=1e-6)
    total = sum(change.part for change in found.changes)
    assert total == pytest.approx(1) or (total == 0 and found.js == 0)


def test_the_expected_divergence_is_what_samples_without_drift_have():
    rng = np.random.default_rng(2)
    shares = rng.dirichlet(np.full(20, 5.0))
    labels = [str(k) for k in range(20)]
    found = [breakdown("x", labels, rng.multinomial(800, shares), rng.multinomial(2000, shares)) for _ in range(300)]
    assert np.mean([b.js for b in found]) == pytest.approx(np.mean([b.noise for b in found]), rel=0.08)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 100) | st.just(float("nan")), st.integers(0, 9)), min_size=1, max_size=30),
       st.integers(1, 6))
def test_price_bands_hold_the_prices_that_they_name(data, bands):
    prices, counts = zip(*data, strict=True)
    for price, band in zip(prices, price_bands(prices, counts, bands=bands), strict=True):
        if math.isnan(price) or not any(c for p, c in data if not math.isnan(p)):
            assert band is None
        elif band != "any price":
            words = band.split()
            above = (words[0], words[2] if words[1] == "to" else 1e9)
            low, high = (-math.inf, words[1]) if words[0] == "below" else above
            slack = 1e-5 * price
            assert float(low) - slack <= price < float(high) + slack + 1e-9


def test_price_bands_are_equal_parts_of_the_reference():
    prices, counts = RNG.lognormal(size=2000), RNG.integers(1, 5, 2000)
    mass = Counter()
    for band, count in zip(price_bands(prices, counts, bands=5), counts.tolist(), strict=True):
        mass[band] += count
    assert len(mass) == 5 and max(mass.values()) - min(mass.values()) < 0.01 * counts.sum()


# ------------------------------------------------------------------------------------------------------ explanation
def test_what_moved_is_named():
    found = explain(CURRENT, REFERENCE, table(attributes={"kind": [KINDS[k] for k in KIND]}, prices=KIND + 1.0))
    first = found.clusters[0]
    assert set(first.words) >= {"chair", "garden"} and first.current > 1.8 * first.reference
    assert first.part == max(cluster.part for cluster in found.clusters)
    assert sum(point.part for point in found.picture.points) == pytest.approx(1)
    by = {b.by: b for b in found.breakdowns}
    assert set(by) == {"kind", "price band", "item"} and found.method == "counted"
    want = parts_of([KINDS[k] for k in KIND], NOW.tolist(), THEN.tolist())
    for change in by["kind"].changes:
        assert (change.reference, change.current, change.part) == pytest.approx(want[change.name])
    assert by["kind"].changes[0].name == "garden chair"
    items = parts_of(TITLES, NOW.tolist(), THEN.tolist())
    assert by["item"].changes[0].part == pytest.approx(max(part for _, _, part in items.values()))
    for b in found.breakdowns:
        assert sum(change.part for change in b.changes) == pytest.approx(1)
        assert sum(change.current for change in b.changes) == pytest.approx(1)
    assert found.js > 10 * found.noise > 0
    assert "garden" in found.text() and json.loads(json.dumps(found.to_dict()))["method"] == "counted"


def test_examples_are_the_nearest_titles_of_each_window():
    now = NOW.copy()
    gone = [i for i in range(ITEMS) if KIND[i] == 1][:5]
    now[gone] = 0
    found = explain(ZERO.update(rows(now)), REFERENCE, table(current=now), clusters=1, examples=10).clusters[0]
    centroid = ZERO.frame.centroids[found.cluster].astype(float) + ZERO.frame.center
    mine = [i for i in range(ITEMS) if KIND[i] == 1]
    mine.sort(key=lambda i: math.dist(VECTORS[i].tolist(), centroid.tolist()))
    assert list(found.before) == [TITLES[i] for i in mine][:10]
    assert list(found.after) == [TITLES[i] for i in mine if i not in gone][:10]
    want = {TITLES[i]: (THEN[i] / THEN.sum(), now[i] / now.sum()) for i in mine}
    for change in found.changes:
        assert (change.reference, change.current) == pytest.approx(want[change.name])


def test_without_counts_attributes_are_told_through_the_clusters():
    found = explain(CURRENT, REFERENCE, ItemTable(TITLES, VECTORS, {"kind": [KINDS[k] for k in KIND]}))
    assert found.method == "through clusters" and [b.by for b in found.breakdowns] == ["kind"]
    shares = {c.name: (c.reference, c.current) for c in found.breakdowns[0].changes}
    for kind in KINDS:  # the clusters are the kinds here
        mine = np.array([KINDS[k] == kind for k in KIND])
        assert shares[kind] == pytest.approx((THEN[mine].sum() / THEN.sum(), NOW[mine].sum() / NOW.sum()), abs=0.01)
    some = KIND != 1
    part = explain(CURRENT, REFERENCE, ItemTable([t for t, s in zip(TITLES, some, strict=True) if s], VECTORS[some],
                                                 {"kind": [KINDS[k] for k in KIND[some]]}))
    first = part.breakdowns[0].changes[0]
    assert first.name == "(no item)" and first.current == pytest.approx(NOW[~some].sum() / NOW.sum(), abs=0.01)
    assert part.clusters[0].after == ()


def test_nothing_changed_explains_nothing():
    found = explain(REFERENCE, REFERENCE, table(current=THEN))
    assert found.clusters == () and found.js == 0
    assert all(change.part == 0 for b in found.breakdowns for change in b.changes)


def test_defective_vectors_belong_to_no_cluster():
    vectors = VECTORS.copy()
    vectors[0], vectors[1, 3] = 0, np.nan
    clusters = ItemTable(TITLES, vectors).clusters(ZERO.frame)
    assert clusters[:2].tolist() == [-1, -1] and (clusters[2:] >= 0).all()
    assert np.isinf(ItemTable(TITLES, vectors).distances(ZERO.frame)[:2]).all()
    assert np.bincount(clusters[2:], minlength=6).tolist() == ZERO.update(VECTORS[2:]).cells.tolist()


@pytest.mark.parametrize(("columns", "what"), [
    ({"attributes": {"kind": ["x"]}}, "unequal"), ({"prices": [1.0]}, "unequal"),
    ({"current": None}, "one window alone"), ({"current": -NOW}, "negative")])
def test_bad_tables_are_one_clear_error(columns, what):
    with pytest.raises(DataError, match=what):
        table(**columns)


def test_bad_windows_are_one_clear_error():
    with pytest.raises(DataError, match="current window"):
        explain(CURRENT, REFERENCE, table(current=NOW * 0))
    with pytest.raises(DataError, match="too few"):
        explain(ZERO, REFERENCE, table())
    with pytest.raises(StateError):
        explain(Vectors.fit(rows(NOW), seed=2, centroids=6).update(rows(NOW)), REFERENCE, table())
    with pytest.raises(DataError, match="wrong dimension"):
        explain(CURRENT, REFERENCE, ItemTable(TITLES, VECTORS[:, :5]))


# ----------------------------------------------------------------------------------------------- words, map, segments
def test_words_are_those_that_others_have_not():
    titles = ["red lunch bag", "blue lunch bag", "red clock", "blue clock", "a 12 xx"]
    assert cluster_words(titles, [0, 0, 1, 1, -1], count=2) == {0: ["bag", "lunch"], 1: ["clock", "blue"]}


def test_the_map_shows_the_principal_directions():
    made = space_map(CURRENT, REFERENCE, {0: ["hat"]})
    wide = rows(THEN).astype(float)
    values, vectors = np.linalg.eigh(np.cov(wide.T))
    assert (made.x_variance, made.y_variance) == pytest.approx((values[::-1] / values.sum())[:2], rel=1e-4)
    middles = ZERO.frame.centroids.astype(float)
    for point in made.points:
        x, y = middles[point.cluster] @ vectors[:, ::-1][:, :2]
        assert (abs(point.x), abs(point.y)) == pytest.approx((abs(x), abs(y)), abs=1e-3)
        assert point.reference == REFERENCE.cells[point.cluster] / REFERENCE.n
    assert {point.words for point in made.points} == {"", "hat"}


def test_the_segment_that_feels_it_comes_first():
    rng = np.random.default_rng(8)
    still = [rng.permutation(rows(THEN))[:1500] for _ in range(2)]
    now = {"uk": ZERO.update(still[0]), "fr": CURRENT, "new": CURRENT, "tiny": ZERO.update(still[0][:9])}
    found = segment_changes(now, {"uk": ZERO.update(still[1]), "fr": REFERENCE, "tiny": REFERENCE})
    assert [c.segment for c in found] == ["fr", "uk", "new", "tiny"]
    assert found[0].part > 0.95 and sum(c.part for c in found[:2]) == pytest.approx(1)
    assert found[0].z > 20 > 6 > abs(found[1].z)
    assert (found[2].reason, found[3].reason) == ("no vectors in the reference", "only 9 vectors now")
    assert found[2].js is None and found[2].part is None


def test_z_of_segments_is_standard_without_drift():
    rng = np.random.default_rng(9)
    pool = rows(THEN)
    values = [segment_changes({"a": ZERO.update(pool[rng.integers(0, len(pool), 400)])},
                              {"a": ZERO.update(pool[rng.integers(0, len(pool), 900)])})[0].z for _ in range(300)]
    assert abs(np.mean(values)) < 0.25 and 0.8 < np.std(values) < 1.25
