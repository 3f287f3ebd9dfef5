"""Young cohorts do not read as collapse, real collapses do, and the intervals cover."""

from __future__ import annotations

import numpy as np
import pytest

from incumbent.drift.delay import development, final_rate, maturity
from incumbent.errors import StateError
from incumbent.stats.delay import Delay

AGES = 14
DELAYS = np.array([0.8**k for k in range(AGES + 1)])
DELAYS /= DELAYS.sum()


def cohort(rng: np.random.Generator, age: int, rows: int = 2000, rate: float = 0.05) -> Delay:
    late = np.where(rng.random(rows) < rate, rng.choice(AGES + 1, rows, p=DELAYS), np.inf)
    return Delay.zero(ages=AGES).update(np.full(rows, age), np.where(late <= age, late, np.nan))


def days(rng: np.random.Generator, count: int = 40) -> Delay:
    """Forty daily cohorts as they stand on the last day: most are mature, the last fourteen are not."""
    whole = Delay.zero(ages=AGES)
    for age in range(count):
        whole = whole.merge(cohort(rng, min(age, AGES)))
    return whole


def test_the_development_is_the_chain_ladders():
    """Cumulated conversions of the cohorts in rows, ratios of the columns' sums over the cohorts that have both."""
    state = days(np.random.default_rng(0))
    cumulated = np.cumsum(state.converted, axis=1).astype(float)
    share = [1.0]
    for k in range(AGES, 0, -1):
        known = slice(k, None)  # the ages that have column k
        share.insert(0, share[0] * cumulated[known, k - 1].sum() / cumulated[known, k].sum())
    assert development(state).share == pytest.approx(share)
    assert development(state).share == pytest.approx(np.cumsum(DELAYS), abs=0.06)


def test_without_censoring_it_is_the_plain_share():
    state = cohort(np.random.default_rng(1), AGES, 20_000)
    assert development(state).share == pytest.approx(np.cumsum(state.converted[-1]) / state.conversions)
    assert final_rate(state, state).value == state.conversions / 20_000


def test_the_variance_is_greenwoods():
    """By hand: 4, 3 and 1 of 8 conversions at 0, 1 and 2 days; without censoring it is the binomial (1 - F) / (N F)."""
    state = Delay.zero(ages=2).update([2] * 10, [0] * 4 + [1] * 3 + [2] + [None] * 2)
    found = development(state).variance
    assert np.diag(found) == pytest.approx([1 / 8, 1 / 56, 0])
    assert found[0, 1] == found[1, 0] == pytest.approx(1 / 56) and found[:, 2].tolist() == [0, 0, 0]
    young = Delay.zero(ages=2).update([1] * 6, [0, 0, 0, 1, 1, 1])  # h_1 is 6 of 13 with these, h_2 still 1 of 8
    mixed = np.diag(development(state.merge(young)).variance)
    assert mixed == pytest.approx([1 / 56 + 6 / 13 / 7, 1 / 56, 0])


def test_young_cohorts_are_no_collapse_and_the_interval_covers():
    """Of 240 final rates at ages 0 to 6 the 95 % intervals leave the truth out about 12 times; raw rates mostly."""
    rng, outside, naive, values = np.random.default_rng(2), 0, 0, []
    for _ in range(60):
        past = days(rng, 30)
        for age in (0, 1, 3, 6):
            young = cohort(rng, age, 4000)
            found = final_rate(young, past)
            values.append(found.value)
            outside += not found.low <= 0.05 <= found.high
            so_far = young.estimates()["so_far"]
            naive += not so_far.low <= 0.05 <= so_far.high
    assert outside <= 24 and naive > 180, (outside, naive)
    assert np.mean(values) == pytest.approx(0.05, rel=0.04)


def test_a_real_collapse_shows_while_it_is_young():
    rng = np.random.default_rng(3)
    past = days(rng)
    halved = final_rate(cohort(rng, 2, 20_000, rate=0.025), past)
    assert halved.high < 0.035 and halved.low < 0.025 < halved.high
    assert maturity(cohort(rng, 2), past).value == pytest.approx(DELAYS[:3].sum(), abs=0.04)


def test_mixed_ages_weigh_by_what_should_have_come():
    rng = np.random.default_rng(4)
    past = days(rng, 60)
    mixed = cohort(rng, 0, 20_000).merge(cohort(rng, 5, 20_000)).merge(cohort(rng, AGES, 20_000))
    found = final_rate(mixed, past)
    assert found.low <= 0.05 <= found.high and found.high - found.low < 0.01


def test_what_cannot_be_said_is_missing():
    zero, rng = Delay.zero(ages=AGES), np.random.default_rng(5)
    past = days(rng)
    assert final_rate(zero, past).reason == "no impressions"
    assert final_rate(cohort(rng, 1), cohort(rng, 3)).reason == "the reference has no mature conversions"
    late = Delay.zero(ages=2).update([2] * 10, [2] * 10)
    why = "too young: nothing is known below an age of 2"
    assert final_rate(Delay.zero(ages=2).update([1], [None]), late).reason == why
    none = final_rate(Delay.zero(ages=AGES).update([1] * 500, [None] * 500), past)
    assert none.value == 0.0 and 0 < none.high < 0.05
    assert maturity(zero, past).value is None
    with pytest.raises(StateError, match="different windows"):
        final_rate(Delay.zero(ages=3).update([1], [None]), past)


def test_a_share_and_its_interval_end_at_1():
    """Half of the conversions of before came on the first day; of a cohort all have, or nearly all."""
    past = Delay.zero(ages=2).update([2] * 2000, [0] * 1000 + [1] * 900 + [2] * 90 + [None] * 10)
    for young in (Delay.zero(ages=2).update([0] * 400, [0] * came + [None] * (400 - came)) for came in (198, 210, 400)):
        found = final_rate(young, past)
        assert 0 < found.low < found.value <= found.high <= 1, found
        assert ("cut at 1" in found.method) is (young.conversions > 200)
    few = final_rate(Delay.zero(ages=2).update([0] * 4, [0] * 4), past)
    assert few.value == 1 and few.low < 0.4, few
