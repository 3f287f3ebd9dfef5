"""The pair e-process: printed answers, exact integrals, and its promise under fair coins."""

from __future__ import annotations

from fractions import Fraction
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.stats.beta_binomial import pair_e


@pytest.mark.parametrize(("wins", "losses", "e"), [
    (0, 0, "1.000000"), (6, 0, "9.142857"), (60, 40, ".91304978"), (70, 40, "7.1962957"), (550, 450, "5.8973863")])
def test_known_answers(wins, losses, e):
    digits = len(e.partition(".")[2])
    assert f"{pair_e(wins, losses):.{digits}f}".lstrip("0") == e


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 50), st.integers(0, 50))
def test_against_exact_factorials(wins, losses):
    exact = Fraction(factorial(wins) * factorial(losses) * 2 ** (wins + losses), factorial(wins + losses + 1))
    assert pair_e(wins, losses) == pytest.approx(float(exact), rel=1e-10)
    assert pair_e(wins, losses) == pytest.approx(pair_e(losses, wins), rel=1e-12)


def test_fair_coins_rarely_cross_at_any_look():
    rng, crossed = np.random.default_rng(9), 0
    for _ in range(400):
        wins = np.cumsum(rng.integers(0, 2, 400))
        crossed += any(pair_e(int(w), n + 1 - int(w)) >= 20 for n, w in enumerate(wins))
    assert crossed / 400 <= 0.05


def test_edges():
    assert pair_e(5000, 0) == float("inf")
    for bad in ((-1, 0), (0.5, 1)):
        with pytest.raises(DataError):
            pair_e(*bad)
    with pytest.raises(DataError):
        pair_e(1, 1, a=0)
