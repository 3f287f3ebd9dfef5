"""Estimate: a value with its uncertainty, or a reason, never both and never neither."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError
from incumbent.stats.estimate import Estimate

finite = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(("parts", "problem"), [
    ({"value": None}, "neither value nor reason"),
    ({"value": None, "reason": ""}, "neither value nor reason"),
    ({"value": 1.0, "reason": "none"}, "a value and a reason"),
    ({"value": None, "reason": "no data", "low": 0.0}, "interval without a value"),
    ({"value": None, "reason": "no data", "se": 0.0}, "interval without a value"),
    ({"value": math.nan}, "not finite"),
    ({"value": math.inf}, "not finite"),
    ({"value": 1.0, "low": math.nan}, "not finite"),
    ({"value": 1.0, "se": -0.1}, "standard error"),
    ({"value": 1.0, "se": math.inf}, "standard error"),
    ({"value": 1.0, "low": 2.0, "high": 1.0}, "low is above high"),
    ({"value": 1.0, "n": -1}, "n is negative"),
])
def test_what_is_not_sound_is_refused(parts, problem):
    with pytest.raises(DataError, match=problem):
        Estimate(**parts)


def test_missing_carries_its_reason_and_n():
    missing = Estimate.missing("no users yet", n=3, unit="EUR")
    assert (missing.value, missing.low, missing.high, missing.se) == (None, None, None, None)
    assert (missing.reason, missing.n, missing.unit) == ("no users yet", 3, "EUR")


def test_it_is_frozen_and_plain():
    estimate = Estimate(1, 0, 2, se=1, n=4)
    assert all(type(part) is float for part in (estimate.value, estimate.low, estimate.high, estimate.se))
    with pytest.raises(AttributeError):
        estimate.value = 2.0  # type: ignore[misc]


def test_numpy_scalars_become_plain_numbers():
    import numpy as np

    estimate = Estimate(np.float64(1), se=np.float32(0.5), n=np.int64(4))
    assert json.loads(json.dumps(estimate.to_dict()))["se"] == 0.5
    assert type(estimate.n) is int


@settings(deadline=None, max_examples=60)
@given(finite, st.floats(0, 1e6), st.floats(0, 1e6), st.floats(-1e3, 1e3))
def test_scaling_scales_every_part_and_keeps_the_order(value, down, up, factor):
    estimate = Estimate(value, value - down, value + up, se=down, n=9, unit="a").scaled(factor, unit="b")
    ends = sorted([(value - down) * factor, (value + up) * factor])
    assert estimate.value == value * factor and estimate.se == down * abs(factor)
    assert [estimate.low, estimate.high] == ends and estimate.n == 9 and estimate.unit == "b"


def test_scaling_one_sided_bounds_and_missing_ones():
    one_sided = Estimate(1.0, 0.5, math.inf, n=2)
    assert (one_sided.scaled(-2).low, one_sided.scaled(-2).high) == (-math.inf, -1.0)
    assert one_sided.scaled(0).low == 0.0  # not NaN from 0 * inf
    assert Estimate.missing("no users", unit="a").scaled(3, unit="b") == Estimate.missing("no users", unit="b")
    assert Estimate(1.0).scaled(2) == Estimate(2.0)
    with pytest.raises(DataError, match="share of 0"):
        one_sided.scaled(math.inf)


@pytest.mark.parametrize("estimate", [
    Estimate(0.5, 0.1, 0.9, se=0.2, n=7, method="t", unit="x"), Estimate.missing("no users", n=2), Estimate(1.0)])
def test_dict_round_trip_through_json(estimate):
    assert Estimate.from_dict(json.loads(json.dumps(estimate.to_dict()))) == estimate


def test_an_infinite_end_leaves_json_valid():
    data = Estimate(0.5, -math.inf, 1.0, n=1).to_dict()
    assert data["low"] is None and json.dumps(data, allow_nan=False)
