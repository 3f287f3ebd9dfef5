"""Measures: what a release gate may name, and how each is read off the answers of one model to a set of requests.

Requests are numbered from 0; in what a measure is given, ``user_id`` is that number, so that a list, its hits and its
history are those of one request. Who is one unit of inference is the business of `paired`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from incumbent import registry
from incumbent.errors import DataError
from incumbent.metrics.frames import columns, numbers
from incumbent.metrics.judged import judged_of
from incumbent.metrics.lists import COLUMNS, lists_of
from incumbent.metrics.metric import Batch, Direction, Side
from incumbent.metrics.names import NAMES, parse
from incumbent.metrics.paired import Parts, ones
from incumbent.metrics.ranking import ranking_metric

Kind = Literal["mean", "quantile", "whole", "probe"]
#: columns of the answers of a model, a row per request; `items` is a list of ids, best first
ANSWER_COLUMNS = ("user_id", "items", "k", "time", "status", "latency_ms", "champion_items", "candidate_items")
#: behavioural checks: each is a part of the requests that were tried, in [0, 1]
PROBES = {
    "behaviour.determinism": "the same list when asked the same again",
    "behaviour.cold_start": "a full list for a shopper whom nobody knows",
    "behaviour.exclusions": "none of the items that the request excludes",
    "behaviour.excluded_categories": "nothing of the categories that the request excludes",
    "behaviour.ignored_events": "the part of an unknown shopper's list that comes when the past is to be ignored",
    "behaviour.perturbed_history": "the part of the list that stays when the newest item of the history goes",
    "behaviour.catalogue": "nothing but items of the catalogue",
    "behaviour.popular": "the part of the list that the most popular items alone would fill",
}
_OF_LISTS = {"behaviour.popular", "behaviour.perturbed_history", "behaviour.ignored_events"}
_QUANTILE = re.compile(r"latency_p(\d{1,2}(?:\.\d+)?)")


@dataclass(frozen=True)
class Batches:
    """One model's answers as the batches that measures read: `lists` a row per item, `answers` a row per request."""

    lists: Batch
    answers: Batch
    n: int


@dataclass(frozen=True)
class Measure:
    """A named number. `parts` gives numerator and denominator of each request, (n, 2), NaN where there is none.

    `kind`: mean (of requests), quantile (of the numerators, at `q`), whole (`read` gives one number of all lists, with
    no interval), probe (values come from asking again, under the same name). `bounded`: of no
    request is the ratio below 0 or above 1.
    """

    name: str
    kind: Kind
    unit: str
    direction: Direction
    parts: Callable[[Batches, Side], Parts] | None = None
    q: float = 0.5
    read: Any = None
    bounded: bool = False


def resolve(name: str) -> Measure:
    """The measure of a name; `DataError`, with the nearest name, for one that is none or that lists do not have.

    Names: those of ranking metrics (``ndcg_achievable@10``), any registered metric of lists or answers, with its k
    (``novelty@10``, ``coverage@10``, ``empty_share``, ``error_rate``), ``latency_ms`` (the mean), ``latency_p95`` (any
    quantile), and the behavioural checks of `PROBES`.

    >>> resolve("latency_p95").q, resolve("novelty@5").name, resolve("coverage@10").kind
    (0.95, 'novelty_ceiling@5', 'whole')
    >>> resolve("latency_p95_ms")
    Traceback (most recent call last):
    ...
    incumbent.errors.DataError: no such metric of a release gate. Got 'latency_p95_ms'. Hint: did you mean 'latency_p95'?
    """  # noqa: E501
    if name in PROBES:
        return Measure(name, "probe", "of a list" if name in _OF_LISTS else "of the requests tried",
                       "none" if name.endswith("popular") else "up", bounded=True)
    quantile = _QUANTILE.fullmatch(name)
    if quantile and 0 < float(quantile[1]) < 100:
        return Measure(name, "quantile", "ms", "down", _latency, float(quantile[1]) / 100)
    if name == "latency_ms":
        return Measure(name, "mean", "ms", "down", _latency)
    found = _ranking(name) or _registered(name)
    if found is None:
        near = difflib.get_close_matches(name, known(), n=1, cutoff=0.5)
        raise DataError("no such metric of a release gate", got=name, field="metric",
                        hint=f"did you mean {near[0]!r}?" if near else "docs/measure/evaluate.md lists them")
    return found


def known() -> list[str]:
    """Names to choose from, with k = 10 where there is a k."""
    ranking = [shown.replace("@k", "@10").replace("fB", "f1").replace("rbp_P", "rbp_0.8") for shown in NAMES]
    return sorted({*ranking, *PROBES, "latency_ms", "latency_p50", "latency_p95", "latency_p99",
                   *registry.names("metrics"), *(f"{name}@10" for name in registry.names("metrics"))})


def _ranking(name: str) -> Measure | None:
    try:
        parse(name)
    except DataError:
        return None
    metric = ranking_metric(name)

    def parts(batches: Batches, side: Side) -> Parts:
        """A request with relevant items and an empty list has 0, one without relevant items has none."""
        side.need("relevant", name)
        judged = batches.lists.once(judged_of, side)
        values = np.full(batches.n, np.nan)
        wanted = columns(side.relevant, "relevant", ("user_id",), ["gain"])
        number = wanted["user_id"].to_numpy(zero_copy_only=False).astype(np.int64)
        values[number[numbers(wanted["gain"], "relevant.gain") > 0] if "gain" in wanted else number] = 0.0
        found = metric.values(batches.lists, side)
        at = _requests(batches)
        values[at[judged.relevant > 0]] = found[judged.relevant > 0]
        return ones(values)

    return Measure(name, "mean", metric.unit, metric.direction, parts, bounded=True)


def _registered(name: str) -> Measure | None:
    """A registered factory, called with the k of the name; None where there is none, or it is not of lists."""
    stem, at, cut = name.partition("@")
    if stem not in registry.names("metrics") or (at and not re.fullmatch(r"[1-9]\d*", cut)):
        return None
    try:
        made = registry.load("metrics", stem)(**({"k": int(cut)} if at else {}))
    except TypeError:  # it has no k, or settings that a name cannot give
        return None
    kind = {"unit": made.unit, "direction": made.direction}
    if hasattr(made, "values") and set(made.columns) <= set(COLUMNS):
        return Measure(made.name, "mean", parts=_per_list(made), bounded=getattr(made, "bounded", False), **kind)
    if hasattr(made, "parts") and set(made.columns) <= set(ANSWER_COLUMNS):
        return Measure(made.name, "mean", parts=lambda batches, side: made.parts(batches.answers, side),
                       bounded=getattr(made, "bounded", made.unit.startswith("of ")), **kind)
    if made.grain == "slot" and set(made.columns) <= set(COLUMNS):
        return Measure(made.name, "whole", read=made, **kind)
    raise DataError("this metric is not one of lists", got=name, field="metric",
                    expected="a metric whose columns are among " + ", ".join((*COLUMNS, *ANSWER_COLUMNS[1:])),
                    hint=f"it is of grain {made.grain} and reads {', '.join(made.columns)}: incumbent report shows it")


def _per_list(metric: Any) -> Callable[[Batches, Side], Parts]:
    def parts(batches: Batches, side: Side) -> Parts:
        values = np.full(batches.n, np.nan)
        values[_requests(batches)] = metric.values(batches.lists, side)
        return ones(values)

    return parts


def _requests(batches: Batches) -> NDArray[np.int64]:
    """The request of each list."""
    found: NDArray[np.int64] = batches.lists.once(lists_of).users.to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _latency(batches: Batches, side: Side) -> Parts:
    took = columns(batches.answers.rows, "answers", ("latency_ms",))["latency_ms"]
    return ones(took.to_numpy(zero_copy_only=False))
