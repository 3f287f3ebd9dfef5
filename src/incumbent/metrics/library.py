"""library: one metric as one call; frames in, an Estimate out.

The ranking metrics stand here by name; `function_of` makes a function of any other registered metric, and
`incumbent.metrics.NAME` is one or the other.

A ranking metric takes `recommendations`: user_id, item_id and rank, one list per user; and `interactions`: user_id and
item_id, perhaps gain: pandas, Polars, PyArrow, or a mapping of columns. Its options, as of `ranking.evaluate`, which
reads many metrics off one pass and gives them per user: ``without_positives`` and ``unserved`` (missing or zero), and
``alpha`` of the interval, 0.05. Errors are those of `evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from incumbent import registry
from incumbent.errors import DataError
from incumbent.metrics import ranking_builtin
from incumbent.metrics.average_precision import Divisor
from incumbent.metrics.discounted_gain import Ideal
from incumbent.metrics.exposure import Exposure
from incumbent.metrics.measurement import measure
from incumbent.metrics.metric import COLUMNS_OF, Batch, Side
from incumbent.metrics.per_list import PerList
from incumbent.metrics.ranking import evaluate
from incumbent.stats.buckets import Buckets
from incumbent.stats.estimate import Estimate
from incumbent.stats.log_histogram import LogHistogram


def precision(recommendations: Any, interactions: Any, k: int = 10, **options: Any) -> Estimate:
    """The mean over users of hits in the first k / k.

    >>> shown = {"user_id": ["u", "u", "v"], "item_id": ["a", "b", "c"], "rank": [1, 2, 1]}
    >>> bought = {"user_id": ["u", "v"], "item_id": ["b", "d"]}
    >>> precision(shown, bought, 2).value, recall(shown, bought, 2).value, mrr(shown, bought).value
    (0.25, 0.5, 0.25)
    """
    return _one(ranking_builtin.precision(k=k), recommendations, interactions, options)


def recall(recommendations: Any, interactions: Any, k: int = 10, **options: Any) -> Estimate:
    """The mean over users of hits in the first k / relevant items."""
    return _one(ranking_builtin.recall(k=k), recommendations, interactions, options)


def hit_rate(recommendations: Any, interactions: Any, k: int = 10, **options: Any) -> Estimate:
    """The share of users with a hit in the first k."""
    return _one(ranking_builtin.hit_rate(k=k), recommendations, interactions, options)


def f_beta(recommendations: Any, interactions: Any, k: int = 10, *, beta: float = 1.0, **options: Any) -> Estimate:
    """The mean over users of F-beta of precision and recall at k."""
    return _one(ranking_builtin.f_beta(k=k, beta=beta), recommendations, interactions, options)


def mrr(recommendations: Any, interactions: Any, k: int | None = 10, **options: Any) -> Estimate:
    """The mean over users of 1 / position of the first hit; k None looks at the whole list."""
    return _one(ranking_builtin.mrr(k=k), recommendations, interactions, options)


def mean_average_precision(recommendations: Any, interactions: Any, k: int | None = 10, *,
                           divisor: Divisor = "relevant", **options: Any) -> Estimate:
    """MAP with its divisor: relevant, min_k_relevant, or hits."""
    return _one(ranking_builtin.mean_average_precision(k=k, divisor=divisor), recommendations, interactions, options)


def ndcg(recommendations: Any, interactions: Any, k: int | None = 10, *, ideal: Ideal = "achievable",
         **options: Any) -> Estimate:
    """NDCG over the ideal list that is named: achievable (of the user's own items), or full (k hits).

    >>> shown = {"user_id": ["u", "u"], "item_id": ["a", "b"], "rank": [1, 2]}
    >>> made = ndcg(shown, {"user_id": ["u"], "item_id": ["b"]}, k=10)
    >>> round(made.value, 4), made.unit, ndcg(shown, {"user_id": ["u"], "item_id": ["b"]}, 1).value
    (0.6309, 'per user', 0.0)
    """
    return _one(ranking_builtin.ndcg(k=k, ideal=ideal), recommendations, interactions, options)


def r_precision(recommendations: Any, interactions: Any, **options: Any) -> Estimate:
    """The mean over users of hits in the first R / R, R the number of relevant items."""
    return _one(ranking_builtin.r_precision(), recommendations, interactions, options)


def rbp(recommendations: Any, interactions: Any, k: int | None = 10, *, persistence: float = 0.8,
        **options: Any) -> Estimate:
    """Rank-biased precision: ``(1 - p) sum p^(position - 1)`` over hits, the mean over users."""
    return _one(ranking_builtin.rbp(k=k, persistence=persistence), recommendations, interactions, options)


def auc(recommendations: Any, interactions: Any, k: int | None = 10, **options: Any) -> Estimate:
    """The mean over users of the share of pairs of their list that are in the right order."""
    return _one(ranking_builtin.auc(k=k), recommendations, interactions, options)


def function_of(name: str) -> Callable[..., Estimate]:
    """A registered metric as a function of its rows: ``f(rows, interactions=None, *, cap=None, **named)``.

    `rows` has the columns that the metric declares; `interactions` are what counts as a hit, where it asks for it.
    `named` holds parts of the `Side` (history, popularity, catalogue, vectors, excluded) and settings of the metric
    (k, q, days ...). `cap` is what a baseline froze of a heavy-tailed number. A metric of lists is the mean over users
    of `measure`, one list each; any other is read from its state. `DataError` for a setting that it does not have.

    >>> shown = {"user_id": ["u", "u"], "item_id": ["a", "x"], "rank": [1, 2]}
    >>> function_of("novelty")(shown, popularity={"item_id": ["a", "b"], "count": [4, 12]}, k=10).value
    3.0
    >>> function_of("empty_share")({"user_id": ["u", "v"], "items": [["a"], []]}).value
    0.5
    """
    factory = registry.load("metrics", name)

    def function(rows: Any, interactions: Any = None, *, cap: float | None = None, **named: Any) -> Estimate:
        parts = {part: named.pop(part) for part in COLUMNS_OF if part in named}
        if interactions is not None:
            parts["relevant"] = interactions
        try:
            metric = factory(**named)
        except TypeError as error:
            raise DataError(f"{name} has no such setting", got=sorted(named), field=name,
                            hint=str(error).rpartition("() ")[2]) from None
        side = Side(**parts)
        if cap is None and isinstance(metric, PerList | Exposure):
            return measure(rows, [metric], side).estimates[metric.name]
        state = metric.state(None if cap is None else {"cap": cap}).update(*metric.observe(Batch(rows), side))
        made: Estimate = metric.estimate(state)
        missing = 0 if isinstance(state, Buckets | LogHistogram) else int(getattr(state, "missing", 0))  # these tell it
        return made.noting(missing and f"{missing} rows missing")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = factory.__doc__
    return function


def _one(metric: PerList, recommendations: Any, interactions: Any, options: dict[str, Any]) -> Estimate:
    alpha = options.pop("alpha", 0.05)
    unknown = set(options) - {"without_positives", "unserved"}
    if unknown:
        raise DataError(f"{metric.name} has no such option", got=sorted(unknown), field="options",
                        expected="without_positives, unserved, alpha, or a setting of the metric")
    made = evaluate(recommendations, interactions, [metric.name], **options)
    return made.estimates(alpha=alpha)[metric.name]
