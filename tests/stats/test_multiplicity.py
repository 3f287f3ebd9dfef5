"""Multiple tests: printed answers of R's p.adjust and of the papers, a naive search, and delivered error rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.stats.multiplicity import benjamini_hochberg, benjamini_yekutieli, bonferroni, e_bh

#: Benjamini, Hochberg 1995, section 3.2: thrombolysis in acute myocardial infarction
PAPER = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590,
         1.0]


def test_the_papers_own_example():
    assert benjamini_hochberg(PAPER).count == 4
    assert bonferroni(PAPER).count == 3


@pytest.mark.parametrize(("method", "expected"), [  # R: p.adjust(c(.01, .02, .03, .04, .05), METHOD)
    (bonferroni, [0.05, 0.10, 0.15, 0.20, 0.25]),
    (benjamini_hochberg, [0.05] * 5),
    (benjamini_yekutieli, [0.1141667] * 5)])
def test_adjusted_values_are_those_of_r(method, expected):
    p = [0.03, 0.01, 0.05, 0.02, 0.04]
    back = np.argsort(p)
    assert method(p).adjusted[back] == pytest.approx(expected, abs=1e-7)


def test_e_bh_known_answer():
    # m = 4, alpha = 0.1: the k-th largest must reach 40 / k: 45 >= 40, 21 >= 20, 13 < 13.4, 10.5 >= 10
    assert e_bh([13.0, 45.0, 10.5, 21.0], 0.1).rejected.tolist() == [True] * 4
    assert e_bh([13.0, 45.0, 9.5, 21.0], 0.1).rejected.tolist() == [False, True, False, True]
    assert e_bh([0.0, np.inf], 0.05).rejected.tolist() == [False, True]


def naive_bh(p, alpha, weights):
    """Try every k from the largest: reject those with p / w below alpha k / sum w, if there are k of them."""
    for k in range(len(p), 0, -1):
        chosen = [pi / w <= alpha * k / sum(weights) * (1 + 1e-12) for pi, w in zip(p, weights, strict=True)]
        if sum(chosen) >= k:
            return chosen
    return [False] * len(p)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.floats(0, 0.3), st.floats(0.1, 5)), min_size=1, max_size=12), st.floats(0.01, 0.3))
def test_against_a_search_over_every_number_of_rejections(tests, alpha):
    p, weights = [one[0] for one in tests], [one[1] for one in tests]
    assert benjamini_hochberg(p, alpha, weights).rejected.tolist() == naive_bh(p, alpha, weights)
    with np.errstate(divide="ignore"):
        assert e_bh(1 / np.array(p), alpha, weights).rejected.tolist() == naive_bh(p, alpha, weights)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_order_does_not_matter_and_methods_are_nested(p, random):
    order = list(range(len(p)))
    random.shuffle(order)
    for method in (bonferroni, benjamini_hochberg, benjamini_yekutieli):
        assert method(p).adjusted[order] == pytest.approx(method([p[i] for i in order]).adjusted)
    some, more, most = (set(np.flatnonzero(m(p).rejected)) for m in
                        (bonferroni, benjamini_hochberg, lambda p: benjamini_hochberg(p, 0.1)))
    assert some <= more <= most


def test_a_test_that_could_not_be_made_frees_nothing():
    assert bonferroni([0.02, np.nan]).rejected.tolist() == [True, False]
    assert bonferroni([0.03, np.nan]).rejected.tolist() == [False, False]
    assert np.isnan(benjamini_hochberg([0.03, np.nan]).adjusted[1])
    assert benjamini_hochberg([]).count == 0


def test_false_discoveries_stay_at_the_rate_promised():
    rng, false, any_null = np.random.default_rng(3), [], 0
    for _ in range(1500):
        p = rng.random(20)
        p[:5] = p[:5] ** 8
        rejected = benjamini_hochberg(p, 0.1).rejected
        false.append(rejected[5:].sum() / max(rejected.sum(), 1))
        any_null += benjamini_hochberg(rng.random(20), 0.1).count > 0
    assert 0.055 < np.mean(false) < 0.09  # exactly alpha 15 / 20 where tests are independent
    assert any_null / 1500 < 0.125


@pytest.mark.parametrize("bad", [
    lambda: bonferroni([1.5]), lambda: e_bh([-1.0]), lambda: bonferroni([[0.1]]), lambda: bonferroni([0.1], 0.0),
    lambda: bonferroni([0.1, 0.2], weights=[1.0]), lambda: benjamini_hochberg([0.1], weights=[0.0])])
def test_bad_input_is_one_clear_error(bad):
    with pytest.raises(DataError):
        bad()
