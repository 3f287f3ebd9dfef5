"""Importance: estimators against plain recomputation, known answers, and simulated logs whose truth is known."""

from __future__ import annotations

import math
import random
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.stats.importance import Importance

QUARTERS = st.integers(0, 8).map(lambda n: n / 4)
ROWS = st.lists(st.tuples(st.integers(0, 9), QUARTERS, st.integers(-8, 8).map(float)), min_size=1, max_size=50)
FREE = {"min_rows": 0.0, "min_users": 0.0}


def of(rows, k=10, **config):
    return Importance.zero(k=k, **config).update(np.array([r[0] for r in rows]), *zip(*[r[1:] for r in rows],
                                                                                     strict=True))


class TestKnownAnswers:
    def test_by_hand(self):
        """Weights 2, 1/2, 1/2, 1 and rewards 1, 0, 1, 0 of four users."""
        s = of([(0, 2.0, 1.0), (1, 0.5, 0.0), (2, 0.5, 1.0), (3, 1.0, 0.0)])
        assert s.ips(**FREE).value == pytest.approx(2.5 / 4)
        assert s.snips(**FREE).value == pytest.approx(2.5 / 4)
        assert s.effective_rows == pytest.approx(16 / 5.5) == s.effective_users
        assert s.gain(**FREE).value == pytest.approx(0.625 - 0.5)

    def test_equal_weights_are_worth_every_row(self):
        s = of([(n % 10, 3.0, 1.0) for n in range(40)])
        assert s.effective_rows == pytest.approx(40) and s.effective_users == pytest.approx(10)

    def test_interval_of_users_by_plain_python(self):
        """IPS over users with several rows each: the linearised variance between users."""
        rows = [(0, 1.0, 1.0), (0, 2.0, 0.0), (1, 0.5, 1.0), (2, 1.5, 1.0), (2, 1.0, 1.0), (2, 0.0, 1.0)]
        value = sum(w * r for _, w, r in rows) / 6
        rest = [sum(w * r - value for u, w, r in rows if u == user) for user in range(3)]
        assert of(rows).ips(**FREE).se == pytest.approx(math.sqrt(3 / 2 * sum(x * x for x in rest)) / 6)

    def test_model_that_is_right_needs_no_weights(self):
        """Where the model predicts every reward, the doubly robust value is the model's, whatever the weights."""
        rows = [(n % 10, float(n % 3), 0.5, 0.5, 0.8) for n in range(60)]
        assert of(rows, model=True).doubly_robust(**FREE).value == pytest.approx(0.8)

    def test_clipping(self):
        rows = [(n % 10, 1.0, 1.0) for n in range(99)] + [(9, 3.0, 1.0)]
        s = of(rows, clip=2.0)
        assert s.cut == pytest.approx(1 / 102) and s.ips(**FREE).value == pytest.approx(101 / 100)


class TestRefusals:
    @pytest.mark.parametrize(("rows", "why"), [
        ([(n % 10, 1.0 if n else 1000.0, 1.0) for n in range(500)], "effective sample is too small"),
        ([(n % 10, 1.0, 1.0) for n in range(500)], "10.0 users"),
        ([(n, 1.0, 1.0) for n in range(99)], "99.0 of 99 rows"),
        ([(n, 1.5 + n % 2, 1.0) for n in range(500)], "the propensities are not those of the log"),
        ([], "no rows")])
    def test_says_why(self, rows, why):
        s = of(rows, k=500) if rows else Importance.zero(k=500)
        for name in ("ips", "snips", "gain"):
            made = getattr(s, name)()
            assert made.value is None and why in made.reason, made

    def test_clipping_does_not_buy_a_sample(self):
        """A clip low enough to even the weights out makes another policy of it."""
        rows = [(n, 0.05 if n else 1000.0, 1.0) for n in range(500)]
        assert "clipping takes" in of(rows, k=500, clip=1.0).ips().reason

    def test_out_of_reach(self):
        s = Importance.zero(k=300).update(np.arange(300), np.full(300, 0.8), np.ones(300), uncovered=np.full(300, 0.2))
        assert "could not have shown 20%" in s.snips().reason

    def test_half_the_support_is_expected_of_the_weights(self):
        s = Importance.zero(k=300).update(np.arange(300), np.full(300, 0.95), np.ones(300),
                                          uncovered=np.full(300, 0.05))
        assert s.refusal() is None

    @pytest.mark.parametrize("bad", [{"k": 1}, {"clip": 0}, {"clip": math.inf}, {"clip": "low"}, {"klip": 2}])
    def test_bad_settings(self, bad):
        with pytest.raises(DataError):
            Importance.zero(**bad)

    def test_bad_rows(self):
        zero = Importance.zero(k=3)
        for arguments in (([3], [1.0], [1.0]), ([0], [-1.0], [1.0]), ([0], [1.0, 2.0], [1.0])):
            with pytest.raises(DataError):
                zero.update(*arguments)


class TestLaws:
    @settings(deadline=None, max_examples=40)
    @given(ROWS, ROWS)
    def test_parts_add_up(self, one, two):
        both, whole = of(one).merge(of(two)), of(one + two)
        for name in ("ips", "snips", "gain"):
            a, b = getattr(both, name)(**FREE), getattr(whole, name)(**FREE)
            assert (a.value is None) == (b.value is None)
            assert a.value is None or a.value == pytest.approx(b.value, abs=1e-9)
        back = both.subtract(of(two))
        assert back.effective_rows == pytest.approx(of(one).effective_rows, rel=1e-6, abs=1e-6)

    @settings(deadline=None, max_examples=40)
    @given(ROWS)
    def test_snips_stays_in_the_range_of_the_rewards(self, rows):
        made = of(rows).snips(**FREE)
        rewards = [r for _, _, r in rows]
        assert made.value is None or min(rewards) - 1e-9 <= made.value <= max(rewards) + 1e-9

    @settings(deadline=None, max_examples=40)
    @given(ROWS)
    def test_effective_sample_is_between_one_and_all(self, rows):
        s = of(rows)
        assert s.effective_rows == 0 or 1 - 1e-9 <= s.effective_rows <= s.n + 1e-9


def logged(rng, users=150):
    """Requests of users of uneven activity; three actions, logged by a softmax of the context, rewards by both."""
    rows, truth = [], []
    for user in range(users):
        taste = rng.gauss(0, 0.15)
        for _ in range(1 + int(rng.expovariate(0.25))):
            x = rng.random()
            p = [0.6 - 0.3 * x, 0.25, 0.15 + 0.3 * x]
            t = [0.2, 0.3 + 0.2 * x, 0.5 - 0.2 * x]
            mean = [min(max(0.2 + 0.3 * a * x + taste, 0), 1) for a in range(3)]
            rough = [0.25 + 0.1 * a for a in range(3)]
            action = rng.choices(range(3), p)[0]
            reward = float(rng.random() < mean[action])
            truth.append(sum(map(lambda a, b: a * b, t, mean)))
            rows.append((user, t[action] / p[action], reward, rough[action], sum(map(lambda a, b: a * b, t, rough))))
    return rows, truth


def test_intervals_cover_the_truth_of_simulated_logs():
    """95 % intervals hold the target policy's expected reward in at least 90 % of 60 logs (clustered users)."""
    rng = random.Random(7)
    inside = dict.fromkeys(("ips", "snips", "doubly_robust"), 0)
    value = fmean(fmean(logged(rng)[1]) for _ in range(40))
    for _ in range(60):
        rows, _truth = logged(rng)
        s = of(rows, k=150, model=True)
        for name in inside:
            made = getattr(s, name)()
            inside[name] += made.low <= value <= made.high
    assert min(inside.values()) >= 54, inside


def test_plain_mean_of_the_log_is_not_the_answer():
    """The simulated log's own mean is off by several standard errors: the test above could fail."""
    rng = random.Random(8)
    value = fmean(fmean(logged(rng)[1]) for _ in range(40))
    s = of([row for _ in range(4) for row in logged(rng)[0]], k=150, model=True)
    assert abs(s.on_policy().value - value) > 2 * s.on_policy().se
