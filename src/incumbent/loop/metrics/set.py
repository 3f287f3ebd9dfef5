"""Which metrics are measured of what: the built-in set, less those left out, with those that the configuration adds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from incumbent import registry
from incumbent.config import MetricsConfig
from incumbent.errors import ConfigError, NotFoundError, near
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
SLOTS = "bought_within"
RETURNS, BOUGHT = (1, 7, 28), 7  # days within which users come back, and slots are bought
MONEY = frozenset({"revenue_per_slot", "revenue_per_request", "revenue_per_session", "revenue_per_user", "order_value"})
ALL = "all"  # of what is cut
#: what is cut -> which metrics cannot be
_WHY = {"sliced": "it is of models alone: metrics.model_sliced",
        "model_sliced": "it is of the surface alone: metrics.sliced",
        "item_sliced": "only what is counted by user-day, and slots bought, can be told by item"}
_OF_SETTING = re.compile(r"@.*|_\d+d$|_p[\d.]+$")


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
    can = ((*made.lists, *made.answers, *made.days, *made.clicks, *made.dwells, *cohorts),
           (*made.lists, *made.model, *made.both), (*made.days, *(one for one in cohorts if stem(one.name) == SLOTS)))
    for field, known in zip(_WHY, can, strict=True):
        _check(config, field, known, made.all())
    return made


def _check(config: MetricsConfig, field: str, known: tuple[Any, ...], every: Mapping[str, Metric]) -> None:
    """Raise `NotFoundError` for a metric that is none, `ConfigError` for one whose rows have no such attribute."""
    can = {stem(metric.name) for metric in known}
    passed = {ALL, *can, *(metric.name for metric in known), *MetricsConfig.model_fields[field].default}
    left_out = {stem(name) for name in config.without}
    for name in getattr(config, field):
        if name in passed or stem(name) in left_out:
            continue
        if stem(name) in {stem(one) for one in every}:
            raise ConfigError("this metric cannot be cut so", got=name, field=f"metrics.{field}",
                              expected=f"one of {', '.join(sorted(can))}", hint=_WHY[field])
        raise NotFoundError("no such metric to cut", got=name, field=f"metrics.{field}", hint=near(name, can))


def check(config: MetricsConfig) -> None:
    """Raise for whatever names no metric: what is cut, as `measured`, what is left out, and what stands under what.

    >>> check(MetricsConfig(without=("ginni@10",)))
    Traceback (most recent call last):
    ...
    incumbent.errors.NotFoundError: no such metric. Got 'ginni@10'. Hint: did you mean 'gini@10'?
    """
    measured(config)
    every = measured(config.model_copy(update={"without": ()})).all()
    for field, names in (("without", config.without), ("parents", (*config.parents, *config.parents.values()))):
        known = {*every, *(stem(name) for name in every), *registry.names("metrics")} if field == "without" else every
        for name in names:
            if name not in known:
                raise NotFoundError("no such metric", got=name, field=f"metrics.{field}", hint=near(name, known))


def cuts(names: tuple[str, ...], metric: Metric) -> bool:
    """Is a metric among those that are cut?"""
    return ALL in names or stem(metric.name) in names or metric.name in names


def cohorts_cut(config: MetricsConfig) -> bool:
    """Are `return_rate` or `bought_within` cut by attributes of requests?"""
    return not {ALL, "return_rate", SLOTS}.isdisjoint(stem(name) for name in config.sliced)


def stem(name: str) -> str:
    """A metric's name without its cut, days or quantile: how the configuration calls it.

    >>> stem("ndcg_achievable@10"), stem("return_rate_7d"), stem("latency_p99")
    ('ndcg_achievable', 'return_rate', 'latency')
    """
    return _OF_SETTING.sub("", name)
