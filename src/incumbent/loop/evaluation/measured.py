"""measured: the answers of two models as numbers, each made once, and the outcome of every expectation and slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from incumbent.errors import DataError
from incumbent.loop.evaluation.ask_models import Asked
from incumbent.loop.evaluation.held_out import HeldOut, by_category
from incumbent.metrics.expectation import Expectation, Outcome, judge
from incumbent.metrics.expectation_file import GateConfig
from incumbent.metrics.frames import columns
from incumbent.metrics.measures import Batches, Measure, resolve
from incumbent.metrics.metric import Batch
from incumbent.metrics.paired import Paired, Parts, Which, ones
from incumbent.metrics.paired_quantile import quantile
from incumbent.stats.estimate import Estimate

#: where the parts of a side come from
COMES_FROM = {"history": "--history FILE, or a period with days before it in the lake",
              "popularity": "--history FILE, or a period with days before it in the lake",
              "catalogue": "--catalogue FILE, or a period with item events in the lake",
              "vectors": "a period with embeddings of items in the lake", "excluded": "a period of the lake"}
SILENT = "the champion answered no request, so there is nothing to compare with"
SLICES = 50  # of one key: the most frequent values; the others are counted


class Measured:
    """The answers of both models as numbers, each made once, read per expectation and slice."""

    def __init__(self, held: HeldOut, asked: Sequence[Asked], gate: GateConfig) -> None:
        held = by_category(held, [one.answers for one in asked])
        self._held, self._asked, self._gate, self._users = held, asked, gate, held.users
        both = {f"{role}_items": pa.array([answer.items for answer in one.answers], pa.list_(pa.string()))
                for role, one in zip(("champion", "candidate"), asked, strict=True)}
        self._batches = [_batches(held, one, both) for one in asked]
        self._made: dict[str, Paired | str] = {}
        self._silent = all(answer.status != "ok" for answer in asked[0].answers)

    def judge(self, expectation: Expectation, notes: list[str], number: int = 0) -> list[Outcome]:
        """The outcome of the `number`-th expectation, one for each value of a key that is ``*``."""
        measure = resolve(expectation.metric)
        return [replace(self._outcome(one, measure, rows, why), number=number)
                for one, rows, why in self._cells(expectation, notes)]

    def _outcome(self, one: Expectation, measure: Measure, rows: NDArray[np.bool_], why: str | None) -> Outcome:
        which: Which = "candidate" if one.compare == "value" else one.compare
        wanted: dict[Which, Estimate] = {}
        for name in dict.fromkeys(("champion", "candidate", which)):
            lack = why or (SILENT if self._silent and name == one.compare else None)
            wanted[name] = Estimate.missing(lack, unit=measure.unit) if lack else self._estimate(measure, name, rows)
        status, message = judge(one, wanted[which])
        users = len(np.unique(self._users[rows]))
        return Outcome(one, wanted[which], wanted["champion"], wanted["candidate"], status, message, users)

    def _estimate(self, measure: Measure, which: Which, rows: NDArray[np.bool_]) -> Estimate:
        if measure.kind == "whole":
            return self._whole(measure, which)
        paired = self._paired(measure)
        if isinstance(paired, str):
            return Estimate.missing(paired, unit=measure.unit)
        own = paired.only(rows)
        if measure.kind == "quantile":
            return quantile(own, which, measure.q, np.random.default_rng(self._gate.seed), alpha=self._gate.alpha,
                            unit=measure.unit)
        return own.estimate(which, alpha=self._gate.alpha, unit=measure.unit)

    def _paired(self, measure: Measure) -> Paired | str:
        """The measure of both models, or why there is none."""
        if measure.name not in self._made:
            try:
                champion, candidate = (self._parts(measure, n) for n in (0, 1))
                self._made[measure.name] = Paired(self._users, champion, candidate, measure.bounded)
            except DataError as error:
                self._made[measure.name] = _lack(error)
        return self._made[measure.name]

    def _parts(self, measure: Measure, n: int) -> Parts:
        if measure.parts is not None:
            return measure.parts(self._batches[n], self._held.side)
        if measure.name == "behaviour.catalogue":
            return ones(_sound(self._held, self._asked[n]))
        if measure.name == "behaviour.popular":
            return ones(_popular(self._held, self._asked[n], self._gate.k))
        if measure.name == "behaviour.perturbed_history" and self._gate.history_key is None:
            raise DataError("no context key holds the history", expected="history_key in the gate file")
        if measure.name == "behaviour.excluded_categories":
            columns(self._held.side.need("catalogue", measure.name), "catalogue", ("item_id", "category"))
        if measure.name == "behaviour.ignored_events" and not any(self._held.events):
            raise DataError("nothing is known of past interactions", got="no event ids before the requests",
                            expected="a period with history, or --history FILE with a column event_id")
        return ones(self._asked[n].probes[measure.name])

    def _whole(self, measure: Measure, which: Which) -> Estimate:
        """A number of all lists, of one model or as a plain difference: it has no interval."""
        metric, side = measure.read, self._held.side
        try:
            both: list[Estimate] = [metric.estimate(metric.state().update(*metric.observe(batches.lists, side)))
                                    for batches in self._batches]
        except DataError as error:
            return Estimate.missing(_lack(error), unit=measure.unit)
        champion, candidate = both
        if which in ("champion", "candidate"):
            return champion if which == "champion" else candidate
        if champion.value is None or candidate.value is None:
            return champion if champion.value is None else candidate
        if which == "difference":
            return Estimate(candidate.value - champion.value, n=candidate.n, method="difference", unit=measure.unit)
        if champion.value == 0:
            return Estimate.missing("the champion has 0, so nothing is relative to it", n=candidate.n)
        return Estimate(candidate.value / champion.value - 1, n=candidate.n, method="relative")

    def _cells(self, one: Expectation, notes: list[str]) -> list[tuple[Expectation, NDArray[np.bool_], str | None]]:
        """The expectation for each combination of values that has users enough; why it cannot be judged, else None."""
        rows = np.ones(len(self._users), np.bool_)
        starred = []
        for key, value in one.slice:
            if key not in self._held.keys:
                return [(one, rows & False, f"no request has the context key {key!r}; there are "
                                            f"{', '.join(self._held.keys) or 'none'}")]
            if value == "*":
                starred.append(key)
            else:
                rows &= np.array([found == value for found in self._held.values(key)], np.bool_)
        if not starred:
            return [(one, rows, self._too_few(rows) if one.slice else None)]
        values = list(zip(*(self._held.values(key) for key in starred), strict=True))
        counts = Counter(value for value, there in zip(values, rows, strict=True) if there and None not in value)
        cells: list[tuple[Expectation, NDArray[np.bool_], str | None]] = []
        small = 0
        for combination, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
            own = rows & np.array([found == combination for found in values], np.bool_)
            if len(cells) >= SLICES or self._too_few(own):
                small += 1
                continue
            named = {**dict(one.slice), **dict(zip(starred, combination, strict=True))}
            cells.append((replace(one, slice=tuple(sorted((key, str(named[key])) for key in named))), own, None))
        if small:
            notes.append(f"{one.title}: {small} of {len(counts)} values are not judged, of fewer than "
                         f"{self._gate.least_users} users or beyond the {SLICES} most frequent")
        return cells or [(one, rows, f"no value has {self._gate.least_users} users")]

    def _too_few(self, rows: NDArray[np.bool_]) -> str | None:
        users, least = len(np.unique(self._users[rows])), self._gate.least_users
        return None if users >= least else f"{users} users, at least {least} are needed (least_users)"


def _lack(error: DataError) -> str:
    """Why there is no number; of a part that the data do not have, where it comes from."""
    part = (error.field or "").removeprefix("side.")
    return f"{error.what} ({error.field}). Hint: {COMES_FROM[part]}" if part in COMES_FROM else str(error)


def _batches(held: HeldOut, asked: Asked, both: dict[str, pa.Array]) -> Batches:
    """A model's answers as the batches that measures read; requests are their numbers."""
    items = [answer.items for answer in asked.answers]
    lengths = np.array([len(found) for found in items], np.int64)
    owner = np.repeat(np.arange(len(items)), lengths)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 1
    flat = pa.array([item for found in items for item in found], pa.string())
    number = pa.array(np.arange(len(items)))
    rows = {"user_id": number, "items": pa.array(items, pa.list_(pa.string())),
            "k": pa.array([ask.k for ask in held.asks], pa.int64()), "time": pa.array(held.time_s, from_pandas=True),
            "status": pa.array([answer.status for answer in asked.answers], pa.string()),
            "latency_ms": pa.array([answer.latency_ms for answer in asked.answers], pa.float64()), **both}
    lists = {"user_id": pa.array(owner), "item_id": flat, "rank": pa.array(rank)}
    return Batches(Batch(lists), Batch(rows), len(items))


def _sound(held: HeldOut, asked: Asked) -> list[float]:
    """1 where every item of the list is in the catalogue and not delisted; an empty list has nothing to show."""
    table = held.side.need("catalogue", "behaviour.catalogue")
    gone = table["delisted_at"].to_pylist() if "delisted_at" in table.column_names else [None] * table.num_rows
    known = {item for item, at in zip(table["item_id"].to_pylist(), gone, strict=True) if at is None}
    return [float(known.issuperset(answer.items)) if answer.items else float("nan") for answer in asked.answers]


def _popular(held: HeldOut, asked: Asked, k: int) -> list[float]:
    """The part of each list that the k most popular items of the history make up."""
    table = held.side.need("popularity", "behaviour.popular")
    order = sorted(zip(table["item_id"].to_pylist(), table["count"].to_pylist(), strict=True),
                   key=lambda pair: (-pair[1], pair[0]))
    top = {item for item, _ in order[:k]}
    return [len(top.intersection(answer.items)) / len(answer.items) if answer.items else float("nan")
            for answer in asked.answers]
