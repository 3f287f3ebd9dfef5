"""Two versions of a space against computations over the rows; the known answers of drift.md section 3."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, spatial, stats

from incumbent.drift.embedding import scores
from incumbent.drift.moved_items import item_residuals, moved_items
from incumbent.drift.procrustes import align
from incumbent.drift.versions import compare_versions, transported, transported_frame
from incumbent.errors import DataError, StateError
from incumbent.stats.pairs import Pairs
from incumbent.stats.vectors import Vectors

D, ITEMS = 64, 5000


def world(seed: int):
    """Item vectors of 20 clusters, a rotation, and the source of draws."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(20, D)) * 0.7

    def draw(n):
        return (middles[rng.integers(0, 20, n)] + rng.normal(size=(n, D)) * 0.5).astype(np.float32)
    return draw, stats.ortho_group.rvs(D, random_state=rng), rng


def changed(kind: str, seed: int):
    """Old and new vectors of 5,000 items after a change, the rotation, and which items moved."""
    draw, turn, rng = world(seed)
    old, moved = draw(ITEMS), np.zeros(ITEMS, dtype=bool)
    new = old @ turn.T
    if kind == "noise":
        new = new + 0.05 * rng.normal(size=new.shape)
    elif kind == "moved":
        moved[rng.choice(ITEMS, ITEMS // 10, replace=False)] = True
        new[moved] = draw(ITEMS // 10) @ turn.T
    elif kind == "shuffled":
        old, new = old, old[rng.permutation(ITEMS)]
    return old, new.astype(np.float32), turn, moved


def pairs_of(old, new, **names):
    return Pairs.zero(dimension=old.shape[1], **names).update(old, new)


# --------------------------------------------------------------------------------------------------- known answers
@pytest.mark.parametrize(("kind", "want", "within", "status"), [
    ("rotation", 0.0, 5e-5, "ok"), ("noise", 0.0017, 1e-4, "ok"), ("moved", 0.1002, 0.01, "drift"),
    ("shuffled", 0.913, 0.025, "drift")])
def test_known_answers(kind, want, within, status):
    """drift.md 3: 0.0000, 0.0017, 0.1002 and 0.913 at 5,000 items and 64 dimensions."""
    for seed in (1, 2):
        old, new, turn, _ = changed(kind, seed)
        check = compare_versions(pairs_of(old, new), old_dimension=D, new_dimension=D)
        assert check.alignment.residual == pytest.approx(want, abs=within)
        assert check.status == status and check.moved >= check.alignment.residual
        if kind in ("rotation", "noise"):
            assert np.abs(check.alignment.rotation - turn).max() < (1e-6 if kind == "rotation" else 0.01)


def test_no_marginal_sees_a_shuffled_index():
    old, new, _, _ = changed("shuffled", 3)
    assert np.array_equal(np.sort(old, axis=0), np.sort(new, axis=0))
    zero = Vectors.fit(old, seed=1, centroids=32)
    before, after = zero.update(old), zero.update(new)
    for key in ("cells", "bins", "norms", "repeats", "waves"):
        assert np.array_equal(getattr(before, key), getattr(after, key)), key
    assert np.allclose(before.mean(), after.mean(), rtol=0, atol=1e-12)
    assert np.allclose(before.covariance(), after.covariance(), rtol=0, atol=1e-12)
    assert compare_versions(pairs_of(old, new), old_dimension=D, new_dimension=D).status == "drift"


def test_a_common_mean_does_not_hide_a_shuffle():
    old, new, _, _ = changed("shuffled", 4)
    found = compare_versions(pairs_of(old + 20, new + 20), old_dimension=D, new_dimension=D)
    assert found.alignment.residual < 0.01, "the mean holds nearly all of the energy"
    assert found.status == "drift" and found.reason == "items_moved" and found.moved > 0.8


def test_one_version_at_two_times_may_not_even_rotate():
    old, new, _, _ = changed("rotation", 5)
    named = {"old_version": "v7", "new_version": "v7"}
    turned = compare_versions(pairs_of(old, new, **named), old_dimension=D, new_dimension=D)
    assert (turned.status, turned.reason) == ("drift", "space_moved")
    assert compare_versions(pairs_of(old, old, **named), old_dimension=D, new_dimension=D).reason == "same"
    other = {"old_version": "v7", "new_version": "v8"}
    assert compare_versions(pairs_of(old, new, **other), old_dimension=D, new_dimension=D).status == "ok"


# ------------------------------------------------------------------------------------------------ against the rows
@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(2, 9), st.floats(0.0, 2.0), st.floats(-5, 5), st.floats(0.2, 4.0))
def test_residuals_are_those_of_the_rows(seed, d, noise, offset, scale):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, d)) + offset
    z = scale * (x @ stats.ortho_group.rvs(d, random_state=rng).T) + noise * rng.normal(size=(40, d)) - offset
    x, z = x.astype(np.float32).astype(float), z.astype(np.float32).astype(float)
    found = align(pairs_of(x, z))
    turn, _ = linalg.orthogonal_procrustes(x, z)
    a, b = (x**2).sum(), (z**2).sum()
    assert found.residual == pytest.approx(((z - x @ turn) ** 2).sum() / (a + b), abs=1e-9)
    assert found.still == pytest.approx(((z - x) ** 2).sum() / (a + b), abs=1e-9)
    assert found.similarity == pytest.approx(spatial.procrustes(x, z)[2], abs=1e-9)
    assert found.scaled == pytest.approx(((z - found.scale * x @ turn) ** 2).sum() / b, abs=1e-9)
    xc, zc = x - x.mean(axis=0), z - z.mean(axis=0)
    inner, _ = linalg.orthogonal_procrustes(xc, zc)
    left = ((zc - xc @ inner) ** 2).sum()
    assert found.translated == pytest.approx(left / ((xc**2).sum() + (zc**2).sum()), abs=1e-9)
    assert ((z - x @ inner - found.translation) ** 2).sum() == pytest.approx(left, rel=1e-6, abs=1e-6)
    residuals, energy = item_residuals(x, z, found)
    assert (residuals * energy).sum() / energy.sum() == pytest.approx(found.residual, abs=1e-9)


def test_the_moved_items_are_named():
    old, new, _, moved = changed("moved", 6)
    names = [f"item {i}" for i in range(ITEMS)]
    found = moved_items(names, old, new, align(pairs_of(old, new)), count=ITEMS // 10)
    right = sum(moved[int(item.item.split()[1])] for item in found)
    assert right >= 0.99 * len(found)
    assert [item.residual for item in found] == sorted((item.residual for item in found), reverse=True)
    everyone = moved_items(names, old, new, align(pairs_of(old, new)), count=ITEMS)
    assert sum(item.part for item in everyone) == pytest.approx(1) and len(everyone) == ITEMS


def test_an_item_without_a_sound_vector_is_not_ranked():
    old, new, _, _ = changed("rotation", 7)
    new[3, 5], new[4] = np.nan, 0
    residuals, energy = item_residuals(old, new, align(pairs_of(old, new)))
    assert np.isnan(residuals[3]) and np.isnan(energy[3]) and residuals[4] == pytest.approx(1), "a lost vector moved"
    first = moved_items([str(i) for i in range(ITEMS)], old, new, align(pairs_of(old, new)), count=ITEMS)
    assert first[0].item == "4" and len(first) == ITEMS - 1
    assert item_residuals(old[:0], new[:0], align(pairs_of(old, new)))[0].shape == (0,)
    for bad in ({"items": ["a"]}, {"count": 0}):
        with pytest.raises(DataError):
            moved_items(**{"items": [str(i) for i in range(ITEMS)], "old": old, "new": new,
                           "alignment": align(pairs_of(old, new))} | bad)


# ------------------------------------------------------------------------------------------------ the baseline's frame
def test_the_baseline_stays_comparable():
    """Judged in the new version, a window says what it said in the old."""
    draw, turn, _ = world(8)
    old, quiet = draw(ITEMS), draw(1000)
    drifted = draw(1000) + np.float32(0.1)
    zero = Vectors.fit(old, seed=1, centroids=32)
    baseline = zero.update(old)
    found = compare_versions(pairs_of(old, old @ turn.T), old_dimension=D, new_dimension=D)
    carried = transported(baseline, found.alignment)
    fresh = Vectors.zero(**transported_frame(baseline.frame, found.alignment).plain)
    assert fresh.config_hash == carried.config_hash != baseline.config_hash
    for rows in (quiet, drifted):
        before, after = scores(zero.update(rows), baseline), scores(fresh.update(rows @ turn.T), carried)
        for name, value in before.items():
            if name != "largest_shift":  # of one coordinate, and the turn made others
                assert after[name] == pytest.approx(value, rel=0.02, abs=2e-4), name
    with pytest.raises(StateError):
        scores(zero.update(quiet), carried)


def test_a_transported_state_is_that_of_the_turned_rows():
    draw, turn, _ = world(9)
    old = draw(2000)
    state = Vectors.fit(old, seed=1, centroids=16).update(old)
    carried = transported(state, align(pairs_of(old, old @ turn.T)))
    wide = old.astype(float) @ turn.T
    assert np.allclose(carried.mean(), wide.mean(axis=0), atol=1e-6)
    assert np.allclose(carried.covariance(), np.cov(wide.T), atol=1e-5)
    again = Vectors.zero(**carried.config).update((old @ turn.T).astype(np.float32))
    for key, most in (("cells", 4), ("bins", 40), ("norms", 10)):  # a row within float32 of an edge may fall either way
        assert np.abs(getattr(again, key) - getattr(carried, key)).sum() <= most, key
    assert np.abs(again.features() - carried.features()).max() < 1e-5
    assert Vectors.from_bytes(carried.to_bytes()) == carried
    assert carried.repeat_share() == state.repeat_share()


# -------------------------------------------------------------------------------------------------------- no data
@pytest.mark.parametrize(("n", "old", "new", "says"), [
    (100, 4, 8, "dimension went from 4 to 8"), (19, 4, 4, "19 items"), (None, 4, 4, "0 items")])
def test_version_warmup(n, old, new, says):
    rows = np.random.default_rng(0).normal(size=(n or 1, 4))
    pairs = pairs_of(rows, rows) if n else None
    check = compare_versions(pairs, old_dimension=old, new_dimension=new)
    assert (check.status, check.reason, check.alignment) == ("no_data", "version_warmup", None)
    assert says in check.detail and check.moved is None


def test_bad_input_is_one_clear_error():
    rows = np.random.default_rng(0).normal(size=(50, 4))
    with pytest.raises(DataError, match="one vector for all"):
        compare_versions(pairs_of(rows, np.ones((50, 4))), old_dimension=4, new_dimension=4)
    with pytest.raises(DataError, match="tolerance"):
        compare_versions(None, old_dimension=4, new_dimension=4, tolerance=5.0)
    with pytest.raises(DataError, match="another space"):
        compare_versions(pairs_of(rows, rows), old_dimension=3, new_dimension=3)
    with pytest.raises(DataError, match="0 anchors"):
        align(Pairs.zero(dimension=4))
