"""The numeric state against plain Python over the rows."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.errors import DataError, StateError
from incumbent.stats.numeric import Numeric
from incumbent.stats.numeric_fit import fit_edges

VALUES = st.lists(st.one_of(st.integers(-40, 40).map(lambda i: i / 4), st.none(),
                            st.sampled_from([math.nan, math.inf, -math.inf])), max_size=60)
ZERO = Numeric.zero(edges=[-2.0, 0.0, 0.5, 4.0], coarse=[1, 3], center=0.5)


@settings(deadline=None, max_examples=80)
@given(VALUES, st.integers(0, 60))
def test_it_sums_like_a_loop(values, cut):
    state = ZERO.update(values[:cut]).merge(ZERO.update(values[cut:]))
    sound = [v for v in values if v is not None and math.isfinite(v)]
    edges = ZERO.edges.tolist()
    cells = [0] * 5
    for v in sound:
        cells[sum(edge <= v for edge in edges)] += 1
    assert int(state.n) == len(sound) and state.cells.tolist() == cells
    assert state.coarse.tolist() == [cells[0] + cells[1], cells[2] + cells[3], cells[4]]
    assert state.absences() == {
        "missing": values.count(None), "nan": sum(v is not None and math.isnan(v) for v in values),
        "inf": values.count(math.inf), "-inf": values.count(-math.inf)}
    assert state.excess.tolist() == pytest.approx([sum(max(-2 - v, 0) for v in sound),
                                                   sum(max(v - 4, 0) for v in sound)])
    if sound:
        assert state.mean().value == pytest.approx(sum(sound) / len(sound), abs=1e-12)
    if len(sound) > 1:
        assert state.variance() == pytest.approx(np.var(sound, ddof=1), abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.lists(VALUES, min_size=1, max_size=5))
def test_what_was_added_can_be_taken_away(parts):
    states = [ZERO.update(part) for part in parts]
    whole = reduce(lambda a, b: a.merge(b), states)
    rest = whole.subtract(states[0])
    want = reduce(lambda a, b: a.merge(b), states[1:], ZERO)
    assert rest.cells.tolist() == want.cells.tolist() and rest.absent.tolist() == want.absent.tolist()
    assert rest.sums == pytest.approx(want.sums, abs=1e-9) and rest.excess == pytest.approx(want.excess, abs=1e-9)
    assert whole.subtract(whole) == ZERO


def test_every_kind_of_missing_value():
    assert ZERO.update(np.ma.masked_array([1.0, 2.0], [True, False])).absences()["missing"] == 1
    assert ZERO.update(pa.array([1, None, 3])).absences()["missing"] == 1
    assert ZERO.update(pa.chunked_array([[1.5, None], [float("nan")]])).absences() == {
        "missing": 1, "nan": 1, "inf": 0, "-inf": 0}
    alone = ZERO.update([None, None, math.nan])
    assert not alone.empty and alone.mean().reason == "none of 3 values is sound"
    assert alone.absent_share().value == 1.0 and alone.absent_share("nan").value == pytest.approx(1 / 3)
    assert ZERO.absent_share().value is None and ZERO.outside_share().value is None


@pytest.mark.parametrize("bad", [["a"], [[1.0, 2.0]], [1j], np.array(["2020-01-01"], "datetime64[D]"), [1e200], 3.0])
def test_what_is_no_column(bad):
    with pytest.raises(DataError):
        ZERO.update(bad)


def test_a_value_that_repeats_has_a_cell_of_its_own():
    rows = np.concatenate([np.zeros(400), np.random.default_rng(0).lognormal(size=600)])
    zero = Numeric.fit(rows)
    where = zero.edges.tolist().index(0.0)
    assert zero.update(rows).cells[where + 1] == 400
    assert zero.update([1e-300, -1e-300]).cells[where + 1] == 0
    constant = Numeric.fit(np.full(200, 7.0))
    assert constant.edges.tolist() == [7.0, np.nextafter(7.0, 8)] and constant.scale == 1.0


def test_coarse_cells_are_about_even_on_the_baseline():
    rows = np.random.default_rng(1).lognormal(sigma=2, size=20_000)
    counts = Numeric.fit(rows).update(rows).coarse
    assert len(counts) == 20 and counts.min() > 990 and counts.max() < 1010


@pytest.mark.parametrize("sample", [[], [1.0] * 99, [math.nan] * 500, [1e200] * 200])
def test_a_baseline_too_small(sample):
    with pytest.raises(DataError):
        Numeric.fit(sample)


@pytest.mark.parametrize("settings_", [
    {"edges": []}, {"edges": [1, 1]}, {"edges": [0, math.inf]}, {"edges": [0, 1], "coarse": [1, 0]},
    {"edges": [0, 1], "coarse": []}, {"edges": [0], "coarse": [1]}, {"edges": [0], "scale": 0.0},
    {"edges": [0], "center": math.nan}, {"edges": [0], "bins": 3}])
def test_refusals(settings_):
    with pytest.raises(DataError):
        Numeric.zero(**settings_)


def test_settings_of_the_fit_and_foreign_parts():
    with pytest.raises(DataError, match="grid"):
        fit_edges(range(200), grid=1)
    with pytest.raises(StateError, match="no part"):
        ZERO.update([1]).subtract(ZERO.update([-1]))
