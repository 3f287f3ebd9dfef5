"""Which metrics are measured of what: the built-in set, less those left out, with those that the configuration adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from incumbent import registry
from incumbent.config import MetricsConfig
from incumbent.errors import NotFoundError, near
from incumbent.metrics.metric import Metric

_LISTS = ("precision", "recall", "hit_rate", "mrr", "map", "ndcg", "novelty", "popularity", "category_diversity",
          "category_calibration", "unexpectedness", "serendipity", "coverage", "gini", "personalisation")
_ANSWERS = ("empty_share", "short_share", "duplicate_share", "bought_again_share", "shown_again_share",
            "invented_share", "delisted_share", "excluded_share", "fallback_share", "cold_user_share",
            "cold_item_share", "throughput")
_MODEL = ("empty_share", "short_share", "removed_share", "invented_share", "delisted_share", "error_rate",
          "timeout_rate", "cost_per_thousand", "model_age", "vectors_age")
_DAYS = ("click_through", "clicks_per_session", "add_to_cart", "dismissals", "conversion", "orders_per_request",
         "revenue_per_slot", "revenue_per_request", "revenue_per_session", "revenue_per_user", "order_value",
         "refund_share", "time_spent")
_BOTH = ("overlap", "rank_biased_overlap", "kendall_tau")
RETURNS, BOUGHT = (1, 7, 28), 7  # days within which users come back, and slots are bought
MONEY = frozenset({"revenue_per_slot", "revenue_per_request", "revenue_per_session", "revenue_per_user", "order_value"})
ALL = "all"  # of what is cut
_DEFAULTS = {name for field in ("sliced", "item_sliced") for name in MetricsConfig.model_fields[field].default}


class Measured(Struct, frozen=True):
    """The metrics of each kind of row."""

    lists: tuple[Any, ...]  # slot: of the surface and of each model
    answers: tuple[Any, ...]  # impression, of the surface
    model: tuple[Any, ...]  # impression, of each model
    both: tuple[Any, ...]  # impression, of each candidate beside its champion
    days: tuple[Any, ...]  # user_day
    clicks: tuple[Any, ...]
    dwells: tuple[Any, ...]
    cohorts: tuple[Any, ...]  # read from the counts of returns and of slots bought

    def all(self) -> dict[str, Metric]:
        """Every metric by its name."""
        return {metric.name: metric for part in (self.lists, self.answers, self.model, self.both, self.days,
                                                 self.clicks, self.dwells, self.cohorts) for metric in part}


def measured(config: MetricsConfig, currency: str = "") -> Measured:
    """The metrics of a configuration; money in `currency`. `NotFoundError` for what is said of an unknown one.

    >>> len(measured(MetricsConfig()).all()) > 50
    True
    """
    def make(names: Mapping[str, Mapping[str, Any]] | tuple[str, ...]) -> tuple[Any, ...]:
        out = []
        for name in names:
            settings = {**(names[name] if isinstance(names, Mapping) else {}), **config.settings.get(name, {})}
            if name in MONEY:
                settings["currency"] = currency
            if name not in config.without:
                metric = registry.load("metrics", name)(**settings)
                out += [metric] if metric.name not in config.without else []
        return tuple(out)

    lists = {name: {"k": config.k} for name in _LISTS} | ({"diversity": {"k": config.k}} if config.space else {})
    latency = () if "latency" in config.without else tuple(
        registry.load("metrics", "latency")(q=q) for q in (0.5, 0.99))
    both = {name: {"k": config.k} for name in _BOTH}
    built_in = {*lists, *_ANSWERS, *_MODEL, *_BOTH, *_DAYS, "latency", "off_list_share", "click_rank", "dwell",
                "completion", "return_rate", "bought_within"}
    more = make({name: {} for name in config.settings if name not in built_in})
    cohorts = tuple(registry.load("metrics", name)(days=days) for name, days in
                    (*(("return_rate", days) for days in RETURNS), ("bought_within", BOUGHT))
                    if name not in config.without)

    def also(grain: str, column: str | None = None) -> tuple[Any, ...]:
        return tuple(m for m in more if m.grain == grain and (column is None or column in m.columns))

    made = Measured(
        lists=make(lists) + also("slot"), answers=make(_ANSWERS) + latency + also("impression"),
        model=make(_MODEL) + latency, both=make(both), days=make(_DAYS) + also("user_day"),
        clicks=make(("off_list_share", "click_rank")) + also("event", "position"),
        dwells=make(("dwell", "completion")) + also("event", "seconds"), cohorts=cohorts)
    _check(config.sliced, (*made.lists, *made.answers, *made.days, *made.clicks, *made.dwells), "sliced",
           config)
    _check(config.item_sliced, made.days, "item_sliced", config)
    return made


def _check(names: tuple[str, ...], known: tuple[Any, ...], field: str, config: MetricsConfig) -> None:
    """Raise `NotFoundError` for a metric that is cut and is none of those that can be."""
    stems = {stem(metric.name) for metric in known} | {stem(name) for name in config.without}
    for name in names:
        if name != ALL and name not in stems and name not in _DEFAULTS:
            raise NotFoundError("no such metric to cut", got=name, field=f"metrics.{field}",
                                hint=near(name, stems))


def cuts(names: tuple[str, ...], metric: Metric) -> bool:
    """Is a metric among those that are cut?"""
    return ALL in names or stem(metric.name) in names


def stem(name: str) -> str:
    """A metric's name without its cut.

    >>> stem("ndcg_achievable@10")
    'ndcg_achievable'
    """
    return name.partition("@")[0]
