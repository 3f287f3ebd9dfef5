"""Divergences of counts: against SciPy, their bounds, and what they are without drift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from incumbent.drift.divergence import js, js_parts, kl, psi
from incumbent.errors import DataError

TABLES = st.integers(2, 12).flatmap(lambda k: st.tuples(*[st.lists(st.integers(0, 500), min_size=k, max_size=k)] * 2))


@settings(deadline=None, max_examples=60)
@given(TABLES)
def test_js_is_scipys_squared_and_bounded(tables):
    a, b = map(np.array, tables)
    if not a.any() or not b.any():
        with pytest.raises(DataError, match="counts of nothing"):
            js(a, b)
        return
    assert js(a, b) == pytest.approx(jensenshannon(a, b) ** 2, abs=1e-9)
    assert -1e-12 <= js(a, b) <= np.log(2) + 1e-12
    assert js(a, b) == pytest.approx(js(b, a), abs=1e-12)
    assert (js_parts(a, b) >= 0).all()
    assert psi(a, b) == pytest.approx(kl(a, b) + kl(b, a), abs=1e-9)
    assert kl(a, b) >= 0


@pytest.mark.parametrize("statistic", [kl, js, psi])
def test_corrected_is_0_on_average_without_drift(statistic):
    rng = np.random.default_rng(6)
    shares = rng.dirichlet(np.full(40, 5.0))
    for n, m in ((1000, 5000), (4000, 2000)):
        pairs = [(rng.multinomial(n, shares), rng.multinomial(m, shares)) for _ in range(200)]
        values = [statistic(a, b, corrected=True) for a, b in pairs]
        raw = np.mean([statistic(a, b) for a, b in pairs])
        assert abs(np.mean(values)) < 0.1 * raw, "of the bias a tenth is left at most"


def test_cells_must_be_the_same():
    with pytest.raises(DataError, match="different cells"):
        kl([1, 2], [1, 2, 3])
