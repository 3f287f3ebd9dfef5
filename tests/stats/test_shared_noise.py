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


def series(rng, rho, days):
    out = [rng.normal()]
    while len(out) < days:
        out.append(rho * out[-1] + (1 - rho**2) ** 0.5 * rng.normal())
    return np.array(out)


def weekly(proxy, parent):
    none = np.zeros(4)
    both = np.stack([proxy, parent], axis=1)
    return [(Noisy(one, none), Noisy(other, none)) for one, other in both[7:] - both[:-7]]


def test_differences_over_a_week_share_days_and_their_intervals_know_it():
    """Proxy and parent of 57 independent days: no relation, yet every day is in two differences."""
    rng, wrong = np.random.default_rng(6), 0
    for _ in range(300):
        pairs = weekly(*rng.normal(size=(2, 57)))
        made = relation(pairs, block=3, kin=[n % 7 for n in range(50)])
        wrong += not made.slope.low <= 0 <= made.slope.high
        assert made.degrees in (4, 6) and -1 <= made.correlation.low <= made.correlation.high <= 1
    assert wrong <= 21  # of 300 at 5 %: 15, give or take 4
    assert "fewer than 4" in relation(pairs, kin=[n % 3 for n in range(50)]).slope.reason


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_days_that_remember_one_another_are_covered(slope):
    """Both follow an autoregression of 0.8 over 60 days. An interval for days that forget covers two thirds."""
    rng, sure, short, times = np.random.default_rng(12), np.zeros(2), 0, 150
    truth = np.array([slope, slope / (1 + slope**2) ** 0.5])
    for _ in range(times):
        proxy = series(rng, 0.8, 60)
        pairs = weekly(proxy, slope * proxy + series(rng, 0.8, 60))
        made = relation(pairs, block=3, kin=[n % 7 for n in range(53)])
        sure += [one.low <= at <= one.high for one, at in zip((made.slope, made.correlation), truth, strict=True)]
        alone = relation(pairs).slope
        short += alone.low <= slope <= alone.high
    assert (sure / times >= 0.91).all() and short / times < 0.75, (sure / times, short / times)


def test_leaving_out_is_leaving_out():
    """The sums without a label against the moments of what is left, one label after the other."""
    rng = np.random.default_rng(3)
    pairs = points(rng, 20, 2.0, 1.0, 0.5)
    made, values = relation(pairs, block=1), np.array([[p.value, y.value] for p, y in pairs])
    noise = [np.array([[a @ b for b in (p.influence, y.influence)] for a in (p.influence, y.influence)]) * K / (K - 1)
             for p, y in pairs]
    left = []
    for at in range(20):
        rest = [n for n in range(20) if n != at]
        moments = np.cov(values[rest].T) - np.mean([noise[n] for n in rest], axis=0)
        left.append(moments[0, 1] / moments[0, 0])
    se = (19 / 20 * sum((one - sum(left) / 20) ** 2 for one in left)) ** 0.5
    assert made.slope.se == pytest.approx(se) and made.degrees == 19
