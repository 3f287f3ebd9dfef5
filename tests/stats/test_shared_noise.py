"""Relations less shared noise: nothing where there is only noise, the truth where there is one, honest intervals."""

import numpy as np
import pytest

from incumbent.stats.buckets import Buckets
from incumbent.stats.shared_noise import Noisy, of_ratio, relation

K = 64


def points(rng, n, slope, spread, noise):
    """True values, measured on users whose luck is in the proxy and in the parent alike."""
    out = []
    for _ in range(n):
        true = rng.normal(0, spread)
        luck = rng.normal(0, noise, K)
        parent_true, parent_luck = slope * true + rng.normal(0, spread / 4), 3 * luck + rng.normal(0, noise, K)

        def measured(value, each):
            return Noisy(value + each.mean(), (each - each.mean()) / K)

        out.append((measured(true, luck), measured(parent_true, parent_luck)))
    return out


def naive(pairs):
    return float(np.corrcoef([p.value for p, _ in pairs], [y.value for _, y in pairs])[0, 1])


def test_an_influence_is_the_delta_method():
    rng = np.random.default_rng(4)
    state = Buckets.zero(k=K, variables=["a", "b"]).update(rng.integers(0, K, 900), rng.lognormal(size=(900, 2)))
    made, estimate = of_ratio(state, "a", "b"), state.ratio("a", "b")
    assert made.value == pytest.approx(estimate.value)
    assert np.sqrt(K / (K - 1) * (made.influence**2).sum()) == pytest.approx(estimate.se)
    assert made.influence.sum() == pytest.approx(0, abs=1e-12)
    assert of_ratio(Buckets.zero(k=K, variables=["a"]), "a") is None


def test_noise_alone_says_nothing_where_the_naive_correlation_is_strong():
    told = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        pairs = points(rng, 40, 0.0, 0.02, 1.0)
        assert naive(pairs) > 0.5
        made = relation(pairs)
        told += made.correlation.value is not None and made.correlation.low > 0
    assert told <= 8


def test_the_slope_is_covered_where_shared_noise_would_bend_it():
    hits = bent = missing = 0
    for seed in range(200):
        rng = np.random.default_rng(1000 + seed)
        pairs = points(rng, 60, -1.0, 0.3, 1.0)
        made = relation(pairs).slope
        if made.value is None:
            missing += 1
            continue
        hits += made.low <= -1.0 <= made.high
        values = np.array([[p.value, y.value] for p, y in pairs])
        bent += np.cov(values.T)[0, 1] / values[:, 0].var(ddof=1) > -0.85
    told = 200 - missing
    assert told > 120 and 0.88 * told <= hits and bent > 0.6 * told


def test_too_few_points_and_a_proxy_that_stands_still_are_missing_with_the_reason():
    rng = np.random.default_rng(3)
    assert "fewer than 8" in relation(points(rng, 7, 1.0, 1.0, 0.1)).slope.reason
    assert "fewer than 4" in relation(points(rng, 9, 1.0, 1.0, 0.1), block=3).slope.reason
    still = [(Noisy(0.0, p.influence), y) for p, y in points(rng, 20, 1.0, 1.0, 0.5)]
    assert "moves no more than its sampling noise" in relation(still).correlation.reason


def test_differences_over_a_week_share_days_and_their_intervals_know_it():
    """Proxy and parent of 57 independent days: no relation, yet every day is in two differences."""
    rng, none = np.random.default_rng(6), np.zeros(4)
    found = {"kin": 0, "in a row": 0}
    for _ in range(300):
        days = rng.normal(size=(57, 2))
        pairs = [(Noisy(proxy, none), Noisy(parent, none)) for proxy, parent in days[7:] - days[:-7]]
        for how, kin in (("kin", [n % 7 for n in range(50)]), ("in a row", None)):
            made = relation(pairs, block=3, kin=kin)
            found[how] += not made.slope.low <= 0 <= made.slope.high
            assert made.degrees == (6 if kin else 16)
    assert found["kin"] <= 21 < 27 <= found["in a row"]  # of 300 at 5 %: 15, give or take 4
    assert "fewer than 4" in relation(pairs, kin=[n % 3 for n in range(50)]).slope.reason
