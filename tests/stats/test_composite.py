"""A composite is its parts, one by one."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from incumbent.errors import DataError, StateError
from incumbent.stats.composite import Composite
from incumbent.stats.counts import Counts
from incumbent.stats.distinct import Distinct
from incumbent.stats.moments import Moments
from incumbent.stats.numeric import Numeric

ZERO = Composite.of(price=Numeric.zero(edges=[0.0, 5.0]), country=Counts.zero(),
                    pair=Moments.zero(variables=["x", "y"]))


def test_every_part_is_what_it_would_be_alone():
    rng = np.random.default_rng(0)
    prices, rows = rng.normal(size=40), rng.normal(size=(40, 2))
    day = ZERO.update(price=prices, country=["at", "de"] * 20, pair=rows)
    assert day.part("price") == ZERO.part("price").update(prices)
    assert day.part("country").counts == {"at": 20, "de": 20} and day.part("pair") == ZERO.part("pair").update(rows)
    both = day.merge(ZERO.update(price=[9.0]))
    assert (day.n, both.n, ZERO.n) == (40, 41, 0)
    assert int(both.part("price").n) == 41 and both.part("country") == day.part("country")
    rest = both.subtract(day)
    assert int(rest.part("price").n) == 1 and rest.part("country").empty
    assert list(day.estimates()) == [*(f"country/{k}" for k in day.part("country").estimates()),
                                     *(f"pair/{k}" for k in day.part("pair").estimates()),
                                     *(f"price/{k}" for k in day.part("price").estimates())]


def test_a_part_that_takes_two_columns_gets_a_tuple_and_a_bad_one_stops_all():
    two = Composite.of(k=Counts.zero()).update(k=(["a", "b"], [2, 3]))
    assert two.part("k").counts == {"a": 2, "b": 3}
    with pytest.raises(DataError):
        ZERO.update(price=[1.0], country=[7])
    assert ZERO.empty


def test_a_sketch_that_cannot_subtract_says_so_in_a_composite_too():
    state = Composite.of(ids=Distinct.zero()).update(ids=["a"])
    assert state.merge(state).part("ids").count().value == pytest.approx(1, abs=0.01)
    with pytest.raises(StateError, match="cannot subtract"):
        state.subtract(state)


def test_bytes_hold_the_parts_and_nothing_else():
    state = ZERO.update(price=[1.0], country=["x"])
    again = Composite.from_bytes(state.to_bytes())
    assert again == state and again.config_hash == state.config_hash and again.part("country").counts == {"x": 1}
    data = state.to_bytes()
    (length,) = struct.unpack_from("<I", data, 3)
    for header in (data[7:7 + length].replace(b"counts", b"nought"), b"{}", b"[1]", data[7:7 + length][:-1]):
        with pytest.raises(StateError):
            Composite.from_bytes(data[:3] + struct.pack("<I", len(header)) + header + data[7 + length:])


@pytest.mark.parametrize("call", [
    lambda: Composite.of(), lambda: Composite.of(a=3), lambda: Composite.of(a=ZERO), lambda: Composite.zero(),
    lambda: Composite.zero(parts={"a": {}}), lambda: Composite.zero(parts={"a": 3}), lambda: ZERO.part("x"),
    lambda: ZERO.update(x=[1]), lambda: ZERO.update([1], country=["a"]), lambda: ZERO.update([], [], [], [])])
def test_refusals(call):
    with pytest.raises(DataError):
        call()


def test_other_parts_do_not_add():
    for other in (Composite.of(price=Numeric.zero(edges=[0.0, 5.0])), Counts.zero()):
        with pytest.raises(StateError, match="different parts"):
            ZERO.merge(other)
