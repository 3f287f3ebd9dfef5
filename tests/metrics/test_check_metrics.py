"""The contract of metrics over every registered one, and that the suite catches what breaks it."""

import numpy as np
import pytest

from incumbent.metrics.lists import lists_of
from incumbent.metrics.per_list import PerList
from incumbent.testing.checks import metrics


@pytest.mark.parametrize("case", metrics.SUITE.cases(), ids=str)
def test_contract(case):
    case.check()


def _broken(values):
    return lambda: PerList("broken", values, unit="x")


def _failed(factory):
    results = [case.run() for case in metrics.SUITE.cases_of("broken", factory)]
    return {result.law for result in results if not result.ok}


def test_a_metric_of_the_whole_batch_is_caught():
    def share(batch, side):
        lists = batch.once(lists_of)
        return np.full(lists.n, 1.0 / max(lists.n, 1))

    assert "parts_by_user_add_up" in _failed(_broken(share))


def test_a_metric_that_draws_is_caught():
    rng = np.random.default_rng(1)
    assert "the_batch_is_left_as_it_was" in _failed(_broken(lambda batch, side: rng.random(batch.once(lists_of).n)))


def test_a_metric_that_silently_wants_a_part_of_the_side_is_caught():
    def hidden(batch, side):
        return np.full(batch.once(lists_of).n, 0.0 if side.history is None else 1.0)

    assert _failed(_broken(hidden)) == {"an_absent_part_of_the_side_is_named"}


def test_a_metric_of_the_order_of_rows_is_caught():
    def first_row(batch, side):
        return np.full(batch.once(lists_of).n, float(sum(batch.rows["rank"][:1])))

    assert "the_order_of_rows_is_nothing" in _failed(_broken(first_row))
