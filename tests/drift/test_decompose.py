"""The two parts of a change sum to it, and each is 0 where only the other happened."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.drift.decompose import decompose
from incumbent.errors import DataError

SIDE = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 1000).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(0, n))), min_size=1).filter(
        lambda side: any(n for n, _ in side.values()))


@settings(deadline=None, max_examples=60)
@given(SIDE, SIDE)
def test_the_parts_sum_to_the_change(current, reference):
    found = decompose(current, reference)
    rate = [Fraction(sum(y for _, y in side.values()), sum(n for n, _ in side.values()))
            for side in (reference, current)]
    assert found.change == pytest.approx(float(rate[1] - rate[0]), abs=1e-12)
    assert found.mix + found.within == pytest.approx(float(rate[1] - rate[0]), abs=1e-12)
    assert math.fsum(row.total for row in found.segments) == pytest.approx(found.change, abs=1e-12)
    assert math.fsum(row.mix for row in found.segments) == found.mix
    back = decompose(reference, current)
    assert back.mix == pytest.approx(-found.mix, abs=1e-12) and back.within == pytest.approx(-found.within, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(SIDE, st.integers(2, 9))
def test_mix_alone_and_within_alone(side, factor):
    moved = {name: (n * (factor if name in "ace" else 1), y * (factor if name in "ace" else 1))
             for name, (n, y) in side.items()}
    assert decompose(moved, side).within == pytest.approx(0, abs=1e-12)
    assert decompose({name: (n * factor, n * factor - y * factor) for name, (n, y) in side.items()},
                     side).mix == pytest.approx(0, abs=1e-12)


def test_known_answer_by_exact_fractions():
    """Kitagawa's formula without the centring, in fractions: the sums are the same."""
    reference = {"phone": (600, 12), "desktop": (300, 18), "app": (100, 9)}
    current = {"phone": (900, 27), "desktop": (200, 11), "app": (400, 30)}
    n0, n1 = 1000, 1500
    mix = sum((Fraction(current[s][0], n1) - Fraction(reference[s][0], n0))
              * (Fraction(current[s][1], current[s][0]) + Fraction(reference[s][1], reference[s][0])) / 2
              for s in reference)
    within = sum((Fraction(current[s][1], current[s][0]) - Fraction(reference[s][1], reference[s][0]))
                 * (Fraction(current[s][0], n1) + Fraction(reference[s][0], n0)) / 2 for s in reference)
    found = decompose(current, reference)
    assert found.mix == pytest.approx(float(mix), abs=1e-15) and found.within == pytest.approx(float(within), abs=1e-15)


def test_a_segment_that_comes_or_goes_is_mix():
    found = decompose({"old": (50, 5.0), "bots": (50, 0.0)}, {"old": (100, 10.0)})
    assert found.within == 0.0 and found.mix == pytest.approx(-0.05)
    bots = next(row for row in found.segments if row.segment == "bots")
    assert bots.reference_rate is None and bots.current_rate == 0.0 and bots.mix < 0
    assert decompose({"a": (1, 1.0), "none": (0, 0.0)}, {"a": (1, 1.0)}).segments[0].segment == "a"


@pytest.mark.parametrize("bad", [{}, {"a": (0, 0)}, {"a": (-1, 0)}, {"a": (1, math.nan)}, {"a": (0, 1), "b": (1, 1)},
                                 {"a": (math.inf, 1)}])
def test_refusals(bad):
    for call in (lambda: decompose(bad, {"a": (1, 1)}), lambda: decompose({"a": (1, 1)}, bad)):
        with pytest.raises(DataError):
            call()
