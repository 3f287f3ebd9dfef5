"""The ranking metrics as factories of the registry: settings in, a Metric with all of them in its name out."""

from __future__ import annotations

from typing import Any

import numpy as np

from incumbent.errors import DataError
from incumbent.metrics.average_precision import Divisor
from incumbent.metrics.discounted_gain import Ideal
from incumbent.metrics.per_list import PerList, check_k
from incumbent.metrics.ranking import ranking_metric


def _at(stem: str, k: int | None) -> str:
    return stem if k is None else f"{stem}@{check_k(k)}"


def _exact(number: float, name: str, most: float) -> str:
    """A setting as it stands in a name, to its last digit; `DataError` unless it is in (0, most)."""
    if isinstance(number, bool) or not isinstance(number, int | float | np.number) or not 0 < number < most:
        raise DataError(f"{name} must be in (0, {most:g})", got=number, field=name)
    short = f"{number:g}"
    exact = short if float(short) == number else repr(float(number))
    return exact if "e" not in exact else f"{number:.20f}".rstrip("0").rstrip(".")


def precision(*, k: int = 10, **policy: Any) -> PerList:
    """``precision@k``; `policy` as for `ranking_metric`."""
    return ranking_metric(_at("precision", k), **policy)


def recall(*, k: int = 10, **policy: Any) -> PerList:
    """``recall@k``."""
    return ranking_metric(_at("recall", k), **policy)


def hit_rate(*, k: int = 10, **policy: Any) -> PerList:
    """``hit_rate@k``."""
    return ranking_metric(_at("hit_rate", k), **policy)


def f_beta(*, k: int = 10, beta: float = 1.0, **policy: Any) -> PerList:
    """``fB@k``.

    >>> f_beta(beta=0.5).name
    'f0.5@10'
    """
    return ranking_metric(_at(f"f{_exact(beta, 'beta', 1e6)}", k), **policy)


def mrr(*, k: int | None = 10, **policy: Any) -> PerList:
    """``mrr@k``; k None looks at the whole list."""
    return ranking_metric(_at("mrr", k), **policy)


def mean_average_precision(*, k: int | None = 10, divisor: Divisor = "relevant", **policy: Any) -> PerList:
    """``map_DIVISOR@k``."""
    return ranking_metric(_at(f"map_{divisor}", k), **policy)


def ndcg(*, k: int | None = 10, ideal: Ideal = "achievable", **policy: Any) -> PerList:
    """``ndcg_IDEAL@k``.

    >>> ndcg(k=5, ideal="full").name
    'ndcg_full@5'
    """
    return ranking_metric(_at(f"ndcg_{ideal}", k), **policy)


def r_precision(**policy: Any) -> PerList:
    """``r_precision``."""
    return ranking_metric("r_precision", **policy)


def rbp(*, k: int | None = 10, persistence: float = 0.8, **policy: Any) -> PerList:
    """``rbp_P@k``."""
    return ranking_metric(_at(f"rbp_{_exact(persistence, 'persistence', 1.0)}", k), **policy)


def auc(*, k: int | None = 10, **policy: Any) -> PerList:
    """``auc@k``."""
    return ranking_metric(_at("auc", k), **policy)
