"""Ranking quality: many metrics at many k in one pass, and each of them as a Metric of the loop.

**Users without relevant items** have no value: they are kept, counted and shown, and are not in the mean
(``without_positives="missing"``); ``"zero"`` counts them as 0. **Users with relevant items but no list** count as 0, as
in RecTools, RePlay and ranx (``unserved="zero"``); ``"missing"`` leaves them out of the mean, as pytrec_eval does.
A `Metric` sees what was served, so to it nobody is unserved.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.metrics.judged import Judged, judge, judged_of
from incumbent.metrics.lists import read_lists
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.names import parse
from incumbent.metrics.per_list import PerList
from incumbent.stats.bounded_share import within
from incumbent.stats.estimate import Estimate
from incumbent.stats.moments import Moments

Policy = Literal["missing", "zero"]
SIX = ("precision@10", "recall@10", "hit_rate@10", "mrr@10", "map_relevant@10", "ndcg_achievable@10")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One pass over recommendations and relevant pairs.

    `state`: `Moments`, a row per user, a variable per metric; evaluations of different users add by ``state.merge``.
    `users` (n,) and `values` (n, metrics): the same per user, NaN where missing. `counts`: what the numbers stand on,
    `notes` what of it every estimate tells.
    """

    metrics: tuple[str, ...]
    state: Moments
    counts: dict[str, int]
    users: pa.Array
    values: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    def estimates(self, *, alpha: float = 0.05) -> dict[str, Estimate]:
        """The mean over users of every metric; n counts users with a value, the method tells of those without.

        Each is in [0, 1], and so is its interval, as of `stats.bounded_share`.
        """
        found = {name: self.state.mean(name, alpha=alpha, unit="per user") for name in self.metrics}
        return {name: within(one, one.n, alpha=alpha).noting(*self.notes) for name, one in found.items()}

    def per_user(self) -> pa.Table:
        """A row per user: user_id, then every metric, null where missing."""
        columns = [pa.array(column, from_pandas=True) for column in self.values.T]
        return pa.table([self.users, *columns], names=["user_id", *self.metrics])


def evaluate(
    recommendations: Any, relevant: Any, metrics: Iterable[str] = SIX, *, without_positives: Policy = "missing",
    unserved: Policy = "zero",
) -> Evaluation:
    """Every named metric for every user, in one pass.

    `recommendations`: user_id, item_id, rank, one list per user, rows in any order. `relevant`: user_id, item_id, and
    perhaps gain (absent: 1). Frames may be pandas, Polars, PyArrow or mappings of columns. Names: `names.NAMES`.

    Rows without user or item are dropped and counted. A relevant item that a list repeats is one hit, at its first
    place; equal ranks are ordered by item id; gaps between ranks close; a list shorter than k just ends. `DataError`
    for unknown names, absent columns, ranks or gains that are no numbers, and ids of different types. Nothing in,
    nothing out: every estimate is missing, with the reason.

    >>> shown = {"user_id": ["u", "u", "v", "w"], "item_id": ["a", "b", "c", "a"], "rank": [1, 2, 1, 1]}
    >>> bought = {"user_id": ["u", "v", "x"], "item_id": ["b", "d", "a"]}
    >>> done = evaluate(shown, bought, ["mrr@2", "recall@2"])
    >>> round(done.estimates()["mrr@2"].value, 4), done.estimates()["mrr@2"].n
    (0.1667, 3)
    >>> done.counts["unserved"], done.counts["without_positives"]
    (1, 1)
    """
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        raise DataError("metrics must be a list of distinct names", got=metrics, field="metrics")
    asked = [parse(name) for name in metrics]
    names = [one.name for one in asked]
    if not names or len(set(names)) < len(names):
        raise DataError("metrics must be a list of distinct names", got=names, field="metrics")
    for setting, value in (("without_positives", without_positives), ("unserved", unserved)):
        if value not in get_args(Policy):
            raise DataError(f"no such policy for {setting}", got=value, expected="missing or zero", field=setting)
    lists = read_lists(recommendations)
    if not lists.apart:
        raise DataError("evaluate takes one list per user", field="recommendations.list_id",
                        hint="measure several lists of a user by the states of the metrics")
    judged = judge(lists, relevant)
    values = np.stack([one.measure(judged) for one in asked]).T  # by column: what follows goes down columns
    none = judged.relevant == 0
    values[none] = np.nan if without_positives == "missing" else 0.0
    if unserved == "missing":
        values[lists.n:] = np.nan
    counts = {
        "users": judged.n, "served": lists.n, "unserved": judged.unserved, "without_positives": int(none.sum()),
        "rows": len(lists.items), "hits": len(judged.where), "repeated_hits": judged.repeats, "tied_ranks": lists.ties,
        "rows_without_id": lists.dropped, "relevant_without_id": judged.dropped,
        "relevant_without_gain": judged.not_relevant, "relevant_twice": judged.twice}
    state = Moments.zero(variables=names).update(values)
    return Evaluation(tuple(names), state, counts, judged.users, values, _notes(counts, without_positives, unserved))


def _notes(counts: dict[str, int], without_positives: Policy, unserved: Policy) -> tuple[str, ...]:
    """What is not in the means, or in them as 0, as the method of each says it."""
    become = {"missing": "left out", "zero": "as 0"}
    dropped = counts["rows_without_id"] + counts["relevant_without_id"]
    parts = ((counts["without_positives"], f"users without positives {become[without_positives]}"),
             (counts["unserved"], f"users unserved {become[unserved]}"), (dropped, "rows without an id dropped"))
    return tuple(f"{number} {what}" for number, what in parts if number)


def ranking_metric(name: str, *, without_positives: Policy = "missing", clusters: int = 128) -> PerList:
    """The Metric of a name, for lists as they were served, against ``side.relevant``.

    >>> metric = ranking_metric("mrr@2")
    >>> batch = Batch({"user_id": ["u", "u", "v"], "item_id": ["a", "b", "c"], "rank": [1, 2, 1]})
    >>> side = Side(relevant={"user_id": ["u", "v"], "item_id": ["b", "c"]})
    >>> metric.estimate(metric.state().update(*metric.observe(batch, side))).value
    0.75
    """
    named = parse(name)
    fill = {"missing": np.nan, "zero": 0.0}.get(without_positives)
    if fill is None:
        raise DataError("no such policy for without_positives", got=without_positives, expected="missing or zero")

    def values(batch: Batch, side: Side) -> NDArray[np.float64]:
        side.need("relevant", name)
        judged: Judged = batch.once(judged_of, side)
        return np.where(judged.relevant > 0, named.measure(judged), fill)

    return PerList(name, values, unit="per list", clusters=clusters, bounded=True)
