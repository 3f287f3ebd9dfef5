"""Statistics of two numeric states against SciPy on the rows themselves, and what they are without drift."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from incumbent.drift import numeric as drift
from incumbent.errors import DataError, StateError
from incumbent.stats.numeric import Numeric

WORLDS = {
    "normal": lambda rng, n: rng.normal(size=n), "heavy": lambda rng, n: rng.lognormal(sigma=2, size=n),
    "zeros": lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, rng.exponential(size=n)),
    "ratings": lambda rng, n: rng.integers(1, 6, n).astype(float), "constant": lambda rng, n: np.full(n, 3.0),
}


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(WORLDS)), st.integers(0, 2**32 - 1), st.integers(1, 800), st.integers(1, 3000),
       st.sampled_from([0.0, 0.1, 3.0]), st.sampled_from([1.0, 1.5, 10.0]))
def test_the_rows_lie_within_the_stated_bounds(world, seed, n, m, shift, factor):
    rng = np.random.default_rng(seed)
    zero = Numeric.fit(WORLDS[world](rng, 1000))
    a, b = WORLDS[world](rng, n) * factor + shift, WORLDS[world](rng, m)
    current, reference = zero.update(a), zero.update(b)
    true = stats.wasserstein_distance(a, b) / zero.scale
    low, high = drift.wasserstein_bounds(current, reference)
    slack = 1e-9 * (1 + np.abs(a).max() + np.abs(b).max()) / zero.scale
    assert low - slack <= true <= high + slack
    assert low <= drift.wasserstein(current, reference) <= high
    low, high = drift.ks_bounds(current, reference)
    assert low - 1e-12 <= stats.ks_2samp(a, b, method="asymp").statistic <= high + 1e-12
    assert low == drift.ks(current, reference)
    assert drift.wasserstein(current, reference) == pytest.approx(drift.wasserstein(reference, current))


def test_exact_where_every_value_has_its_cell():
    rng = np.random.default_rng(2)
    a, b = rng.integers(1, 6, 500) % 4 + 1.0, rng.integers(1, 6, 3000).astype(float)
    zero = Numeric.fit(b)
    current, reference = zero.update(a), zero.update(b)
    true = stats.wasserstein_distance(a, b)
    assert drift.wasserstein(current, reference) * zero.scale == pytest.approx(true, abs=1e-9)
    assert drift.ks(current, reference) == pytest.approx(stats.ks_2samp(a, b).statistic, abs=1e-12)


def test_the_bound_is_narrow_on_a_real_shape():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.2, 1.1, 3000), rng.normal(size=20_000)
    zero = Numeric.fit(b)
    low, high = drift.wasserstein_bounds(zero.update(a), zero.update(b))
    value = drift.wasserstein(zero.update(a), zero.update(b))
    assert high - low < 0.05
    assert value * zero.scale == pytest.approx(stats.wasserstein_distance(a, b), rel=0.01)


def test_a_tail_that_moved_is_measured_outside_the_edges():
    rng = np.random.default_rng(4)
    prices = rng.lognormal(3, 0.5, 4000)
    zero = Numeric.fit(prices)
    wrong = zero.update(prices * 100)  # cents for euros
    true = stats.wasserstein_distance(prices * 100, prices) / zero.scale
    assert drift.wasserstein(wrong, zero.update(prices)) == pytest.approx(true, rel=0.01)
    assert drift.absences(wrong, zero.update(prices))["outside"] > 0.99


def test_divergences_are_those_of_the_quantile_cells():
    rng = np.random.default_rng(5)
    rows, other = rng.normal(size=5000), rng.normal(0.3, 1, 700)
    zero = Numeric.fit(rows)
    edges = np.concatenate([[-np.inf], np.quantile(rows, np.arange(1, 20) / 20, method="inverted_cdf"), [np.inf]])
    p = np.histogram(other, edges)[0] + 0.5
    q = np.histogram(rows, edges)[0] + 0.5
    p, q = p / p.sum(), q / q.sum()
    a, b = zero.update(other), zero.update(rows)
    assert drift.numeric_psi(a, b, corrected=False) == pytest.approx(float(((p - q) * np.log(p / q)).sum()))
    assert drift.numeric_kl(a, b, corrected=False) == pytest.approx(float((p * np.log(p / q)).sum()))
    assert drift.numeric_js(a, b) > 0.005


@pytest.mark.parametrize("world", ["normal", "heavy", "zeros", "ratings"])
def test_corrected_is_0_on_average_without_drift(world):
    """Unequal sizes. Of the raw value little is left; ties make KS smaller than its correction."""
    rng = np.random.default_rng(6)
    zero = Numeric.fit(WORLDS[world](rng, 5000))
    pairs = [(zero.update(WORLDS[world](rng, 500)), zero.update(WORLDS[world](rng, 4000))) for _ in range(150)]
    for name in ("wasserstein", "numeric_js", "numeric_kl", "numeric_psi"):
        call = getattr(drift, name)
        raw = np.mean([call(a, b, corrected=False) for a, b in pairs])
        assert abs(np.mean([call(a, b, corrected=True) for a, b in pairs])) < 0.15 * raw, name
    raw = np.mean([drift.ks(a, b) for a, b in pairs])
    assert -0.6 * raw < np.mean([drift.ks(a, b, corrected=True) for a, b in pairs]) < 0.1 * raw


def test_missing_values_are_no_drift_of_the_others():
    rng = np.random.default_rng(7)
    rows = rng.normal(size=2000)
    zero = Numeric.fit(rows)
    holes = rows.copy()
    holes[rng.random(2000) < 0.4] = np.nan
    a, b = zero.update(holes), zero.update(rows)
    assert drift.absences(a, b)["nan"] == pytest.approx(np.isnan(holes).mean())
    assert drift.wasserstein(a, b) < 0.06 and abs(drift.STATISTICS["numeric_js"](a, b)) < 0.005
    gone = zero.update([None] * 50)
    assert drift.absences(gone, b)["missing"] == 1.0
    with pytest.raises(DataError, match="without sound values"):
        drift.wasserstein(gone, b)
    with pytest.raises(DataError, match="without rows"):
        drift.absences(zero, b)
    with pytest.raises(StateError, match="different cells"):
        drift.ks(Numeric.zero(edges=[0.0]).update([1.0]), b)
    assert all(math.isfinite(statistic(a, b)) for statistic in drift.STATISTICS.values())
