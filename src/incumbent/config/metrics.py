"""The section ``[metrics]``: what the loop measures of every surface, how it is cut, and what stands under what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from incumbent.config.sections import Name, Part

Attribute = Literal["visitor", "category", "brand", "price_band"]


class MetricsConfig(Part):
    """What the loop measures of every surface, and of every model on it, beside the experiments."""

    enabled: bool = True  # does the loop measure at all?
    k: Annotated[int, Field(ge=1, le=200)] = 10  # quality metrics look at the first so many items of a list
    # what counts as wanted, for the quality of the lists
    relevant: tuple[Literal["click", "add_to_cart", "purchase"], ...] = ("click", "add_to_cart", "purchase")
    relevant_days: Annotated[int, Field(ge=0, le=14)] = 1  # days after its own on which what a user does still counts
    history_days: Annotated[int, Field(ge=1, le=90)] = 28  # how far back purchases, visits and exclusions are known
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None  # of money; not set: the first one seen
    space: str | None = None  # embedding space whose item vectors tell how unlike the items of a list are
    without: tuple[str, ...] = ()  # names of metrics that are not measured
    # registered metric -> its settings; one that is not measured otherwise is added
    settings: dict[Name, dict[str, int | float | str | bool]] = {}
    context: tuple[Name, ...] = ("country", "device")  # keys of the request's context by which is cut
    item_attributes: tuple[Name, ...] = ()  # keys of the items' attributes by which is cut
    attributes: tuple[Attribute, ...] = ("visitor", "category", "price_band")  # what else is cut by
    price_bands: tuple[Annotated[int, Field(gt=0)], ...] = (1_000, 5_000, 20_000)  # edges, in minor units
    # user buckets of the lake that are measured as one shard: more for a small shop, fewer where memory counts
    shard_buckets: Annotated[int, Field(ge=1, le=256)] = 4
    # metrics of a surface (without @k) that are cut by attributes of requests; "all": every one
    sliced: tuple[Name, ...] = (
        "empty_share", "fallback_share", "bought_again_share", "ndcg_achievable", "recall", "click_through",
        "add_to_cart", "conversion", "revenue_per_user", "revenue_per_request", "dismissals")
    # metrics of each model that are cut by attributes of requests; "all": every one
    model_sliced: tuple[Name, ...] = ("error_rate", "timeout_rate")
    # metrics of user-days, and bought_within, that are cut by attributes of items; "all": every one
    item_sliced: tuple[Name, ...] = ("click_through", "dismissals", "revenue_per_slot")
    slice_keys: Annotated[int, Field(ge=1, le=100)] = 12  # values of one attribute that are kept apart; the rest: other
    least_rows: Annotated[int, Field(ge=1)] = 30  # a number of fewer rows is not shown
    baseline_days: Annotated[int, Field(ge=7, le=180)] = 28  # past days that make a metric's band
    rebuild_days: Annotated[int, Field(ge=1)] = 60  # days measured anew when these settings change
    # surface -> a release gate (docs/measure/evaluate.md) whose expectations are asked of every whole day
    gates: dict[Name, Path] = {}
    parents: dict[str, str] = {}  # metric -> the one that it should predict; not named: the default tree
