"""The contract of a metric: what it declares, that it adds, that order is nothing, that nothing is missing, not 0.

::

    incumbent check metrics
    incumbent check metrics:my_shop.metrics:basket_fit

An implementation is a factory that can be called without settings. It is asked of `sample(seed)`: a small shop of
lists, with every part of the side, or of the rows of its grain (`incumbent.testing.metric_samples`). One that needs
other rows brings its own: ``factory.sample(seed) -> (rows, side)``, rows a dict of columns with a user_id.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

import numpy as np

from incumbent.errors import DataError
from incumbent.metrics.metric import Batch, Direction, Grain, Level, Metric, Side
from incumbent.stats.estimate import Estimate
from incumbent.stats.state import State
from incumbent.testing import metric_samples
from incumbent.testing.checks.suite import NotApplicable, Result, Suite

SEEDS = range(4)
Rows = metric_samples.Rows


@dataclass(frozen=True)
class Asked:
    """A metric made without settings, and its samples."""

    metric: Metric
    sample: Callable[[int], tuple[Rows, Side]]


@contextmanager
def _prepare(factory: Callable[[], Metric]) -> Iterator[Asked]:
    metric = factory()
    yield Asked(metric, getattr(factory, "sample", metric_samples.OF_GRAIN[metric.grain]))


SUITE = Suite("metrics", _prepare)


def _part(rows: Rows, keep: list[int]) -> Rows:
    return {key: [column[at] for at in keep] for key, column in rows.items()}


def _state(metric: Metric, rows: Rows, side: Side) -> Any:
    return metric.state().update(*metric.observe(Batch(rows), side))


def _close(one: Estimate, other: Estimate) -> bool:
    if one.value is None or other.value is None:
        return one.value == other.value and one.reason == other.reason
    parts = ((getattr(one, key), getattr(other, key)) for key in ("value", "low", "high", "se"))
    return one.n == other.n and all(
        a == b if a is None or b is None else math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) for a, b in parts)


@SUITE.law()
def declares_what_it_is(asked: Asked) -> None:
    """Name, unit, direction, level, grain and columns are declared and of the known words."""
    metric = asked.metric
    assert isinstance(metric, Metric), "it lacks a part of the protocol"
    assert metric.name and isinstance(metric.unit, str) and metric.unit, "name and unit are text"
    assert metric.direction in get_args(Direction), metric.direction
    assert metric.level in get_args(Level) and metric.grain in get_args(Grain), (metric.level, metric.grain)
    rows, _ = asked.sample(0)
    assert metric.columns and set(metric.columns) <= set(rows), f"the sample lacks {set(metric.columns) - set(rows)}"


@SUITE.law()
def its_state_is_a_state(asked: Asked) -> None:
    """The state keeps the protocol, two empty ones are equal, and an unknown setting is refused."""
    state = asked.metric.state()
    assert isinstance(state, State) and state == asked.metric.state() and state.empty
    try:
        asked.metric.state({"no_such_setting": 1})
    except DataError:
        return
    raise AssertionError("an unknown setting of the baseline is accepted")


@SUITE.law()
def nothing_seen_is_missing(asked: Asked) -> None:
    """No rows read as missing with a reason, never as 0, and so does the empty state."""
    rows, side = asked.sample(0)
    for state in (asked.metric.state(), _state(asked.metric, _part(rows, []), side)):
        estimate = asked.metric.estimate(state)
        assert estimate.value is None and estimate.reason, f"{estimate} of nothing"


@SUITE.law()
def the_sample_has_a_value(asked: Asked) -> None:
    """On a shop with every part of the side there is a number, with its n, unit and method."""
    for seed in SEEDS:
        estimate = asked.metric.estimate(_state(asked.metric, *asked.sample(seed)))
        assert estimate.value is not None, estimate.reason
        assert estimate.n > 0 and estimate.unit == asked.metric.unit and estimate.method, estimate


@SUITE.law()
def parts_by_user_add_up(asked: Asked) -> None:
    """Whole users dealt to two batches, measured apart and merged, are the whole."""
    for seed in SEEDS:
        rows, side = asked.sample(seed)
        some = set(sorted(set(rows["user_id"]))[::2])
        dealt = [[at for at, user in enumerate(rows["user_id"]) if (user in some) is way] for way in (True, False)]
        parts = [_state(asked.metric, _part(rows, keep), side) for keep in dealt]
        whole, merged = (asked.metric.estimate(state) for state in (
            _state(asked.metric, rows, side), parts[0].merge(parts[1])))
        assert _close(whole, merged), f"{merged} in place of {whole}"


@SUITE.law()
def the_order_of_rows_is_nothing(asked: Asked) -> None:
    """Rows in another order give the same estimate."""
    for seed in SEEDS:
        rows, side = asked.sample(seed)
        shuffled = _part(rows, np.random.default_rng(seed).permutation(len(rows["user_id"])).tolist())
        one, other = (asked.metric.estimate(_state(asked.metric, part, side)) for part in (rows, shuffled))
        assert _close(one, other), f"{other} in place of {one}"


@SUITE.law()
def a_read_state_reads_the_same(asked: Asked) -> None:
    """The estimate of a state that was written and read back is the same."""
    state = _state(asked.metric, *asked.sample(1))
    assert asked.metric.estimate(type(state).from_bytes(state.to_bytes())) == asked.metric.estimate(state)


@SUITE.law()
def an_absent_column_is_named(asked: Asked) -> None:
    """Without a column that the metric declares there is one DataError that names it."""
    for column in asked.metric.columns:
        rows, side = asked.sample(0)
        del rows[column]
        try:
            asked.metric.observe(Batch(rows), side)
        except DataError as error:
            assert column in str(error), f"{error} does not name {column}"
        else:
            raise AssertionError(f"{column} is declared, but nothing is said when it is absent")


@SUITE.law()
def an_absent_part_of_the_side_is_named(asked: Asked) -> None:
    """Without a part of the side the metric works as before, or a DataError names the part."""
    rows, side = asked.sample(0)
    whole = asked.metric.estimate(_state(asked.metric, rows, side))
    needed = 0
    for part in (one.name for one in fields(Side)):
        try:
            without = asked.metric.estimate(_state(asked.metric, rows, replace(side, **{part: None})))
        except DataError as error:
            needed += 1
            assert f"side.{part}" in str(error), f"{error} does not name side.{part}"
        else:
            assert _close(whole, without), f"side.{part} changes the value, but is not needed"
    if not needed:
        raise NotApplicable("it reads nothing of the side")


@SUITE.law()
def the_batch_is_left_as_it_was(asked: Asked) -> None:
    """Observing twice gives the same state, and the rows are not changed."""
    rows, side = asked.sample(2)
    before = {key: list(column) for key, column in rows.items()}
    batch = Batch(rows)
    one, other = (asked.metric.state().update(*asked.metric.observe(batch, side)) for _ in range(2))
    assert one == other and rows == before, "two observations of one batch differ, or the batch was changed"


def run(names: list[str] | None = None) -> list[Result]:
    """`incumbent check metrics`."""
    return SUITE.run(names)
