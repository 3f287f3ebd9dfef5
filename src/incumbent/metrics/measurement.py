"""measurement: any number of list metrics in one pass over recommendations, with users as the unit of inference."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from incumbent import registry
from incumbent.errors import DataError
from incumbent.metrics.exposure import Exposure
from incumbent.metrics.lists import lists_of
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.per_list import PerList
from incumbent.metrics.ranking import ranking_metric
from incumbent.stats.bounded_share import within
from incumbent.stats.estimate import Estimate
from incumbent.stats.fixed import unless_all_zero
from incumbent.stats.moments import Moments


@dataclass(frozen=True, eq=False)
class Measurement:
    """`estimates` by metric name; `users` (n,) and `values` of each per-list metric (n,), NaN where missing.

    `counts`: lists, their rows, rows that held no user or no item, rows whose rank was that of another.
    """

    estimates: dict[str, Estimate]
    users: pa.Array
    values: dict[str, NDArray[np.float64]]
    counts: dict[str, int]

    def per_user(self) -> pa.Table:
        """A row per list: user_id, then every per-list metric, null where missing."""
        return pa.table([self.users, *(pa.array(column, from_pandas=True) for column in self.values.values())],
                        names=["user_id", *self.values])


def measure(recommendations: Any, metrics: Iterable[Any], side: Side = Side()) -> Measurement:
    """Every metric over one list per user; what several of them need is made once.

    `metrics` are registered names (with their defaults, or as ``novelty@5``), names of `evaluate`
    (``ndcg_achievable@10``), or metrics made with settings, of lists. Each answers under its full name, which says
    every setting: ``novelty`` under ``novelty_ceiling@10``.
    The mean over users has Student's interval, a bounded one that of `stats.bounded_share`; coverage and its like are
    numbers of the whole. Every mean is over the users for whom its metric has a value; how many have none, and what was
    dropped, stands in its method. `DataError` for metrics of other kinds, for two lists of one user, and for what a
    metric needs and the side lacks.

    >>> shown = {"user_id": ["u", "u", "v", "v"], "item_id": ["a", "b", "a", "c"], "rank": [1, 2, 1, 2]}
    >>> side = Side(catalogue={"item_id": list("abcd"), "category": list("xxyy")},
    ...             popularity={"item_id": list("abc"), "count": [4, 2, 2]})
    >>> made = measure(shown, ["coverage", "novelty", "category_diversity"], side).estimates
    >>> made["coverage@10"].value, made["novelty_ceiling@10"].value, made["category_diversity@10"].value
    (0.75, 1.5, 0.5)
    """
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        raise DataError("metrics must be a list of names or metrics", got=metrics, field="metrics")
    asked = [_made(one) for one in metrics]
    wrong = [getattr(one, "name", one) for one in asked if not isinstance(one, PerList | Exposure)]
    names = [getattr(one, "name", None) for one in asked]
    if wrong or not asked or len(set(names)) < len(names):
        raise DataError("metrics must be distinct metrics of lists", got=wrong or names, field="metrics",
                        expected="names of metrics of lists, or metrics made with settings")
    batch = Batch(recommendations)
    lists = batch.once(lists_of)
    if not lists.apart:
        raise DataError("measure takes one list per user", field="recommendations.list_id",
                        hint="measure several lists of a user by the states of the metrics")
    estimates, values = dict[str, Estimate](), dict[str, NDArray[np.float64]]()
    for metric in asked:
        if isinstance(metric, Exposure):
            made = metric.of(batch, side)
        else:
            values[metric.name] = metric.values(batch, side)
            made = Moments.zero().update(values[metric.name]).mean(unit=metric.unit)
            made = within(made, made.n) if metric.bounded else unless_all_zero(made)
        estimates[metric.name] = made.noting(lists.dropped and f"{lists.dropped} rows without an id dropped")
    counts = {"lists": lists.n, "rows": len(lists.items), "rows_without_id": lists.dropped, "tied_ranks": lists.ties}
    return Measurement(estimates, lists.users, values, counts)


def _made(one: Any) -> Any:
    """A metric, or that of a name, perhaps with its k."""
    if not isinstance(one, str):
        return one
    stem, _, cut = one.partition("@")
    if stem not in registry.names("metrics"):
        try:
            return ranking_metric(one)
        except DataError:
            pass  # the registry names what is nearest
    if re.fullmatch(r"\d{1,18}", cut):
        return registry.load("metrics", stem)(k=int(cut))
    return registry.load("metrics", one)()
