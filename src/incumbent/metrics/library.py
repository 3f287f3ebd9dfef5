"""library: one ranking metric of recommendations against interactions, as one call; frames in, an Estimate out.

`recommendations` has user_id, item_id and rank, one list per user; `interactions` user_id and item_id, perhaps gain:
pandas, Polars, PyArrow, or a mapping of columns. Options of every function, as of `ranking.evaluate`, which reads many
metrics off one pass and gives them per user: ``without_positives`` and ``unserved`` (missing or zero), and ``alpha`` of
the interval, 0.05. Errors are those of `evaluate`.
"""

from __future__ import annotations

from typing import Any

from incumbent.metrics import ranking_builtin
from incumbent.metrics.average_precision import Divisor
from incumbent.metrics.discounted_gain import Ideal
from incumbent.metrics.per_list import PerList
from incumbent.metrics.ranking import evaluate
from incumbent.stats.estimate import Estimate


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


def _one(metric: PerList, recommendations: Any, interactions: Any, options: dict[str, Any]) -> Estimate:
    alpha = options.pop("alpha", 0.05)
    made = evaluate(recommendations, interactions, [metric.name], **options)
    return made.estimates(alpha=alpha)[metric.name]
